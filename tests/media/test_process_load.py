"""What a process takes of the processor."""

import time

import pytest

import actors.process_load
from actors.process_load import ProcessLoad


def test_work_is_load_and_waiting_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """The share of a core since it was last measured."""
    monkeypatch.setattr(actors.process_load, "RENEWED_S", 0.0)
    load = ProcessLoad()
    began = time.process_time()
    while time.process_time() - began < 0.05:
        pass
    worked = load.share
    time.sleep(0.2)
    waited = load.share
    assert 0 <= waited < worked
