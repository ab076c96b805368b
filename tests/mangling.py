"""Mangled lines of text: what a broken or hostile client may send instead of SDP."""

import re

from hypothesis import strategies as st


@st.composite
def mangled(draw: st.DrawFn, text: str) -> str:
    """Mangle lines of text: drop some, repeat some, swap them, write nonsense."""
    lines = text.splitlines()
    for _ in range(draw(st.integers(1, 6))):
        at = draw(st.integers(0, len(lines) - 1))
        change = draw(st.sampled_from(["drop", "repeat", "move", "word", "number", "nonsense"]))
        if change == "drop" and len(lines) > 1:
            del lines[at]
        elif change == "repeat":
            lines[at:at] = [lines[at]] * draw(st.integers(1, 40))
        elif change == "move":
            lines.insert(draw(st.integers(0, len(lines) - 1)), lines.pop(at))
        elif change == "word":
            words = re.split(r"([ :=/])", lines[at])
            words[draw(st.integers(0, len(words) - 1))] = draw(st.text(max_size=20))
            lines[at] = "".join(words)
        elif change == "number":
            number = str(draw(st.sampled_from([-1, 0, 1, 65536, 2**31, 2**64, 10**30])))
            lines[at] = re.sub(r"\d+", number, lines[at], count=1)
        else:
            lines[at] = draw(st.text(max_size=80))
    return "\r\n".join(lines) + "\r\n"
