"""Fit L(N, D) = (E + A / N^alpha + B / D^beta)^kappa to runs by projecting its linear part out.

At given exponents L^(1/kappa) is linear in E, A and B, so a non-negative linear solve finds them
(`fit_linear`), and only the two exponents are left to search (`fit_varpro`).
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np
from scipy.optimize import nnls

from ..law.copying import Copying
from ..law.loss_law import PARAMETERS
from ..law.terms import TERMS
from .data import HIGHEST, LOWEST, LawData, Prior
from .runs import LawRuns
from .solver import ALPHA, BETA, Minimum, log_residuals, minimise

# The threshold of Hoffmann et al. 2022 and of Besiroglu et al. 2024.
REFERENCE_DELTA = 1e-3
# Huber's constant: 95% of the efficiency of least squares on normal errors (Huber 1964).
HUBER = 1.345
# Median absolute value of a standard normal variable.
NORMAL_MEDIAN = 0.6745
SMALLEST_DELTA = 1e-4
N_TUNINGS = 3

EXPONENTS = np.geomspace(0.05, 1.5, 12)
N_STARTS = 8
# Where the logs of E, A and B start when the linear solve finds 0, nats.
NEARLY_ZERO = 1e-3
BOUNDS_OF_EXPONENTS = (LOWEST[ALPHA], HIGHEST[ALPHA])


@dataclasses.dataclass(frozen=True, kw_only=True)
class LawFit:
    """A fitted law.

    Attributes:
        method: `linear`, `varpro` or `multi_start`.
        values: E, A, B, alpha, beta and the coefficients of further terms, by name.
        delta: the Huber threshold of the objective on log residuals; infinity for least squares.
        objective: the sum of the Huber function over the runs.
        residual_std: relative standard deviation of measured losses about the law.
        theta: the unknowns as the solver has them, (5 + K,).
        kappa: the power in the law; it is given, not fitted, and so is the next.
        copying: what the law says of it.
        prior: what the fit knew of the unknowns beside the runs.
        warnings: what a reader should know of data and fit, a sentence each.
    """

    method: str
    values: dict[str, float]
    delta: float
    objective: float
    residual_std: float
    theta: np.ndarray
    kappa: float = 1.0
    copying: Copying | None = None
    prior: Prior | None = None
    warnings: tuple[str, ...] = ()

    @property
    def at_bound(self) -> tuple[str, ...]:
        """Numbers that ended at the least or the most that they may be: they have no error."""
        ends = {"E": (0, NEARLY_ZERO), "alpha": BOUNDS_OF_EXPONENTS, "beta": BOUNDS_OF_EXPONENTS}
        return tuple(
            name
            for name, (low, high) in ends.items()
            if (self.values[name] < high if name == "E" else not low < self.values[name] < high)
        )

    @property
    def terms(self) -> tuple[str, ...]:
        """Names of the terms beyond the pure law."""
        return tuple(self.values)[len(PARAMETERS) :]


def fit_linear(runs: LawRuns, *, alpha: float = 0.48, beta: float = 0.53) -> LawFit:
    """E, A and B >= 0 at given exponents, by least squares on the relative error.

    The default exponents are those of Inbar and Sernau 2024, arXiv:2406.18922.

    Raises:
        ValueError: an exponent is not positive.
    """
    if not (alpha > 0 and beta > 0):
        raise ValueError(f"exponents must be > 0, but got alpha={alpha}, beta={beta}")
    data = law_data(runs)
    theta, squares = _linear_solve(data, alpha, beta)
    return as_fit("linear", theta, squares / 2, data, runs, math.inf)


def fit_varpro(
    runs: LawRuns,
    *,
    delta: float | None = None,
    terms: tuple[str, ...] = (),
    kappa: float = 1.0,
    copying: Copying | None = None,
) -> LawFit:
    """All five by variable projection: a search over the exponents, a linear solve for the rest.

    On a grid of exponents the linear solve gives E, A and B. From the best cells, and from the
    least-squares optimum, Newton steps then minimise the very objective that `fit_multi_start`
    has: the Huber function of the log residuals.

    Args:
        runs: what to fit.
        delta: the Huber threshold; None: `HUBER` times the spread of the residuals, found by
            starting from `REFERENCE_DELTA`, at which outliers hardly pull.
        terms: further terms of the law, names from `TERMS`.
        kappa: the power in the law.
        copying: what the law says of it.

    Raises:
        ValueError: a term is unknown, its columns are missing, or the runs are too few for it.

    References:
        Golub and Pereyra 1973, 'The differentiation of pseudo-inverses and nonlinear least squares
        problems whose variables separate'.
    """
    data = law_data(runs, terms, kappa, copying)
    starts = _best_cells(data)
    starts = np.concatenate([starts, _lowest(starts[:1], data, math.inf).theta])
    n_tunings, delta = (0, delta) if delta is not None else (N_TUNINGS, REFERENCE_DELTA)
    found = _lowest(starts, data, delta)
    for _ in range(n_tunings):
        delta = _tuned_delta(found.theta, data)
        found = _lowest(np.concatenate([starts, found.theta]), data, delta)
    fit = as_fit("varpro", found.theta[0], found.objective[0], data, runs, delta, terms)
    fit = dataclasses.replace(fit, copying=copying)
    if found.settled[0]:
        return fit
    warning = "the fit did not settle: the runs hardly determine this law"
    return dataclasses.replace(fit, warnings=(*fit.warnings, warning))


def profile(runs: LawRuns, fit: LawFit, name: str, values: np.ndarray) -> np.ndarray:
    """The objective with E, alpha or beta held at each of `values` > 0 and the rest refitted.

    Raises:
        ValueError: `name` is none of the three.
    """
    if name not in ("E", "alpha", "beta"):
        raise ValueError(f"a profile is over E, alpha or beta, but got {name!r}")
    held = {"E": 0, "alpha": ALPHA, "beta": BETA}[name]
    data = law_data(runs, fit.terms, fit.kappa, fit.copying)
    starts = np.repeat(fit.theta[None], len(values), axis=0)
    starts[:, held] = np.log(values) if name == "E" else values
    weights = np.ones((len(values), len(data.x)))
    return minimise(starts, data, weights, delta=fit.delta, held=(held,), prior=fit.prior).objective


def law_data(
    runs: LawRuns,
    terms: tuple[str, ...] = (),
    kappa: float = 1.0,
    copying: Copying | None = None,
    *,
    check: bool = True,
) -> LawData:
    """The runs as the solver sees them: losses without what copying takes off on average.

    `check` that they tell the law by themselves.

    Raises:
        ValueError: a term is unknown, its columns are missing, or the runs are too few for it.
    """
    if unknown := [name for name in terms if name not in TERMS]:
        raise ValueError(f"a further term is one of {', '.join(TERMS)}, but got {unknown[0]!r}")
    needed = dict.fromkeys(column for name in terms for column in TERMS[name].needs)
    if missing := [column for column in needed if column not in runs.columns]:
        raise ValueError(
            f"the law's terms ({', '.join(terms)}) need the columns {', '.join(missing)} in the "
            "runs: add them, or take a law that knows no shape, as besiroglu-2024"
        )
    n_unknowns = len(PARAMETERS) + len(terms)
    if check and runs.n_runs <= n_unknowns:
        raise ValueError(
            f"a law with {n_unknowns} unknowns needs more runs than that, but got {runs.n_runs}"
        )
    log_n, log_d = np.log(runs.n_params), np.log(runs.n_tokens)
    factor = copying.factor(runs.n_tokens, runs.columns) if copying else 1.0
    z = np.array([TERMS[name].value(runs.columns) for name in terms])
    z = z.reshape(len(terms), len(log_n))
    # A column of zeros stays one, and what is known of its coefficient is left as it is.
    z_scales = np.abs(z).max(axis=1, initial=0.0)
    z_scales[z_scales == 0] = 1.0
    return LawData(
        x=log_n - log_n.mean(),
        y=log_d - log_d.mean(),
        z=(z / z_scales[:, None]).T,
        log_loss=np.log(runs.measured_loss / factor),
        means=(float(log_n.mean()), float(log_d.mean())),
        z_scales=z_scales,
        places=tuple(TERMS[name].place for name in terms),
        kappa=kappa,
    )


def as_fit(
    method: str,
    theta: np.ndarray,
    objective: float,
    data: LawData,
    runs: LawRuns,
    delta: float,
    terms: tuple[str, ...] = (),
) -> LawFit:
    """What a method found, with the warnings of the data and of the values themselves."""
    values = dict(zip((*PARAMETERS, *terms), data.natural(theta[None])[0].tolist(), strict=True))
    warnings = [
        f"{name} = {values[name]:.3g}: the runs do not determine it"
        for name in ("alpha", "beta")
        if not EXPONENTS[0] < values[name] < EXPONENTS[-1]
    ]
    if values["E"] < NEARLY_ZERO:
        warnings.append("E is 0: the runs show no loss that scale cannot remove")
    squares = float((log_residuals(theta[None], data) ** 2).sum())
    return LawFit(
        method=method,
        values=values,
        delta=delta,
        objective=float(objective),
        residual_std=math.sqrt(squares / (len(data.x) - len(theta))),
        theta=theta,
        kappa=data.kappa,
        warnings=(*runs.warnings, *warnings),
    )


def _best_cells(data: LawData) -> np.ndarray:
    """The unknowns in the best cells of the grid of exponents, best first, (N_STARTS, 5 + K)."""
    cells = [_linear_solve(data, alpha, beta) for alpha in EXPONENTS for beta in EXPONENTS]
    cells.sort(key=lambda cell: cell[1])
    starts = np.array([theta for theta, _ in cells[:N_STARTS]])
    starts[:, [0, 1, 3]] = np.maximum(starts[:, [0, 1, 3]], math.log(NEARLY_ZERO))
    return starts


def _linear_solve(data: LawData, alpha: float, beta: float) -> tuple[np.ndarray, float]:
    """The unknowns with the best E, A, B >= 0, and the sum of the squared relative errors.

    Those are errors of the loss to the power of 1 / kappa.
    """
    loss = np.exp(data.log_loss / data.kappa)
    powers = np.column_stack([np.ones_like(loss), np.exp(-alpha * data.x), np.exp(-beta * data.y)])
    coefficients, norm = nnls(powers / loss[:, None], np.ones_like(loss))
    log_e, log_a, log_b = np.log(np.maximum(coefficients, math.exp(LOWEST[0])))
    return np.array([log_e, log_a, alpha, log_b, beta, *np.zeros(data.z.shape[1])]), norm**2


def _lowest(starts: np.ndarray, data: LawData, delta: float) -> Minimum:
    """The lowest of the minima that the starts lead to, as a batch of one row."""
    found = minimise(starts, data, np.ones((len(starts), len(data.x))), delta=delta)
    best = int(np.argmin(found.objective))
    return Minimum(*(array[best : best + 1] for array in found))


def _tuned_delta(theta: np.ndarray, data: LawData) -> float:
    """`HUBER` times the spread of the residuals: their median size over a normal variable's.

    As many of the smallest as there are unknowns are left out, for the fit made those small.
    """
    sizes = np.sort(np.abs(log_residuals(theta, data)[0]))[theta.shape[1] :]
    return max(HUBER * float(np.median(sizes)) / NORMAL_MEDIAN, SMALLEST_DELTA)
