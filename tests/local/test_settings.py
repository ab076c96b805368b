"""Settings: read once, checked, frozen."""

import os
import pickle
import secrets
from pathlib import Path

import pytest

from serve_app.settings import Settings, SettingsError, read_settings, unknown_variables


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the tests' own environment out of it."""
    for name in Settings.model_fields:
        monkeypatch.delenv(f"HUSHCAST_{name.upper()}", raising=False)


def test_a_flag_comes_before_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Flags win, then the environment, then the default."""
    monkeypatch.setenv("HUSHCAST_PORT", "9001")
    assert read_settings({"port": "9002"}).port == 9002
    assert read_settings({"port": None}).port == 9001
    monkeypatch.delenv("HUSHCAST_PORT")
    assert read_settings().port == 8000


def test_lists_ranges_and_rates_are_read_as_people_write_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Comma lists, LOW-HIGH and NAME=RATE."""
    monkeypatch.setenv("HUSHCAST_ICE_ADDRESSES", "127.0.0.1, ::1")
    monkeypatch.setenv("HUSHCAST_UDP_PORTS", "40000-40999")
    monkeypatch.setenv("HUSHCAST_ADMINS", "ann,ben")
    monkeypatch.setenv("HUSHCAST_LIMITS", "accounts=600/minute offers=9/second")
    settings = read_settings()
    assert settings.ice_addresses == ("127.0.0.1", "::1")
    assert settings.udp_ports == (40000, 40999)
    assert settings.admins == ("ann", "ben")
    assert settings.limits == {"accounts": "600/minute", "offers": "9/second"}


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("PORT", "99999", "HUSHCAST_PORT: this should be less than or equal to 65535."),
        ("UDP_PORTS", "4000", "give a range of ports as LOW-HIGH"),
        ("UDP_PORTS", "5000-4000", "the lower number first"),
        ("UDP_PORTS", "80-90", "within 1024-65535"),
        ("ICE_ADDRESSES", "localhost", "'localhost' is not an IP address"),
        ("REDIS_URL", "http://host", "begins with redis://, rediss:// or unix://"),
        ("REDIS_URL", "redis://:a/b@host:6379/0", "%2F"),
        ("S3_ADDRESSING", "host", "'path' or 'virtual'"),
        ("S3_CA", "/not/there.pem", "cannot be read"),
        ("S3_ENDPOINT", "http://host", "needs HUSHCAST_S3_BUCKET"),
        ("PUBLIC_URL", "https://host/path", "give an origin, without a path"),
        ("PUBLIC_URL", "https://ann@host", "give an origin, without a path"),
        ("PUBLIC_URL", "https://b\u00fccher.example", "give an origin as browsers send it"),
        ("TURN_URLS", "http://host", "begin with turn: or turns:"),
        ("TURN_URLS", "turn:host", "Set both HUSHCAST_TURN_URLS and HUSHCAST_TURN_SECRET"),
        ("MODEL", "dfn9", "'dfn2', 'dfn2_ll', 'dfn3' or 'dfn3_ll'"),
        ("MODELS", "dfn2,,dfn9", "HUSHCAST_MODELS, number 2 of the list: this should be 'dfn2',"),
        ("LIMITS", "accounts=often", "'often' is not a rate"),
        ("LIMITS", "offer=9/second", "offer is not one of accounts"),
        ("LIMITS", "streams=9/second", "streams must be a number"),
        ("ACTOR_NUM_CPUS", "inf", "finite number"),
        ("GRACE_S", "1e309", "finite number"),
        ("KEEP_DAYS", "nan", "finite number"),
        ("SECRET_KEY", "short", "needs 32 characters or more"),
        ("SECRET_KEY", "a" * 64, "easy to guess"),
        ("SECRET_KEY", "correct horse batt" * 2, "easy to guess"),
        ("TURN_SECRET", "A-LONG-RANDOM-WORD", "needs 32 characters or more"),
        ("WARM_ACTORS", "-1", "greater than or equal to 0"),
        ("PUBLIC_IP", "10.0.0.1=host", "'host' is not an IP address"),
        ("MAX_STREAM_HOURS", "0", "greater than 0"),
        ("DATA_DIR", os.fsdecode(b"\xff"), "must be UTF-8"),
        ("SPOOL_DIR", "~nobody-of-this-name/x", "is in nobody's home folder"),
    ],
)
def test_a_wrong_value_is_refused_with_a_sentence(
    name: str, value: str, sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The message names the setting and what it should be."""
    monkeypatch.setenv(f"HUSHCAST_{name}", value)
    with pytest.raises(SettingsError) as refused:
        read_settings()
    message = str(refused.value)
    assert sentence in message and "HUSHCAST_" in message and message.count("\n") == 0


def test_the_public_url_is_kept_as_browsers_send_it() -> None:
    """`Origin` is compared with it."""
    settings = read_settings({"public_url": "HTTPS://Cast.Example.org:443/"})
    assert settings.public_url == "https://cast.example.org" and settings.https


def test_every_wrong_value_is_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two mistakes are reported at once; a flag is called by its name."""
    monkeypatch.setenv("HUSHCAST_MODEL", "dfn9")
    with pytest.raises(SettingsError) as refused:
        read_settings({"port": "x"})
    first, second = str(refused.value).splitlines()
    assert first.startswith("--port: ") and second.startswith("HUSHCAST_MODEL: ")


def test_a_misspelt_variable_is_named() -> None:
    """With the setting that may be meant; what is not ours is no business of ours."""
    names = "HUSHCAST_MODLE", "HUSHCAST_PORT", "hushcast_model", "HUSHCAST_X", "REDIS_URL"
    assert unknown_variables(dict.fromkeys(names, "1")) == [
        "HUSHCAST_MODLE is not a setting of hushcast; is HUSHCAST_MODEL meant?",
        "HUSHCAST_X is not a setting of hushcast.",
    ]


def test_public_addresses_are_one_or_one_for_each_node() -> None:
    """By the nodes' own addresses; a plain one is for every node."""
    assert read_settings().public_ips == {}
    assert read_settings({"public_ip": "203.0.113.1"}).public_ips == {"": "203.0.113.1"}
    both = read_settings({"public_ip": "10.0.0.1=203.0.113.1, 10.0.0.2 = 203.0.113.2"})
    assert both.public_ips == {"10.0.0.1": "203.0.113.1", "10.0.0.2": "203.0.113.2"}


def test_settings_travel_and_stay_the_same(tmp_path: Path) -> None:
    """They travel to Ray by pickle and to a process by JSON; nobody can change them there."""
    settings = read_settings(
        {"data_dir": tmp_path, "udp_ports": "4000-4001", "limits": "accounts=6/minute"}
    )
    assert pickle.loads(pickle.dumps(settings)) == settings
    assert Settings.from_json(settings.to_json()) == settings
    assert settings.spool_dir == tmp_path / "spool"
    with pytest.raises(ValueError, match="frozen"):
        settings.port = 1


def test_secrets_are_not_shown() -> None:
    """Printing or logging the settings reveals no secret."""
    secret = secrets.token_hex(20)
    settings = read_settings(
        {
            "secret_key": secret,
            "redis_url": f"redis://:{secret}@host:1/0",
            "turn_urls": "turn:host",
            "turn_secret": secret,
            "s3_access_key": secret,
            "s3_secret_key": secret,
        }
    )
    assert secret not in repr(settings) and secret not in str(settings)
    with pytest.raises(SettingsError) as refused:
        read_settings({"redis_url": f"http://:{secret}@host:1/0"})
    assert secret not in str(refused.value)
