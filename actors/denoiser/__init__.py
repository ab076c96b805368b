"""Streaming speech denoising: arrays in, arrays out, without I/O."""

from actors.denoiser.engine import MAX_SAMPLE, Engine, EngineFull, Slot, executor_on
from actors.denoiser.executor import Device
from actors.denoiser.model import Model, load_model
from actors.denoiser.stream import Delay, Denoiser
from actors.denoiser.weights import ModelError
from actors.models import ModelName

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
