"""Minimise the Huber loss of a loss law's log residuals, for many weightings of the runs at once.

A bootstrap draw, a left-out fold and the fit itself differ only in how much each run counts, so
all of them are rows of one weight matrix and one batch of Newton steps. The unknowns of a row are
(log E, log A', alpha, log B', beta, C_1 ... C_K) for

    L = (E + A' exp(-alpha x) + B' exp(-beta y) + sum of C_k z_k)^kappa

where kappa is given, and x and y are log N and log D less their means over the runs: centred so,
scale and exponent of a power law are far less entangled than A and alpha are.
"""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import numpy as np

ALPHA, BETA = 2, 4

# Bounds of log E, log A', alpha, log B' and beta. A part of e^-20 nats is none; published exponents
# lie between 0.03 and 0.8, and at 2 a power law is a step at the smallest run.
LOWEST = (-20.0, -20.0, 0.01, -20.0, 0.01)
HIGHEST = (np.inf, np.inf, 2.0, np.inf, 2.0)

# A row has settled when no gradient exceeds this share of the residuals' pulls ...
SETTLED = 1e-5
# ... where a run pulls with at least this: residuals far smaller are as good as none.
SMALL_PULL = 1e-4
# Rows x runs x unknowns of one batch: its arrays of 4 MB stay in cache, twice as fast as 40 MB.
BATCH_ELEMENTS = 500_000


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
        kappa: the power in the law.
    """

    x: np.ndarray
    y: np.ndarray
    z: np.ndarray
    log_loss: np.ndarray
    means: tuple[float, float]
    z_scales: np.ndarray
    kappa: float = 1.0

    def natural(self, theta: np.ndarray) -> np.ndarray:
        """Unknowns (rows, 5 + K) as E, A, B, alpha, beta and the further coefficients."""
        log_e, log_a, alpha, log_b, beta = theta.T[:5]
        mean_x, mean_y = self.means
        with np.errstate(over="ignore"):
            scales = np.exp([log_e, log_a + alpha * mean_x, log_b + beta * mean_y])
        return np.column_stack([*scales, alpha, beta, theta[:, 5:] / self.z_scales])


class Minimum(NamedTuple):
    """Where the batch ended: unknowns (rows, 5 + K), objective (rows,), settled (rows,)."""

    theta: np.ndarray
    objective: np.ndarray
    settled: np.ndarray


class _Point(NamedTuple):
    objective: np.ndarray
    gradient: np.ndarray
    hessian: np.ndarray
    unrest: np.ndarray


def loss_parts(theta: np.ndarray, data: LawData) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The size term, the data term and the sum of all, each (rows, R); kappa is yet to come."""
    log_e, log_a, alpha, log_b, beta = theta.T[:5, :, None]
    size = np.exp(log_a - alpha * data.x)
    tokens = np.exp(log_b - beta * data.y)
    return size, tokens, np.exp(log_e) + size + tokens + theta[:, 5:] @ data.z.T


def log_residuals(theta: np.ndarray, data: LawData) -> np.ndarray:
    """Log of predicted over measured loss, (rows, R); not a number where the law is negative."""
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        return data.kappa * np.log(loss_parts(theta, data)[2]) - data.log_loss


def minimise(
    start: np.ndarray,
    data: LawData,
    weights: np.ndarray,
    *,
    delta: float,
    held: tuple[int, ...] = (),
    max_steps: int = 1000,
) -> Minimum:
    """Minimise sum of w huber(log residual) for each row of `weights`, from each row of `start`.

    Damped Newton steps with the exact Hessian, its negative curvatures turned positive. The Huber
    function is r^2 / 2 up to `delta` and delta (|r| - delta / 2) beyond.

    Args:
        start: unknowns to begin with, (rows, 5 + K).
        data: the runs.
        weights: how much each run counts, (rows, R).
        delta: the Huber threshold on the log residual; infinity for least squares.
        held: unknowns to leave as they start.
        max_steps: most Newton steps of a row.
    """
    rows = max(1, BATCH_ELEMENTS // (data.x.size * start.shape[1]))
    parts = [
        _minimise_batch(start[i : i + rows], data, weights[i : i + rows], delta, held, max_steps)
        for i in range(0, len(start), rows)
    ]
    return Minimum(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))


def _minimise_batch(
    start: np.ndarray,
    data: LawData,
    weights: np.ndarray,
    delta: float,
    held: tuple[int, ...],
    max_steps: int,
) -> Minimum:
    n_further = start.shape[1] - len(LOWEST)
    low, high = np.append(LOWEST, [-np.inf] * n_further), np.append(HIGHEST, [np.inf] * n_further)
    # A held unknown is one whose two bounds are where it starts.
    is_held = np.isin(np.arange(start.shape[1]), held)
    bounds = np.where(is_held, start, low), np.where(is_held, start, high)
    theta, damping = np.clip(start, *bounds), np.full(len(start), 1e-3)
    now = _evaluate(theta, data, weights, delta, bounds)
    active = np.arange(len(start))
    for _ in range(max_steps):
        active = active[(now.unrest[active] > 1e-4 * SETTLED) & (damping[active] < 1e8)]
        if not active.size:
            break
        step = _damped_step(now.gradient[active], now.hessian[active], damping[active])
        here = bounds[0][active], bounds[1][active]
        trial = np.clip(theta[active] - step, *here)
        there = _evaluate(trial, data, weights[active], delta, here)
        better = there.objective < now.objective[active]
        damping[active] = np.maximum(damping[active] * np.where(better, 0.1, 10), 1e-15)
        theta[active[better]] = trial[better]
        for kept, found in zip(now, there, strict=True):
            kept[active[better]] = found[better]
    return Minimum(theta, now.objective, now.unrest <= SETTLED)


def _damped_step(gradient: np.ndarray, hessian: np.ndarray, damping: np.ndarray) -> np.ndarray:
    curvature, axes = np.linalg.eigh(hessian)
    curvature = np.abs(curvature)
    curvature += damping[:, None] * curvature.max(axis=1, keepdims=True) + 1e-300
    along = np.einsum("rij,ri->rj", axes, gradient) / curvature
    return np.einsum("rij,rj->ri", axes, along)


def _evaluate(
    theta: np.ndarray,
    data: LawData,
    weights: np.ndarray,
    delta: float,
    bounds: tuple[np.ndarray, np.ndarray],
) -> _Point:
    """Objective, gradient, Hessian, and the gradient relative to the residuals' pulls.

    An unknown that its bound keeps from falling further has no gradient and stands apart.
    """
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        size, tokens, total = loss_parts(theta, data)
        # In units of kappa, as the objective is in those of its square.
        residual = np.log(total) - data.log_loss / data.kappa
        delta = delta / data.kappa
        size, tokens = size / total, tokens / total
        slope = np.clip(residual, -delta, delta)
        pulls = weights * slope
        objective = data.kappa**2 * (pulls * (residual - slope / 2)).sum(axis=1)
        first = np.empty((len(theta), theta.shape[1], data.x.size))
        first[:, 0] = np.exp(theta[:, :1]) / total
        first[:, 1], first[:, 2] = size, -data.x * size
        first[:, 3], first[:, 4] = tokens, -data.y * tokens
        first[:, 5:] = data.z.T / total[:, None]
        gradient = (first @ pulls[..., None])[..., 0]
        # log p has the second derivative p''/p - p'p'/p^2: the latter joins the outer product.
        outer = weights * (np.abs(residual) <= delta) - pulls
        hessian = (first * outer[:, None]) @ first.swapaxes(1, 2)
        _add_second_derivatives(hessian, pulls, first, data)
    low, high = bounds
    stuck = ((theta <= low) & (gradient >= 0)) | ((theta >= high) & (gradient <= 0))
    gradient = np.where(stuck, 0, gradient)
    apart = stuck[:, :, None] | stuck[:, None, :]
    hessian = np.where(apart, np.eye(theta.shape[1]), hessian)
    scale = np.maximum(weights * SMALL_PULL, np.abs(pulls)).sum(axis=1)
    return _Point(objective, gradient, hessian, np.abs(gradient).max(axis=1) / scale)


def _add_second_derivatives(
    hessian: np.ndarray, pulls: np.ndarray, first: np.ndarray, data: LawData
) -> None:
    """Add the sum of pull * p'' / p: only E and the two power laws curve in their unknowns."""
    hessian[:, 0, 0] += (pulls * first[:, 0]).sum(axis=1)
    for scale, exponent, power in ((1, ALPHA, data.x), (3, BETA, data.y)):
        pulled = pulls * first[:, scale]
        cross = -(pulled @ power)
        hessian[:, scale, scale] += pulled.sum(axis=1)
        hessian[:, scale, exponent] += cross
        hessian[:, exponent, scale] += cross
        hessian[:, exponent, exponent] += pulled @ power**2
