"""How good denoised sound is: noisy, by the official program, and by ours, streamed.

    python -m bench.quality CLIP.wav ... [--clean CLEAN.wav ...] [--official OFFICIAL.wav ...]
                            [--gain 1 0.1 0.01] [--model dfn2] [--json FILE]

SI-SDR, PESQ (wide band) and STOI need the clean speech. DNSMOS needs none, but the package
speechmos, which the extra `bench` installs. With --gain the clip comes in that much louder, and
what comes out is measured at the level of the original.
"""

import argparse
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pesq
import pystoi
import soundfile
import soxr
from numpy.typing import NDArray

from actors.denoiser import Denoiser, ModelName, load_model
from actors.models import DEFAULT_MODEL, MODELS
from bench import dnsmos
from tests.denoiser.official import official_model

Sound = NDArray[np.float32]

SAMPLE_RATE = 48000
FRAME = 960


@dataclass(frozen=True)
class Quality:
    """One version of one clip, measured. None is what was not asked for or cannot be told."""

    clip: str
    gain: float
    version: str
    si_sdr_db: float | None = None
    pesq: float | None = None
    stoi: float | None = None
    sig: float | None = None
    bak: float | None = None
    ovrl: float | None = None
    worst_error: float | None = None


def read(path: Path) -> Sound:
    """Read a mono clip [T] as 48 kHz."""
    sound, rate = soundfile.read(path, dtype="float32")
    if sound.ndim != 1:
        raise SystemExit(f"{path} has {sound.shape[1]} channels: expected one")
    return np.asarray(soxr.resample(sound, rate, SAMPLE_RATE), np.float32)


def si_sdr_db(sound: Sound, clean: Sound) -> float:
    """Measure the scale-invariant signal-to-distortion ratio (Le Roux et al., 2019)."""
    estimate, target = sound - np.mean(sound), clean - np.mean(clean)
    target = target * (np.dot(estimate, target) / np.dot(target, target))
    ratio = np.sum(np.square(target)) / np.sum(np.square(estimate - target))
    return float(10 * np.log10(ratio))


def streamed(sound: Sound, model: ModelName) -> Sound:
    """Denoise a clip as live sound comes in: 20 ms at a time."""
    denoiser = Denoiser(load_model(model))
    frames = (sound[start : start + FRAME] for start in range(0, len(sound), FRAME))
    outputs = [denoiser.process(frame) for frame in frames]
    return np.concatenate([*outputs, denoiser.flush()])[denoiser.latency_samples :]


def measure(quality: Quality, sound: Sound, clean: Sound | None) -> Quality:
    """Fill in what can be measured of a version."""
    measured = asdict(quality)
    narrow = soxr.resample(sound, SAMPLE_RATE, dnsmos.SAMPLE_RATE)
    if clean is not None:
        reference = soxr.resample(clean, SAMPLE_RATE, dnsmos.SAMPLE_RATE)
        measured["si_sdr_db"] = si_sdr_db(sound, clean)
        measured["pesq"] = float(pesq.pesq(dnsmos.SAMPLE_RATE, reference, narrow, "wb"))
        measured["stoi"] = float(pystoi.stoi(reference, narrow, dnsmos.SAMPLE_RATE))
    if dnsmos.available():
        measured.update(dnsmos.rate(narrow)._asdict())
    return Quality(**measured)


def compare(
    clip: Path, clean: Path | None, stored: Path | None, gain: float, model: ModelName
) -> Iterator[Quality]:
    """Measure a clip: noisy, official, ours, and the stored official output where there is one."""
    noisy = read(clip) * np.float32(gain)
    versions = {"noisy": noisy, "official": official_model(model).enhance(noisy)}
    versions["ours"] = streamed(noisy, model)
    if stored is not None and gain == 1:
        versions["stored"] = read(stored)
    reference = None if clean is None else read(clean)
    for version, sound in versions.items():
        error = None
        if version in ("official", "stored"):
            error = float(np.max(np.abs(versions["ours"] - sound)))
        quality = Quality(clip.name, gain, version, worst_error=error)
        yield measure(quality, sound / np.float32(gain), reference)


def show(quality: Quality) -> str:
    """Write one row of the table."""
    columns = list(asdict(quality).values())[3:]
    formats = ("7.2f", "6.2f", "6.3f", "6.2f", "6.2f", "6.2f", "9.1e")
    cells = [
        "-".rjust(int(form.split(".")[0])) if value is None else f"{value:{form}}"
        for value, form in zip(columns, formats, strict=True)
    ]
    return f"{quality.clip[:28]:28} x{quality.gain:<5g} {quality.version:9}" + " ".join(cells)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("clips", type=Path, nargs="+", metavar="CLIP.wav")
    parser.add_argument("--clean", type=Path, nargs="+", help="in the order of the clips")
    parser.add_argument("--official", type=Path, nargs="+", help="stored official output, likewise")
    parser.add_argument("--gain", type=float, nargs="+", default=[1.0])
    parser.add_argument("--model", choices=MODELS, default=DEFAULT_MODEL)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    for name in ("clean", "official"):
        files = getattr(options, name)
        if files and len(files) != len(options.clips):
            parser.error(f"--{name}: expected {len(options.clips)} files, got {len(files)}")
    if not dnsmos.available():
        print("no DNSMOS: the package speechmos is not installed (extra `bench`)")
    nothing = [None] * len(options.clips)
    given = options.clean or nothing, options.official or nothing
    clips = list(zip(options.clips, *given, strict=True))
    print(
        f"{'clip':28} {'gain':6} {'version':9} SI-SDR   PESQ   STOI    SIG    BAK   OVRL ours off"
    )
    rows = []
    for gain in options.gain:
        for clip in clips:
            for quality in compare(*clip, gain, options.model):
                print(show(quality), flush=True)
                rows.append(asdict(quality))
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
