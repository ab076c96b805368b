"""What it gains and costs to have hops wait for others, so that batches are larger.

    python -m bench.batching [--streams 1 4 8 16] [--wait 0 3 6 10 20] [--seconds 10] [--rounds 2]

Streams in real time as in `bench.paced`: packets of two hops, each stream at its own place in the
20 ms. A hop waits for a batch for up to `--wait` ms, unless every stream is in it already. With 10
and 20 batches are those of a common tick. Told are the share of a core for each stream, how long a
hop takes from its coming in to its coming out, and how many streams are in a batch.
"""

import argparse
from collections import defaultdict
from itertools import product

import numpy as np

from bench.paced import MOST_STREAMS, Paced, run
from bench.sounds import noisy_streams


def main() -> None:
    """Print a line for each number of streams and wait, the median of the rounds."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--streams", type=int, nargs="+", default=[1, 4, 8, 16])
    parser.add_argument("--wait", type=float, nargs="+", default=[0, 3, 6, 10, 20], help="ms")
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--rounds", type=int, default=2)
    options = parser.parse_args()
    sound = noisy_streams(MOST_STREAMS)
    found = defaultdict[tuple[int, float], list[Paced]](list)
    for _ in range(options.rounds):
        for streams, wait_ms in product(options.streams, options.wait):
            each = run(streams, options.seconds, sound, max_wait_s=wait_ms / 1000)
            found[streams, wait_ms].append(each)
    print("streams  wait ms  % of a core each (rounds)       p50 ms  p99 ms  streams in a batch")
    for (streams, wait_ms), runs in found.items():
        shares = [100 * each.busy / streams for each in runs]
        rounds = ", ".join(f"{share:.2f}" for share in shares)
        p50, p99, hops = np.median([(each.p50_ms, each.p99_ms, each.batch) for each in runs], 0)
        print(
            f"{streams:7}{wait_ms:9g}{np.median(shares):9.2f} ({rounds})"
            f"{p50:15.1f}{p99:8.1f}{hops / 2:10.1f}"
        )


if __name__ == "__main__":
    main()
