"""Runs batches with torch; on a GPU as CUDA graphs, so that a hop of all streams is one launch.

The network is generated from the model's graph; tables and constants are those of `features.py`.
What differs is the shape of the work: sizes are fixed, state stays at fixed addresses, and a mask
says which streams take part.
"""

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from actors.denoiser.config import Config
from actors.denoiser.executor import Batch, Device, Phase, Result
from actors.denoiser.features import (
    ERB_SCALE_DB,
    FAINTEST,
    GAIN_AS_IS,
    LITTLE,
    LOUD,
    MIN_POWER,
    MOST_GAIN,
    POST_FILTER_BETA,
    UNIT_NORM_FLOOR,
    Analysis,
    Filter,
    erb_widths,
    norm_factors,
    peak_keep,
    vorbis_window,
)
from actors.denoiser.model import Model
from actors.denoiser.weights import ModelError

try:
    import torch
    from torch import Tensor

    from actors.denoiser.torch_network import TorchNetwork
except ModuleNotFoundError as error:
    if error.name != "torch":
        raise
    raise ModelError(
        "this executor runs on torch, which is not installed; install hushcast[gpu]"
    ) from error

SMALLEST_BUCKET = 16
_NOT_READY = -1
_WARM_UPS = 3


class TorchExecutor:
    """An `Executor` on a device, for one thread at a time.

    A batch runs the smallest bucket of rows that holds its highest slot: 16, 32 and so on up to
    the capacity. On CUDA each bucket is a graph, captured when the executor is created.

    `tf32` lets a GPU round the factors of products to 10 bits; the output is then no longer exact.

    Raises:
        ModelError: there is no CUDA device, or the network has an operation without a torch form.
    """

    def __init__(
        self, model: Model, capacity: int, device: Device = "cpu", *, tf32: bool = False
    ) -> None:
        on_gpu = device == "cuda"
        if on_gpu and not torch.cuda.is_available():
            raise ModelError("torch finds no CUDA device here; use the CPU executor")
        self.capacity = self.max_batch = capacity
        self.max_hops = 1
        self._on_gpu = on_gpu
        self._hop = model.hop_samples
        self._pipeline = _Pipeline(model, capacity, torch.device(device))
        self._inbox = torch.zeros(capacity, self._hop + 3, pin_memory=on_gpu)
        self._outbox = torch.zeros(capacity, self._hop + 1, pin_memory=on_gpu)
        self._graphs = self._captured(tf32) if on_gpu else {}

    def reset(self, slot: int) -> None:
        for slab in self._pipeline.slabs:
            slab.reset(slot)

    def move(self, source: int, target: int) -> None:
        for slab in self._pipeline.slabs:
            slab.move(source, target)

    def run(self, batch: Batch) -> Result:
        rows = self._bucket(int(batch.slots[-1]) + 1)
        inbox: NDArray[np.float32] = self._inbox.numpy()[:rows]
        inbox[:, self._hop] = _NOT_READY
        inbox[batch.slots, : self._hop] = batch.hops[:, 0]
        inbox[batch.slots, self._hop] = batch.phases
        inbox[batch.slots, self._hop + 1] = batch.noisy_share
        inbox[batch.slots, self._hop + 2] = 0 if batch.post_filter is None else batch.post_filter
        self._pipeline.inbox[:rows].copy_(self._inbox[:rows], non_blocking=True)
        if self._on_gpu:
            self._graphs[rows].replay()
        else:
            self._pipeline.step(rows)
        self._outbox[:rows].copy_(self._pipeline.outbox[:rows], non_blocking=True)
        if self._on_gpu:
            torch.cuda.current_stream().synchronize()
        made: NDArray[np.float32] = self._outbox.numpy()[batch.slots]
        return Result(sound=made[:, None, : self._hop], lsnr=made[:, self._hop])

    def _bucket(self, rows: int) -> int:
        """Find the smallest bucket that holds this many rows."""
        return min(self.capacity, max(SMALLEST_BUCKET, 1 << (rows - 1).bit_length()))

    def _captured(self, tf32: bool) -> "dict[int, torch.cuda.CUDAGraph]":
        """Capture each bucket's step, the largest first: the others fit into its memory.

        One memory pool serves them all, since no two run at a time and nothing in it outlives a
        step. No row is ready during warm-up, and a capture computes nothing, so no state changes.
        """
        self._pipeline.inbox[:, self._hop] = _NOT_READY
        buckets = {self._bucket(rows) for rows in range(1, self.capacity + 1)}
        stream, pool = torch.cuda.Stream(), torch.cuda.graph_pool_handle()
        stream.wait_stream(torch.cuda.current_stream())
        graphs = {}
        with _products_in(tf32):
            for rows in sorted(buckets, reverse=True):
                with torch.cuda.stream(stream):
                    for _ in range(_WARM_UPS):
                        self._pipeline.step(rows)
                graphs[rows] = torch.cuda.CUDAGraph()
                with torch.cuda.graph(
                    graphs[rows], pool=pool, stream=stream, capture_error_mode="thread_local"
                ):
                    self._pipeline.step(rows)
        torch.cuda.synchronize()
        return graphs


class _Slab:
    """Tensors [capacity, ...] at fixed addresses."""

    def __init__(
        self, initial: Mapping[str, NDArray[Any]], capacity: int, device: torch.device
    ) -> None:
        self._initial = {name: torch.tensor(row, device=device) for name, row in initial.items()}
        self._tensors = {
            name: row.repeat(capacity, *[1] * (row.ndim - 1)) for name, row in self._initial.items()
        }

    def reset(self, slot: int) -> None:
        """Give a slot the state of a stream that has heard nothing."""
        for name, tensor in self._tensors.items():
            tensor[slot] = self._initial[name][0]

    def move(self, source: int, target: int) -> None:
        """Copy one slot over another."""
        for tensor in self._tensors.values():
            tensor[target] = tensor[source]

    def rows(self, rows: int) -> dict[str, Tensor]:
        """Get the first rows, in place."""
        return {name: tensor[:rows] for name, tensor in self._tensors.items()}

    def update(self, mask: Tensor, new: Mapping[str, Tensor]) -> None:
        """Take the new rows where the mask [B] is true.

        They must not be views of the old ones, which are overwritten one after the other. A product
        with the mask would not do: NaN times zero is NaN.
        """
        for name, rows in new.items():
            old = self._tensors[name][: len(rows)]
            wide = mask.reshape(-1, *[1] * (rows.ndim - 1))
            torch.where(wide, rows, old, out=old)


class _Pipeline:
    """A hop of the first B rows, from sound to sound, all on the device.

    Attributes:
        inbox: [capacity, hop + 3]: a hop, its phase or `_NOT_READY`, its noisy share, 1 if it has
            the post-filter.
        outbox: [capacity, hop + 1]: a hop, and the local SNR in dB.
    """

    def __init__(self, model: Model, capacity: int, device: torch.device) -> None:
        self._config = config = model.config
        self._network = TorchNetwork(model.networks[1], device)
        zeros = {
            name: np.zeros((1, *shape), np.float32)
            for name, shape in self._network.state_shapes.items()
        }
        self._heard = _Slab(vars(Analysis(config).initial_state(1)), capacity, device)
        self._memory = _Slab(zeros, capacity, device)
        self._filtered = _Slab(vars(Filter(config).initial_state(1)), capacity, device)
        self.slabs = self._heard, self._memory, self._filtered
        self.inbox = torch.zeros(capacity, config.hop_size + 3, device=device)
        self.outbox = torch.zeros(capacity, config.hop_size + 1, device=device)
        self._window = torch.tensor(vorbis_window(config.fft_size), device=device)
        self._normalise_level = model.normalise_level
        self._peak_keep = float(peak_keep(config))
        self._keep, self._take = map(float, norm_factors(config))
        self._band_of_bin, self._bands = _bands(config, device)

    def step(self, rows: int) -> None:
        """Run the ready rows' hops from the inbox; put what comes out into the outbox."""
        hop, inbox = self._config.hop_size, self.inbox[:rows]
        phase = inbox[:, hop]
        ready = phase != _NOT_READY
        spec, features = self._analyse(inbox[:, :hop], phase == int(Phase.SOUND))
        past = self._filtered.rows(rows)["frames"] >= self._config.conv_lookahead
        asked = ready & past & (phase != int(Phase.NOTHING))
        gains, coefs, lsnr = self._ask(features, asked)
        sound = self._filter(spec, gains, coefs, inbox, ready)
        self.outbox[:rows, :hop] = sound
        self.outbox[:rows, hop] = lsnr

    def _analyse(self, hops: Tensor, sounding: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Get spectra [B, F] and features; zeros for rows without sound."""
        old = self._heard.rows(len(hops))
        window = torch.cat((old["last_hop"], hops), 1) * self._window
        spec = torch.fft.rfft(window, norm="forward")
        power = spec.real.square() + spec.imag.square()
        level = 10 * torch.log10(power @ self._bands + float(MIN_POWER))
        mean = level * self._take + old["mean_norm"] * self._keep
        new, before = {"last_hop": hops, "mean_norm": mean}, old["unit_norm"]
        low = spec[:, : self._config.nb_df]
        if self._normalise_level:
            gain, lower, new["peak"] = self._gain(hops, old["peak"])
            before = before * lower[:, None]
        norm = low.abs() * self._take + before * self._keep
        new["unit_norm"] = norm = norm.clamp_min(float(UNIT_NORM_FLOOR))
        low = low / norm.sqrt()
        if self._normalise_level:
            low = low * gain.sqrt()[:, None]
        self._heard.update(sounding, new)
        silent = ~sounding[:, None]
        erb = ((level - mean) / float(ERB_SCALE_DB)).masked_fill(silent, 0)
        both = torch.stack((low.real, low.imag), 1).masked_fill(silent[:, None], 0)
        features = {"feat_erb": erb[:, None, None], "feat_spec": both[:, :, None]}
        return spec.masked_fill(silent, 0), features

    def _gain(self, hops: Tensor, before: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Get the factors of quiet sound and of its unit norm, and the peak; see `Analysis`."""
        rms = hops.square().mean(1).sqrt()
        waits, faint = before == 0, rms < float(FAINTEST)
        peak = torch.maximum(rms, before * self._peak_keep).clamp_min(float(UNIT_NORM_FLOOR))
        gain = (float(LOUD) / peak).clamp(1, float(MOST_GAIN))
        lower = torch.ones_like(gain)
        if self._config.lowers_norm:
            begun = 1 / (gain / float(GAIN_AS_IS)).clamp_min(1)
            lower = torch.where(waits & ~faint, begun, lower)
        return gain, lower, peak.masked_fill(waits & faint, 0)

    def _ask(self, features: Mapping[str, Tensor], asked: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Get gains, coefs and lsnr; zeros and NaN for rows that are not asked."""
        answer, after = self._network(features, self._memory.rows(len(asked)))
        self._memory.update(asked, after)
        idle = ~asked
        return (
            answer["gains"][:, 0].masked_fill(idle[:, None], 0),
            answer["coefs"][:, 0].masked_fill(idle[:, None, None, None], 0),
            answer["lsnr"][:, 0].masked_fill(idle, torch.nan),
        )

    def _filter(
        self, spec: Tensor, gains: Tensor, coefs: Tensor, inbox: Tensor, ready: Tensor
    ) -> Tensor:
        """Add the newest frames and turn the oldest into sound [B, hop]."""
        config, low = self._config, self._config.nb_df
        noisy_share, post_filtered = inbox[:, config.hop_size + 1 :].unsqueeze(2).unbind(1)
        if config.filters_masked:
            gains = _post_filtered(gains, gains, post_filtered)
        old = self._filtered.rows(len(spec))
        new = {"frames": old["frames"] + 1, "noisy": _pushed(old["noisy"], spec)}
        read = new["noisy"][:, -1 - config.newest_read, :low]
        if config.filters_masked:
            read = read * gains[:, self._band_of_bin[:low]]
        new["low"] = _pushed(old["low"], read)
        new["gains"] = _pushed(old["gains"], gains)
        turned = torch.view_as_complex(coefs.contiguous()).transpose(1, 2)  # [B, df_order, nb_df]
        new["coefs"] = _pushed(old["coefs"], turned)
        filtered = (new["low"][:, -config.df_order :] * new["coefs"][:, 0]).sum(1)
        noisy = new["noisy"][:, -1 - config.frames_ahead]
        gains = new["gains"][:, -1 - config.answer_waits]
        high = noisy[:, low:] * gains[:, self._band_of_bin[low:]]
        enhanced = torch.cat((filtered, high), 1)
        if not config.filters_masked:
            left = enhanced.abs() / (noisy.abs() + float(LITTLE))
            enhanced = _post_filtered(enhanced, left.clamp_max(1), post_filtered)
        enhanced = enhanced + (noisy - enhanced) * noisy_share
        # The deep filter turns the phase of 0 Hz too. FFT libraries differ in what they make of
        # its imaginary part, which is not sound.
        torch.view_as_real(enhanced)[:, 0, 1].zero_()
        sound = torch.fft.irfft(enhanced, norm="forward") * self._window
        hops: Tensor = sound[:, : config.hop_size] + old["overlap"]
        new["overlap"] = sound[:, config.hop_size :]
        self._filtered.update(ready, new)
        return hops


def _post_filtered(values: Tensor, gains: Tensor, chosen: Tensor) -> Tensor:
    """Apply the post-filter for these gains [B, F] to the rows chosen [B, 1]."""
    squares = torch.sin(math.pi / 2 * gains).square()
    factors = (1 + POST_FILTER_BETA) * squares / (squares + POST_FILTER_BETA)
    return torch.where(chosen != 0, values * factors, values)


def _pushed(ring: Tensor, frame: Tensor) -> Tensor:
    """Copy a ring [B, T, ...] without its oldest frame, a new one at the end."""
    return torch.cat((ring[:, 1:], frame[:, None]), 1)


def _bands(config: Config, device: torch.device) -> tuple[Tensor, Tensor]:
    """Get each bin's band [F], and the matrix [F, nb_erb] from powers to the bands' means."""
    widths = erb_widths(config)
    band_of_bin = np.repeat(np.arange(config.nb_erb), widths)
    means = np.zeros((config.nb_freqs, config.nb_erb), np.float32)
    means[np.arange(config.nb_freqs), band_of_bin] = 1 / widths[band_of_bin]
    return torch.tensor(band_of_bin, device=device), torch.tensor(means, device=device)


@contextmanager
def _products_in(tf32: bool) -> Iterator[None]:
    """Choose kernels with TF32 or without, the same ones each time.

    torch has one such setting per process. It is restored afterwards; captured graphs keep the
    kernels they were captured with.
    """
    matmul, before = torch.backends.cuda.matmul, torch.backends.cuda.matmul.allow_tf32
    with torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=tf32):
        matmul.allow_tf32 = tf32
        try:
            yield
        finally:
            matmul.allow_tf32 = before
