"""DeepFilterNet2, streaming: numbers in, numbers out. Knows no network, no process, no clock."""

from actors.denoiser.engine import MAX_SAMPLE, Engine, EngineFull, Slot
from actors.denoiser.model import Model, load_model
from actors.denoiser.stream import Delay, Denoiser
from actors.denoiser.weights import ModelError, ModelName

__all__ = [
    "MAX_SAMPLE",
    "Delay",
    "Denoiser",
    "Engine",
    "EngineFull",
    "Model",
    "ModelError",
    "ModelName",
    "Slot",
    "load_model",
]
