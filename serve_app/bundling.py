"""Makes one script of the pages' modules, and one style of their styles, without comments.

Python is all that this needs: no Node.js, and no built files in the repository. The modules keep to
the few forms of `import` and `export` below; others are refused, not misread.
"""

import re
from pathlib import Path

import rcssmin
import rjsmin

IMPORT = re.compile(r'^import \{([^}]*)\} from "(\.{1,2}/[\w./-]+)";$', re.M)
EXPORT = re.compile(r"^export (?=(?:async function|function|class|const) (\w+))", re.M)
UNKNOWN = re.compile(r"^(?:import|export)\b.*|\bimport\(.*|\bimport\.meta\b.*", re.M)
COMMENT = re.compile(r"^[ \t]*(?:/\*.*?\*/|//[^\n]*)\n", re.M | re.S)


class NotBundled(Exception):
    """A module imports or exports in a form that is not understood, or modules need each other."""


def bundle_script(entry: Path) -> str:
    """Make one module of a module and all that it imports.

    Each becomes a function that returns what it exports, called once, after those that it imports.
    """
    done: dict[Path, str] = {}
    _add(entry.resolve(), done, ())
    whole: str = rjsmin.jsmin("\n".join(done.values()))
    return whole


def bundle_style(styles: list[Path]) -> str:
    """Make one style of several, in their order."""
    whole: str = rcssmin.cssmin("\n".join(path.read_text() for path in styles))
    return whole


def _add(path: Path, done: dict[Path, str], waiting: tuple[Path, ...]) -> None:
    if path in done:
        return
    if path in waiting:
        circle = " -> ".join(each.name for each in (*waiting, path))
        raise NotBundled(f"these modules need each other: {circle}")
    text = path.read_text()
    for imported in IMPORT.finditer(text):
        _add((path.parent / imported[2]).resolve(), done, (*waiting, path))
    numbers = {each: number for number, each in enumerate(done)}

    def take(found: re.Match[str]) -> str:
        names = found[1].replace(" as ", ": ")
        return f"const {{{names}}} = module{numbers[(path.parent / found[2]).resolve()]};"

    exported = [found[1] for found in EXPORT.finditer(text)]
    text = EXPORT.sub("", IMPORT.sub(take, text))
    if unknown := UNKNOWN.search(COMMENT.sub("", text)):
        raise NotBundled(f"{path.name}: {unknown[0]}")
    done[path] = (
        f"const module{len(done)} = (() => {{\n{text}\nreturn {{ {', '.join(exported)} }};\n}})();"
    )
