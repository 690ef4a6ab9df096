"""What published runs know of a law before a user's runs do.

Runs of one size after another determine a law; runs of small models alone hardly do, for a loss
that no size removes and a slow power law look alike there. What such runs leave open, and only
that, is drawn towards what larger public tables gave.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from ..law.loss_law import PARAMETERS
from .data import LawData, Prior
from .law import LawFit, law_data
from .runs import LawRuns
from .solver import ALPHA, BETA, log_residuals, minimise, slopes

# Mean and standard deviation, to foretell a fifth, over fits of this form to four public tables: of
# Hoffmann et al. 2022 (as Besiroglu et al. 2024 extracted it) and of C4, RedPajama and RefinedWeb,
# each on text of its own kind, of Gadre et al. 2024, arXiv:2403.08540. Of E it is the log.
# experiments/published_prior.py makes them.
LOG_E = (0.45, 0.15)
EXPONENTS = {"alpha": (0.285, 0.06), "beta": (0.44, 0.06), "tokens_log_size": (0.19, 0.13)}
# Without a coupling of size and tokens the tokens' exponent is lower.
UNCOUPLED_BETA = (0.29, 0.07)
# Of vocabularies at least this large; a token of a smaller one says less.
MIN_VOCAB_SIZE = 16_000
# An unknown is left alone where the runs tell it this many times better than the prior.
TOLD_BETTER = 3


def shrunk(runs: LawRuns, fit: LawFit) -> LawFit:
    """The fit again, what the runs do not determine drawn towards published values.

    A run counts as one observation, however many rows it has. A law with a power in it, whose
    exponents mean something else, stays as it is.
    """
    if fit.kappa != 1:
        return fit
    data = law_data(runs, fit.terms, fit.kappa, fit.copying)
    variance, errors = noise(runs, fit, data)
    open_to = {k: p for k, p in _published(runs, fit).items() if errors[k] * TOLD_BETTER > p[1]}
    if not open_to or not variance:
        return fit
    mean, precision = np.zeros(len(fit.theta)), np.zeros(len(fit.theta))
    for k, (middle, std) in open_to.items():
        mean[k], precision[k] = middle * data.scales[k], variance / (std * data.scales[k]) ** 2
    return with_prior(runs, fit, Prior(mean, np.diag(precision), variance), data)


def with_prior(runs: LawRuns, fit: LawFit, prior: Prior, data: LawData) -> LawFit:
    """The fit's unknowns moved to where they are best beside a prior."""
    informed = np.diag(prior.precision) > 0
    starts = np.stack([fit.theta, np.where(informed, prior.mean, fit.theta)])
    weights = np.ones((2, len(runs.n_params)))
    found = minimise(starts, data, weights, delta=fit.delta, prior=prior)
    best = int(np.argmin(found.objective))
    theta = found.theta[best]
    values = dict(zip(fit.values, data.natural(theta[None])[0].tolist(), strict=True))
    squares = float((log_residuals(theta[None], data) ** 2).sum())
    # The solver has each scale beside its exponent.
    order = ("E", "A", "alpha", "B", "beta", *fit.terms)
    names = [name for name, told in zip(order, informed, strict=True) if told]
    return dataclasses.replace(
        fit,
        theta=theta,
        values=values,
        objective=float(found.objective[best]),
        residual_std=math.sqrt(squares / max(len(data.x) - len(theta), 1)),
        prior=prior,
        warnings=(
            *(w for w in fit.warnings if "do not determine" not in w),
            f"the runs leave {', '.join(names)} open: drawn towards published values",
        ),
    )


def noise(runs: LawRuns, fit: LawFit, data: LawData) -> tuple[float, np.ndarray]:
    """What a run's log residual varies by, in units of the objective, and the unknowns' errors.

    Returns:
        The variance, and the standard error of each unknown, (5 + K,), of natural scale.
    """
    residuals = log_residuals(fit.theta[None], data)[0]
    n_rows, n_unknowns = len(residuals), len(fit.theta)
    pulls = np.clip(residuals, -fit.delta, fit.delta)
    # The share of rows that still pull harder the farther they are; Huber 1964.
    share = max(float((np.abs(residuals) <= fit.delta).mean()), 1 / n_rows)
    clustered = n_rows / runs.n_runs
    variance = clustered * float((pulls**2).sum()) / max(n_rows - n_unknowns, 1) / share
    first = slopes(fit.theta, data)
    information = share * first @ first.T
    information += 1e-12 * np.trace(information) * np.eye(n_unknowns)
    errors = np.sqrt(variance * np.diag(np.linalg.inv(information)))
    return variance, errors / data.scales


def _published(runs: LawRuns, fit: LawFit) -> dict[int, tuple[float, float]]:
    """Mean and standard deviation of those unknowns that published fits speak of, by place."""
    known = {ALPHA: EXPONENTS["alpha"], BETA: EXPONENTS["beta"]}
    for k, name in enumerate(fit.terms, len(PARAMETERS)):
        if name in EXPONENTS:
            known[k] = EXPONENTS[name]
    if "tokens_log_size" not in fit.terms:
        known[BETA] = UNCOUPLED_BETA
    if np.min(runs.columns.get("vocab_size", MIN_VOCAB_SIZE)) >= MIN_VOCAB_SIZE:
        known[0] = LOG_E
    return known
