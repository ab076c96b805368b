"""Limits on guessing passwords: wrong ones count, by name and address, and by each alone."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from serve_app.accounts import AccountDisabled
from serve_app.addresses import Client
from serve_app.passwords import TooManyPasswords
from serve_app.rates import TooOften
from serve_app.services import Services


@asynccontextmanager
async def guess(use: Services, username: str, place: Client) -> AsyncIterator[None]:
    """Count an attempt to sign in; no longer once the password proves to be right.

    It is counted first, or parallel guesses would all be looked at. Raises TooOften.
    """
    await use.rates.count("sign_ins_per_address", place.counted)
    await use.rates.count("sign_ins", username, place.counted)
    try:
        await use.rates.count("sign_ins_per_name", username)
    except TooOften:
        # Guesses from everywhere must not lock the user out of where they already are.
        known = await use.accounts.sign_ins(username)
        if not any(place.address == sign_in.address for sign_in in known):
            raise
    try:
        yield
    except (AccountDisabled, TooManyPasswords):
        await _take_back(use, username, place)
        raise
    await _take_back(use, username, place)
    await use.rates.forget("sign_ins", username, place.counted)


async def _take_back(use: Services, username: str, place: Client) -> None:
    await use.rates.take_back("sign_ins_per_address", place.counted)
    await use.rates.take_back("sign_ins", username, place.counted)
    await use.rates.take_back("sign_ins_per_name", username)
