"""A limit on how long an S3 may take to answer, however slowly the bytes of its answer come.

botocore's read timeout begins anew with every byte. Here a thread shuts the socket down in the end.
"""

import socket
import threading
import time
from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from botocore.awsrequest import (
    AWSHTTPConnection,
    AWSHTTPConnectionPool,
    AWSHTTPSConnection,
    AWSHTTPSConnectionPool,
)
from botocore.exceptions import ReadTimeoutError

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

LONG_S = 600.0
"""Amazon's S3 sends spaces for minutes while it assembles an object."""
_LONG = ("CompleteMultipartUpload", "UploadPartCopy")
_here = threading.local()


def watch(client: "S3Client", limit_s: float) -> None:
    """Limit each wait of a client: from the last byte sent to the end of the answer.

    Of an object, only the headers have to come in this time.
    """
    session = client._endpoint.http_session  # type: ignore[attr-defined]
    session._pool_classes_by_scheme.update(http=_Pool, https=_TLSPool)

    def send(request: Any, event_name: str, **others: Any) -> Any:
        with _Watch(request.url, LONG_S if event_name.endswith(_LONG) else limit_s):
            return session.send(request)

    client.meta.events.register("before-send.s3", send)


class _Watch:
    """Shuts this thread's socket down when the limit is over, and then raises ReadTimeoutError."""

    def __init__(self, url: str, limit_s: float) -> None:
        self._url = url
        self._limit_s = limit_s
        self._since = time.monotonic()
        self._socket: Any = None
        self._over = False
        self._done = threading.Event()

    def sent(self, to: Any) -> None:
        """Begin the wait anew."""
        self._socket, self._since = to, time.monotonic()

    def __enter__(self) -> Self:
        _here.watch = self
        threading.Thread(target=self._run, name="S3 watch", daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._done.set()
        if self._over:
            raise ReadTimeoutError(endpoint_url=self._url, error=error)

    def _run(self) -> None:
        while not self._done.wait(max(0.05, self._left_s())):
            if self._socket is not None and self._left_s() <= 0:  # it has connected
                self._over = True
                with suppress(OSError):  # not that of ssl, which is not for two threads
                    socket.socket.shutdown(self._socket, socket.SHUT_RDWR)
                return

    def _left_s(self) -> float:
        return self._since + self._limit_s - time.monotonic()


class _Connection(AWSHTTPConnection):
    def send(self, data: Any) -> None:
        super().send(data)
        _here.watch.sent(self.sock)


class _TLSConnection(AWSHTTPSConnection):
    def send(self, data: Any) -> None:
        super().send(data)
        _here.watch.sent(self.sock)


class _Pool(AWSHTTPConnectionPool):
    ConnectionCls = _Connection


class _TLSPool(AWSHTTPSConnectionPool):
    ConnectionCls = _TLSConnection
