"""Writes docs/settings.md from the fields of `Settings`: `python -m tests.settings_reference`."""

import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from commands.cli import UP_FLAGS
from serve_app.settings import PREFIX, Settings

PATH = Path(__file__).parent.parent / "docs/settings.md"
HEAD = """\
# Settings

`make docs` writes this file from `serve_app/settings.py`: edit that instead. Every setting is an
environment variable, and those marked * are also flags of `hushcast up` (`HUSHCAST_DATA_DIR` is
`--data-dir`). Flags override the environment. hushcast refuses to start with an invalid setting,
and says what is wrong; it warns of a variable that is none of these. [api.md](api.md#limits) has
all limits in one table, with their defaults.
"""
_NUMBERS = {"integer": "a whole number", "number": "a number"}
_BOUNDS = {"minimum": "{} or more", "exclusiveMinimum": "above {}", "maximum": "at most {}"}


def reference() -> str:
    """Write all settings as tables, one per group of fields."""
    fields = Settings.model_json_schema()["properties"]
    lines = [HEAD.strip()]
    for name in _groups_and_fields():
        if name in fields:
            lines.append(_row(name, fields[name]))
        else:
            lines += ["", f"## {name}", "", "| variable | what it does | form | default |"]
            lines.append("|---|---|---|---|")
    return "\n".join(lines) + "\n"


def _groups_and_fields() -> Iterator[str]:
    """Find comments and fields in the order in which they stand."""
    for line in inspect.getsource(Settings).splitlines():
        if found := re.match(r"    (?:# (.+)\.|(\w+): )", line):
            yield found[1] or found[2]


def _row(name: str, schema: dict[str, Any]) -> str:
    variable = f"`{PREFIX}{name.upper()}`{' *' if name in UP_FLAGS else ''}"
    return f"| {variable} | {schema['description']} | {_form(schema)} | {_default(schema)} |"


def _form(schema: dict[str, Any]) -> str:
    """Say how a value is written."""
    if "anyOf" in schema:
        return _form(schema["anyOf"][0])
    if "enum" in schema:
        return " or ".join(f"`{value}`" for value in schema["enum"])
    if "format" in schema:
        return str(schema["format"])
    words = _NUMBERS.get(schema["type"], "text")
    bounds = [text.format(schema[key]) for key, text in _BOUNDS.items() if key in schema]
    return ", ".join([words, *bounds])


def _default(schema: dict[str, Any]) -> str:
    default = schema.get("default")
    if default in (None, "", [], {}):
        return "-"
    shown = str(default)
    return shown if "`" in shown or " " in shown else f"`{shown}`"


if __name__ == "__main__":
    PATH.write_text(reference())
