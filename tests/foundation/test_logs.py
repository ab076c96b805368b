"""Log lines read back as they were written, whatever is in them; many processes share a file."""

import json
import logging
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foundation import logs
from foundation.logs import Form, LineFormatter, LogLine, SharedFile, fields, read_line, request_id

NAMES = st.sampled_from(["change", "stream", "reason", "delay_ms"])


def written(form: Form, what: str, **values: object) -> str:
    """Format a record."""
    record = logging.LogRecord("actors.announcer", logging.INFO, "", 0, what, (), None)
    record.__dict__.update(fields(**values))
    return LineFormatter(form, "actor-7").format(record)


def parsed(text: str) -> LogLine:
    """Read a line that is ours."""
    line = read_line(text)
    assert line is not None, text
    return line


@given(st.sampled_from(["text", "json"]), st.dictionaries(NAMES, st.text(min_size=1)))
def test_what_is_written_is_read_back(form: Form, values: dict[str, str]) -> None:
    """Fields of any text, one line each, even after a prefix that Ray adds."""
    text = written(form, "published", **values)
    assert "\n" not in text
    for line in (parsed(text), parsed(f"\x1b[36m(StreamHost pid=7)\x1b[0m {text}\n")):
        assert (line.level, line.logger, line.what) == ("INFO", "actors.announcer", "published")
        assert line.fields == {**values, "process": "actor-7"}
        assert line.at.microsecond % 1000 == 0 and line.at.tzinfo is not None


def test_a_line_as_people_see_it() -> None:
    """Time to the millisecond in UTC, level, logger, message, fields; no empty ones."""
    text = written(
        "text", "stream ends", stream="01", reason="it is over", session=None, request=""
    )
    assert text[:10].count("-") == 2 and text[23] == "Z"
    assert text[25:] == (
        'INFO actors.announcer stream ends stream=01 reason="it is over" process=actor-7'
    )
    assert json.loads(written("json", "stream ends", stream="01"))["what"] == "stream ends"


def test_the_request_stands_in_what_is_done_for_it() -> None:
    """It is added automatically; a line may name another one, or none."""
    token = request_id.set("from-a-page")
    try:
        assert parsed(written("text", "x")).fields["request"] == "from-a-page"
        assert parsed(written("json", "x", request="other")).fields["request"] == "other"
        assert "request" not in parsed(written("text", "x", request="")).fields
    finally:
        request_id.reset(token)


@pytest.mark.parametrize(
    "text", ["", "2026-11-25 INFO x y", '{"time": 7}', '{"time"', "x" * 20_000]
)
def test_what_is_none_of_ours_is_left_out(text: str) -> None:
    """Other programs' lines are in the same files."""
    assert read_line(text) is None


def test_processes_share_a_file_and_turn_it_over_once(tmp_path: Path) -> None:
    """Nothing is lost except lines beyond the length of two files."""
    code = (
        "import sys; from foundation import logs; import logging\n"
        "logs.FILE_BYTES = 12_000\n"
        "logs.configure('writer', logs.LogConfig('text', sys.argv[1]))\n"
        "for n in range(100): logging.getLogger('actors').info('line', extra=logs.fields(n=n))\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    writers = [subprocess.Popen(command, stderr=subprocess.DEVNULL) for _ in range(3)]
    assert [writer.wait(60) for writer in writers] == [0, 0, 0]
    older, newer = tmp_path / f"{logs.FILE_NAME}.1", tmp_path / logs.FILE_NAME
    lines = [parsed(text) for path in (older, newer) for text in path.read_text().splitlines()]
    assert len({(line.fields["process"], line.fields["n"]) for line in lines}) == 300


def test_a_file_that_was_moved_away_is_begun_anew(tmp_path: Path) -> None:
    """logrotate may rotate the file too."""
    handler = SharedFile(tmp_path / "log")
    record = logging.LogRecord("actors", logging.INFO, "", 0, "a line", (), None)
    handler.emit(record)
    (tmp_path / "log").rename(tmp_path / "old")
    handler.emit(record)
    handler.close()
    assert (tmp_path / "log").read_text() == (tmp_path / "old").read_text() == "a line\n"


def test_a_folder_that_is_gone_costs_lines_only(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whoever logs goes on; when the folder is back, so is the file."""
    folder = tmp_path / "logs"
    folder.mkdir()
    handler = SharedFile(folder / "log")
    record = logging.LogRecord("actors", logging.INFO, "", 0, "a line", (), None)
    shutil.rmtree(folder)
    handler.emit(record)
    assert "No such file" in capsys.readouterr().err
    folder.mkdir()
    handler.emit(record)
    handler.close()
    assert (folder / "log").read_text() == "a line\n"
