"""DeepFilterNet2, streaming: numbers in, numbers out. Knows no network, no process, no clock."""

from actors.denoiser.engine import MAX_SAMPLE, Device, Engine, EngineFull, Slot, executor_on
from actors.denoiser.model import Model, load_model
from actors.denoiser.stream import Delay, Denoiser
from actors.denoiser.weights import ModelError, ModelName

__all__ = [
    "MAX_SAMPLE",
    "Delay",
    "Denoiser",
    "Device",
    "Engine",
    "EngineFull",
    "Model",
    "ModelError",
    "ModelName",
    "Slot",
    "executor_on",
    "load_model",
]
