"""How sure a fitted loss law is: refits to resampled runs, and intervals from them.

A draw resamples whole training runs with replacement, so rows that share a run stay together and
no form of the noise is assumed: its size may differ from run to run, as it does in the published
data. Intervals are percentiles of the draws at the levels of Student's t with as many degrees of
freedom as there are runs beyond unknowns: with few runs plain percentiles are on the narrow side.
experiments/chinchilla/coverage.py measures how often these and others hold the truth.

References:
    Efron 1979, 'Bootstrap methods: another look at the jackknife'.
    Hesterberg 2015, 'What teachers should know about the bootstrap', arXiv:1411.5279, for the
        widened levels.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy import stats

from ..law.copying import NUMBERS, Copying
from ..law.loss_law import PARAMETERS, POSITIVE, law_loss
from .choose_copying import draw_copying
from .law import LawFit, law_data
from .runs import LawRuns
from .solver import minimise

MANY_FAILED = 0.01


@dataclasses.dataclass(frozen=True, kw_only=True)
class LawDraws:
    """Laws that the runs could as well have given.

    Attributes:
        names: E, A, B, alpha, beta, further terms, and copying's.
        values: one law a row, (n_draws - n_failed, len(names)).
        n_failed: draws left out because their fit did not settle.
        degrees_of_freedom: independent runs less unknowns, but those that a prior tells of.
        kappa: the power in the law, the same in all draws.
    """

    names: tuple[str, ...]
    values: np.ndarray
    n_failed: int
    degrees_of_freedom: int
    kappa: float = 1.0

    def standard_errors(self) -> dict[str, float]:
        """Standard deviation over the draws, by name."""
        return dict(zip(self.names, self.values.std(axis=0, ddof=1).tolist(), strict=True))

    def intervals(self, level: float = 0.95) -> dict[str, tuple[float, float]]:
        """Interval of each number of the law, by name."""
        low, high = self.interval(self.values, level)
        return dict(zip(self.names, zip(low.tolist(), high.tolist(), strict=True), strict=True))

    def interval(self, samples: np.ndarray, level: float = 0.95) -> np.ndarray:
        """Ends, (2, ...), of the interval of anything computed from each draw, (draws, ...)."""
        tail = stats.norm.sf(stats.t.isf((1 - level) / 2, self.degrees_of_freedom))
        return np.quantile(samples, [tail, 1 - tail], axis=0)

    def loss(
        self, n_params: Any, n_tokens: Any, run: Mapping[str, Any] | None = None
    ) -> np.ndarray:
        """Loss in each draw, (draws, ...) for arrays (...), nats per token; see `LossLaw.loss`."""
        rows = (slice(None),) + (None,) * np.broadcast(n_params, n_tokens).ndim
        numbers = (column[rows] for column in self.values.T)
        terms = [name for name in self.names if name not in (*PARAMETERS, *NUMBERS)]
        return law_loss(numbers, n_params, n_tokens, run, terms=terms, kappa=self.kappa)

    def warnings(self) -> tuple[str, ...]:
        """What a reader should know of the draws, a sentence each."""
        n_draws = len(self.values) + self.n_failed
        if self.n_failed <= MANY_FAILED * n_draws:
            return ()
        return (
            f"{self.n_failed} of {n_draws} bootstrap fits did not settle: the intervals are too "
            "narrow; more runs, or a wider range of sizes and tokens, would tell",
        )


def bootstrap_law(runs: LawRuns, fit: LawFit, *, n_draws: int = 1000, seed: int = 0) -> LawDraws:
    """Refit a law, by the objective that it came from, to runs drawn with replacement.

    Every draw starts where `fit` ended. A law with copying chooses its gain and onset in each; the
    form of the law, and that there is copying, are as in `fit`.

    Args:
        runs: those that were fitted.
        fit: from `fit_varpro` or `fit_multi_start`.
        n_draws: how many laws to draw.
        seed: of the resampling.

    Raises:
        ValueError: the fit is of method `linear`, whose exponents are given.
    """
    if fit.method == "linear":
        raise ValueError("a law with given exponents has no bootstrap; fit it by varpro")
    share = np.full(runs.n_runs, 1 / runs.n_runs)
    rng = np.random.default_rng(seed)
    if fit.prior:
        # Runs that leave much open are few; none of them is left out altogether (Rubin 1981).
        counts = runs.n_runs * rng.dirichlet(np.ones(runs.n_runs), size=n_draws)
    else:
        counts = rng.multinomial(runs.n_runs, share, size=n_draws)
    weights = counts[:, runs.run].astype(float)
    copying, chosen = [fit.copying], np.zeros(n_draws, int)
    if fit.copying:
        copying, chosen = draw_copying(runs, fit, weights)
    names = (*fit.values, *(fit.copying.numbers if fit.copying else ()))
    values = np.empty((n_draws, len(names)))
    for i in np.unique(chosen):
        values[chosen == i] = _refits(runs, fit, copying[i], weights[chosen == i], rng)
    of_a_law = values[:, [name in POSITIVE for name in names]] > 0
    kept = np.isfinite(values).all(axis=1) & of_a_law.all(axis=1)
    n_known = int(np.linalg.matrix_rank(fit.prior.precision)) if fit.prior else 0
    return LawDraws(
        names=names,
        values=values[kept],
        n_failed=int(n_draws - kept.sum()),
        degrees_of_freedom=runs.n_runs - len(names) + n_known,
        kappa=fit.kappa,
    )


def _refits(
    runs: LawRuns,
    fit: LawFit,
    copying: Copying | None,
    weights: np.ndarray,
    rng: np.random.Generator,
) -> np.ndarray:
    """All numbers of the law for each row of weights; not a number where a fit did not settle."""
    data = law_data(runs, fit.terms, fit.kappa, copying)
    starts = np.repeat(fit.theta[None], len(weights), axis=0)
    # What was known beside the runs is as uncertain as it was said to be.
    prior = fit.prior and fit.prior.draws(len(weights), rng)
    found = minimise(starts, data, weights, delta=fit.delta, prior=prior)
    values = np.where(found.settled[:, None], data.natural(found.theta), np.nan)
    of_copying = list(copying.numbers.values()) if copying else []
    return np.column_stack([values, np.tile(of_copying, (len(weights), 1))])
