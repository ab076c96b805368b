"""The `denoise` command within this process, and files for it."""

from pathlib import Path

import numpy as np
import soundfile

from actors.block_denoiser import BlockDenoiser, denoise_blocks
from actors.denoiser import load_model
from commands.cli import _parser
from commands.denoise.sound_files import open_input
from commands.local.signals import Signals
from tests.denoiser.clips import Sound, pieces


def denoise(*arguments: str | Path) -> int:
    """Run the command in this process; returns its exit code."""
    options = _parser().parse_args(["denoise", *map(str, arguments)])
    return int(options.run(options, Signals()))  # which does not listen: the tests' signals stay


def write(path: Path, sound: Sound, rate: int = 48000, subtype: str = "FLOAT") -> Path:
    """Make a sound file."""
    soundfile.write(path, sound, rate, subtype)
    return path


def read(path: Path) -> Sound:
    """Read a whole file [T] or [T, channels]."""
    sound: Sound = soundfile.read(path, dtype="float32")[0]
    return sound


def heard(path: Path) -> Sound:
    """Read a whole file [T] or [T, channels] as the command does."""
    with open_input(path) as source:
        blocks = [np.empty((0, source.form.channels), np.float32), *source.blocks()]
    sound: Sound = np.concatenate(blocks)
    return sound[:, 0] if sound.shape[1] == 1 else sound


def form(path: Path) -> tuple[int, int, int, str]:
    """Name what the output has to share with the input."""
    info = soundfile.info(path)
    return info.samplerate, info.channels, info.frames, info.subtype


def stream(
    sound: Sound, rate: int, lengths: tuple[int, ...] = (), limit: float | None = 0
) -> Sound:
    """Denoise [T, channels] in pieces; with a limit of 0 dB the same comes out."""
    denoiser = BlockDenoiser(
        load_model(), rate=rate, channels=sound.shape[1], attenuation_limit_db=limit
    )
    return np.concatenate(list(denoise_blocks(pieces(sound, lengths), denoiser)))
