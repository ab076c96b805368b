"""Addresses as proxies write them, and origins as people do."""

import pytest

from serve_app.addresses import address_of, origin_of


@pytest.mark.parametrize(
    ("written", "address"),
    [
        ("198.51.100.1", "198.51.100.1"),
        (" 198.51.100.1:5678\t", "198.51.100.1"),
        ("2001:DB8::1", "2001:db8::1"),
        ("[2001:db8::1]", "2001:db8::1"),
        ("[2001:db8::1]:443", "2001:db8::1"),
        ('"[2001:db8::1]:443"', "2001:db8::1"),
        ("fe80::1%eth0", "fe80::1"),
        ("::ffff:198.51.100.1", "198.51.100.1"),
        ("[::ffff:198.51.100.1]:80", "198.51.100.1"),
        *((other, None) for other in ("", "unknown", "_hidden", "localhost", "1.2.3", "1.2.3.4:x",
          "1.2.3.4:\u0663", "[::1", "::1]", "[::1]x", "1.2.3.4, 5.6.7.8", ":::", "%", "-")),
    ],
)  # fmt: skip
def test_an_address_is_read_however_it_is_written(written: str, address: str | None) -> None:
    """With ports, brackets, quotes, zones; anything else is no address."""
    found = address_of(written)
    assert (found and str(found)) == address


@pytest.mark.parametrize(
    ("written", "origin"),
    [
        ("https://cast.example.org", "https://cast.example.org"),
        ("HTTPS://Cast.Example.ORG:443/", "https://cast.example.org"),
        ("http://cast.example.org:80", "http://cast.example.org"),
        ("https://cast.example.org:80", "https://cast.example.org:80"),
        ("https://cast.example.org:8443/a?b#c", "https://cast.example.org:8443"),
        ("https://[2001:DB8:0::1]:443", "https://[2001:db8::1]"),
        *((other, None) for other in ("", "null", "cast.example.org", "ftp://x", "https://",
          "https://x:99999", "https://[::1", "https://b\u00fccher.example")),
    ],
)  # fmt: skip
def test_an_origin_is_as_browsers_send_it(written: str, origin: str | None) -> None:
    """Lower case, no default port, no path."""
    assert origin_of(written) == origin
