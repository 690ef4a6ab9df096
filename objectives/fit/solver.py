"""Minimise the Huber loss of a loss law's log residuals, for many weightings of the runs at once.

A bootstrap draw, a left-out fold and the fit itself differ only in how much each run counts, so
all of them are rows of one weight matrix and one batch of Newton steps. The unknowns of a row are
(log E, log A', alpha, log B', beta, C_1 ... C_K) for

    L = (E + A' exp(-alpha x + sum of C_k z_k) + B' exp(-beta y + sum of C_k z_k)
           + sum of C_k z_k)^kappa

where kappa is given, every column z_k stands in one of the three places, and x and y are log N and
log D less their means over the runs: centred so, scale and exponent of a power law are far less
entangled than A and alpha are. A prior on the unknowns, where there is one, is as good as runs that
say so (`Prior`).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..law.terms import Place
from .data import HIGHEST, LOWEST, LawData, Prior

ALPHA, BETA = 2, 4

# A row has settled when no gradient exceeds this share of the residuals' pulls ...
SETTLED = 1e-5
# ... where a run pulls with at least this: residuals far smaller are as good as none.
SMALL_PULL = 1e-4
# Rows x runs x unknowns of one batch: its arrays of 4 MB stay in cache, twice as fast as 40 MB.
BATCH_ELEMENTS = 500_000


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

    def further(place: Place) -> np.ndarray:
        at = data.at(place)
        return theta[:, 5 + at] @ data.z[:, at].T

    size = np.exp(log_a - alpha * data.x + further("size"))
    tokens = np.exp(log_b - beta * data.y + further("tokens"))
    return size, tokens, np.exp(log_e) + size + tokens + further("sum")


def slopes(theta: np.ndarray, data: LawData) -> np.ndarray:
    """Of the log residuals by each unknown, of one row of unknowns (5 + K,), (5 + K, R)."""
    size, tokens, total = loss_parts(theta[None], data)
    return (
        data.kappa * _first_derivatives(theta[None], data, size / total, tokens / total, total)[0]
    )


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
    prior: Prior | None = None,
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
        prior: adds half its squared distance, in its precision, to the objective.
        max_steps: most Newton steps of a row.
    """
    rows = max(1, BATCH_ELEMENTS // (data.x.size * start.shape[1]))
    parts = []
    for i in range(0, len(start), rows):
        batch = slice(i, i + rows)
        known = prior
        if prior and prior.mean.ndim > 1:
            known = prior._replace(mean=prior.mean[batch])
        problem = _Problem(data, weights[batch], delta, known)
        parts.append(_minimise_batch(start[batch], problem, held, max_steps))
    return Minimum(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))


class _Problem(NamedTuple):
    """What a batch of rows is minimised on; the prior's mean is one for all, or a row each."""

    data: LawData
    weights: np.ndarray
    delta: float
    prior: Prior | None

    def of(self, rows: np.ndarray) -> _Problem:
        """The same for some of the rows."""
        prior = self.prior
        if prior and prior.mean.ndim > 1:
            prior = prior._replace(mean=prior.mean[rows])
        return self._replace(weights=self.weights[rows], prior=prior)


def _minimise_batch(
    start: np.ndarray, problem: _Problem, held: tuple[int, ...], max_steps: int
) -> Minimum:
    n_further = start.shape[1] - len(LOWEST)
    low, high = np.append(LOWEST, [-np.inf] * n_further), np.append(HIGHEST, [np.inf] * n_further)
    # A held unknown is one whose two bounds are where it starts.
    is_held = np.isin(np.arange(start.shape[1]), held)
    bounds = np.where(is_held, start, low), np.where(is_held, start, high)
    theta, damping = np.clip(start, *bounds), np.full(len(start), 1e-3)
    now = _evaluate(theta, problem, bounds)
    active = np.arange(len(start))
    for _ in range(max_steps):
        active = active[(now.unrest[active] > 1e-4 * SETTLED) & (damping[active] < 1e8)]
        if not active.size:
            break
        step = _damped_step(now.gradient[active], now.hessian[active], damping[active])
        here = bounds[0][active], bounds[1][active]
        trial = np.clip(theta[active] - step, *here)
        there = _evaluate(trial, problem.of(active), here)
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
    theta: np.ndarray, problem: _Problem, bounds: tuple[np.ndarray, np.ndarray]
) -> _Point:
    """Objective, gradient, Hessian, and the gradient relative to the residuals' pulls.

    An unknown that its bound keeps from falling further has no gradient and stands apart.
    """
    data, weights, prior = problem.data, problem.weights, problem.prior
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        size, tokens, total = loss_parts(theta, data)
        # In units of kappa, as the objective is in those of its square.
        residual = np.log(total) - data.log_loss / data.kappa
        delta = problem.delta / data.kappa
        slope = np.clip(residual, -delta, delta)
        pulls = weights * slope
        objective = data.kappa**2 * (pulls * (residual - slope / 2)).sum(axis=1)
        first = _first_derivatives(theta, data, size / total, tokens / total, total)
        gradient = (first @ pulls[..., None])[..., 0]
        # log p has the second derivative p''/p - p'p'/p^2: the latter joins the outer product.
        outer = weights * (np.abs(residual) <= delta) - pulls
        hessian = (first * outer[:, None]) @ first.swapaxes(1, 2)
        _add_second_derivatives(hessian, pulls, first, data)
    scale = np.maximum(weights * SMALL_PULL, np.abs(pulls)).sum(axis=1)
    if prior:
        pull = (theta - prior.mean) @ prior.precision
        objective = objective + ((theta - prior.mean) * pull).sum(axis=1) / 2
        gradient = gradient + pull / data.kappa**2
        hessian = hessian + prior.precision / data.kappa**2
    low, high = bounds
    stuck = ((theta <= low) & (gradient >= 0)) | ((theta >= high) & (gradient <= 0))
    gradient = np.where(stuck, 0, gradient)
    apart = stuck[:, :, None] | stuck[:, None, :]
    hessian = np.where(apart, np.eye(theta.shape[1]), hessian)
    return _Point(objective, gradient, hessian, np.abs(gradient).max(axis=1) / scale)


def _first_derivatives(
    theta: np.ndarray, data: LawData, size: np.ndarray, tokens: np.ndarray, total: np.ndarray
) -> np.ndarray:
    """Of the log of the sum by each unknown, (rows, 5 + K, R); size and tokens are shares of it."""
    first = np.empty((len(theta), theta.shape[1], data.x.size))
    first[:, 0] = np.exp(theta[:, :1]) / total
    first[:, 1], first[:, 2] = size, -data.x * size
    first[:, 3], first[:, 4] = tokens, -data.y * tokens
    factors = {"sum": 1 / total, "size": size, "tokens": tokens}
    for k, place in enumerate(data.places):
        first[:, 5 + k] = data.z[:, k] * factors[place]
    return first


def _add_second_derivatives(
    hessian: np.ndarray, pulls: np.ndarray, first: np.ndarray, data: LawData
) -> None:
    """Add the sum of pull * p'' / p: E and the two power laws curve, the sum does not."""
    hessian[:, 0, 0] += (pulls * first[:, 0]).sum(axis=1)
    parts: tuple[tuple[int, int, np.ndarray, Place], ...] = (
        (1, ALPHA, data.x, "size"),
        (3, BETA, data.y, "tokens"),
    )
    for scale, exponent, power, place in parts:
        at = data.at(place)
        unknowns = np.array([scale, exponent, *(5 + at)])
        # The log of a power law is linear in its unknowns, by these slopes.
        linear = np.stack([np.ones_like(power), -power, *data.z.T[at]])
        pulled = pulls * first[:, scale]
        hessian[:, unknowns[:, None], unknowns] += (pulled[:, None] * linear) @ linear.T
