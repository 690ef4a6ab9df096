"""What a law says of experts: how the worth of parameters and of tokens changes with their number.

With experts of which a token meets one, and r their transformed number over a dense model's,

    L = E + A r^size N^(size_exponent ln r) / N^alpha + B r^tokens D^(tokens_exponent ln r) / D^beta

so that a dense model has r = 1 and the law's own numbers. N counts what a token meets.

References:
    Ludziejewski et al. 2025, arXiv:2502.05172, equations 4 and 6; its transform is that of Clark et
        al. 2022, arXiv:2202.01169: few experts gain little over a start, many not beyond a limit.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from pydantic import ConfigDict

from ...space.limits import check_size

# What the numbers of `ExpertsTerm` are called among a law's others.
NUMBERS = (
    "experts_size",
    "experts_size_exponent",
    "experts_tokens",
    "experts_tokens_exponent",
)
MOST = 10.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExpertsTerm:
    """What a law says of experts.

    Attributes:
        start: transformed number of experts of a dense model.
        limit: transformed number of experts of infinitely many.
        size: power of r in the scale of the parameters' term.
        size_exponent: what is added to the power of N for each e-fold of r.
        tokens: power of r in the scale of the tokens' term.
        tokens_exponent: what is added to the power of D for each e-fold of r.
        n_experts_range: fewest and most behind the fit, 1 a dense model.

    Raises:
        ValueError: the limit is not above the start, a power is beyond what fits have, or the range
            is reversed.
    """

    __pydantic_config__ = ConfigDict(extra="forbid")

    start: float
    limit: float
    size: float
    size_exponent: float
    tokens: float
    tokens_exponent: float
    n_experts_range: tuple[int, int]

    def __post_init__(self) -> None:
        check_size("`experts.start`", self.start)
        check_size("`experts.limit`", self.limit)
        if not self.start < self.limit:
            raise ValueError(
                f"`experts.limit` must be above `start`, but got {self.limit} and {self.start}"
            )
        for name, value in zip(NUMBERS, self.powers, strict=True):
            if not abs(value) <= MOST:
                raise ValueError(f"`{name}` must be from -{MOST:g} to {MOST:g}, but got {value}")
        low, high = self.n_experts_range
        if not 1 <= low <= high:
            raise ValueError(
                f"`experts.n_experts_range` must be 1 <= low <= high, but got [{low}, {high}]"
            )

    @property
    def sentence(self) -> str:
        """What it says, for a reader."""
        low, high = self.n_experts_range
        return f"also of {low} (dense) to {high} experts, of which a token meets one"

    @property
    def powers(self) -> tuple[float, float, float, float]:
        """Its fitted numbers, in the order of `NUMBERS`."""
        return self.size, self.size_exponent, self.tokens, self.tokens_exponent

    @property
    def numbers(self) -> dict[str, float]:
        """These by the names that they have among a law's numbers."""
        return dict(zip(NUMBERS, self.powers, strict=True))

    def log_ratio(self, n_experts: Any) -> Any:
        """Log of r; 0 of a dense model.

        Examples:
            >>> powers = dict.fromkeys(("size", "size_exponent", "tokens", "tokens_exponent"), 0)
            >>> term = ExpertsTerm(start=2, limit=200, n_experts_range=(1, 32), **powers)
            >>> float(term.log_ratio(1))
            0.0
            >>> bool(term.log_ratio(10**9) < np.log(100))
            True
        """
        before = 1 / (1 / self.start - 1 / self.limit)
        transformed = 1 / (1 / (n_experts - 1 + before) + 1 / self.limit)
        return np.where(np.equal(n_experts, 1), 0.0, np.log(transformed / self.start))

    def falling(self, n_experts: Any, alpha: float, beta: float) -> tuple[Any, Any]:
        """Whether a law's part of parameters falls with them, and that of tokens with those.

        Args:
            n_experts: of the models.
            alpha: power of a dense model's parameters in the law.
            beta: power of its tokens.
        """
        log_ratio = self.log_ratio(n_experts)
        return log_ratio * self.size_exponent <= alpha, log_ratio * self.tokens_exponent <= beta


def experts_factors(
    term: ExpertsTerm,
    powers: tuple[Any, Any, Any, Any],
    n_experts: Any,
    n_params: Any,
    n_tokens: Any,
) -> tuple[Any, Any]:
    """What the parameters' and the tokens' part of a law are multiplied by.

    Args:
        term: whose transform counts.
        powers: as `ExpertsTerm.powers`, of one law or of many at once.
        n_experts: of each run, 1 of a dense one.
        n_params: that a token meets.
        n_tokens: in training.
    """
    size, size_exponent, tokens, tokens_exponent = powers
    log_ratio = term.log_ratio(n_experts)
    return (
        np.exp(log_ratio * (size + size_exponent * np.log(n_params))),
        np.exp(log_ratio * (tokens + tokens_exponent * np.log(n_tokens))),
    )
