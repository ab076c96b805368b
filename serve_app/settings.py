"""Settings from flags and the environment: read once, checked, then frozen."""

import os
import re
import ssl
from collections.abc import Mapping
from difflib import get_close_matches
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from limits import parse_many
from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    ValidationError,
    WithJsonSchema,
    model_validator,
)
from pydantic.config import JsonDict
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from actors.admission import MAX_LISTENERS
from actors.models import DEFAULT_MODEL, ModelName
from foundation.logs import Form, LogConfig
from foundation.release import this_release
from recordings.quota import Quota
from serve_app.addresses import origin_of

if TYPE_CHECKING:
    from recordings.store import StoreConfig

PREFIX = "HUSHCAST_"
USERNAME = r"[a-z0-9_-]{3,32}"
SignUp = Literal["open", "invite", "closed"]


class SettingsError(Exception):
    """A setting is invalid; the message says which, and what it should be."""


def _split(value: object) -> object:
    """Read a comma-separated list; a list stays as it is."""
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
        raise ValueError("LOW-HIGH must lie within 1024-65535, the lower number first")
    return ports


def _address(value: str) -> str:
    try:
        return str(ip_address(value))
    except ValueError as error:
        raise ValueError(f"{value!r} is not an IP address") from error


def _public_ip(value: str) -> str:
    """Check an address, or NODE=ADDRESS for several nodes, with commas between them."""
    if "=" not in value:
        return _address(value)
    pairs = [part.partition("=") for part in value.split(",") if part.strip()]
    return ",".join(f"{_address(node.strip())}={_address(ip.strip())}" for node, _, ip in pairs)


def _network(value: str) -> str:
    try:
        return str(ip_network(value, strict=False))
    except ValueError as error:
        raise ValueError(f"{value!r} is neither an IP address nor a network") from error


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


def _redis_url(value: str) -> str:
    from foundation.redis import check_url  # late: most commands need no Redis client

    return check_url(value)


def _origin(value: str) -> str:
    parts = urlsplit(value)
    if parts.path or parts.query or parts.fragment or "@" in parts.netloc:
        raise ValueError("give an origin, without a path: https://cast.example.org")
    origin = origin_of(value)
    if origin is None:
        raise ValueError("give an origin as browsers send it: https://xn--bcher-kva.example:8443")
    return origin


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
    """Check a rate, several with semicolons between them, or a plain number."""
    try:
        if not value.isdecimal():
            parse_many(value)
    except ValueError as error:
        raise ValueError(f"{value!r} is not a rate such as 60/minute") from error
    return value


def _limits(different: dict[str, str]) -> dict[str, str]:
    from serve_app.rates import chosen  # late: most commands limit nobody

    chosen(different)
    return different


def _usernames(names: tuple[str, ...]) -> tuple[str, ...]:
    for name in names:
        if not re.fullmatch(USERNAME, name):
            raise ValueError(f"{name!r} is not a username: 3 to 32 of a-z, 0-9, _ and -")
    return names


def reached_from_here_alone(host: str | None) -> bool:
    """Tell whether only this machine reaches a host: an address or a name."""
    try:
        return ip_address(host or "").is_loopback
    except ValueError:
        return host == "localhost"


def _sign_up(fields: dict[str, Any]) -> SignUp:
    """Whoever can reach the instance can sign up only while that is this machine."""
    url = fields.get("public_url")
    hosts = (fields.get("host"), urlsplit(url).hostname if url else "localhost")
    return "open" if all(map(reached_from_here_alone, hosts)) else "invite"


def _hard_to_guess(value: str) -> str:
    """Refuse a secret that is short, or plainly not random; an empty one is not set."""
    if not value:
        return value
    if len(value) < 32:
        raise ValueError("this needs 32 characters or more; `openssl rand -hex 32` makes them")
    if len(set(value)) < 8 or value in (value + value)[1:-1]:
        raise ValueError("this is easy to guess; `openssl rand -hex 32` makes a good one")
    return value


def _folder(path: Path) -> Path:
    try:
        os.fsencode(path).decode()  # it is sent to other processes as JSON
        return path.expanduser().absolute()
    except UnicodeDecodeError as error:
        raise ValueError("the folder's name must be UTF-8") from error
    except RuntimeError as error:
        raise ValueError(f"{path} is in nobody's home folder") from error


def _readable(path: Path) -> Path:
    path = path.expanduser().absolute()
    try:
        path.open("rb").close()
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}") from error
    return path


def _form(text: str) -> WithJsonSchema:
    """Say how a value is written, for docs/settings.md."""
    return WithJsonSchema({"type": "string", "format": text})


def _shown(default: str) -> JsonDict:
    """Describe a default that Python computes, for docs/settings.md."""
    return {"default": default}


RedisUrl = Annotated[str, AfterValidator(_redis_url), _form("redis://, rediss:// or unix:// URL")]
WebUrl = Annotated[str, _url_of("http", "https"), _form("http:// or https:// URL")]
Address = Annotated[str, AfterValidator(_address), _form("an IP address")]
CommaList = Annotated[
    tuple[str, ...], NoDecode, BeforeValidator(_split), _form("comma-separated list")
]
Rate = Annotated[str, AfterValidator(_rate)]
Secret = Annotated[str, AfterValidator(_hard_to_guess)]
Folder = Annotated[Path, AfterValidator(_folder), _form("a folder")]
File = Annotated[Path, AfterValidator(_readable), _form("a file")]


class Settings(BaseSettings):
    """Everything that can be set. Plain data: it travels to Ray's processes.

    Each field is read from `HUSHCAST_` plus its name in capitals; flags of `hushcast up` override
    the environment. Raises SettingsError through `read_settings`. `make docs` writes
    docs/settings.md from the fields, their docstrings and the comments between them.
    """

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        frozen=True,
        extra="forbid",
        hide_input_in_errors=True,
        use_attribute_docstrings=True,
        allow_inf_nan=False,
    )

    # Serving.
    host: str = Field("127.0.0.1", min_length=1)
    """Address to listen on; `0.0.0.0` for all of the machine's addresses."""
    port: int = Field(8000, ge=1, le=65535)
    """TCP port to listen on."""
    public_url: Annotated[WebUrl, AfterValidator(_origin), _form("an origin")] | None = None
    """The site's address, where people reach it through a proxy."""
    trusted_proxies: Annotated[
        tuple[Annotated[str, AfterValidator(_network)], ...],
        NoDecode,
        BeforeValidator(_split),
        _form("comma-separated IP addresses and networks"),
    ] = Field(("127.0.0.0/8", "::1/128"), json_schema_extra=_shown("loopback"))
    """Proxies whose `X-Forwarded-For` says who asks; nobody else's counts."""
    tls_cert: File | None = None
    """Certificate chain, PEM; with `tls_key`, hushcast serves HTTPS without a proxy."""
    tls_key: File | None = None
    """Private key of `tls_cert`, PEM."""

    # Storage.
    data_dir: Folder = Field(
        default_factory=lambda: Path("var").absolute(), json_schema_extra=_shown("`var`")
    )
    """Folder for everything that hushcast keeps on this machine."""
    spool_dir: Folder = Field(
        default_factory=lambda fields: fields["data_dir"] / "spool",
        json_schema_extra=_shown("`spool` in `data_dir`"),
    )
    """Folder for recordings in progress; it should survive a restart."""
    redis_url: RedisUrl | None = Field(None, repr=False)
    """Your Redis or Valkey, 7 or later; without it `hushcast up` starts a Valkey."""
    s3_endpoint: WebUrl | None = None
    """Your object storage; with a bucket but no endpoint, `AWS_ENDPOINT_URL` or else Amazon S3."""
    s3_bucket: str | None = Field(None, min_length=3, max_length=63)
    """Bucket for recordings; without it `hushcast up` starts a SeaweedFS."""
    s3_region: str | None = Field(
        None, min_length=1, json_schema_extra=_shown("`AWS_REGION`, else `us-east-1`")
    )
    """Region of the bucket."""
    s3_addressing: Literal["path", "virtual"] | None = Field(
        None, json_schema_extra=_shown("as in AWS's config file, else `path`")
    )
    """`path` for `https://HOST/BUCKET/KEY`, `virtual` for `https://BUCKET.HOST/KEY`."""
    s3_ca: File | None = Field(
        None, json_schema_extra=_shown("`AWS_CA_BUNDLE`, else the usual ones")
    )
    """Certificate authorities to trust for the storage, PEM."""
    s3_public_endpoint: WebUrl | None = None
    """The storage's address for browsers (signed URLs, CSP); without it hushcast relays."""
    s3_access_key: str | None = Field(None, repr=False)
    """Access key; without it boto3 finds credentials as AWS's tools do: variables, files, roles."""
    s3_secret_key: str | None = Field(None, repr=False)
    """Secret key for `s3_access_key`."""
    tail_s: float = Field(0, ge=0, json_schema_extra=_shown("8 in a cluster, else 0"))
    """How many seconds of a recording a lost node may cost; 0 for up to a minute of it."""
    keep_days: float | None = Field(None, gt=0)
    """Recordings that ended this many days ago are deleted within the hour; without it none are."""
    max_gb_per_user: float = Field(10, ge=0)
    """GB (10^9 bytes) of recordings per user, then no more are made; 0 for no limit."""
    keep_gb_per_user: float | None = Field(None, gt=0)
    """GB (10^9 bytes) of recordings to keep per user, newest first; without it all are kept."""

    # Network.
    ice_addresses: Annotated[
        tuple[Address, ...],
        NoDecode,
        BeforeValidator(_split),
        _form("comma-separated IP addresses"),
    ] = Field((), json_schema_extra=_shown("the machine's own"))
    """Use only these addresses for media; `127.0.0.1` is allowed."""
    public_ip: (
        Annotated[
            str, AfterValidator(_public_ip), _form("an IP address, or `NODE_IP=PUBLIC_IP,...`")
        ]
        | None
    ) = None
    """Public address of a 1:1 NAT, offered alongside the machine's own; of several nodes a map."""
    udp_ports: Annotated[
        tuple[int, int] | None,
        NoDecode,
        BeforeValidator(_low_high),
        AfterValidator(lambda ports: ports and _ports_in_order(ports)),
        _form("LOW-HIGH"),
    ] = Field(None, json_schema_extra=_shown("any free port"))
    """UDP ports for media; each session takes one, and gets 503 when none is free."""
    turn_urls: Annotated[
        tuple[Annotated[str, AfterValidator(_ice_url)], ...],
        NoDecode,
        BeforeValidator(_split),
        _form("comma-separated turn: or turns: URLs"),
    ] = ()
    """TURN servers to announce to clients."""
    turn_secret: Secret | None = Field(None, repr=False)
    """The TURN servers' shared secret, 32 characters or more; what clients get lasts two hours."""

    heartbeat_s: float = Field(5, gt=0, le=20, json_schema_extra=_shown("2 in a cluster, else 5"))
    """Pages hear something this often; one that heard nothing for twice as long connects anew."""

    # Stream actors.
    model: ModelName = DEFAULT_MODEL
    """The network: `dfn2` is 50 ms late, `dfn3` 30, `dfn2_ll` and `dfn3_ll` (much CPU) 10."""
    models: Annotated[
        tuple[ModelName, ...], NoDecode, BeforeValidator(_split), _form("comma-separated names")
    ] = Field((), json_schema_extra=_shown("the one above"))
    """What else a stream may choose; each is loaded and compiled at every stream actor's start."""
    warm_actors: int = Field(
        default_factory=lambda: 1 if (os.cpu_count() or 1) <= 2 else 2,
        ge=0,
        json_schema_extra=_shown("1 on up to 2 cores, else 2"),
    )
    """How many actors without streams, and places in all, wait for the next streams."""
    streams_per_actor: int = Field(12, ge=1)
    """How many streams may share a process and its model; 12 take half a core."""
    listeners_per_actor: int = Field(MAX_LISTENERS, ge=1)
    """How many may listen to the streams of one process; further ones are refused."""
    actor_num_cpus: float = Field(0.8, gt=0)
    """CPUs that Ray reserves for each actor."""
    actor_num_gpus: float = Field(0.0, ge=0)
    """Share of a GPU for each actor; above 0 the model runs on CUDA (`hushcast[gpu]`)."""
    connect_timeout_s: float = Field(15.0, gt=0)
    """Seconds a peer connection may take to connect."""
    grace_s: float = Field(10.0, ge=0)
    """Seconds a stream waits for its publisher to come back."""
    publisher_timeout_s: float = Field(5.0, gt=0)
    """Seconds without sound after which a publisher counts as lost."""
    max_stream_hours: float = Field(12.0, gt=0)
    """Hours a stream may last; its pages are told 10 minutes before it ends and is stored."""

    # People.
    secret_key: Secret = Field("", repr=False, json_schema_extra=_shown("made at the first start"))
    """Signs sign-in tokens; 32 characters or more, the same on every node of a cluster."""
    sign_up: SignUp = Field(
        default_factory=_sign_up,
        json_schema_extra=_shown("`open` if only this machine reaches the pages, else `invite`"),
    )
    """Who may create an account: anybody, who has an invitation, or nobody."""
    admins: Annotated[CommaList, AfterValidator(_usernames)] = ()
    """Administrators; nobody can sign up as one, `hushcast accounts create` makes the accounts."""
    limits: Annotated[
        dict[str, Rate],
        NoDecode,
        BeforeValidator(_named_rates),
        AfterValidator(_limits),
        _form("NAME=RATE, several"),
    ] = Field({}, json_schema_extra=_shown(""))
    """Limits to override, by name (see [api.md](api.md#limits)): `offers=100/minute streams=64`."""

    # Logs.
    log_format: Form = "text"
    """Format of log lines; `json` is for log collectors."""
    log_dir: Folder | None = Field(
        None, json_schema_extra=_shown("`logs` in `data_dir`; none in a cluster")
    )
    """Folder of `hushcast.log`, written in addition to stderr and shared by a node's processes."""

    # Build.
    release: str = Field(
        default_factory=this_release, json_schema_extra=_shown("version and hash of the code")
    )
    """Build of new actors; actors of another one exit when idle."""

    @model_validator(mode="after")
    def _together(self) -> Self:
        if self.s3_endpoint and not self.s3_bucket:
            raise ValueError("HUSHCAST_S3_ENDPOINT needs HUSHCAST_S3_BUCKET too")
        if bool(self.s3_access_key) != bool(self.s3_secret_key):
            raise ValueError(
                "Set both HUSHCAST_S3_ACCESS_KEY and HUSHCAST_S3_SECRET_KEY, or neither"
            )
        if bool(self.tls_cert) != bool(self.tls_key):
            raise ValueError("Set both HUSHCAST_TLS_CERT and HUSHCAST_TLS_KEY, or neither")
        if self.tls_cert and self.tls_key:
            try:
                ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(self.tls_cert, self.tls_key)
            except ssl.SSLError as error:
                raise ValueError(
                    "HUSHCAST_TLS_CERT and HUSHCAST_TLS_KEY must be a certificate and its key, "
                    f"in PEM: {error.reason}"
                ) from error
        if bool(self.turn_urls) != bool(self.turn_secret):
            raise ValueError("Set both HUSHCAST_TURN_URLS and HUSHCAST_TURN_SECRET, or neither")
        return self

    @property
    def public_ips(self) -> dict[str, str]:
        """Public addresses of nodes by their own ones; that of `EVERY_NODE` is for all."""
        pairs = (part.rpartition("=") for part in (self.public_ip or "").split(",") if part)
        return {node: address for node, _, address in pairs}

    @property
    def https(self) -> bool:
        """Whether browsers load the pages over HTTPS."""
        return bool(self.tls_cert) or (self.public_url or "").startswith("https:")

    @property
    def logs(self) -> LogConfig:
        """How processes log."""
        return LogConfig(self.log_format, str(self.log_dir) if self.log_dir else None)

    @property
    def store_config(self) -> "StoreConfig":
        """How recordings are stored."""
        from recordings.store import StoreConfig  # late: it loads boto3

        assert self.s3_bucket is not None, (
            "a bucket is either configured or started by `hushcast up`"
        )
        return StoreConfig(
            bucket=self.s3_bucket,
            endpoint=self.s3_endpoint,
            region=self.s3_region,
            public_endpoint=self.s3_public_endpoint,
            access_key=self.s3_access_key,
            secret_key=self.s3_secret_key,
            addressing=self.s3_addressing,
            authority=self.s3_ca,
        )

    @property
    def quota(self) -> Quota:
        """How much each user may keep."""
        gigabytes = self.max_gb_per_user
        return Quota(round(gigabytes * 1e9) if gigabytes else None)

    @property
    def brings_redis(self) -> bool:
        """Whether `hushcast up` starts a Valkey."""
        return self.redis_url is None

    @property
    def all_models(self) -> tuple[ModelName, ...]:
        """The models that streams may choose, first the one that they begin with."""
        return tuple(dict.fromkeys((self.model, *self.models)))

    @property
    def brings_s3(self) -> bool:
        """Whether `hushcast up` starts a SeaweedFS."""
        return self.s3_bucket is None

    def to_json(self) -> str:
        """Write everything, including secrets, on one line: for a pipe, never for a log."""
        return self.model_dump_json()

    @classmethod
    def from_json(cls, line: str) -> Self:
        """Read what `to_json` wrote; ignores the environment."""
        return cls.model_validate_json(line)

    def changed(self, **fields: object) -> Self:
        """Get a copy with these fields changed, checked like any other."""
        return type(self)(**(self.model_dump() | fields))


def read_settings(flags: Mapping[str, object] | None = None) -> Settings:
    """Read flags that were given (not None), then the environment, then defaults.

    Raises SettingsError with one sentence for each invalid setting.
    """
    given: dict[str, Any] = {name: v for name, v in (flags or {}).items() if v is not None}
    try:
        return Settings(**given)
    except ValidationError as error:
        sentences = [
            _sentence(each["loc"], each["msg"], given)
            for each in error.errors(include_url=False, include_input=False)
            # A default that depends on an invalid field is not an error of its own.
            if each["type"] != "default_factory_not_called"
        ]
        raise SettingsError("\n".join(sentences)) from error


def unknown_variables(environment: Mapping[str, str]) -> list[str]:
    """Say which variables look like settings and are none, and which may be meant."""
    settings = [f"{PREFIX}{name.upper()}" for name in Settings.model_fields]
    sentences = []
    for name in sorted(environment):
        if name.upper().startswith(PREFIX) and name.upper() not in settings:
            near = get_close_matches(name.upper(), settings, n=1, cutoff=0.8)
            meant = f"; is {near[0]} meant?" if near else "."
            sentences.append(f"{name} is not a setting of hushcast{meant}")
    return sentences


def _sentence(place: tuple[int | str, ...], message: str, given: Mapping[str, object]) -> str:
    message = message.removeprefix("Value error, ").replace("Input should be", "this should be")
    if not place:
        return f"{message}."
    field = str(place[0])
    name = f"--{field.replace('_', '-')}" if field in given else f"{PREFIX}{field.upper()}"
    if len(place) > 1 and isinstance(place[1], int):
        name += f", number {place[1] + 1} of the list"
    return f"{name}: {message}."
