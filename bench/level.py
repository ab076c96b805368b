"""How well quiet and loud speech is denoised with its level normalised, for several constants.

    python -m bench.level --pairs NOISY.wav=CLEAN.wav ... [--clean CLEAN.wav ...]
                          [--model dfn2 dfn3] [--loud -18 -21] [--falls 3 6] [--gain 0.01 0.1 1 3]

The noise of each pair is also mixed, at 5 dB, into every other clean clip. Clips come in louder by
each gain, clipped at full scale, and PESQ is measured at the level of the original; of what has
become nearly silent it makes anything between 1 and 4.6, so that counts as 1. `--loud` is the
level (RMS of the loudest hops, dBFS) to which quiet sound is amplified, `--falls` how fast that
level is forgotten (dB/s). Give the clips on which constants are chosen, then others to judge them.
"""

import argparse
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pesq
import soxr
from numpy.typing import NDArray

from actors.denoiser import Denoiser, ModelName, compiled_signal, features, load_model
from actors.models import MODELS
from bench.quality import SAMPLE_RATE, read
from tests.sounds import mix

PESQ_RATE = 16000
SNR_DB = 5.0
PROCESSES = 2
SILENCED, WORST_PESQ = 0.25, 1.0
"""Share of the speech's level below which it counts as removed; what PESQ that is."""


class Constants(NamedTuple):
    """The two constants of the normalisation."""

    loud_db: float
    falls_db_s: float


@dataclass(frozen=True)
class Clip:
    """Noisy speech, and the speech alone."""

    name: str
    noisy: NDArray[np.float32]
    clean: NDArray[np.float32]


def clips(pairs: Iterable[tuple[Path, Path]], cleans: Iterable[Path]) -> list[Clip]:
    """Read pairs, and mix the noise of each into all other speech."""
    found, noises, speech = [], {}, {path.stem: read(path) for path in cleans}
    for noisy_path, clean_path in pairs:
        noisy, clean = read(noisy_path), read(clean_path)
        length = min(len(noisy), len(clean))
        noisy, clean = noisy[:length], clean[:length]
        found.append(Clip(noisy_path.stem, noisy, clean))
        noises[clean_path.stem] = noisy - clean
        speech[clean_path.stem] = clean
    for (of, noise), (name, clean) in product(noises.items(), speech.items()):
        if of != name:
            long = np.tile(noise, -(-len(clean) // len(noise)))[: len(clean)]
            found.append(Clip(f"{name} + {of}", mix(clean, long, SNR_DB), clean))
    return found


def measure(task: tuple[Clip, float], *, model: ModelName, constants: Constants | None) -> float:
    """Get the PESQ (wide band) of a clip that comes in by a gain; None: as the official program."""
    clip, gain = task
    if constants is not None:
        _set(constants)
    sound = np.clip(clip.noisy * np.float32(gain), -1, 1)
    denoiser = Denoiser(load_model(model, normalise_level=constants is not None))
    denoised = np.concatenate([denoiser.process(sound), denoiser.flush()])
    heard = denoised[denoiser.latency_samples :][: len(clip.clean)] / np.float32(gain)
    if np.std(heard) < SILENCED * np.std(clip.clean):
        return WORST_PESQ
    narrow = [soxr.resample(each, SAMPLE_RATE, PESQ_RATE) for each in (clip.clean, heard)]
    return float(pesq.pesq(PESQ_RATE, *narrow, "wb"))


def _set(constants: Constants) -> None:
    """Have the constants compiled into the code, in this process."""
    loud = np.float32(10 ** (constants.loud_db / 20))
    code, shared = vars(compiled_signal), vars(features)
    if (code["LOUD"], shared["_PEAK_FALLS_DB_S"]) != (loud, constants.falls_db_s):
        code["LOUD"], shared["_PEAK_FALLS_DB_S"] = loud, constants.falls_db_s
        code["_code"].cache_clear()


def _pair(text: str) -> tuple[Path, Path]:
    noisy, _, clean = text.partition("=")
    return Path(noisy), Path(clean)


def main() -> None:
    """Print a table for each model."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--pairs", type=_pair, nargs="+", required=True)
    parser.add_argument("--clean", type=Path, nargs="*", default=[])
    parser.add_argument("--model", nargs="+", choices=MODELS, default=["dfn2", "dfn3"])
    parser.add_argument("--loud", type=float, nargs="+", default=[-25.0])
    parser.add_argument("--falls", type=float, nargs="+", default=[3.0])
    parser.add_argument("--gain", type=float, nargs="+", default=[0.01, 0.03, 0.1, 0.3, 1.0, 3.0])
    options = parser.parse_args()
    tasks = list(product(clips(options.pairs, options.clean), options.gain))
    with ProcessPoolExecutor(PROCESSES) as pool:
        for model in options.model:
            official = list(pool.map(partial(measure, model=model, constants=None), tasks))
            _print(f"{model}, official", tasks, official, official)
            for constants in map(Constants._make, product(options.loud, options.falls)):
                ours = pool.map(partial(measure, model=model, constants=constants), tasks)
                name = f"{model}, {constants.loud_db:g} dBFS, {constants.falls_db_s:g} dB/s"
                _print(name, tasks, list(ours), official)


def _print(
    name: str, tasks: list[tuple[Clip, float]], ours: list[float], official: list[float]
) -> None:
    gains = sorted({gain for _, gain in tasks})
    found = list(zip(tasks, ours, official, strict=True))
    means = [np.mean([pesq for (_, at), pesq, _ in found if at == gain]) for gain in gains]
    (clip, gain), *worst = min(found, key=lambda each: each[1] - each[2])
    shown = "  ".join(f"x{gain:g} {mean:.3f}" for gain, mean in zip(gains, means, strict=True))
    loss = worst[0] - worst[1]
    print(f"{name:24} {shown}  worst {loss:+.3f} ({clip.name} x{gain:g})", flush=True)


if __name__ == "__main__":
    main()
