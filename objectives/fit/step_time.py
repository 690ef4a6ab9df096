"""Fit step-time models to measured steps, and judge them on shapes that the fit has not seen.

A fit minimises the relative error, so that small models count as much as large ones, by
non-negative least squares: no coefficient is negative, for work takes time.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any

import numpy as np

from ...space.architecture import Architecture
from ..cost.counts import flops_per_step, memcpys_per_step, total
from ..cost.execution import PLAIN, Execution
from ..cost.features import ATTENTION, ROOFLINE, UNALIGNED, units_by_part
from ..cost.step_time import MODELS, StepTimeModel, features_of
from .step_problem import PRIOR_OFF, Problem, centred

# No GPU's hop takes longer: in hosts of eight, seven hops at 3.4 microseconds over NVLink to one at
# 14 over the network (what NCCL tunes its rings by, src/graph/tuning.cc). Steps on few devices
# cannot tell hops from bytes, and hops grow with the devices.
MOST_HOP_S = (7 * 3.4e-6 + 14e-6) / 8


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
        trainer: for each step, which software ran it, from 0; None: one ran all.
        prior: what others fitted to the same hardware; None: nothing is known before.

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
    trainer: np.ndarray | None = None
    prior: StepTimeModel | None = None

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
        """Of a named model; what it may have besides has rates of its own where it was timed."""
        besides = [link for link, units in self.sent.items() if np.any(units)]
        besides += [ATTENTION] * bool(np.any(self.execution.fused))
        if self.kind == "tpu":
            copied = total(units_by_part(UNALIGNED, self.arch, self.execution, kind=self.kind))
            besides += [UNALIGNED] * bool(np.any(copied))
        return features_of(name, besides)

    def least(self, name: str) -> np.ndarray:
        """Seconds per unit that each of `features` takes at least."""
        of_flops = (ROOFLINE, "flops", ATTENTION)
        return np.array([(f in of_flops) / self.peak_flops_per_s for f in self.features(name)])

    def most(self, name: str) -> np.ndarray:
        """Seconds per unit that each of `features` takes at most."""
        hop = MOST_HOP_S if self.kind == "gpu" else np.inf
        return np.array([hop if feature == "hops" else np.inf for feature in self.features(name)])

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
        measured_s: seconds of each step.
        heldout_s: each step's prediction by the model fitted without its shape, at the level of its
            trainer.
        r2: share of the variance of measured seconds that `heldout_s` explains.
        mape: mean of |predicted / measured - 1|, held out.
        ratio_95: measured over predicted, held out: the middle 95%.
        levels: seconds of each trainer over those of the model, which is the mean of them all.
        from_prior: whether what others fitted holds where the steps do not tell otherwise.
    """

    model: StepTimeModel
    measured_s: np.ndarray
    heldout_s: np.ndarray
    r2: float
    mape: float
    ratio_95: tuple[float, float]
    levels: np.ndarray
    from_prior: bool = False

    @property
    def label(self) -> str:
        """The model's name, and whether another's was moved."""
        return self.model.name + ", moved" * self.from_prior

    @property
    def mape_error(self) -> float:
        """Standard error of `mape`."""
        off = np.abs(self.heldout_s / self.measured_s - 1)
        return float(np.std(off) / np.sqrt(len(off)))


def fit_step_time(steps: Steps, name: str) -> StepTimeFit:
    """Fit a named model, leaving each shape (d_model, n_layers) out once to judge it.

    Raises:
        ValueError: all steps take the same time.
    """
    problem, shape_index = Problem.of(steps, name), steps.shape_index
    measured_s, level = steps.measured_s, problem.level
    if measured_s.min() == measured_s.max():
        raise ValueError(f"timed steps must differ in time, but all take {measured_s[0]:.4g} s")
    heldout_s = np.empty_like(measured_s)
    for shape in range(shape_index.max() + 1):
        out = shape_index == shape
        ridge, seconds = problem.solve(~out)
        heldout_s[out] = level[out] * (problem.units[ridge][out] @ seconds)
    ridge, seconds = problem.solve(np.full(len(measured_s), True))
    low, high = np.quantile(measured_s / heldout_s, [0.025, 0.975])
    return StepTimeFit(
        model=StepTimeModel(
            name=name,
            seconds_per_unit=dict(zip(steps.features(name), seconds.tolist(), strict=True)),
            ridge=float(ridge),
        ),
        measured_s=measured_s,
        heldout_s=heldout_s,
        r2=float(1 - np.sum((measured_s - heldout_s) ** 2) / np.sum(centred(measured_s) ** 2)),
        mape=float(np.mean(np.abs(heldout_s / measured_s - 1))),
        ratio_95=(float(low), float(high)),
        levels=problem.levels,
        from_prior=steps.prior is not None,
    )


def compare_step_times(steps: Steps, names: Iterable[str] = tuple(MODELS)) -> list[StepTimeFit]:
    """Fit several models, the one of lowest held-out relative error first.

    What others fitted comes first unless another is better by more than its standard error.
    """
    alone = dataclasses.replace(steps, prior=None)
    fits = sorted((fit_step_time(alone, name) for name in names), key=lambda fit: fit.mape)
    if steps.prior is None:
        return fits
    moved = fit_step_time(steps, steps.prior.name)
    place = 0 if moved.mape <= fits[0].mape + fits[0].mape_error else len(fits)
    return [*fits[:place], moved, *fits[place:]]


def draw_coefficients(
    steps: Steps, model: StepTimeModel, *, n_draws: int = 200, seed: int = 0
) -> np.ndarray:
    """Seconds per unit refitted to shapes drawn with replacement, (draws, features).

    The ridge stays as fitted; what others fitted is drawn too.
    """
    problem = Problem.of(steps, model.name, [model.ridge])
    rng = np.random.default_rng(seed)
    rows = [np.flatnonzero(steps.shape_index == i) for i in range(steps.shape_index.max() + 1)]
    draws = []
    for _ in range(n_draws):
        drawn = np.concatenate([rows[i] for i in rng.integers(len(rows), size=len(rows))])
        one = problem
        if steps.prior:
            off = np.exp(PRIOR_OFF * rng.standard_normal(len(problem.prior)))
            one = dataclasses.replace(problem, prior=problem.prior * off)
        draws.append(one.solve(drawn)[1])
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
