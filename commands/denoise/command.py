"""`hushcast denoise`: sound files in, the same files denoised out."""

import sys
from argparse import Namespace
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from soundfile import SoundFile
from tqdm import tqdm

from actors.denoiser import Model, ModelError, load_model
from commands.denoise.block_denoiser import BlockDenoiser, Sound, denoise_blocks
from commands.denoise.sound_files import (
    Refused,
    open_input,
    output_format,
    read_blocks,
    whole_output,
)
from commands.local.signals import Interrupted, Signals


@dataclass(frozen=True)
class Job:
    """One file to denoise, and where it goes."""

    source: Path
    target: Path


@dataclass(frozen=True)
class Options:
    """What all files of a call have in common."""

    model: Model
    attenuation_limit_db: float | None
    force: bool


def run(options: Namespace, signals: Signals) -> int:
    """Denoise files; returns the exit code.

    2 if the call or its only file is refused, 1 if one of several files is, 130 after Ctrl-C (128
    plus the signal's number).
    """
    try:
        return _run(options, signals)
    except (Refused, ModelError) as refusal:
        _tell(refusal)
        return 2
    except OSError as error:
        _tell(f"{error.filename}: {error.strerror}")
        return 2
    except Interrupted:
        return signals.exit_code


def _run(options: Namespace, signals: Signals) -> int:
    limit_db = options.attenuation_limit_db
    if limit_db is not None and not limit_db >= 0:  # written so that NaN is refused
        raise Refused(f"--attenuation-limit-db: expected 0 or more, got {limit_db:g}")
    jobs = _jobs(options.inputs, options.output)
    # Check every file first: nobody should wait hours to learn that one is missing.
    ready = _each(jobs, lambda job: _check(job, force=options.force))
    if ready:
        _make_folder(ready[0].target.parent, several=len(jobs) > 1)
        common = Options(load_model(options.model), limit_db, options.force)
        ready = _each(ready, lambda job: _denoise(job, common, signals))
    if len(ready) == len(jobs):
        return 0
    return 1 if len(jobs) > 1 else 2


def _jobs(inputs: Sequence[str], output: str) -> list[Job]:
    """Pair every input with its output. Raises Refused if they do not fit together."""
    target = Path(output)
    if len(inputs) == 1 and not target.is_dir():
        return [Job(Path(inputs[0]), target)]
    if target.exists() and not target.is_dir():
        raise Refused(f"{target}: not a folder; several inputs need one")
    sources: dict[str, Path] = {}
    for source in map(Path, inputs):
        if source.name in sources:
            other = sources[source.name]
            raise Refused(f"{source} and {other} would both become {target / source.name}")
        sources[source.name] = source
    return [Job(source, target / name) for name, source in sources.items()]


def _each(jobs: Sequence[Job], work: Callable[[Job], None]) -> list[Job]:
    """Run `work` for every job; prints what failed and returns the jobs that succeeded."""
    done = []
    for job in jobs:
        try:
            work(job)
            done.append(job)
        except Refused as refusal:
            _tell(refusal)
        except OSError as error:
            _tell(f"{error.filename}: {error.strerror}")
    return done


def _check(job: Job, *, force: bool) -> None:
    """Refuse what can be checked before any sound is read."""
    open_input(job.source).close()
    if job.target.exists():
        if job.target.samefile(job.source):
            raise Refused(f"{job.target}: is the input itself; give the output another name")
        if not job.target.is_file():
            raise Refused(f"{job.target}: not a file")
        if not force:
            raise Refused(f"{job.target}: already exists; use --force to replace it")


def _make_folder(folder: Path, *, several: bool) -> None:
    """Create the folder for several files; for a single file it must exist."""
    if several:
        folder.mkdir(parents=True, exist_ok=True)
    elif not folder.is_dir():
        raise Refused(f"{folder}: no such folder")


def _denoise(job: Job, common: Options, signals: Signals) -> None:
    with open_input(job.source) as source:
        chosen = output_format(source, job.source, job.target)
        denoiser = BlockDenoiser(
            common.model,
            rate=source.samplerate,
            channels=source.channels,
            attenuation_limit_db=common.attenuation_limit_db,
        )
        with whole_output(job.target, source, chosen, replace=common.force) as output:
            blocks = _watched(source, job.source, signals)
            for sound in denoise_blocks(blocks, denoiser):
                output.write(sound)
    if chosen.note:
        _tell(chosen.note)
    if denoiser.replaced:
        broken = f"{denoiser.replaced} invalid samples (NaN, infinite, far too large)"
        _tell(f"{job.source}: {broken} became silence")


def _watched(source: SoundFile, path: Path, signals: Signals) -> Iterator[Sound]:
    """Read a file's blocks with a progress bar on a terminal; raises Interrupted after Ctrl-C."""
    seconds = source.frames / source.samplerate
    with tqdm(
        desc=path.name,
        total=seconds,
        disable=None,
        bar_format="{l_bar}{bar}| {elapsed}<{remaining}",
    ) as progress:
        for block in read_blocks(source, path):
            if signals.count:
                raise Interrupted
            yield block
            progress.update(len(block) / source.samplerate)


def _tell(message: object) -> None:
    print(message, file=sys.stderr)
