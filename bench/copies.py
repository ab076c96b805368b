"""Copies of an hour of speech: CPU time and size of each format.

nice python -m bench.copies [--minutes 60]
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np

from recordings.encoder import encode
from recordings.names import Copy
from recordings.wav import SAMPLE_RATE
from tests.sounds import spoken_words

PIECE = 131_072
"""What the store gives at a time, in samples."""


def main() -> None:
    """Print a line for each format."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=int, default=60)
    minutes = parser.parse_args().minutes
    minute = (spoken_words(60) * 32767).astype(np.int16)
    pieces = [minute[at : at + PIECE] for at in range(0, 60 * SAMPLE_RATE, PIECE)]
    for copy in Copy:
        with tempfile.TemporaryDirectory() as folder:
            path, began = Path(folder) / "copy", time.process_time()
            encode((piece for _ in range(minutes) for piece in pieces), copy, path)
            cpu_s, size_mb = time.process_time() - began, path.stat().st_size / 1e6
            print(f"{copy}: {minutes} min, {cpu_s:.1f} s of a core, {size_mb:.1f} MB")


if __name__ == "__main__":
    main()
