"""How the best model grows with time: power laws fitted to winners, and what theory expects.

Where a step's time grows as N^gamma, a budget T has tokens D ~ T / N^gamma, and the least of
(E + A / N^alpha + B / D^beta)^kappa, whatever kappa is, lies where A alpha N^-alpha = B beta gamma
D^-beta, so

    N* ~ T^(beta / (alpha + gamma beta))    D* ~ T^(alpha / (alpha + gamma beta))

and the loss falls to E as T^(-alpha beta / (alpha + gamma beta)), where kappa is 1.

References:
    Hoffmann et al. 2022, arXiv:2203.15556, equation 4: the same of FLOPs, where gamma is 1.
    Inbar and Sernau 2024, arXiv:2406.18922: of time.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np

from .law.loss_law import LossLaw


@dataclasses.dataclass(frozen=True, kw_only=True)
class PowerLaw:
    """y = scale x^exponent.

    Attributes:
        exponent: the slope of log y over log x.
        standard_error: of the exponent; None of fewer than three points.
        scale: y at x = 1.
    """

    exponent: float
    standard_error: float | None
    scale: float


def fit_power_law(x: Any, y: Any) -> PowerLaw:
    """Least squares of log y on log x.

    Examples:
        Four times x is twice y, from 3 at x = 1 on: the square root, without a residual.

        >>> law = fit_power_law([1, 4, 16], [3, 6, 12])
        >>> round(law.exponent, 9)
        0.5
        >>> round(law.scale, 9)
        3.0

    Args:
        x: positive, at least two unlike.
        y: positive.

    Raises:
        ValueError: there are fewer than two unlike x, or a value is not positive.
    """
    x, y = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
    if len(np.unique(x)) < 2 or np.any(x <= 0) or np.any(y <= 0):
        raise ValueError("a power law takes positive values at two x or more")
    log_x, log_y = np.log(x), np.log(y)
    centred = log_x - log_x.mean()
    exponent = float(centred @ log_y / (centred @ centred))
    intercept = float(log_y.mean() - exponent * log_x.mean())
    left = log_y - intercept - exponent * log_x
    error = None
    if len(x) > 2:
        error = math.sqrt(float(left @ left) / (len(x) - 2) / float(centred @ centred))
    return PowerLaw(exponent=exponent, standard_error=error, scale=math.exp(intercept))


def theoretical_exponents(law: LossLaw, gamma: float) -> dict[str, float]:
    """Exponents in time of the best N, D, tokens per parameter, and (kappa = 1) loss above E.

    Further terms and copying are left out of account; with copying there is no such loss.

    Examples:
        The published numbers of Hoffmann et al. 2022 in FLOPs: 0.28 / 0.62 and 0.34 / 0.62;
        their table 2 has 0.46 and 0.54, of the exponents before rounding.

        >>> law = LossLaw(
        ...     name="hoffmann-2022", E=1.69, A=406.4, B=410.7, alpha=0.34, beta=0.28, corpus="",
        ...     n_convention="total", source="", n_params_range=(1, 2), n_tokens_range=(1, 2),
        ... )
        >>> exponents = theoretical_exponents(law, gamma=1)
        >>> round(exponents["n_params"], 2)
        0.45
        >>> round(exponents["n_tokens"], 2)
        0.55

        Time that grows with the square root of N: 0.28 / (0.34 + 0.14).

        >>> round(theoretical_exponents(law, gamma=0.5)["n_params"], 3)
        0.583

    Args:
        law: gives alpha and beta.
        gamma: the exponent of a token's time in N.
    """
    both = law.alpha + gamma * law.beta
    exponents = {
        "n_params": law.beta / both,
        "n_tokens": law.alpha / both,
        "tokens_per_param": (law.alpha - law.beta) / both,
    }
    if law.kappa == 1 and not law.copying:
        exponents["loss_above_E"] = -law.alpha * law.beta / both
    return exponents
