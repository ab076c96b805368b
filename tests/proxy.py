"""An HTTP proxy that notes what it is asked for."""

import socket
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass
class RecordingProxy:
    """A running proxy: `asked` grows with the first line of every connection."""

    url: str
    asked: list[str] = field(default_factory=list)

    @property
    def environment(self) -> dict[str, str]:
        """The environment of a machine whose administrator wants everything to go through it."""
        names = ("http_proxy", "https_proxy", "all_proxy")
        return {each: self.url for name in names for each in (name, name.upper())}


@contextmanager
def recording_proxy(upstream: int | None = None) -> Iterator[RecordingProxy]:
    """Run a proxy that passes requests to a port on loopback, whatever their host; else 502."""

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with self.request as client:
                head = client.recv(64 * 1024)
                proxy.asked.append(head.partition(b"\r\n")[0].decode(errors="replace"))
                if upstream is None:
                    client.sendall(b"HTTP/1.1 502 Refused\r\nContent-Length: 0\r\n\r\n")
                    return
                with socket.create_connection(("127.0.0.1", upstream)) as server:
                    server.sendall(head)
                    threading.Thread(target=_pass_on, args=(server, client), daemon=True).start()
                    _pass_on(client, server)

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True
        block_on_close = False

    with Server(("127.0.0.1", 0), Handler) as server:
        proxy = RecordingProxy(f"http://127.0.0.1:{server.server_address[1]}")
        serving = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        serving.start()
        try:
            yield proxy
        finally:
            server.shutdown()
            serving.join()


def _pass_on(source: socket.socket, target: socket.socket) -> None:
    try:
        while data := source.recv(64 * 1024):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        return  # one of the two has gone
