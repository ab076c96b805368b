"""A preview: what a few seconds of sound would be like in a stream."""

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from pydantic import Field

from serve_app.bodies import media_type
from serve_app.callers import Caller
from serve_app.errors import WrongType
from serve_app.schemas import OptionalInQuery
from serve_app.services import Use

router = APIRouter(prefix="/api", tags=["streams"])

WAV = "audio/wav"
ALSO_WAV = ("audio/x-wav", "audio/wave", "audio/vnd.wave")


@router.post("/preview", response_class=Response, responses={200: {"content": {WAV: {}}}})
async def preview(
    request: Request,
    caller: Caller,
    use: Use,
    attenuation_limit_db: Annotated[
        Annotated[float, Field(ge=0, allow_inf_nan=False)] | None, OptionalInQuery, Query()
    ] = None,
    post_filter: bool = False,
    model: Annotated[str | None, Query(max_length=64)] = None,
) -> Response:
    """Clean a WAV of a few seconds as a stream would be; nothing of it is kept."""
    if media_type(request) not in (WAV, *ALSO_WAV):
        raise WrongType("the sound", WAV)
    name = use.loaded(model)
    await use.rates.count("previews", caller)
    wav = await request.body()
    cleaned = await use.streams.preview(wav, attenuation_limit_db, name, post_filter=post_filter)
    return Response(cleaned, media_type=WAV)
