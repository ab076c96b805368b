"""What a check found."""

from dataclasses import dataclass

MAX_SKEW_S = 5.0
"""Clocks further apart than this are wrong: S3 refuses after minutes, people notice sooner."""


@dataclass(frozen=True)
class Finding:
    """One line: what was checked, the result, and for a problem what to do."""

    what: str
    text: str
    to_do: str | None = None

    @property
    def ok(self) -> bool:
        """Whether there is nothing to do."""
        return self.to_do is None

    def __str__(self) -> str:
        line = f"{'ok' if self.ok else 'problem':<8} {self.what}: {self.text}"
        return line if self.ok else f"{line}\n{'':<9}{self.to_do}"


def clock_finding(what: str, ahead_s: float) -> Finding:
    """Judge how far another clock is ahead of this machine's."""
    text = f"{abs(ahead_s):.1f} s {'ahead of' if ahead_s > 0 else 'behind'} this machine"
    if abs(ahead_s) <= MAX_SKEW_S:
        return Finding(what, text)
    return Finding(what, text, "Synchronise both clocks with NTP, for example with chrony.")
