"""The reference fit of a loss law, Hoffmann's approach 3: L-BFGS from many starts."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
from scipy.optimize import minimize

from .law import REFERENCE_DELTA, LawFit, as_fit, law_data
from .runs import LawRuns

# Hoffmann et al. 2022, appendix D.3: starts of log E, log A, log B, alpha and beta.
START_AXES = (
    np.arange(-1, 1.5, 0.5),
    np.arange(0, 30, 5),
    np.arange(0, 30, 5),
    np.arange(0, 2.5, 0.5),
    np.arange(0, 2.5, 0.5),
)
LBFGS_OPTIONS = {"maxiter": 2000, "maxfun": 5000, "ftol": 1e-15, "gtol": 1e-10}


def fit_multi_start(
    runs: LawRuns,
    *,
    delta: float = REFERENCE_DELTA,
    n_starts: int | None = None,
    seed: int = 0,
    on_progress: Callable[[int, int], None] = lambda n, total: None,
) -> LawFit:
    """E, A, B, alpha and beta of the lowest end of many L-BFGS searches.

    Args:
        runs: what to fit.
        delta: the Huber threshold on the log residual.
        n_starts: how many of the grid's 4,500 starts, picked at random; None: all of them.
        seed: of that pick.
        on_progress: called after each start with how many are done, and of how many.

    References:
        Hoffmann et al. 2022, arXiv:2203.15556, section 3.3 and appendix D.3.
    """
    data = law_data(runs)
    logs = np.log([runs.n_params, runs.n_tokens, runs.measured_loss])
    starts = np.array(list(itertools.product(*START_AXES)))
    if n_starts is not None:
        starts = np.random.default_rng(seed).permutation(starts)[:n_starts]
    ends = []
    for start in starts:
        end = minimize(
            huber_log_sum_exp, start, (*logs, delta), "L-BFGS-B", jac=True, options=LBFGS_OPTIONS
        )
        ends.append(end)
        on_progress(len(ends), len(starts))
    best = min(ends, key=lambda end: end.fun)
    log_e, log_a, log_b, alpha, beta = best.x
    mean_x, mean_y = data.means
    theta = np.array([log_e, log_a - alpha * mean_x, alpha, log_b - beta * mean_y, beta])
    return as_fit("multi_start", theta, best.fun, data, runs, delta)


def huber_log_sum_exp(
    unknowns: np.ndarray, log_n: np.ndarray, log_d: np.ndarray, log_loss: np.ndarray, delta: float
) -> tuple[float, np.ndarray]:
    """Hoffmann's objective and its gradient in (log E, log A, log B, alpha, beta)."""
    log_e, log_a, log_b, alpha, beta = unknowns
    parts = np.stack([np.full_like(log_n, log_e), log_a - alpha * log_n, log_b - beta * log_d])
    log_predicted = np.logaddexp.reduce(parts, axis=0)
    residual = log_predicted - log_loss
    pull = np.clip(residual, -delta, delta)
    pulled = np.exp(parts - log_predicted) * pull
    gradient = [*pulled.sum(axis=1), -(pulled[1] @ log_n), -(pulled[2] @ log_d)]
    return float((pull * (residual - pull / 2)).sum()), np.array(gradient)
