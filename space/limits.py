"""How large numbers may be: what is made of them stays a number, and all that is real has room.

Within these limits no product, power or exponential of a prediction leaves what a 64-bit float
holds, and every count fits a 64-bit integer.
"""

from __future__ import annotations

import math
from typing import Any

# One field of an architecture: what 32 bits hold, and two of them multiply to what 64 hold.
MOST_OF_FIELD = 2**31 - 1
# Parameters, tokens, steps, bytes.
MOST_COUNT = 2**63 - 1
# What NumPy and Optuna take alike.
MOST_SEED = 2**32 - 1
# Rates, sizes, coefficients, unless something narrower is said.
LEAST, MOST = 1e-30, 1e30


def is_size(value: Any, least: float = LEAST, most: float = MOST) -> bool:
    """Whether a number is finite, positive and neither too small nor too large."""
    return 0 < value < math.inf and least <= value <= most


def check_size(
    what: str, value: Any, least: float = LEAST, most: float = MOST, *, or_zero: bool = False
) -> None:
    """Refuse a number that no arithmetic is safe with.

    Args:
        what: its name and whose it is, for the message.
        value: positive.
        least: that it may be.
        most: that it may be.
        or_zero: whether it may be 0 as well.

    Raises:
        ValueError: it is not finite, not positive, or outside the limits.
    """
    if is_size(value, least, most) or (or_zero and value == 0):
        return
    if value > 0:
        raise ValueError(f"{what} must be from {least:g} to {most:g}, but got {value}")
    raise ValueError(f"{what} must be {'>= 0' if or_zero else '> 0'}, but got {value}")


def check_seed(seed: int) -> None:
    """Refuse a seed that not every generator of random numbers takes.

    Raises:
        ValueError: it is below 0 or beyond 32 bits.
    """
    if not 0 <= seed <= MOST_SEED:
        raise ValueError(f"`seed` must be a whole number from 0 to {MOST_SEED}, but got {seed}")


def check_count(what: str, value: Any) -> None:
    """Refuse a count that 64 bits do not hold.

    Raises:
        ValueError: it is not below 2^63.
    """
    if not value <= MOST_COUNT:
        raise ValueError(f"{what} must be below 2^63, but would be {float(value):.3g}")
