"""The process that cleans previews for a stream actor: `python -m actors.preview_worker`.

A process of its own, and not a thread: one thread that computes holds up the others of its process
whenever it holds Python's lock, and libsndfile reads here what strangers send.
"""

import os
import resource
import sys
import traceback
from typing import BinaryIO, cast

from actors.denoiser import load_model
from actors.errors import PreviewRefused
from actors.models import ModelName
from actors.preview import clean
from actors.previews import ANSWER, REQUEST, Outcome

NICER = 10
"""How much of the processor it leaves to live streams where there is not enough for all."""
MAX_MEMORY_BYTES = 4 * 1024**3


def serve(requests: BinaryIO, answers: BinaryIO) -> None:
    """Answer one request after another until there are no more."""
    while head := requests.read(REQUEST.size):
        name, limit_db, post_filter, length = REQUEST.unpack(head)
        wav = requests.read(length)
        try:
            model_name = cast(ModelName, name.rstrip(b"\0").decode())
            model = load_model(model_name, normalise_level=True)  # as live
            cleaned = clean(wav, model, _finite(limit_db), post_filter=post_filter)
            outcome, body = Outcome.CLEANED, cleaned
        except PreviewRefused as refusal:
            outcome, body = Outcome.REFUSED, str(refusal).encode()
        except Exception:  # the actor logs it
            outcome, body = Outcome.FAILED, traceback.format_exc().encode()
        answers.write(ANSWER.pack(outcome, len(body)) + body)
        answers.flush()


def _finite(limit_db: float) -> float | None:
    return None if limit_db == float("inf") else limit_db


if __name__ == "__main__":
    os.nice(NICER)
    resource.setrlimit(resource.RLIMIT_AS, (MAX_MEMORY_BYTES, MAX_MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))  # nothing is kept
    serve(sys.stdin.buffer, sys.stdout.buffer)
