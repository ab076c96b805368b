"""What can be set: by flags and by the environment, read once, checked, then frozen."""

import os
import ssl
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any, Self
from urllib.parse import urlsplit

from limits import parse
from pydantic import AfterValidator, BeforeValidator, Field, ValidationError, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from actors.models import DEFAULT_MODEL, ModelName

PREFIX = "HUSHCAST_"


class SettingsError(Exception):
    """A setting will not do; the message says which and what it should be."""


def _split(value: object) -> object:
    """Read a comma list; what is a list already stays one."""
    if not isinstance(value, str):
        return value
    return tuple(part.strip() for part in value.split(",") if part.strip())


def _low_high(value: object) -> object:
    """Read LOW-HIGH."""
    if not isinstance(value, str):
        return value
    low, dash, high = value.partition("-")
    if not (dash and low.strip().isdecimal() and high.strip().isdecimal()):
        raise ValueError("give a range of ports as LOW-HIGH, for example 40000-40999")
    return int(low), int(high)


def _ports_in_order(ports: tuple[int, int]) -> tuple[int, int]:
    low, high = ports
    if not 1024 <= low <= high <= 65535:
        raise ValueError("LOW-HIGH has to lie within 1024-65535, the lower number first")
    return ports


def _address(value: str) -> str:
    try:
        return str(ip_address(value))
    except ValueError as error:
        raise ValueError(f"{value!r} is not an IP address") from error


def _url_of(*schemes: str) -> AfterValidator:
    """Make a check that a URL has one of these schemes and a host."""

    def check(value: str) -> str:
        parts = urlsplit(value)
        if parts.scheme not in schemes or not parts.netloc:
            raise ValueError(
                "give a URL that begins with " + " or ".join(f"{s}://" for s in schemes)
            )
        return value.rstrip("/")

    return AfterValidator(check)


def _origin(value: str) -> str:
    parts = urlsplit(value)
    if parts.path or parts.query or parts.fragment:
        raise ValueError("give an origin, without a path: https://cast.example.org")
    return value


def _ice_url(value: str) -> str:
    if not value.startswith(("turn:", "turns:")):
        raise ValueError("give URLs that begin with turn: or turns:")
    return value


def _named_rates(value: object) -> object:
    """Read NAME=RATE, separated by spaces or commas."""
    if not isinstance(value, str):
        return value
    pairs = [part.partition("=") for part in value.replace(",", " ").split()]
    if not all(name and rate for name, _, rate in pairs):
        raise ValueError("give rates as NAME=RATE, for example accounts=600/minute")
    return {name: rate for name, _, rate in pairs}


def _rate(value: str) -> str:
    try:
        parse(value)
    except ValueError as error:
        raise ValueError(f"{value!r} is not a rate such as 60/minute") from error
    return value


def _folder(path: Path) -> Path:
    return path.expanduser().absolute()


def _readable(path: Path) -> Path:
    path = path.expanduser().absolute()
    try:
        path.open("rb").close()
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}") from error
    return path


def _release() -> str:
    try:
        return version("hushcast")
    except PackageNotFoundError:  # run from a checkout that was not installed
        return "0"


WebUrl = Annotated[str, _url_of("http", "https")]
Address = Annotated[str, AfterValidator(_address)]
CommaList = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split)]
Rate = Annotated[str, AfterValidator(_rate)]
Folder = Annotated[Path, AfterValidator(_folder)]
File = Annotated[Path, AfterValidator(_readable)]


class Settings(BaseSettings):
    """Everything that can be set. Plain data: it travels to Ray's processes.

    Each field is `HUSHCAST_` and its name in capitals; flags of `hushcast up` come before the
    environment. Raises SettingsError through `read_settings`.
    """

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, frozen=True, extra="forbid", hide_input_in_errors=True
    )

    # Where it serves.
    host: str = Field("127.0.0.1", min_length=1)
    port: int = Field(8000, ge=1, le=65535)
    public_url: Annotated[WebUrl, AfterValidator(_origin)] | None = None
    """The pages' origin behind a proxy."""
    tls_cert: File | None = None
    tls_key: File | None = None
    """A certificate chain and its key, PEM: pages come over HTTPS, without a proxy."""

    # Where things are kept.
    data_dir: Folder = Field(default_factory=lambda: Path("var").absolute())
    spool_dir: Folder = Field(default_factory=lambda fields: fields["data_dir"] / "spool")
    redis_url: Annotated[str, _url_of("redis", "rediss")] | None = Field(None, repr=False)
    """None: `hushcast up` brings its own."""
    s3_endpoint: WebUrl | None = None
    s3_bucket: str | None = Field(None, min_length=3, max_length=63)
    """With no endpoint: Amazon's. Neither: `hushcast up` brings its own."""
    s3_region: str = "us-east-1"
    s3_public_endpoint: WebUrl | None = None
    """What browsers reach; used for signing and in the content security policy."""
    s3_access_key: str | None = Field(None, repr=False)
    s3_secret_key: str | None = Field(None, repr=False)
    """None: found the way boto3 finds them."""
    keep_days: float | None = Field(None, gt=0)
    """Recordings that ended longer ago are deleted; None: never."""
    keep_gb_per_user: float | None = Field(None, gt=0)
    """Of each user's recordings the newest so many GB (10^9 bytes) are kept; None: all."""

    # How sound travels.
    ice_addresses: Annotated[tuple[Address, ...], NoDecode, BeforeValidator(_split)] = ()
    """Gather on these only; empty: on the machine's addresses."""
    public_ip: Address | None = None
    udp_ports: Annotated[
        tuple[int, int] | None,
        NoDecode,
        BeforeValidator(_low_high),
        AfterValidator(lambda ports: ports and _ports_in_order(ports)),
    ] = None
    turn_urls: Annotated[
        tuple[Annotated[str, AfterValidator(_ice_url)], ...], NoDecode, BeforeValidator(_split)
    ] = ()
    turn_secret: str | None = Field(None, repr=False)

    # Stream actors.
    model: ModelName = DEFAULT_MODEL
    warm_actors: int = Field(default_factory=lambda: 1 if (os.cpu_count() or 1) <= 2 else 2, ge=0)
    """How many are ready, model loaded, for the next streams."""
    streams_per_actor: int = Field(1, ge=1)
    actor_num_cpus: float = Field(0.2, gt=0)
    actor_num_gpus: float = Field(0.0, ge=0)
    connect_timeout_s: float = Field(15.0, gt=0)
    grace_s: float = Field(10.0, ge=0)
    publisher_timeout_s: float = Field(5.0, gt=0)

    # People.
    secret_key: str = Field("", repr=False)
    """Signs tokens; 32 characters or more. `hushcast up` makes one up and keeps it."""
    admins: CommaList = ()
    limits: Annotated[dict[str, Rate], NoDecode, BeforeValidator(_named_rates)] = Field({})
    """Rates that differ from the usual ones: `accounts=600/minute offers=100/minute`."""

    release: str = Field(default_factory=_release)
    """What this is; actors carry it."""

    @model_validator(mode="after")
    def _together(self) -> Self:
        if self.s3_endpoint and not self.s3_bucket:
            raise ValueError("HUSHCAST_S3_ENDPOINT needs HUSHCAST_S3_BUCKET beside it")
        if bool(self.s3_access_key) != bool(self.s3_secret_key):
            raise ValueError("HUSHCAST_S3_ACCESS_KEY and HUSHCAST_S3_SECRET_KEY go together")
        if bool(self.tls_cert) != bool(self.tls_key):
            raise ValueError("HUSHCAST_TLS_CERT and HUSHCAST_TLS_KEY go together")
        if self.tls_cert and self.tls_key:
            try:
                ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(self.tls_cert, self.tls_key)
            except ssl.SSLError as error:
                raise ValueError(
                    "HUSHCAST_TLS_CERT and HUSHCAST_TLS_KEY have to be a certificate and its key, "
                    f"in PEM: {error.reason}"
                ) from error
        if bool(self.turn_urls) != bool(self.turn_secret):
            raise ValueError("HUSHCAST_TURN_URLS and HUSHCAST_TURN_SECRET go together")
        if self.secret_key and len(self.secret_key) < 32:
            raise ValueError("HUSHCAST_SECRET_KEY needs 32 characters or more")
        return self

    @property
    def https(self) -> bool:
        """Whether people see the pages over HTTPS."""
        return bool(self.tls_cert) or (self.public_url or "").startswith("https:")

    @property
    def brings_redis(self) -> bool:
        """Whether `hushcast up` starts a Valkey."""
        return self.redis_url is None

    @property
    def brings_s3(self) -> bool:
        """Whether `hushcast up` starts a SeaweedFS."""
        return self.s3_bucket is None

    def to_json(self) -> str:
        """Write everything, secrets too, on one line: for a pipe, never for a log."""
        return self.model_dump_json()

    @classmethod
    def from_json(cls, line: str) -> Self:
        """Read what `to_json` wrote; the environment has no say."""
        return cls.model_validate_json(line)

    def changed(self, **fields: object) -> Self:
        """Get a copy in which these fields are different, checked like any other."""
        return type(self)(**(self.model_dump() | fields))


def read_settings(flags: Mapping[str, object] | None = None) -> Settings:
    """Read flags that were given (not None), then the environment, then defaults.

    Raises SettingsError: one sentence for every setting that will not do.
    """
    given: dict[str, Any] = {name: v for name, v in (flags or {}).items() if v is not None}
    try:
        return Settings(**given)
    except ValidationError as error:
        sentences = [
            _sentence(each["loc"], each["msg"], given)
            for each in error.errors(include_url=False, include_input=False)
            # Fields that follow from a wrong one are not wrong themselves.
            if each["type"] != "default_factory_not_called"
        ]
        raise SettingsError("\n".join(sentences)) from error


def _sentence(place: tuple[int | str, ...], message: str, given: Mapping[str, object]) -> str:
    message = message.removeprefix("Value error, ").replace("Input should be", "this should be")
    if not place:
        return f"{message}."
    field = str(place[0])
    name = f"--{field.replace('_', '-')}" if field in given else f"{PREFIX}{field.upper()}"
    return f"{name}: {message}."
