"""Runs, and what is known beside them, as the solver of a loss law sees them (`solver`)."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import numpy as np

from ..law.terms import Place

# Bounds of log E, log A', alpha, log B' and beta. A part of e^-20 nats is none; published exponents
# lie between 0.03 and 0.8, and at 2 a power law is a step at the smallest run.
LOWEST = (-20.0, -20.0, 0.01, -20.0, 0.01)
HIGHEST = (np.inf, np.inf, 2.0, np.inf, 2.0)


@dataclasses.dataclass(frozen=True, kw_only=True)
class LawData:
    """R runs as the solver sees them.

    Attributes:
        x: log N less its mean, (R,).
        y: log D less its mean, (R,).
        z: further columns of the law, each divided by its largest size, (R, K); K may be 0.
        log_loss: log of the measured loss, (R,).
        means: what x and y were less by.
        z_scales: what the columns of z were divided by, (K,).
        places: where each column of z stands, of `sum`, `size` and `tokens`, (K,).
        kappa: the power in the law.
    """

    x: np.ndarray
    y: np.ndarray
    z: np.ndarray
    log_loss: np.ndarray
    means: tuple[float, float]
    z_scales: np.ndarray
    places: tuple[Place, ...] = ()
    kappa: float = 1.0

    def at(self, place: Place) -> np.ndarray:
        """The columns of z in a place, by number."""
        return np.flatnonzero([one == place for one in self.places])

    @property
    def scales(self) -> np.ndarray:
        """What natural unknowns are multiplied by in the solver's, (5 + K,)."""
        return np.append(np.ones(len(LOWEST)), self.z_scales)

    def natural(self, theta: np.ndarray) -> np.ndarray:
        """Unknowns (rows, 5 + K) as E, A, B, alpha, beta and the further coefficients."""
        log_e, log_a, alpha, log_b, beta = theta.T[:5]
        mean_x, mean_y = self.means
        with np.errstate(over="ignore"):
            scales = np.exp([log_e, log_a + alpha * mean_x, log_b + beta * mean_y])
        return np.column_stack([*scales, alpha, beta, theta[:, 5:] / self.z_scales])

    def theta(self, natural: np.ndarray) -> np.ndarray:
        """The inverse of `natural`: numbers of laws (rows, 5 + K) as the solver's unknowns."""
        e, a, b, alpha, beta = natural.T[:5]
        mean_x, mean_y = self.means
        logs = np.log(np.maximum([e, a, b], np.exp(LOWEST[0])))
        columns = [logs[0], logs[1] - alpha * mean_x, alpha, logs[2] - beta * mean_y, beta]
        return np.column_stack([*columns, natural[:, 5:] * self.z_scales])


class Prior(NamedTuple):
    """What is known of the unknowns beside the runs: a normal distribution of them.

    Attributes:
        mean: (5 + K,), or a row for each row of weights, (rows, 5 + K).
        precision: inverse covariance in units of the objective, which is that of the unknowns times
            the variance of a log residual; an unknown of which nothing is known has zeros,
            (5 + K, 5 + K).
        variance: that variance.
    """

    mean: np.ndarray
    precision: np.ndarray
    variance: float

    def draws(self, n_draws: int, rng: np.random.Generator) -> Prior:
        """The same, its mean drawn anew for each row: what could as well have been known."""
        weights, axes = np.linalg.eigh(self.precision)
        known = weights > 1e-12 * weights.max(initial=1e-300)
        spread = np.where(known, np.sqrt(self.variance / np.where(known, weights, 1)), 0)
        normal = rng.standard_normal((n_draws, len(weights)))
        return self._replace(mean=self.mean + (normal * spread) @ axes.T)
