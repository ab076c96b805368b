"""What a model says of itself: all that engine and executors know of its network."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Self


@dataclass(frozen=True)
class Config:
    """Signal processing and timing around a network of the DeepFilterNet family.

    Such a network hears the features of libDF. For each frame it answers with gains for the ERB
    bands and with a deep filter for the lowest bins, which combines `df_order` frames to one. All
    fields but the last one are options in a checkpoint's config.ini; lookaheads are in hops.
    """

    sr: int
    fft_size: int
    hop_size: int
    nb_erb: int
    nb_df: int
    min_nb_erb_freqs: int
    norm_tau: float
    lsnr_min: float
    lsnr_max: float
    conv_lookahead: int  # after a frame, before the network answers for it
    df_order: int
    df_lookahead: int  # of the deep filter's frames, how many come after its own
    filters_masked: bool  # the deep filter reads frames with the gains applied, or noisy ones
    # In the first case the post-filter changes the gains, in the other what all has made of a bin.

    @classmethod
    def read(cls, options: Mapping[str, str], *, filters_masked: bool) -> Self:
        """Read the options of a config.ini; those that are missing raise KeyError."""
        given = {
            option.name: option.type(options[option.name])  # type: ignore[operator]  # int, float
            for option in fields(cls)
            if option.name != "filters_masked"
        }
        return cls(**given, filters_masked=filters_masked)

    @property
    def nb_freqs(self) -> int:
        """How many frequency bins a spectrum has."""
        return self.fft_size // 2 + 1

    @property
    def norm_alpha(self) -> float:
        """How much the running norms keep per hop: exp(-hop / tau), rounded as in training."""
        return round(math.exp(-self.hop_size / self.sr / self.norm_tau), 3)

    @property
    def lowers_norm(self) -> bool:
        """Whether a quiet start needs a lower unit norm: DeepFilterNet3 else silences seconds."""
        return not self.filters_masked

    @property
    def frames_ahead(self) -> int:
        """How many frames must follow one before it can be filtered.

        A masked frame is known `conv_lookahead` hops late, so where the deep filter reads masked
        frames both lookaheads add up. Noisy frames are there at once.
        """
        if self.filters_masked:
            return self.conv_lookahead + self.df_lookahead
        return max(self.conv_lookahead, self.df_lookahead)

    @property
    def answer_waits(self) -> int:
        """How many hops an answer waits until its frame can be filtered."""
        return self.frames_ahead - self.conv_lookahead

    @property
    def newest_read(self) -> int:
        """How many hops ago the newest frame came that the deep filter reads."""
        return self.frames_ahead - self.df_lookahead

    @property
    def latency_hops(self) -> int:
        """From a hop going in to the same hop coming out; the last one is the windows' overlap."""
        return self.frames_ahead + 1
