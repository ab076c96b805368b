"""A fresh denoiser for each test; the model behind it is loaded once."""

import pytest

from actors.denoiser import Denoiser, Model, load_model


@pytest.fixture
def model() -> Model:
    return load_model()


@pytest.fixture
def denoiser(model: Model) -> Denoiser:
    return Denoiser(model)
