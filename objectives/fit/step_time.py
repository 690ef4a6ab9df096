"""Fit step-time models to measured steps, and judge them on shapes that the fit has not seen.

A fit minimises the relative error, so that small models count as much as large ones, by
non-negative least squares: no coefficient is negative, for work takes time.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any

import numpy as np
from scipy.optimize import nnls

from ...space.architecture import Architecture
from ..cost.counts import flops_per_step, memcpys_per_step
from ..cost.execution import PLAIN, Execution
from ..cost.features import ATTENTION, ROOFLINE, units_by_part
from ..cost.step_time import MODELS, StepTimeModel, features_of

# FLOPs in the time of one memory copy: from 1 to a thousand, in steps of a fifth.
RIDGES = 2.0 ** np.arange(0, 10.01, 0.25)
# Another ridge than the usual one is taken if it lowers the error by so much of it: steps that are
# all bound by FLOPs fit any ridge alike.
RIDGE_PAYS = 0.01


@dataclasses.dataclass(frozen=True, kw_only=True)
class Steps:
    """Measured steps of many architectures.

    Attributes:
        arch: the models, each field an array or a scalar that all share.
        measured_s: seconds of one optimizer step of each.
        execution: how each was run, likewise.
        kind: of the device, see `KERNELS`.
        sent: what each chip sends in a step, see `communication.sent`; empty: it works alone.
        usual_ridge: that of the datasheet, kept where another fits hardly better.
        peak_flops_per_s: that no coefficient of FLOPs may go beyond, if it is known.

    Raises:
        ValueError: a time is not positive, or shapes are too few to hold one out.
    """

    arch: Architecture
    measured_s: np.ndarray
    execution: Execution = PLAIN
    kind: str = "cpu"
    sent: dict[str, Any] = dataclasses.field(default_factory=dict)
    usual_ridge: float | None = None
    peak_flops_per_s: float = np.inf

    def __post_init__(self) -> None:
        if not (np.all(np.isfinite(self.measured_s)) and np.all(self.measured_s > 0)):
            raise ValueError("every measured step must take a time > 0, but some do not")
        if (n_shapes := int(self.shape_index.max()) + 1) < 3:
            raise ValueError(
                "a step-time fit needs at least 3 shapes (d_model, n_layers), to hold out one at "
                f"a time, but got {n_shapes}"
            )

    @property
    def shape_index(self) -> np.ndarray:
        """For each step, which shape (d_model, n_layers) it is of."""
        shape = self.arch.d_model, self.arch.n_layers
        shapes = np.broadcast_arrays(*shape, self.measured_s)[:2]
        return np.unique(np.stack(shapes), axis=1, return_inverse=True)[1].ravel()

    def features(self, name: str) -> tuple[str, ...]:
        """Of a named model: fused attention and links have rates of their own where timed."""
        besides = [link for link, units in self.sent.items() if np.any(units)]
        return features_of(name, [*besides, *[ATTENTION] * bool(np.any(self.execution.fused))])

    def least(self, name: str) -> np.ndarray:
        """Seconds per unit that each of `features` takes at least."""
        of_flops = (ROOFLINE, "flops", ATTENTION)
        return np.array([(f in of_flops) / self.peak_flops_per_s for f in self.features(name)])

    def units(self, name: str, ridge: float) -> np.ndarray:
        """Units of each of `features` in each step, (steps, features)."""
        columns = []
        for feature in self.features(name):
            if feature in self.sent:
                columns.append(np.broadcast_to(self.sent[feature], self.measured_s.shape))
                continue
            parts = units_by_part(
                feature,
                self.arch,
                self.execution,
                ridge=ridge,
                kind=self.kind,
                times_attention=True,
            )
            columns.append(np.broadcast_to(sum(parts.values()), self.measured_s.shape))
        return np.stack(columns, axis=1).astype(float)


@dataclasses.dataclass(frozen=True, kw_only=True)
class StepTimeFit:
    """A fitted model, and how well it predicts shapes that were left out.

    Attributes:
        model: fitted to all steps.
        heldout_s: each step's prediction by the model fitted without its shape.
        r2: share of the variance of measured seconds that `heldout_s` explains.
        mape: mean of |predicted / measured - 1|, held out.
        ratio_95: measured over predicted, held out: the middle 95%.
    """

    model: StepTimeModel
    heldout_s: np.ndarray
    r2: float
    mape: float
    ratio_95: tuple[float, float]


def fit_step_time(steps: Steps, name: str) -> StepTimeFit:
    """Fit a named model, leaving each shape (d_model, n_layers) out once to judge it.

    Raises:
        ValueError: all steps take the same time.
    """
    units, least = _units_by_ridge(steps, name), steps.least(name)
    measured_s, shape_index = steps.measured_s, steps.shape_index
    if measured_s.min() == measured_s.max():
        raise ValueError(f"timed steps must differ in time, but all take {measured_s[0]:.4g} s")
    heldout_s = np.empty_like(measured_s)
    for shape in range(shape_index.max() + 1):
        out = shape_index == shape
        ridge, seconds = _solve(units, measured_s, ~out, least)
        heldout_s[out] = units[ridge][out] @ seconds
    ridge, seconds = _solve(units, measured_s, np.full(len(measured_s), True), least)
    low, high = np.quantile(measured_s / heldout_s, [0.025, 0.975])
    return StepTimeFit(
        model=StepTimeModel(
            name=name,
            seconds_per_unit=dict(zip(steps.features(name), seconds.tolist(), strict=True)),
            ridge=float(ridge),
        ),
        heldout_s=heldout_s,
        r2=float(1 - np.sum((measured_s - heldout_s) ** 2) / np.sum(_centred(measured_s) ** 2)),
        mape=float(np.mean(np.abs(heldout_s / measured_s - 1))),
        ratio_95=(float(low), float(high)),
    )


def compare_step_times(steps: Steps, names: Iterable[str] = tuple(MODELS)) -> list[StepTimeFit]:
    """Fit several models, the one of lowest held-out relative error first."""
    return sorted((fit_step_time(steps, name) for name in names), key=lambda fit: fit.mape)


def draw_coefficients(
    steps: Steps, model: StepTimeModel, *, n_draws: int = 200, seed: int = 0
) -> np.ndarray:
    """Seconds per unit refitted to shapes drawn with replacement, (draws, features).

    The ridge stays as fitted.
    """
    units = {model.ridge: steps.units(model.name, model.ridge)}
    rng = np.random.default_rng(seed)
    rows = [np.flatnonzero(steps.shape_index == i) for i in range(steps.shape_index.max() + 1)]
    draws = []
    for _ in range(n_draws):
        drawn = np.concatenate([rows[i] for i in rng.integers(len(rows), size=len(rows))])
        draws.append(_solve(units, steps.measured_s, drawn, steps.least(model.name))[1])
    return np.stack(draws)


def variance_explained_alone(steps: Steps) -> dict[str, float]:
    """Squared correlation of measured seconds with memory copies, and with FLOPs."""
    counts = {
        "memcpys": memcpys_per_step(steps.arch, steps.execution),
        "flops": flops_per_step(steps.arch, steps.execution),
    }
    return {
        name: float(np.corrcoef(count, steps.measured_s)[0, 1] ** 2)
        for name, count in counts.items()
    }


def implied_rates(model: StepTimeModel, bytes_per_element: int) -> dict[str, float]:
    """The bandwidth and the FLOP/s that a model's coefficients amount to, where it has them.

    Named as in `Device`. A coefficient stands for all that grows with its count, so a rate may be
    below the device's; one above it cannot be physical: another feature carries part of that work.
    """
    seconds = model.seconds_per_unit
    flop_s = seconds.get("flops", 0.0) or seconds.get(ROOFLINE, 0.0)
    memcpy_s = seconds.get("memcpys", 0.0) or model.ridge * seconds.get(ROOFLINE, 0.0)
    rates = {}
    if memcpy_s:
        rates["bandwidth_bytes_per_s"] = bytes_per_element / memcpy_s
    if flop_s:
        rates["peak_flops_per_s"] = 1 / flop_s
    return rates


def _units_by_ridge(steps: Steps, name: str) -> dict[float, np.ndarray]:
    if ROOFLINE not in MODELS[name]:
        return {0.0: steps.units(name, 0.0)}
    ridges = [steps.usual_ridge or RIDGES[0], *RIDGES]
    return {ridge: steps.units(name, ridge) for ridge in ridges}


def _solve(
    units: dict[float, np.ndarray], measured_s: np.ndarray, rows: np.ndarray, least: np.ndarray
) -> tuple[float, np.ndarray]:
    """The ridge and the coefficients of least relative error on some rows.

    The first ridge is the usual one, which another must beat by `RIDGE_PAYS`; no coefficient goes
    below its `least`.
    """
    ones = np.ones(len(measured_s[rows]))
    best: tuple[float, float, np.ndarray] | None = None
    bar = np.inf
    for ridge, matrix in units.items():
        relative = matrix[rows] / measured_s[rows, None]
        # FLOPs and steps differ by ten orders of magnitude; what no row has stays at 0.
        scale = np.maximum(relative.mean(axis=0), np.finfo(float).tiny)
        seconds, error = nnls(relative / scale, ones - relative @ least)
        if best is None or error < bar:
            bar = error if best else (1 - RIDGE_PAYS) * error
            best = error, ridge, least + seconds / scale
    assert best is not None
    return best[1:]


def _centred(values: np.ndarray) -> np.ndarray:
    return values - values.mean()
