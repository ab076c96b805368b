"""`hushcast denoise`: sound files in, the same files denoised out."""

import os
import sys
from argparse import Namespace
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from actors.block_denoiser import BlockDenoiser, denoise_blocks
from actors.denoiser import Model, ModelError, load_model
from actors.samples import Sound
from commands.denoise.outputs import Output, piped_output, whole_output
from commands.denoise.sound_files import (
    name_in_folder,
    open_input,
    open_pipe,
    output_form,
    piped_form,
)
from commands.denoise.source import Form, Refused, Source
from commands.denoise.standard_streams import STANDARD_INPUT, STANDARD_OUTPUT, StandardStream
from commands.local.signals import Interrupted, Signals

_MOST_SHOWN = 30
"""Characters of a name before a progress bar; 60 columns if they are wide."""


@dataclass(frozen=True)
class Job:
    """One sound to denoise, and where it goes; None stands for a standard stream."""

    source: Path | None
    target: Path | None

    @property
    def source_name(self) -> str:
        """The input, in messages."""
        return "standard input" if self.source is None else str(self.source)

    @property
    def target_name(self) -> str:
        """The output, in messages."""
        return "standard output" if self.target is None else str(self.target)


@dataclass(frozen=True)
class Options:
    """What all files of a call have in common."""

    model: Model
    attenuation_limit_db: float | None
    post_filter: bool
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
    table = {job: ("not done", job.source_name) for job in jobs}
    try:
        # Check every file first: nobody should wait hours to learn that one is missing.
        ready = list(_succeeded(jobs, lambda job: _check(job, force=options.force), table))
        if ready:
            _make_folder(ready[0].target, several=len(jobs) > 1)
            model = load_model(options.model)
            common = Options(model, limit_db, options.post_filter, options.force)
            for job in _succeeded(ready, lambda job: _denoise(job, common, signals), table):
                table[job] = ("done", job.target_name)
    finally:
        failed = any(outcome != "done" for outcome, _ in table.values())
        if failed and len(jobs) > 1:
            for outcome, what in table.values():
                _tell(f"{outcome:8}  {what}")
    if not failed:
        return 0
    return 1 if len(jobs) > 1 else 2


def _jobs(inputs: Sequence[str], output: str) -> list[Job]:
    """Pair every input with its output. Raises Refused if they do not fit together."""
    # Not Path("-"), which ./- would be too.
    target = None if output == "-" else Path(output)
    sources = [None if source == "-" else Path(source) for source in inputs]
    if len(sources) == 1 and not (target and target.is_dir()):
        return [Job(sources[0], target)]
    if target is None or target.exists() and not target.is_dir():
        raise Refused(f"{output}: not a folder; several inputs need one")
    named: dict[str, Path] = {}
    for source in sources:
        if source is None:
            raise Refused("-: standard input has no name; give OUT one")
        name = name_in_folder(source)
        if name in named:
            raise Refused(f"{source} and {named[name]} would both become {target / name}")
        named[name] = source
    return [Job(source, target / name) for name, source in named.items()]


def _succeeded(
    jobs: Sequence[Job], work: Callable[[Job], None], table: dict[Job, tuple[str, str]]
) -> Iterator[Job]:
    """Run `work` for every job and yield those that succeed; tells and notes why one fails."""
    for job in jobs:
        try:
            work(job)
        except Interrupted:
            raise
        except Exception as error:  # whatever is wrong with one file, the others are done
            table[job] = ("failed", _reason(error, job))
            _tell(table[job][1])
        else:
            yield job


def _reason(error: Exception, job: Job) -> str:
    if isinstance(error, Refused):
        return str(error)
    if isinstance(error, OSError):
        return f"{error.filename or job.source_name}: {error.strerror}"
    return f"{job.source_name}: {type(error).__name__}: {error}"


def _check(job: Job, *, force: bool) -> None:
    """Refuse what can be checked before any sound is read."""
    if job.source is None:
        if os.isatty(STANDARD_INPUT):
            raise Refused(f"{job.source_name}: is a terminal; pipe a sound file into it")
    else:
        open_input(job.source).close()
    if job.target is None:
        if os.isatty(STANDARD_OUTPUT):
            raise Refused(f"{job.target_name}: is a terminal; pipe it into a program or a file")
    elif job.target.exists():
        if job.source and job.target.samefile(job.source):
            raise Refused(f"{job.target}: is the input itself; give the output another name")
        if not job.target.is_file():
            raise Refused(f"{job.target}: not a file")
        if not force:
            raise Refused(f"{job.target}: already exists; use --force to replace it")
        if not os.access(job.target, os.W_OK):
            raise Refused(f"{job.target}: is read-only")


def _make_folder(target: Path | None, *, several: bool) -> None:
    """Create the folder for several files; for a single file it must exist."""
    if target and several:
        target.parent.mkdir(parents=True, exist_ok=True)
    elif target and not target.parent.is_dir():
        raise Refused(f"{target.parent}: no such folder")


def _denoise(job: Job, common: Options, signals: Signals) -> None:
    with _source(job, signals) as source:
        form, note = _form(job, source)
        denoiser = BlockDenoiser(
            common.model,
            rate=form.rate,
            channels=form.channels,
            attenuation_limit_db=common.attenuation_limit_db,
            post_filter=common.post_filter,
        )
        with _output(job, form, source, common, signals) as output:
            blocks = _watched(source, job.source_name, signals)
            for sound in denoise_blocks(blocks, denoiser):
                output.write(sound)
        for name, text in ((job.target_name, note or output.note), (job.source_name, source.note)):
            if text:
                _tell(f"{name}: {text}")
    if denoiser.replaced:
        broken = f"{denoiser.replaced} invalid samples (NaN, infinite, far too large)"
        _tell(f"{job.source_name}: {broken} became silence")


def _source(job: Job, signals: Signals) -> Source:
    if job.source:
        return open_input(job.source)
    return open_pipe(StandardStream(STANDARD_INPUT, signals), job.source_name)


def _form(job: Job, source: Source) -> tuple[Form, str]:
    if job.target:
        return output_form(source.form, job.source or Path(), job.target)
    return piped_form(source.form)


def _output(
    job: Job, form: Form, source: Source, common: Options, signals: Signals
) -> AbstractContextManager[Output]:
    if job.target:
        return whole_output(job.target, form, source, replace=common.force)
    pipe = StandardStream(STANDARD_OUTPUT, signals)
    return piped_output(pipe, job.target_name, form, source)


def _watched(source: Source, name: str, signals: Signals) -> Iterator[Sound]:
    """Read a source's blocks with a progress bar on a terminal; raises Interrupted after Ctrl-C."""
    with tqdm(
        desc=_ending(_printable(name)),
        total=source.seconds,
        disable=None,
        bar_format="{l_bar}{bar}| {elapsed}<{remaining}",
    ) as progress:
        for block in source.blocks():
            if signals.count:
                raise Interrupted
            yield block
            block_s = len(block) / source.form.rate
            if progress.total is not None:  # an estimate; tqdm warns on the screen if it is too low
                progress.total = max(progress.total, progress.n + block_s)
            progress.update(block_s)


def _ending(name: str) -> str:
    """Shorten a name, so that the bar fits on the line."""
    return name if len(name) <= _MOST_SHOWN else "..." + name[-_MOST_SHOWN:]


def _tell(message: object) -> None:
    print(_printable(str(message)), file=sys.stderr)


def _printable(text: str) -> str:
    """Show what a terminal cannot, such as a newline or a byte that is not UTF-8, as an escape."""
    shown = text.encode(errors="surrogateescape").decode(errors="backslashreplace")
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in shown)
