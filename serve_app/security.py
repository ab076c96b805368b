"""The security log: who signed in, failed to, or changed who may do what.

Unlike every other log it names people and addresses, on purpose, and never secrets. The id of the
request is added as everywhere.
"""

import logging
from contextvars import ContextVar

from foundation.logs import fields

log = logging.getLogger(__name__)

address: ContextVar[str] = ContextVar("address", default="")
"""Where the current request comes from; empty outside of requests."""


def note(event: str, user: str, **more: object) -> None:
    """Write what happened to a user's account."""
    log.info(event, extra=fields(user=user, address=address.get(), **more))
