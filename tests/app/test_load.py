"""`hushcast load` against the running app: what it measures, and that it leaves nothing."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import soundfile

from foundation.redis import connect
from recordings.store import RecordingStore, StoreConfig
from tests.running import App, free_port
from tests.sounds import SAMPLE_RATE, spoken_words

pytestmark = [pytest.mark.slow, pytest.mark.quiet]

TIMEOUT_S = 120
MODEL_AND_CODECS_MS = 20 + 50 + 2 * 6.5
"""The least possible: a frame, the model's latency and the delay of two Opus encoders."""


def start(app: App, *arguments: str) -> "subprocess.Popen[str]":
    """Start the command as a person would, in a session of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "commands.cli", "load", "--url", app.url, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def load(app: App, folder: Path, *arguments: str) -> tuple[int, dict[str, Any], str]:
    """Run it to its end; get the exit code, the numbers, and what was printed."""
    process = start(app, "--seconds", "3", "--json", str(folder / "load.json"), *arguments)
    printed, errors = process.communicate(timeout=TIMEOUT_S)
    assert errors == ""
    return process.returncode, json.loads((folder / "load.json").read_text()), printed


def left_in_redis(url: str) -> set[str]:
    """Find what names an account of load tests, or its recordings."""

    async def find() -> set[str]:
        redis = connect(url)
        try:
            found = {key async for key in redis.scan_iter("*load-*")}
            members = await _members(redis)
        finally:
            await redis.aclose()
        return {key for key in found if ":limit:" not in key} | members

    return asyncio.run(find())


async def _members(redis: Any) -> set[str]:
    """Find accounts of load tests in what lists accounts."""
    found: set[str] = set()
    async for key in redis.scan_iter("*", _type="set"):
        found |= {name for name in await redis.smembers(key) if name.startswith("load-")}
    return found


def left_in_s3(s3: StoreConfig) -> list[str]:
    """Find recordings of accounts of load tests."""
    store = RecordingStore(s3)
    try:
        return [key for key in store.list_keys() if "/load-" in key]
    finally:
        store.close()


def test_one_publisher_and_two_listeners(
    app: App, valkey: str, s3: StoreConfig, tmp_path: Path
) -> None:
    """Everything is measured, no frame is missing, and nothing is left behind."""
    code, told, printed = load(app, tmp_path, "--publishers", "1", "--listeners", "2")
    assert (code, told["failures"]) == (0, []), printed
    frames, times = told["frames"], told["times_ms"]
    assert frames["received"] == frames["expected"] >= 2 * 3 * 50
    assert times["publisher_connected"]["count"] == 1
    assert times["first_sound"]["count"] == times["listener_connected"]["count"] == 2
    assert times["mouth_to_ear"]["p50"] > MODEL_AND_CODECS_MS
    assert times["mouth_to_ear"]["p50"] < MODEL_AND_CODECS_MS + 150
    assert told["latency_found_for"] > 0.8
    assert told["server"]["publishers_that_were_told"] == 1
    assert "mouth to ear" in printed and "0 lost on the way" in printed
    assert left_in_redis(valkey) == set()
    assert left_in_s3(s3) == []


def test_a_bad_network(app: App, tmp_path: Path) -> None:
    """Losses and delays are injected on both legs, seen on both, and not a failure."""
    code, told, printed = load(
        app, tmp_path, *"--listeners 2 --loss 10 --burst 3 --jitter 5".split()
    )
    assert (code, told["failures"]) == (0, []), printed
    frames = told["frames"]
    assert 0.03 < frames["lost"] / frames["expected"] < 0.5
    assert frames["received"] + frames["lost"] + frames["unsent"] == frames["expected"]
    assert told["injected"]["lost_to_listeners"] >= frames["lost"]
    assert told["injected"]["lost_to_server"] > 0.03 * 3 * 50


def test_speech_passes_the_model(app: App, tmp_path: Path) -> None:
    """`--audio` is published as it is, denoised, and found again in what listeners hear."""
    path = tmp_path / "words.wav"
    soundfile.write(path, spoken_words(6.0), SAMPLE_RATE)
    code, told, printed = load(app, tmp_path, "--audio", str(path))
    assert code == 0, printed
    assert told["latency_found_for"] > 0.5
    assert told["times_ms"]["mouth_to_ear"]["p50"] > MODEL_AND_CODECS_MS - 5


def test_interrupted_it_still_cleans_up(app: App, valkey: str, s3: StoreConfig) -> None:
    """Ctrl-C in the middle: exit code 130, no account, no recording, no process is left."""
    with start(app, "--seconds", "100", "--listeners", "2") as process:
        try:
            _until(lambda: _live(valkey))
            os.killpg(process.pid, signal.SIGINT)
            printed, errors = process.communicate(timeout=TIMEOUT_S)
        finally:
            process.kill()
    assert (process.returncode, printed, errors) == (130, "", "")
    assert left_in_redis(valkey) == set()
    assert left_in_s3(s3) == []
    _until(lambda: not _group_exists(process.pid))


def _group_exists(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def _live(url: str) -> Iterable[str]:
    return [key for key in left_in_redis(url) if ":stream:" in key]


def _until(condition: Any) -> None:
    end = time.monotonic() + TIMEOUT_S
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.1)


def refused(*arguments: str) -> str:
    """Run a call that is refused; get its sentence."""
    ran = subprocess.run(
        [sys.executable, "-m", "commands.cli", "load", *arguments],
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
    )
    assert (ran.returncode, ran.stdout) == (2, ""), ran
    assert ran.stderr.count("\n") == 1
    return ran.stderr


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ("--loss 60", "--loss: "),
        ("--seconds nan", "--seconds: "),
        ("--listeners 0", "--listeners: "),
        ("--audio /no/such/file", "/no/such/file: "),
        ("--json /no/such/folder/x", "--json: "),
    ],
)
def test_what_makes_no_sense_is_refused(arguments: str, sentence: str) -> None:
    """Exit code 2 and one sentence, before any request."""
    assert refused("--url", "http://127.0.0.1:1", *arguments.split()).startswith(sentence)


def test_an_instance_that_is_not_there() -> None:
    """It says which server cannot be reached."""
    url = f"http://127.0.0.1:{free_port()}"
    assert refused("--url", url).startswith(f"{url} cannot be reached")
