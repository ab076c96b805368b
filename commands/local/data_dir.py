"""The data directory of one `hushcast up`: what is kept between starts, and its secrets."""

import fcntl
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import psutil

MAX_PATH_BYTES = 900
"""Valkey crashes in a folder whose path has 1,024."""
CLEAN_UP_LIMIT_S = 15.0
"""How long a guardian may take to end what a dead process has left: it kills it after 3 s."""


class DataDirRefused(Exception):
    """This directory cannot be used; the message says why."""


class DataDirInUse(DataDirRefused):
    """Another hushcast is using it."""


class NoData(DataDirRefused):
    """No hushcast has used it."""


def private_folder(path: Path) -> Path:
    """Create a folder that only its owner may enter, or make an existing one so; returns it."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.chmod(0o700)
    return path


def private_file(path: Path, text: str) -> Path:
    """Write a file that only its owner may read, whole or not at all; returns its path."""
    draft = path.with_name(f".{path.name}.new")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
    return path


def kept_secret(path: Path) -> str:
    """Get the secret in a file; the first call creates it, 256 bits as hexadecimal digits."""
    if not path.exists():
        private_file(path, secrets.token_hex(32))
    path.chmod(0o600)
    return path.read_text().strip()


@contextmanager
def locked(folder: Path) -> Iterator[int]:
    """Hold a data directory, creating it for its owner alone if there is none.

    Raises DataDirInUse at once if another process holds it, or DataDirRefused if it cannot be
    created. The lock is the kernel's, and ends with the process, however that ends. It gives the
    lock's file descriptor, by which a guardian holds it, too: after the death of the one before,
    this waits until its guardian has cleaned up.
    """
    if len(os.fsencode(folder)) > MAX_PATH_BYTES:
        raise DataDirRefused("The data directory has too long a path; choose another.")
    with ExitStack() as stack:
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            file = stack.enter_context((folder / "lock").open("a+b", buffering=0))
            _lock(file.fileno())
        except BlockingIOError as error:
            raise DataDirInUse(
                f"The data directory {folder} is in use by another hushcast; "
                "choose another with --data-dir."
            ) from error
        except OSError as error:
            raise DataDirRefused(
                f"The data directory {folder} cannot be used: {error.strerror}; "
                "choose another with --data-dir."
            ) from error
        yield file.fileno()


def _lock(file: int) -> None:
    """Lock a file that names who holds it. Raises BlockingIOError if that process lives."""
    deadline = time.monotonic() + CLEAN_UP_LIMIT_S
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except BlockingIOError:
            holder = os.pread(file, 32, 0)
            if not holder.isdigit() or _lives(int(holder)) or time.monotonic() > deadline:
                raise
            time.sleep(0.1)
    os.truncate(file, 0)
    with suppress(OSError):  # the disk may be full, and then nobody knows whom to wait for
        os.write(file, str(os.getpid()).encode())


def _lives(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
