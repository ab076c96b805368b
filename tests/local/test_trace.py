"""`hushcast trace`: which lines belong together, and how they are shown."""

from pathlib import Path

import pytest

from commands.cli import main
from commands.trace import read, table, trace
from foundation.logs import FILE_NAME

ROWS = """\
01.000 requests answered status=201 request=page-1 process=ingress-1
00.950 actors session opens stream=s1 session=a request=page-1 process=actor-2
00.940 actors stream begins stream=s1 request=page-1 process=actor-2
01.500 recordings recording begins recording=r1 stream=s1 request=page-1 process=actor-2
01.504 actors published change=c1 stream=s1 delay_ms=2 request=page-1 process=actor-2
01.505 presence received change=c1 stream=s1 delay_ms=3 process=ingress-1
01.505 presence forwarded change=c1 stream=s1 sockets=2 delay_ms=3 process=ingress-1
09.000 actors stream ends stream=s1 reason="the publisher left" request=stop-1 process=actor-2
09.001 actors published change=c2 stream=s1 session=a delay_ms=1 request=stop-1 process=actor-2
09.003 presence forwarded change=c2 sockets=2 delay_ms=3 process=ingress-1
10.000 recordings recording is stored recording=r1 state=stored process=actor-2
11.000 actors stream begins stream=s2 request=page-9 process=actor-3
"""
TIMES_AND_REST = [row.split(" ", 1) for row in ROWS.splitlines()]
LOG = "".join(f"2026-11-25T18:00:{time}Z INFO {rest}\n" for time, rest in TIMES_AND_REST)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """A log of a data folder."""
    (tmp_path / "logs").mkdir()
    log = tmp_path / "logs" / FILE_NAME
    log.write_text(f"{LOG}Traceback (most recent call last):\n")
    return log


def test_a_request_leads_to_its_changes_and_its_recording(log: Path) -> None:
    """In order of time, from every process; nothing of the stop or of another stream."""
    whats = [line.what for line in trace(list(read([log])), "page-1")]
    assert whats == [
        *("stream begins", "session opens", "answered", "recording begins"),
        *("published", "received", "forwarded", "recording is stored"),
    ]


def test_a_stop_is_its_own_hops_alone(log: Path) -> None:
    """Not the history of the session that it ended."""
    whats = [line.what for line in trace(list(read([log])), "stop-1")]
    assert whats == ["stream ends", "published", "forwarded"]


def test_a_change_is_its_hops_alone(log: Path) -> None:
    """From the actor to the sockets."""
    whats = [line.what for line in trace(list(read([log])), "c2")]
    assert whats == ["published", "forwarded"]


def test_a_stream_is_everything_of_it_once(log: Path) -> None:
    """Including the hops of its end, which name no stream, even if another log repeats them."""
    hops = trace(list(read([log, log])), stream="s1")
    assert len(hops) == 10 and hops[-1].what == "recording is stored"
    assert trace(list(read([log])), stream="s3") == []


def test_the_table(log: Path) -> None:
    """Delays are aligned; ids and states follow the words."""
    header, published, forwarded = table(trace(list(read([log])), "c2"))
    assert header.split() == ["time", "process", "ms", "what"]
    assert published.split()[:4] == ["2026-11-25T18:00:09.001Z", "actor-2", "1", "published"]
    assert forwarded.endswith("forwarded sockets=2 change=c2")
    assert header.index("ms") == published.index(" 1 ")


def test_the_command(log: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The data folder's log, or files; 1 for an unknown id, 2 without one."""
    folder = ["--data-dir", str(tmp_path)]
    assert main(["trace", *folder, "c2"]) == main(["trace", "c2", str(log)]) == 0
    first, second = capsys.readouterr().out.split("time", 2)[1:]
    assert first == second
    assert main(["trace", "--stream", "s1", str(log)]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 11
    assert main(["trace", *folder, "unknown"]) == 1
    assert main(["trace", *folder]) == 2
    assert main(["trace", "--data-dir", str(tmp_path / "nowhere"), "c2"]) == 2
    assert "nowhere" in capsys.readouterr().err
