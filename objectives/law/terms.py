"""Further terms of a loss law: shape, for what N and D cannot see, and the number of steps.

Each is a known function z of a run and a fitted coefficient c. It stands in one of three places:

    L = (E + A / N^alpha exp(sum of c z) + B / D^beta exp(sum of c z) + sum of c z)^kappa

A term in `size` changes what parameters are worth and so fades as a model grows, one in `tokens`
what tokens are worth to it, one in `sum` the loss itself, at every size alike. Either way the law
stays linear, or its parts linear in their logs, in all coefficients. `FORMS` are the combinations
that a fit chooses from by held-out error.

References:
    Kaplan et al. 2020, arXiv:2001.08361, figure 5: loss is a shallow bowl in log aspect ratio; and
        section 1.2: larger models need more tokens to reach their floor (equation 1.5).
    Pearce and Song 2024, arXiv:2406.12907: embeddings count for less than other parameters.
    Levine et al. 2020, arXiv:2006.12467: depth pays until it outgrows the log of the width.
    Roberts, Yaida and Hanin 2022, arXiv:2106.10165: a network's fluctuations grow with depth over
        width.
    McCandlish et al. 2018, arXiv:1812.06162, and Kaplan et al. 2020, equation 1.6: steps bound the
        loss apart from tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple

import numpy as np

Columns = Mapping[str, Any]
Place = Literal["sum", "size", "tokens"]

# The width over depth at which the aspect terms are 0, so that E keeps its meaning: a usual one.
USUAL_ASPECT_RATIO = 64
# The parameters at which the tokens' scale B is what it says.
USUAL_SIZE = 1e9


class Term(NamedTuple):
    """One further term.

    Attributes:
        place: where it stands.
        needs: the columns of a run that its function reads.
        value: its function of them.
        between: its least and most over all runs between two, of one width and vocabulary, the
            second of which has no fewer layers and parameters; and, of steps, no fewer steps.
    """

    place: Place
    needs: tuple[str, ...]
    value: Callable[[Columns], Any]
    between: Callable[[Columns, Columns], tuple[Any, Any]]


def log_aspect_ratio(run: Columns) -> Any:
    """Log of width over depth, 0 at `USUAL_ASPECT_RATIO`.

    Examples:
        The natural logarithm of 2 at twice the usual ratio.

        >>> round(float(log_aspect_ratio({"d_model": 1024, "n_layers": 8})), 4)
        0.6931
    """
    return np.log(run["d_model"] / run["n_layers"] / USUAL_ASPECT_RATIO)


def log_embedding(run: Columns) -> Any:
    """Log of all parameters over those outside the vocabulary: how much of N is a table."""
    return np.log(run["n_params"] / run["n_params_non_embedding"])


def log_size(run: Columns) -> Any:
    """Log of the parameters, 0 at `USUAL_SIZE`."""
    return np.log(run["n_params"] / USUAL_SIZE)


def _monotone(
    value: Callable[[Columns], Any],
) -> Callable[[Columns, Columns], tuple[Any, Any]]:
    """Of a function that never turns: its values at both ends."""

    def between(first: Columns, last: Columns) -> tuple[Any, Any]:
        ends = value(first), value(last)
        return np.minimum(*ends), np.maximum(*ends)

    return between


def _square_of(
    value: Callable[[Columns], Any],
) -> Callable[[Columns, Columns], tuple[Any, Any]]:
    """Of the square of one that never turns: 0 where it changes its sign, else at an end."""

    def between(first: Columns, last: Columns) -> tuple[Any, Any]:
        low, high = _monotone(value)(first, last)
        squares = low**2, high**2
        return np.where((low < 0) & (high > 0), 0.0, np.minimum(*squares)), np.maximum(*squares)

    return between


def _term(
    place: Place, needs: tuple[str, ...], value: Callable[[Columns], Any], *, squared: bool = False
) -> Term:
    """A term of a function that never turns along its columns, or of the square of one."""
    if squared:
        return Term(place, needs, lambda run: value(run) ** 2, _square_of(value))
    return Term(place, needs, value, _monotone(value))


SHAPE = ("d_model", "n_layers")
COUNTS = ("n_params", "n_params_non_embedding")
TERMS: dict[str, Term] = {
    "log_aspect_ratio": _term("sum", SHAPE, log_aspect_ratio),
    "log_aspect_ratio_squared": _term("sum", SHAPE, log_aspect_ratio, squared=True),
    "inverse_depth": _term("sum", SHAPE, lambda run: 1 / run["n_layers"]),
    "depth_over_width": _term("sum", SHAPE, lambda run: run["n_layers"] / run["d_model"]),
    "inverse_steps": _term("sum", ("n_steps",), lambda run: 1 / run["n_steps"]),
    "inverse_sqrt_steps": _term("sum", ("n_steps",), lambda run: run["n_steps"] ** -0.5),
    "size_log_aspect_ratio": _term("size", SHAPE, log_aspect_ratio),
    "size_log_aspect_ratio_squared": _term("size", SHAPE, log_aspect_ratio, squared=True),
    # The vocabulary's share falls as the rest grows.
    "size_log_embedding": _term("size", COUNTS, log_embedding),
    "tokens_log_size": _term("tokens", ("n_params",), log_size),
}

FORMS: dict[str, tuple[str, ...]] = {
    "none": (),
    "depth": ("inverse_depth",),
    "depth over width": ("depth_over_width",),
    "depth and its ratio to width": ("inverse_depth", "depth_over_width"),
    "aspect ratio": ("log_aspect_ratio", "log_aspect_ratio_squared"),
    "steps": ("inverse_steps",),
    "root of steps": ("inverse_sqrt_steps",),
    "size in tokens": ("tokens_log_size",),
    "aspect ratio of size": ("size_log_aspect_ratio", "size_log_aspect_ratio_squared"),
    "aspect ratio of size, size in tokens": (
        "size_log_aspect_ratio",
        "size_log_aspect_ratio_squared",
        "tokens_log_size",
    ),
    "shape of size": (
        "size_log_aspect_ratio",
        "size_log_aspect_ratio_squared",
        "size_log_embedding",
    ),
    "shape of size, size in tokens": (
        "size_log_aspect_ratio",
        "size_log_aspect_ratio_squared",
        "size_log_embedding",
        "tokens_log_size",
    ),
}
