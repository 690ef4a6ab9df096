"""Whether runs learned to copy, when and with what gain: by the likelihood of shapes left out.

Each run copies or not by its own luck, so that losses about a law are a mixture of two normal
distributions, with and without the gain, whose shares are the chances. The law itself is fitted to
losses without what copying takes off on average.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from ..law.copying import Copying, able
from .law import LawFit, law_data
from .runs import LawRuns
from .scores import by_shape, shape_out_residuals
from .solver import log_residuals, minimise

# What is tried: gains, and onsets by this factor between the fewest and the most tokens of runs
# that may copy.
GAINS = (0.02, 0.04, 0.06, 0.08, 0.1, 0.12, 0.15)
ONSET_STEP = math.sqrt(2)
N_MIXTURE_STEPS = 50


def choose_copying(runs: LawRuns, fit: LawFit) -> Copying | None:
    """The gain and the onset under which the losses of shapes left out are likeliest.

    None where those are not likelier than without copying, and foretold with less error, each by
    more than one standard error of the difference; where either number is the least or the most
    that was tried, for then something else falls with tokens; or where the runs cannot tell.

    Args:
        runs: what to fit.
        fit: of the form and the power that are to be.
    """
    if not {"d_model", "n_layers"} <= set(runs.columns) or not (tried := _tried(runs)):
        return None
    likelihoods = [by_shape(runs, rows) for rows in _all_held_out(runs, fit, tried)]
    best = int(np.argmax([likelihood.mean() for likelihood in likelihoods]))
    found, onsets = tried[best], _onsets(runs)
    if found.gain in (GAINS[0], GAINS[-1]) or found.onset_tokens in (onsets[0], onsets[-1]):
        return None
    rise = likelihoods[best] - by_shape(runs, _held_out(runs, fit))
    fall = _held_out_errors(runs, fit) - _held_out_errors(runs, _with_copying(runs, fit, found))
    return found if _is_surely_positive(rise) and _is_surely_positive(fall) else None


def draw_copying(
    runs: LawRuns, fit: LawFit, weights: np.ndarray
) -> tuple[list[Copying], np.ndarray]:
    """What would be chosen under other weights of the runs, that there is copying being given.

    The shapes left out are predicted by fits to the runs as they are.

    Args:
        runs: what was fitted.
        fit: with the copying that was chosen.
        weights: how much each row counts, (draws, R).

    Returns:
        What was tried, and which of it each draw chooses, (draws,).
    """
    tried = _tried(runs)
    rows = _all_held_out(runs, fit, tried)
    scores = np.zeros((len(weights), len(tried)))
    for shape in np.unique(runs.shape):
        own = weights[:, runs.shape == shape]
        n_rows = np.maximum(own.sum(axis=1, keepdims=True), 1)
        scores += own @ rows[:, runs.shape == shape].T / n_rows
    return tried, scores.argmax(axis=1)


def std_beyond_luck(runs: LawRuns, fit: LawFit) -> float:
    """Relative standard deviation of losses about a fitted law once a run copies or not.

    Without copying it is `fit.residual_std`.
    """
    data = law_data(runs, fit.terms, fit.kappa, fit.copying)
    _, std = _mixture(runs, fit, log_residuals(fit.theta[None], data)[0])
    return std * math.sqrt(len(runs.n_params) / (len(runs.n_params) - len(fit.theta)))


def _tried(runs: LawRuns) -> list[Copying]:
    return [Copying(gain=gain, onset_tokens=onset) for onset in _onsets(runs) for gain in GAINS]


def _onsets(runs: LawRuns) -> list[float]:
    can = able(runs.columns)
    if not can.any():
        return []
    least, most = runs.n_tokens[can].min(), runs.n_tokens[can].max()
    n_between = round(math.log(most / least, ONSET_STEP)) - 1
    return [float(least * ONSET_STEP**i) for i in range(1, n_between + 1)]


def _with_copying(runs: LawRuns, fit: LawFit, copying: Copying) -> LawFit:
    """The fit's unknowns moved to where they are best beside a copying."""
    data = law_data(runs, fit.terms, fit.kappa, copying)
    weights = np.ones((1, len(runs.n_params)))
    theta = minimise(fit.theta[None], data, weights, delta=fit.delta, prior=fit.prior)
    theta = theta.theta[0]
    return dataclasses.replace(fit, theta=theta, copying=copying)


def _all_held_out(runs: LawRuns, fit: LawFit, tried: list[Copying]) -> np.ndarray:
    """`_held_out` of a fit with each copying instead of its own, (tried, R)."""
    return np.array([_held_out(runs, _with_copying(runs, fit, copying)) for copying in tried])


def _held_out_errors(runs: LawRuns, fit: LawFit) -> np.ndarray:
    """Mean relative error of each shape's rows, the shape not in the fit, (shapes,)."""
    return by_shape(runs, np.abs(np.expm1(shape_out_residuals(runs, fit))))


def _is_surely_positive(differences: np.ndarray) -> bool:
    """Whether their mean is, by more than one standard error."""
    return differences.mean() > differences.std(ddof=1) / math.sqrt(len(differences))


def _held_out(runs: LawRuns, fit: LawFit) -> np.ndarray:
    """Log likelihood of each row, its shape not in the fit, (R,)."""
    return _mixture(runs, fit, shape_out_residuals(runs, fit))[0]


def _mixture(runs: LawRuns, fit: LawFit, residuals: np.ndarray) -> tuple[np.ndarray, float]:
    """Log likelihood of each row, (R,), and the standard deviation about either mean.

    The standard deviation is the likeliest, by expectation maximisation.

    Args:
        runs: the rows.
        fit: gives the copying.
        residuals: log of predicted, on average over luck, over measured loss, (R,).
    """
    chance, factor, gain = np.zeros(len(residuals)), np.ones(len(residuals)), 0.0
    if fit.copying:
        gain = fit.copying.gain
        chance = fit.copying.chance(runs.n_tokens, runs.columns)
        factor = fit.copying.factor(runs.n_tokens, runs.columns)
    without = np.log(factor) - residuals
    apart = np.stack([without, without - math.log1p(-gain)])
    with np.errstate(divide="ignore"):
        log_shares = np.log([1 - chance, chance])
    variance = float(np.var(without))
    likelihood = without
    for _ in range(N_MIXTURE_STEPS):
        each = log_shares - (apart**2 / variance + math.log(2 * math.pi * variance)) / 2
        likelihood = np.logaddexp(*each)
        variance = float((np.exp(each - likelihood) * apart**2).sum(axis=0).mean())
    return likelihood, math.sqrt(variance)
