"""Further terms of a loss law: shape, for what N and D cannot see, and the number of steps.

Each is a known function of a run times a fitted coefficient, so the law stays linear in all but
its two exponents. `FORMS` are the combinations that a fit chooses from by held-out error.

References:
    Kaplan et al. 2020, arXiv:2001.08361, figure 5: loss is a shallow bowl in log aspect ratio.
    Levine et al. 2020, arXiv:2006.12467: depth pays until it outgrows the log of the width.
    Roberts, Yaida and Hanin 2022, arXiv:2106.10165: a network's fluctuations grow with depth over
        width.
    McCandlish et al. 2018, arXiv:1812.06162, and Kaplan et al. 2020, equation 1.6: steps bound the
        loss apart from tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

Columns = Mapping[str, Any]

# The width over depth at which the aspect terms are 0, so that E keeps its meaning: a usual one.
USUAL_ASPECT_RATIO = 64


def log_aspect_ratio(run: Columns) -> Any:
    """Log of width over depth, 0 at `USUAL_ASPECT_RATIO`."""
    return np.log(run["d_model"] / run["n_layers"] / USUAL_ASPECT_RATIO)


TERMS: dict[str, Callable[[Columns], Any]] = {
    "log_aspect_ratio": log_aspect_ratio,
    "log_aspect_ratio_squared": lambda run: log_aspect_ratio(run) ** 2,
    "inverse_depth": lambda run: 1 / run["n_layers"],
    "depth_over_width": lambda run: run["n_layers"] / run["d_model"],
    "inverse_steps": lambda run: 1 / run["n_steps"],
    "inverse_sqrt_steps": lambda run: run["n_steps"] ** -0.5,
}
NEEDS: dict[str, tuple[str, ...]] = {
    name: ("n_steps",) if "steps" in name else ("d_model", "n_layers") for name in TERMS
}

FORMS: dict[str, tuple[str, ...]] = {
    "none": (),
    "depth": ("inverse_depth",),
    "depth over width": ("depth_over_width",),
    "depth and its ratio to width": ("inverse_depth", "depth_over_width"),
    "aspect ratio": ("log_aspect_ratio", "log_aspect_ratio_squared"),
    "steps": ("inverse_steps",),
    "root of steps": ("inverse_sqrt_steps",),
}
