"""The pages' addresses and files, as browsers and other clients get them."""

import re
from pathlib import Path

import pytest

from serve_app.bundling import NotBundled, bundle_script
from serve_app.site import FRONTEND, Site, site
from tests.edge.conftest import Edge

BROWSER = {"accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
LONG = "x" * 33


@pytest.mark.parametrize(
    "path", ["/", "/u/ada", "/u/Ada", "/u/ada/", "/r/01kc", "/l/tok", "/admin"]
)
async def test_an_address_of_the_pages_has_the_page(edge: Edge, path: str) -> None:
    """Whoever is there; the script reads the address."""
    answer = await edge.client(**BROWSER).get(path)
    assert answer.status_code == 200 and answer.headers["content-type"].startswith("text/html")


@pytest.mark.parametrize(
    "path",
    ["/nothing", "/u/", "/u/%E0%A4%A", f"/u/{LONG}", "/u/a/b", "/r/", "/l", "/u/%00", "/x//y"],
)
async def test_any_other_address_says_so(edge: Edge, path: str) -> None:
    """404: a page to browsers, a sentence in JSON to clients of the API."""
    page = await edge.client(**BROWSER).get(path)
    assert page.status_code == 404 and "/static/bundle." in page.text
    for accept in ("application/json", "*/*"):
        answer = await edge.client(accept=accept).get(path)
        assert answer.status_code == 404 and answer.json() == {
            "detail": "There is nothing at this address."
        }


@pytest.mark.parametrize("path", ["/api/nothing", "/whip/nothing", "/whep", "/static/nothing.js"])
async def test_the_interface_answers_browsers_too_in_json(edge: Edge, path: str) -> None:
    """A page would help nobody there."""
    answer = await edge.client(**BROWSER).get(path)
    assert answer.status_code in (404, 405) and set(answer.json()) == {"detail"}


async def test_files_are_compressed_and_kept(edge: Edge) -> None:
    """For ever under a name that changes with them; an older name still leads to a newer file."""
    http = edge.client(**BROWSER)
    page = await http.get("/")
    assert (
        page.headers["content-encoding"] in ("br", "gzip")
        and page.headers["cache-control"] == "no-cache"
    )
    again = await http.get("/", headers={"if-none-match": page.headers["etag"]})
    assert again.status_code == 304 and not again.content
    names = set(re.findall(r'"(/static/[^"]+)"', page.text))
    assert len(names) <= 5
    for name in names:
        answer = await http.get(name)
        assert answer.status_code == 200 and "immutable" in answer.headers["cache-control"]
        older = await http.get(re.sub(r"\.[0-9a-f]{12}\.", ".0123456789ab.", name))
        assert older.content == answer.content and older.headers["cache-control"] == "no-cache"
        for wanted in ("br", "gzip", "identity"):
            other = await http.get(name, headers={"accept-encoding": f"deflate, {wanted};q=0.9"})
            coding = other.headers.get("content-encoding", "identity")
            assert coding == wanted or name.endswith(".png")
            assert other.content == answer.content


async def test_the_page_knows_whether_there_may_be_a_sign_in(edge: Edge) -> None:
    """Then it asks who it is; without a cookie it need not be refused first."""
    http = edge.client(**BROWSER)
    without = await http.get("/")
    with_cookie = await http.get("/", headers={"cookie": "hushcast=x"})
    assert "data-cookie" in with_cookie.text and "data-cookie" not in without.text
    assert with_cookie.headers["etag"] != without.headers["etag"]
    assert "Cookie" in without.headers["vary"]


async def test_modules_can_be_loaded_as_they_are_written(edge: Edge) -> None:
    """To look at them in a browser's tools."""
    page = await edge.client(**BROWSER).get("/?modules")
    assert "/static/main.js" in page.text and "/static/style/base.css" in page.text
    main = await edge.client().get("/static/main.js")
    assert main.text == (FRONTEND / "main.js").read_text()


def test_the_script_is_small() -> None:
    """What the first view needs leaves room below 100 kB for icons, styles and answers."""
    found = site().find("bundle.js")
    assert found and len(found[0].codings["br"]) < 70_000


def test_a_file_that_changes_has_another_name(tmp_path: Path) -> None:
    """So the page that names it changes too."""
    (tmp_path / "index.html").write_text(
        '<link rel="stylesheet" href="/static/a.css">\n<script src="/static/main.js"></script>'
    )
    (tmp_path / "icons.svg").write_text("<svg></svg>")
    (tmp_path / "a.css").write_text("a { color: red }")
    (tmp_path / "main.js").write_text("alert(1);\n")
    before = Site(tmp_path).page(modules=False, cookie=False)
    (tmp_path / "main.js").write_text("alert(2);\n")
    after = Site(tmp_path).page(modules=False, cookie=False)
    assert before.body != after.body


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('import x from "./other.js";\n', 'import x from "./other.js";'),
        ("export default 1;\n", "export default 1;"),
        ("export let x = 1;\n", "export let x = 1;"),
        ('const x = await import("./other.js");\n', 'import("./other.js");'),
        ('import { main } from "./main.js";\n', "main.js -> main.js"),
    ],
)
def test_what_is_not_understood_is_refused(tmp_path: Path, text: str, told: str) -> None:
    """By its file and line; nothing is left out in silence."""
    (tmp_path / "main.js").write_text(text)
    with pytest.raises(NotBundled, match=re.escape(told)):
        bundle_script(tmp_path / "main.js")
