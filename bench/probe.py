"""What one contestant takes in a process of its own: `python -m bench.probe ours 1` prints JSON.

Importing and loading is timed after Python itself has started; memory is that of the process once
every stream has been run for a second.
"""

import json
import sys
import time


def main() -> None:
    """Start, run, measure."""
    name, batch = sys.argv[1], int(sys.argv[2])
    began = time.perf_counter()
    from bench.contestants import CONTESTANTS, HOP

    contestant = CONTESTANTS[name](batch)
    start_s = time.perf_counter() - began
    import numpy as np
    import psutil

    dice = np.random.default_rng(0)
    for step in range(100):
        # Not always all of them: an executor may need room to gather some.
        some = batch if step % 2 else (batch + 1) // 2
        sound = dice.normal(0, 0.05, (some, contestant.hops * HOP))
        contestant.run(sound.astype(np.float32))
    memory = psutil.Process().memory_full_info()
    print(json.dumps({"start_s": start_s, "rss": memory.rss, "pss": memory.pss}))


if __name__ == "__main__":
    main()
