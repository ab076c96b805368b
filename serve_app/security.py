"""The security log: who signed in, failed to, or changed who may do what.

Unlike every other log it names people and addresses, on purpose, and never secrets. The id of the
request is added as everywhere.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from foundation.logs import LogConfig, fields, handler

log = logging.getLogger(__name__)

address: ContextVar[str] = ContextVar("address", default="")
"""Where the current request comes from; empty outside of requests."""

by: ContextVar[str] = ContextVar("by", default="")
"""Who acts on the account, if it is not its user or an administrator."""


class LogUnwritable(Exception):
    """The file of the log cannot be written."""


def note(event: str, user: str, **more: object) -> None:
    """Write what happened to a user's account."""
    log.info(event, extra=fields(user=user, address=address.get(), by=by.get(), **more))


@contextmanager
def operator(config: LogConfig) -> Iterator[None]:
    """Write what a command does where the instance writes, as done `by=operator`.

    To stderr only if the instance has no file. Raises LogUnwritable.
    """
    try:
        to = handler("operator", config)
    except OSError as error:
        raise LogUnwritable(f"{error.filename} cannot be written: {error.strerror}.") from error
    acting = by.set("operator")
    log.addHandler(to)
    log.setLevel(logging.INFO)
    try:
        yield
    finally:
        by.reset(acting)
        log.removeHandler(to)
        to.close()
