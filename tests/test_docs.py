"""The documents agree with the tree, the settings and each other."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from serve_app.settings import PREFIX, Settings
from tests import settings_reference

ROOT = Path(__file__).parent.parent
SOURCES = [
    *("commands", "serve_app", "deployments", "actors", "recordings", "foundation", "frontend"),
    *("tests", "bench"),
]
LEFTOVERS = r"\bTO[D]O\b|\bFIX[M]E\b|\bXX[X]\b|see the test's outpu[t]"
PLACEHOLDER = r"\b[A-Z]{2,}(?:_[A-Z]+)+\b"
"""Capitals with underscores, which outside of code are a placeholder that nobody filled in."""

# docs/benchmarks.md alone measures. Elsewhere a figure is quoted in one of these phrases.
BENCHMARKS = "docs/benchmarks.md"
MEASURED = {
    "a publisher alone": r"\| hushcast, one in a process \| ([\d.]+) %",
    "one of eight publishers": r"\| hushcast, 8 in a process \| ([\d.]+) %",
    "a listener": r"\| hushcast: RTP header, SRTP, datagram \| ([\d.]+) %",
    "friends told of a killed actor": r"friends told / sound lost \| ([\d.]+) s",
    "an idle hushcast": r"\| in all, of one core; PSS \|[^|]*\| ([\d.]+) %",
    "page live after a killed actor": r"live again by itself \(Chromium\) \| ([\d.]+) s",
}
QUOTED = {
    "an idle hushcast": r"`hushcast up` takes ([\d.]+) % of a core",
    "a publisher alone": r"([\d.]+) % of a core in a process of its own",
    "one of eight publishers": r"([\d.]+) % of a core where eight share",
    "a listener": r"listener (?:costs the server|takes) ([\d.]+) %",
    "friends told of a killed actor": r"friends told in ([\d.]+) s",
    "page live after a killed actor": r"page(?: is)? live again (?:in )?([\d.]+) s",
}
SHARE_OF_A_CORE = r"([\d.]+|half|third|quarter|fifth|sixth|eighth|tenth|twelfth) (?:% )?of a core"


def documents() -> list[Path]:
    """Find the documents that people read."""
    return [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), ROOT / "NOTICE"]


def text_files() -> Iterator[Path]:
    """Find documents, code and what builds and checks it."""
    yield from documents()
    yield from (ROOT / name for name in ("Makefile", "pyproject.toml", ".ci/run"))
    yield from (ROOT / ".github").rglob("*.*")
    for folder in SOURCES:
        for ending in ("py", "js", "css", "html", "yaml"):
            yield from (ROOT / folder).rglob(f"*.{ending}")


def without_code(text: str) -> str:
    """Remove everything in fences and backticks."""
    return re.sub(r"```.*?```|`[^`\n]*`", "", text, flags=re.DOTALL)


def quotes(pattern: str) -> Iterator[tuple[str, str]]:
    """Find a phrase in every document, whatever its line breaks: document and figure."""
    for path in documents():
        text = " ".join(path.read_text().split())
        for found in re.finditer(pattern, text):
            yield path.name, found[1]


def measured(name: str) -> str:
    """Get a figure from the document with the measurements."""
    (figure,) = re.findall(MEASURED[name], (ROOT / BENCHMARKS).read_text())
    return str(figure)


def test_the_settings_reference_is_up_to_date() -> None:
    """docs/settings.md is what `make docs` generates from the fields."""
    assert settings_reference.PATH.read_text() == settings_reference.reference()


@pytest.mark.parametrize("name", Settings.model_fields)
def test_every_setting_says_what_it_does(name: str) -> None:
    """In one line, which a table can hold."""
    description = Settings.model_fields[name].description
    assert description and description.endswith(".")
    assert "\n" not in description and "|" not in description


def test_the_documents_name_settings_that_exist() -> None:
    """hushcast neither refuses nor ignores a setting that a document names."""
    for path in documents():
        for name in re.findall(rf"\b{PREFIX}([A-Z_0-9]+)\b", path.read_text()):
            assert name.lower() in Settings.model_fields, f"{path.name}: {PREFIX}{name}"


def test_nothing_is_left_over() -> None:
    """No note to self, no figure to be filled in later."""
    for path in text_files():
        text = path.read_text()
        assert not (found := re.findall(LEFTOVERS, text)), f"{path}: {found}"
        if path.suffix == ".md":
            assert not (found := re.findall(PLACEHOLDER, without_code(text))), f"{path}: {found}"


@pytest.mark.parametrize("name", QUOTED)
def test_a_quoted_figure_is_the_measured_one(name: str) -> None:
    """No two documents give different figures for one thing."""
    found = list(quotes(QUOTED[name]))
    assert found, "nobody quotes it: take it out of the table"
    for document, figure in found:
        assert figure == measured(name), f"{document} says {figure}"


def test_every_share_of_a_core_was_measured() -> None:
    """Neither an old figure in other words, nor a fraction in words."""
    known = {measured(name) for name in MEASURED}
    for document, figure in quotes(SHARE_OF_A_CORE):
        if document != Path(BENCHMARKS).name:
            assert figure in known, f"{document} says {figure}"


def test_the_error_against_the_official_output_is_the_largest_measured() -> None:
    """Documents quote the worst value in the table of clips."""
    text = (ROOT / BENCHMARKS).read_text()
    table = text[
        text.index("| clip | dfn2 | dfn2_ll | dfn3 |") : text.index("The tract runtime, hop by hop")
    ]
    worst = max(float(cell) for cell in re.findall(r"\d\.\de-\d", table))
    quoted = [q for q in quotes(r"(\d(?:\.\d)?e-\d+)") if q[0] != Path(BENCHMARKS).name]
    assert quoted
    for document, figure in quoted:
        assert float(figure) == worst, f"{document} says {figure}"


def named_in_the_house() -> Iterator[Path]:
    """Read the tree of docs/architecture.md: every folder, and every module named on its line."""
    text = (ROOT / "docs/architecture.md").read_text()
    parents: list[tuple[int, Path]] = [(-1, ROOT)]
    for line in text.split("```")[1].splitlines():
        if not line.strip():
            continue
        indent = len(line) - len(line.lstrip())
        while parents[-1][0] >= indent:
            parents.pop()
        folder = parents[-1][1]
        if (first := line.split()[0]).endswith("/"):
            folder = folder / first
            parents.append((indent, folder))
            yield folder
        yield from (folder / name for name in re.findall(r"\b\w+\.py\b", line))


def test_the_house_is_as_architecture_draws_it() -> None:
    """Every folder and module of the drawing exists where it is drawn."""
    named = list(named_in_the_house())
    assert len(named) > 50
    assert not (missing := [str(p.relative_to(ROOT)) for p in named if not p.exists()]), missing


def test_the_tests_that_show_a_requirement_exist() -> None:
    """docs/security.md names no test that is not there."""
    named = set(re.findall(r"`((?:\w+/)?\w+\.py)`", (ROOT / "docs/security.md").read_text()))
    assert len(named) > 20
    assert not (missing := [name for name in named if not (ROOT / "tests" / name).exists()]), (
        missing
    )


@pytest.mark.parametrize("name", ["CONTRIBUTING.md", "docs/architecture.md"])
def test_paths_in_the_text_exist(name: str) -> None:
    """What looks like a path in backticks exists: from the root, or a bare name anywhere."""
    path = r"`((?:[\w.-]+/)+[\w.-]*|[\w-]+\.(?:py|js|md|toml|yaml|json|lock))`"
    for found in re.findall(path, (ROOT / name).read_text()):
        anywhere = "/" not in found and any(
            list((ROOT / folder).rglob(found)) for folder in (*SOURCES, "docs")
        )
        assert (ROOT / found).exists() or anywhere, f"{name} names {found}"


def test_links_between_documents_lead_somewhere() -> None:
    """Every relative link names a file."""
    for path in documents():
        for target in re.findall(r"\]\(([^):#]+)\)", path.read_text()):
            assert (path.parent / target).exists(), f"{path.name} links to {target}"
