"""An S3 over HTTPS, on loopback and in memory, that misbehaves as real stores do."""

import base64
import hashlib
import ipaddress
import re
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit
from xml.etree import ElementTree

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from recordings.store import StoreConfig

BUCKET = "test-bucket"
HOST = "s3.localhost"
"""The store's name where buckets are hosts; its certificate is for 127.0.0.1 too."""


@dataclass
class Request:
    """One request, as it came."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes

    @property
    def checksums(self) -> list[str]:
        """Name what a store has to know that was made before 2024."""
        names = r"x-amz-(checksum-.*|trailer|sdk-checksum-algorithm|decoded-content-length)"
        found = [name for name in self.headers if re.fullmatch(names, name)]
        streams = self.headers.get("x-amz-content-sha256", "").startswith("STREAMING")
        chunked = "aws-chunked" in self.headers.get("content-encoding", "")
        return found + ["streaming"] * streams + ["aws-chunked"] * chunked


@dataclass
class S3Stub:
    """The store: how it behaves, what it holds, what it was asked."""

    port: int
    certificate: Path
    knows_checksums: bool = True
    """Otherwise it answers 501 to them."""
    keeps_framing: bool = False
    """Stores `aws-chunked` bodies as they come."""
    hangs_on: frozenset[str] = frozenset()
    """Methods that get no answer."""
    refuses: frozenset[str] = frozenset()
    """Methods that get 403."""
    trickles: str = ""
    """What it answers to every request, and then a byte now and then."""
    redirects_to: str = ""
    """Where it sends every request, as a portal that wants a login does."""
    always: dict[str, str] = field(default_factory=dict)
    """What it answers to every request, by content type, as a web server does."""
    forgets_its_bucket: bool = False
    """Has the bucket, and refuses puts with NoSuchBucket."""
    buckets_are_hosts: bool = False
    region: str = ""
    """The only region that requests may be signed for; empty for any."""
    names_region: bool = True
    """Whether a refusal says which one it is."""
    copies_parts: bool = True
    wants_equal_parts: bool = False
    objects: dict[str, bytes] = field(default_factory=dict)
    uploads: dict[str, dict[int, bytes]] = field(default_factory=dict)
    requests: list[Request] = field(default_factory=list)
    freed: threading.Event = field(default_factory=threading.Event)

    @property
    def config(self) -> StoreConfig:
        """How to reach it."""
        return StoreConfig(
            BUCKET,
            f"https://127.0.0.1:{self.port}",
            access_key="key",
            secret_key="secret",
            authority=self.certificate,
        )

    def count(self, method: str) -> int:
        """Count the requests with a method."""
        return sum(request.method == method for request in self.requests)


@contextmanager
def s3_stub(folder: Path) -> Iterator[S3Stub]:
    """Run a store that behaves well; a test then changes how."""
    certificate, key = folder / "stub.pem", folder / "stub.key"
    make_certificate(certificate, key)
    server = _Server(("127.0.0.1", 0), _Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server.context = context
    server.stub = stub = S3Stub(server.server_address[1], certificate)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), name="S3 stub")
    thread.start()
    try:
        yield stub
    finally:
        stub.freed.set()
        server.shutdown()
        server.server_close()
        thread.join()


class _Server(ThreadingHTTPServer):
    stub: S3Stub
    context: ssl.SSLContext
    daemon_threads = True

    def get_request(self) -> tuple[socket.socket, Any]:
        """Accept a client; `wrap_socket` would leave the socket of one that has gone open."""
        plain, address = self.socket.accept()
        try:
            plain.getpeername()
        except OSError:
            plain.close()
            raise
        wrapped = self.context.wrap_socket(plain, server_side=True, do_handshake_on_connect=False)
        return wrapped, address

    def handle_error(self, request: object, client_address: object) -> None:
        """Stay quiet: clients that distrust the certificate, or time out, go away."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"
    timeout = 20

    def log_message(self, *args: object) -> None:
        """Stay quiet."""

    def do_any(self) -> None:
        """Answer one request."""
        stub, request = self.server.stub, self._read()
        stub.requests.append(request)
        if self.command in stub.hangs_on:
            stub.freed.wait()
            self.close_connection = True
            return
        if stub.trickles:
            self.wfile.write(stub.trickles.encode())
            while not stub.freed.wait(0.05):
                self.wfile.write(b" ")
        if stub.redirects_to:
            self._answer(302, b"<p>Log in", Location=stub.redirects_to)
            return
        for content_type, body in stub.always.items():
            self._answer(200, body.encode(), **{"Content-Type": content_type})
            return
        refusal = _refusal(stub, request)
        if refusal is not None:
            self._refuse(*refusal)
            return
        key = request.path.lstrip("/")
        if not stub.buckets_are_hosts:
            _, _, key = key.partition("/")
        if "uploadId" in request.query or "uploads" in request.query:
            self._part(stub, request, key)
        else:
            self._object(stub, request, key)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = do_any

    def _read(self) -> Request:
        url = urlsplit(self.path)
        query = {name: value[0] for name, value in parse_qs(url.query, True).items()}
        headers = {name.lower(): value for name, value in self.headers.items()}
        if headers.get("transfer-encoding") == "chunked":
            body = b""
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        else:
            body = self.rfile.read(int(headers.get("content-length", 0)))
        return Request(self.command, url.path, query, headers, body)

    def _object(self, stub: S3Stub, request: Request, key: str) -> None:
        if not key:
            self._answer(200, b"<ListBucketResult></ListBucketResult>")
        elif request.method == "PUT":
            stub.objects[key] = _payload(stub, request)
            self._answer(200, ETag='"1"')
        elif request.method == "DELETE":
            stub.objects.pop(key, None)
            self._answer(204)
        elif key not in stub.objects:
            self._refuse(404, "NoSuchKey")
        else:
            self._give(stub.objects[key], request.headers.get("range"))

    def _give(self, body: bytes, byte_range: str | None) -> None:
        found = re.fullmatch(r"bytes=(\d+)-(\d*)", byte_range or "")
        if found is None:
            self._answer(200, body, ETag='"1"')
            return
        start, end = int(found[1]), min(int(found[2] or len(body)), len(body) - 1)
        told = {"Content-Range": f"bytes {start}-{end}/{len(body)}", "ETag": '"1"'}
        self._answer(206, body[start : end + 1], **told)

    def _part(self, stub: S3Stub, request: Request, key: str) -> None:
        upload_id, number = request.query.get("uploadId", ""), request.query.get("partNumber", "1")
        if "uploads" in request.query:
            upload_id = f"upload-{len(stub.uploads)}"
            stub.uploads[upload_id] = {}
            self._answer(200, _xml("InitiateMultipartUploadResult", UploadId=upload_id))
        elif request.method == "DELETE":
            stub.uploads.pop(upload_id, None)
            self._answer(204)
        elif request.method == "POST":
            self._complete(stub, request, key)
        elif "x-amz-copy-source" in request.headers:
            start, end = request.headers["x-amz-copy-source-range"].partition("=")[2].split("-")
            source = stub.objects[request.headers["x-amz-copy-source"].partition("/")[2]]
            stub.uploads[upload_id][int(number)] = source[int(start) : int(end) + 1]
            self._answer(200, _xml("CopyPartResult", ETag='"1"'))
        else:
            stub.uploads[upload_id][int(number)] = _payload(stub, request)
            self._answer(200, ETag='"1"')

    def _complete(self, stub: S3Stub, request: Request, key: str) -> None:
        parts = [data for _, data in sorted(stub.uploads.pop(request.query["uploadId"]).items())]
        if stub.wants_equal_parts and len({len(data) for data in parts[:-1]}) > 1:
            self._refuse(400, "InvalidPart")
            return
        stub.objects[key] = b"".join(parts)
        self._answer(200, _xml("CompleteMultipartUploadResult", ETag='"1"'))

    def _refuse(self, status: int, code: str) -> None:
        region = self.server.stub.region if self.server.stub.names_region else ""
        self._answer(status, _xml("Error", Code=code, Message="as the test wants", Region=region))

    def _answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response_only(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Date", formatdate(usegmt=True))
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


def _refusal(stub: S3Stub, request: Request) -> tuple[int, str] | None:
    """Say with which status and code it refuses a request, if it does."""
    scope = re.search(r"Credential=[^/]+/\d+/([^/]+)/", request.headers.get("authorization", ""))
    if stub.region and scope and scope[1] != stub.region:
        return 400, "AuthorizationHeaderMalformed"
    if stub.buckets_are_hosts and not request.headers["host"].startswith(f"{BUCKET}."):
        return 403, "SecondLevelDomainForbidden"
    if not stub.knows_checksums and request.checksums:
        return 501, "NotImplemented"
    digest = base64.b64encode(hashlib.md5(_payload(stub, request)).digest()).decode()
    if request.headers.get("content-md5", digest) != digest and not stub.keeps_framing:
        return 400, "BadDigest"
    if not stub.copies_parts and "x-amz-copy-source" in request.headers:
        return 501, "NotImplemented"
    if stub.forgets_its_bucket and request.method in ("PUT", "POST"):
        return 404, "NoSuchBucket"
    return (403, "AccessDenied") if request.method in stub.refuses else None


def _payload(stub: S3Stub, request: Request) -> bytes:
    """Get what is to be stored, without the framing of `aws-chunked` if the store knows it."""
    if stub.keeps_framing or "aws-chunked" not in request.headers.get("content-encoding", ""):
        return request.body
    payload, rest = b"", request.body
    while True:
        size, _, rest = rest.partition(b"\r\n")
        if not int(size, 16):
            return payload
        payload, rest = payload + rest[: int(size, 16)], rest[int(size, 16) + 2 :]


def _xml(name: str, **children: str) -> bytes:
    root = ElementTree.Element(name)
    for child, text in children.items():
        ElementTree.SubElement(root, child).text = text
    return ElementTree.tostring(root)


def make_certificate(certificate: Path, key: Path) -> None:
    """Write a certificate that is its own authority, and its key."""
    secret = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "S3 stub")])
    now = datetime.now(UTC)
    places = [
        x509.DNSName(HOST),
        x509.DNSName(f"*.{HOST}"),
        x509.IPAddress(ipaddress.ip_address("127.0.0.1")),
    ]
    made = (
        x509.CertificateBuilder(name, name, secret.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.SubjectAlternativeName(places), critical=False)
        .sign(secret, hashes.SHA256())
    )
    certificate.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    key.write_bytes(
        secret.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
