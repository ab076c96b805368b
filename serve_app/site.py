"""The pages as browsers get them: few files, compressed, whose names change with their content.

They are made of `frontend/` when they are first asked for, and again when a file there changes, so
whoever works on the pages only reloads them.
"""

import gzip
import hashlib
import re
import time
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

import brotli

from serve_app.bundling import bundle_script, bundle_style

FRONTEND = Path(__file__).parent.parent / "frontend"
KINDS = {
    ".css": "text/css",
    ".html": "text/html",
    ".js": "text/javascript",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".webmanifest": "application/manifest+json",
    ".woff2": "font/woff2",
}
STYLES = re.compile(r'(?:[ \t]*<link rel="stylesheet" href="/static/([\w./-]+)">\n)+')
STYLE = re.compile(r'href="/static/([\w./-]+)"')
SCRIPT, ICONS, SIGNED_IN = "/static/main.js", "<!-- icons.svg -->", '<html lang="en"'
NAMED = re.compile(r"/static/([\w./-]+\.\w+)")
HASHED = re.compile(r"(.+)\.[0-9a-f]{12}(\.\w+)")


@dataclass(frozen=True)
class File:
    """One file as it is sent."""

    name: str
    body: bytes

    @property
    def kind(self) -> str:
        """Its media type."""
        return KINDS[Path(self.name).suffix]

    @cached_property
    def digest(self) -> str:
        """What tells it from other versions."""
        return hashlib.sha256(self.body).hexdigest()[:12]

    @cached_property
    def codings(self) -> dict[str, bytes]:
        """Its body by content coding, the shortest first; what would not be shorter is left out."""
        coded = {
            "br": brotli.compress(self.body, mode=brotli.MODE_TEXT),
            "gzip": gzip.compress(self.body, 9, mtime=0),
        }
        return {name: body for name, body in coded.items() if len(body) < len(self.body)}

    @property
    def hashed_name(self) -> str:
        """Its name with its digest in it: other content has another name."""
        name = Path(self.name)
        return str(name.with_name(f"{name.stem}.{self.digest}{name.suffix}"))


class Site:
    """All files of one version of the pages."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        paths = [path for path in sorted(folder.rglob("*")) if path.suffix in KINDS]
        named = [(str(path.relative_to(folder)), path.read_bytes()) for path in paths]
        self._files = {name: File(name, body) for name, body in named if name != "index.html"}
        html = (folder / "index.html").read_text()
        styles = STYLE.findall(STYLES.search(html)[0])  # type: ignore[index]
        self._add("bundle.css", bundle_style([folder / name for name in styles]))
        self._add("bundle.js", bundle_script(folder / "main.js"))
        for name, file in list(self._files.items()):
            if name.endswith(".webmanifest"):
                self._add(name, file.body.decode())
        self._pages = {
            (modules, cookie): File("index.html", self._page(html, modules, cookie).encode())
            for modules in (False, True)
            for cookie in (False, True)
        }

    def page(self, *, modules: bool, cookie: bool) -> File:
        """Get the page: with all modules as they are written, or not; with a cookie, or without."""
        return self._pages[modules, cookie]

    def compress(self) -> None:
        """Compress what pages are made of now, so that nobody has to wait for it.

        Modules and styles that are in the bundles are compressed once somebody asks for them.
        """
        bundled = (".js", ".css")
        files = [f for name, f in self._files.items() if not name.endswith(bundled)]
        bundles = [self._files[f"bundle{suffix}"] for suffix in bundled]
        pages = [self.page(modules=False, cookie=cookie) for cookie in (False, True)]
        for file in (*files, *bundles, *pages):
            assert file.codings is not None

    def find(self, name: str) -> tuple[File, bool] | None:
        """Get a file and whether its name is for this content alone.

        A name with another digest gets the present content: an older page may still ask for it.
        """
        if file := self._files.get(name):
            return file, False
        hashed = HASHED.fullmatch(name)
        file = self._files.get(hashed[1] + hashed[2]) if hashed else None
        return (file, file.hashed_name == name) if file else None

    def _add(self, name: str, text: str) -> None:
        self._files[name] = File(name, self._with_hashed_names(text).encode())

    def _with_hashed_names(self, text: str) -> str:
        def hashed(found: re.Match[str]) -> str:
            file = self._files.get(found[1])
            return f"/static/{file.hashed_name}" if file else found[0]

        return NAMED.sub(hashed, text)

    def _page(self, html: str, modules: bool, cookie: bool) -> str:
        icons = (self._folder / "icons.svg").read_text()
        html = html.replace(
            ICONS, icons.replace('id="', 'id="icon-').replace("<svg", "<svg hidden")
        )
        if cookie:
            html = html.replace(SIGNED_IN, f"{SIGNED_IN} data-cookie")
        if modules:
            return html
        html = STYLES.sub('    <link rel="stylesheet" href="/static/bundle.css">\n', html)
        return self._with_hashed_names(html.replace(SCRIPT, "/static/bundle.js"))


def site(folder: Path = FRONTEND) -> Site:
    """Get the pages of a folder as it was within the last second."""
    return _made(folder, _changes(folder, int(time.monotonic())))


@lru_cache(maxsize=1)
def _changes(folder: Path, second: int) -> tuple[tuple[Path, int], ...]:
    return tuple((path, path.stat().st_mtime_ns) for path in sorted(folder.rglob("*")))


@lru_cache(maxsize=1)
def _made(folder: Path, changes: tuple[tuple[Path, int], ...]) -> Site:
    return Site(folder)
