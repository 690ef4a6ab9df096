"""Learning to copy: a sudden fall of the loss that no smooth law of size and data foretells.

After some tokens attention learns to find in its window what followed a token before (induction
heads), and then a model's loss falls suddenly, in one seed sooner than in another. So what is known
of a run to come is a chance. Which models can is what was seen on Python source
(experiments/copying, loss_law.py): none of one or two layers did within 8 million tokens, nor
three layers of width 16 and 32; all others of three and four did. One gain for all is a
simplification: it seems to grow with tokens.

References:
    Olsson et al. 2022, arXiv:2209.11895: it is sudden, and no model of one layer learns it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from pydantic import ConfigDict

from ...space.limits import check_size

MIN_LAYERS, MIN_WIDTH = 3, 48
# How sharply the share of runs that copy rises with the log of the tokens.
SHARPNESS = 4
# A chance between these is worth a word.
UNDECIDED = (0.05, 0.95)
# What the two numbers of `Copying` are called among a law's others.
NUMBERS = ("copying_gain", "copying_onset_tokens")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Copying:
    """What a law says of it.

    Examples:
        At the onset half of the runs copy; at twice the tokens 1 / (1 + 1/2^4) = 16/17 do, so that
        a gain of 0.17 is one of 0.16 on average. Two layers never do.

        >>> copying = Copying(gain=0.17, onset_tokens=1e6)
        >>> shape = {"d_model": 64, "n_layers": 4}
        >>> copying.chance(1e6, shape)
        0.5
        >>> round(copying.chance(2e6, shape), 4)
        0.9412
        >>> round(copying.factor(2e6, shape), 9)
        0.84
        >>> copying.factor(2e6, shape | {"n_layers": 2})
        1.0

    Attributes:
        gain: the share by which the loss falls.
        onset_tokens: by which half of the runs that can copy do.

    Raises:
        ValueError: the gain is not between 0 and 1, or the onset not positive and finite.
    """

    __pydantic_config__ = ConfigDict(extra="forbid")

    gain: float
    onset_tokens: float

    def __post_init__(self) -> None:
        if not 0 < self.gain < 1:
            raise ValueError(f"`gain` must be above 0 and below 1, but got {self.gain}")
        check_size("`onset_tokens`", self.onset_tokens)

    @property
    def formula(self) -> str:
        """The factor in letters."""
        return f"(1 - {self.gain:.3g} if it copies)"

    @property
    def sentence(self) -> str:
        """What it says, for a reader."""
        return (
            f"the loss of runs that learn to copy from their window is {self.gain:.1%} lower; "
            f"of models with at least {MIN_LAYERS} layers and width {MIN_WIDTH} half do by "
            f"{self.onset_tokens:,.0f} tokens"
        )

    @property
    def numbers(self) -> dict[str, float]:
        """Both, by the names that they have among a law's numbers."""
        return dict(zip(NUMBERS, (self.gain, self.onset_tokens), strict=True))

    def chance(self, n_tokens: Any, run: Mapping[str, Any]) -> Any:
        """That a run of so many tokens, at least one, copies at its end."""
        return copying_chance(self.onset_tokens, n_tokens, run)

    def factor(self, n_tokens: Any, run: Mapping[str, Any]) -> Any:
        """What the loss is multiplied by: on average, or as `luck` from 0 to 1 in `run` has it."""
        return copying_factor(self.gain, self.onset_tokens, n_tokens, run)


def able(run: Mapping[str, Any]) -> Any:
    """Whether a model of so many `n_layers` and `d_model` can learn it."""
    return (run["n_layers"] >= MIN_LAYERS) & (run["d_model"] >= MIN_WIDTH)


def copying_chance(onset_tokens: Any, n_tokens: Any, run: Mapping[str, Any]) -> Any:
    """`Copying.chance` of one onset or of many at once."""
    return able(run) / (1 + (onset_tokens / n_tokens) ** SHARPNESS)


def copying_factor(gain: Any, onset_tokens: Any, n_tokens: Any, run: Mapping[str, Any]) -> Any:
    """`Copying.factor` of one gain and onset or of many at once."""
    chance = copying_chance(onset_tokens, n_tokens, run)
    return 1 - gain * (run["luck"] < chance if "luck" in run else chance)
