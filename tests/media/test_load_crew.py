"""How the peers of a load test start, against a server that is full."""

import asyncio
import multiprocessing
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from commands.load import crew
from commands.load.wire import Faults

asked: Counter[str] = Counter()


class Full(BaseHTTPRequestHandler):
    """Has no room, and says when to come back."""

    def do_POST(self) -> None:
        """Refuse an offer."""
        self.rfile.read(int(self.headers["content-length"]))
        asked[self.headers["authorization"]] += 1
        body = b'{"detail": "There is no room."}'
        self.send_response(503)
        self.send_header("retry-after", "1")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


async def test_publishers_wait_for_a_full_server_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """While the first that have no place wait in vain, others stream; the rest is told at once."""
    monkeypatch.setattr(crew, "PATIENCE_S", 2.5)
    monkeypatch.setattr(crew, "LEFT_PATIENCE_S", 0.5)
    monkeypatch.setattr(crew, "_give_way", lambda: None)  # this process has more to do
    with ThreadingHTTPServer(("127.0.0.1", 0), Full) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        wishes = tuple(crew.Publishing(name) for name in "abc")
        url = f"http://127.0.0.1:{server.server_port}"
        ours, theirs = multiprocessing.Pipe()
        job = crew.Job(url, Faults(), wishes, (), np.zeros(0, np.float32))
        working = asyncio.create_task(crew._Crew(job, theirs).run())
        told = [await asyncio.to_thread(ours.recv) for _ in wishes]
        ours.send("stop")
        ours.send("and report")
        await working
        server.shutdown()
        ours.close()
        theirs.close()
    assert all("There is no room." in each.failure for each in told)
    assert asked == {"Bearer a": 3, "Bearer b": 1, "Bearer c": 1}
