"""What a process takes of the processor."""

import time

RENEWED_S = 1.0
"""A share counts for this long, however often it is asked for."""


class ProcessLoad:
    """The share of a core that this process takes: 1.0 is one core, several threads may take more.

    It is the mean since it was last measured, a second ago or more.
    """

    def __init__(self) -> None:
        self._share = 0.0
        self._at, self._used = time.monotonic(), time.process_time()

    @property
    def share(self) -> float:
        """The share now."""
        at = time.monotonic()
        if at - self._at >= RENEWED_S:
            used = time.process_time()
            self._share = (used - self._used) / (at - self._at)
            self._at, self._used = at, used
        return self._share
