"""What other runs know of a law before a user's do: published ones, or those of another corpus.

Runs of one size after another determine a law; runs of small models alone hardly do, for a loss
that no size removes and a slow power law look alike there. What such runs leave open, and only
that, is drawn towards what larger public tables gave.

Between corpora and tokenizers a law's level moves, its scales less, its exponents and what it says
of shape hardly. So one run tells the level of another corpus (`anchor`), three the scales beside
it, and more the rest; what the runs do not tell stays as uncertain as it is between corpora.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np

from ..law.loss_law import PARAMETERS, LossLaw
from .data import LawData, Prior
from .law import LawFit, law_data
from .runs import LawRuns
from .solver import ALPHA, BETA, log_residuals, minimise, slopes

# Mean and standard deviation, to foretell a fifth, over fits of this form to four public tables: of
# Hoffmann et al. 2022 (as Besiroglu et al. 2024 extracted it) and of C4, RedPajama and RefinedWeb,
# each on text of its own kind, of Gadre et al. 2024, arXiv:2403.08540. Of E it is the log.
# experiments/openlm/openlm.py makes them.
LOG_E = (0.45, 0.15)
EXPONENTS = {"alpha": (0.285, 0.06), "beta": (0.44, 0.06), "tokens_log_size": (0.19, 0.13)}
# Without a coupling of size and tokens the tokens' exponent is lower.
UNCOUPLED_BETA = (0.29, 0.07)
# Of vocabularies at least this large; a token of a smaller one says less.
MIN_VOCAB_SIZE = 16_000
# An unknown is left alone where the runs tell it this many times better than the prior.
TOLD_BETTER = 3
# Relative standard deviations between corpora: of the loss as a whole, of each of its parts at the
# middle of the law's runs, of exponents, and of further terms. The first is measured, over all
# pairs of corpora and evaluation sets of Gadre et al. 2024 (experiments/openlm/openlm.py).
LEVEL, PARTS, POWERS, TERMS = 0.25, 0.1, 0.1, 0.2
# The same of the loss of a corpus judged on text of its own kind: what is not known of a user's
# level before the first run. 0.15 over three web corpora of one vocabulary (openlm.py), 0.20 over
# five texts and tokenizers of others, the Pile the farthest (experiments/public_losses).
OWN_LEVEL = 0.2
# The same between recipes (model, optimizer, batches, schedule) on one corpus and vocabulary, over
# eleven recipes on three corpora (experiments/public_losses/recipes.py).
BETWEEN_RECIPES = 0.016
# The least that a run's loss is off a law of another corpus, relative.
MIN_NOISE = 0.01
# What a law of another corpus is off a run, relative, for each e-fold of parameters and of tokens
# by which the run lies outside of the law's own (experiments/openlm/outside.py).
BEYOND = 0.025
# Standard deviations from which on a run pulls no harder.
HUBER_OF_FEW = 2.0
N_DRAWS = 1000


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


@dataclasses.dataclass(frozen=True, kw_only=True)
class Anchored:
    """A law moved to other data.

    Attributes:
        law: with the ranges of the one that it came from.
        draws: of its numbers, (draws, numbers).
        level: by how much the loss of the runs is above the law's as it was, relative.
        n_runs: that moved it.
    """

    law: LossLaw
    draws: np.ndarray
    level: float
    n_runs: int

    def as_dict(self) -> dict[str, Any]:
        """The numbers with their errors and intervals, and how far the level moved."""
        ends = np.quantile(self.draws, [0.025, 0.975], axis=0).T.tolist()
        errors = self.draws.std(axis=0, ddof=1).tolist()
        rows = zip(self.law.numbers.items(), errors, ends, strict=True)
        numbers = {
            name: {"value": value, "standard_error": error, "interval_95": interval}
            for (name, value), error, interval in rows
        }
        return numbers | {"level": self.level, "n_runs": self.n_runs, "kappa": self.law.kappa}


def between_corpora(law: LossLaw, draws: np.ndarray | None, *, seed: int = 0) -> np.ndarray:
    """What the law may be on a text and a vocabulary of which nothing is known, as draws.

    Args:
        law: of its own corpus.
        draws: of its numbers, (draws, numbers); None: it is taken as it stands.
        seed: of the draws.

    Returns:
        Numbers of laws, (N_DRAWS, numbers), copying's not among them.
    """
    rng = np.random.default_rng(seed)
    n_numbers = len(PARAMETERS) + len(law.terms)
    own = np.array([list(law.numbers.values())]) if draws is None else draws
    own = own[rng.integers(len(own), size=N_DRAWS), :n_numbers]
    normal = rng.standard_normal((N_DRAWS, n_numbers + 1))
    e, a, b, alpha, beta = own.T[:5]
    # The level is of the loss, and the parts are inside the law's power.
    level = LEVEL / law.kappa * normal[:, -1]
    parts = np.exp(level[:, None] + PARTS / law.kappa * normal[:, [0, 1, 2]])
    exponents = np.stack([alpha, beta], axis=1) * np.exp(POWERS * normal[:, [3, 4]])
    middle = [np.log(law.n_params_range).mean(), np.log(law.n_tokens_range).mean()]
    # Another exponent leaves its part as it was at the middle of the runs.
    kept = np.exp((exponents - np.stack([alpha, beta], axis=1)) * middle)
    terms = own[:, 5:] * (1 + TERMS * normal[:, 5:-1])
    return np.column_stack(
        [e * parts[:, 0], a * parts[:, 1] * kept[:, 0], b * parts[:, 2] * kept[:, 1], exponents,
         terms]
    )  # fmt: skip


def anchor(law: LossLaw, draws: np.ndarray | None, runs: LawRuns, *, seed: int = 0) -> Anchored:
    """The law of the runs' data, the law of other data being the prior.

    Of runs of one model the longest alone counts. What the others say of tokens is how the law
    bends there, by a percent or two, which taken for a slope misleads over decades. A run outside
    of what the law was fitted to counts less, the farther the less.

    Args:
        law: of other data, counting parameters as the runs do.
        draws: of its numbers, (draws, numbers).
        runs: any number of them, one at least.
        seed: of the draws.

    Raises:
        ValueError: the runs lack a column that a term needs.
    """
    if not runs.shape.any():
        runs = runs.longest()
    data = law_data(runs, tuple(law.terms), law.kappa, law.copying, check=False)
    known = data.theta(between_corpora(law, draws, seed=seed))
    # Not the mean of draws that lean to one side: runs that tell nothing leave the law as it was.
    mean = data.theta(np.array([list(law.numbers.values())[: known.shape[1]]]))[0]
    least = max(law.residual_std, MIN_NOISE) ** 2
    beyond = (BEYOND * law.folds_outside(runs.n_params, runs.n_tokens)) ** 2
    weights = least / (least + beyond)
    variance = least * len(data.x) / runs.n_runs
    covariance = np.atleast_2d(np.cov(known.T))
    # Else singular where numbers are certain; a share of each, for a column may have tiny ones.
    own = np.diag(covariance)
    covariance += 1e-9 * np.diag(np.where(own > 0, own, 1.0))
    prior = Prior(mean, variance * np.linalg.inv(covariance), variance)
    delta = HUBER_OF_FEW * math.sqrt((variance / weights).max())
    theta = minimise(mean[None], data, weights[None], delta=delta, prior=prior).theta[0]
    values = data.natural(_posterior(theta, data, weights, prior, seed))
    if law.copying:
        of_copying = list(law.copying.numbers.values())
        values = np.column_stack([values, np.tile(of_copying, (len(values), 1))])
    numbers = dict(zip(law.numbers, data.natural(theta[None])[0].tolist(), strict=False))
    was = law.loss(runs.n_params, runs.n_tokens, runs.columns)
    return Anchored(
        law=dataclasses.replace(
            law,
            **{name: numbers[name] for name in PARAMETERS},
            terms={name: numbers[name] for name in law.terms},
            pure=None,
            residual_std=max(law.residual_std, MIN_NOISE),
        ),
        draws=values,
        level=float(np.mean(runs.measured_loss / was)) - 1,
        n_runs=runs.n_runs,
    )


def of_another_recipe(
    draws: np.ndarray,
    recipes: np.ndarray,
    *,
    kappa: float = 1.0,
    std: float = BETWEEN_RECIPES,
    seed: int = 0,
) -> np.ndarray:
    """Draws of a law that runs of some recipes moved, for one who trains by none of these.

    Its level lies apart from the mean of all recipes, which runs tell the worse the fewer recipes
    they are of: a random effect, and the same for all candidates.

    Args:
        draws: of a law's numbers, (draws, numbers).
        recipes: name of each run's, (runs,).
        kappa: of the law.
        std: relative standard deviation between levels of recipes.
        seed: of the levels.
    """
    shares = np.unique(recipes, return_counts=True)[1] / len(recipes)
    unsure = std * math.sqrt(1 + (shares**2).sum())
    normal = np.random.default_rng(seed + 2).standard_normal((len(draws), 1))
    # The level is of the loss, and the parts are inside the law's power.
    scales = np.exp(unsure / kappa * normal)
    return np.hstack([draws[:, :3] * scales, draws[:, 3:]])


def _posterior(
    theta: np.ndarray, data: LawData, weights: np.ndarray, prior: Prior, seed: int
) -> np.ndarray:
    """Draws about the best unknowns, by the curvature there (Laplace), (N_DRAWS, 5 + K)."""
    first = slopes(theta, data)
    precision = (weights * first @ first.T + prior.precision) / prior.variance
    root = np.linalg.cholesky(np.linalg.inv(precision))
    normal = np.random.default_rng(seed + 1).standard_normal((N_DRAWS, len(theta)))
    return theta + normal @ root.T
