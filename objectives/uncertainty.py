"""How sure a ranking is: joint draws of law and step-time model, carried to every candidate.

Uncertainty lies in parameters that all candidates share, so a draw moves them together and the
differences between them are far tighter than their levels. What a fit leaves unexplained belongs to
each candidate alone and is drawn apart for each.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from ..space.architecture import Architecture
from .cost.execution import Execution
from .cost.ways import chosen
from .device import Device
from .law.repetition import SCALE_SPREAD
from .loss_at_time import LossAtTime, Prediction
from .step_cost import run_columns
from .time_draws import (
    DATASHEET_RESIDUAL,
    datasheet_draws,
    draw_step_times,
    levelled_draws,
    residuals,
)

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

T = TypeVar("T", bound="DataclassInstance")

# Width of all intervals, and the chance to beat the winner below which a candidate is behind it.
COVERAGE = 0.95
BEATS_AT_LEAST = (1 - COVERAGE) / 2
# How far the next trainer's steps are from those that a device was fitted to, or its compiler's
# estimates, on all shapes alike: 0.28 over 40 public sources on A100 and H100, whole runs' hours
# among them, and 0.23 over 13 on TPUs, of which MaxText's are near 1 and others up to 1.7. Each
# left out, the others' spread holds 95 and 86% of its rows (experiments/public_steps).
SOFTWARE_SPREAD = 0.28
# Standard deviations from the middle to the end of a 95% interval.
NORMAL_95 = 1.96


@dataclasses.dataclass(frozen=True, kw_only=True)
class Draws:
    """What is not known of law and step time, as equally likely values.

    Attributes:
        laws: all of `LossLaw.numbers` in each draw, (draws, numbers).
        law_residual: relative standard deviation of a run's loss about the law, beside its luck in
            copying.
        seconds_per_unit: of each feature of the step-time model, (draws, features).
        time_residual: relative standard deviation of a shape's step time about the model.

    Raises:
        ValueError: an array is empty, not of two dimensions, or holds what is not finite.
    """

    laws: np.ndarray
    law_residual: float
    seconds_per_unit: np.ndarray
    time_residual: float

    def __post_init__(self) -> None:
        for name in ("laws", "seconds_per_unit"):
            array = getattr(self, name)
            if array.ndim != 2 or not array.size or not np.all(np.isfinite(array)):
                raise ValueError(f"`{name}` must be a table of finite numbers, but is not")


def joint_draws(
    objective: LossAtTime, laws: np.ndarray | None, seconds_per_unit: np.ndarray | None
) -> Draws | None:
    """What is not known of an objective, from the draws of its law and of its device.

    A device from its datasheet has none, and stated assumptions instead (`datasheet_draws`); one
    that was fitted and has none is taken at its word, but for its scatter.

    Args:
        objective: whose law and device they are of.
        laws: all of `LossLaw.numbers` in each draw, (draws, numbers).
        seconds_per_unit: of each feature of the step-time model, (draws, features).

    Returns:
        The draws; None where the law has none, for then nothing can be said.

    Raises:
        ValueError: the device's scatter makes no sense.
    """
    if laws is None:
        return None
    device = objective.device
    if device.basis == "datasheet":
        seconds, time_residual = datasheet_draws(device), DATASHEET_RESIDUAL
    else:
        own = np.array([list(device.step_time_model.seconds_per_unit.values())])
        seconds = own if seconds_per_unit is None else seconds_per_unit
        if spread := next_trainer_spread(device):
            seconds = levelled_draws(seconds, spread)
        time_residual = _scatter(device)
    return Draws(
        laws=laws,
        law_residual=objective.law.residual_std,
        seconds_per_unit=seconds,
        time_residual=time_residual,
    )


def _scatter(device: Device) -> float:
    """Relative standard deviation of a shape's step time about a calibrated model."""
    match device.calibration.get("actual_over_predicted_95", (1.0, 1.0)):
        case [float(low), float(high)] if 0 < low <= high < math.inf:
            return math.log(high / low) / (2 * NORMAL_95)
        case other:
            raise ValueError(
                f"device {device.name!r}: `actual_over_predicted_95` must be two numbers, "
                f"0 < low <= high, but got {other!r}"
            )


def next_trainer_spread(device: Device) -> float:
    """Relative standard deviation of the next trainer's steps about those that were timed.

    None where they are one's own. The few trainers of one table may be alike by chance.
    """
    if device.basis not in ("compiled", "published"):
        return 0.0
    match device.calibration.get("software_spread", SOFTWARE_SPREAD):
        case float(spread) | int(spread) if 0 <= spread < 1:
            return max(spread, SOFTWARE_SPREAD)
        case other:
            raise ValueError(
                f"device {device.name!r}: `software_spread` must be 0 to under 1, but got {other!r}"
            )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Standing:
    """How one candidate stands among the others of its set.

    Attributes:
        loss_low: 2.5% of the draws have a lower loss, nats per token, on the law's own text.
        loss_high: 2.5% of the draws have a higher one.
        elsewhere_low: as `loss_low`, trained and judged on another corpus (`LossLaw.level_std`).
        elsewhere_high: as `loss_high`, there.
        behind_low: as `loss_low`, of its loss behind the first candidate's in the same draw.
        behind_high: as `loss_high`.
        p_best: share of the draws in which it is the best of the set.
        tied: whether it beats the first candidate in at least 2.5% of the draws.
    """

    loss_low: float
    loss_high: float
    elsewhere_low: float
    elsewhere_high: float
    behind_low: float
    behind_high: float
    p_best: float
    tied: bool


def rank(
    objective: LossAtTime,
    archs: Sequence[Architecture],
    predictions: Sequence[Prediction],
    draws: Draws,
    *,
    seed: int = 0,
) -> list[Standing]:
    """How each candidate stands among its set under joint draws.

    Args:
        objective: gives budget, step-time model and convention of N.
        archs: the candidates, the predicted best first.
        predictions: of each, under `objective`.
        draws: of law and step time; of unequal numbers, they are paired at random.
        seed: of pairing and residuals.
    """
    losses = draw_losses(objective, stacked(archs), stacked(predictions), draws, seed=seed)
    return stand(losses, level_std=objective.law.level_std, seed=seed)


def stand(
    losses: np.ndarray, first: int | None = None, *, level_std: float = 0.0, seed: int = 0
) -> list[Standing]:
    """How candidates stand among all, from the losses of all in each draw, (draws, candidates).

    Args:
        losses: nats per token, the predicted best's first.
        first: of how many to tell; None: of all.
        level_std: relative standard deviation of all losses together, between corpora.
        seed: of the draws of that.
    """
    best = np.argmin(losses, axis=1)
    ties = tied(losses)
    losses = losses[:, :first]
    behind = losses - losses[:, :1]
    levels = residuals(np.random.default_rng(seed), level_std, len(losses), 1)
    quantiles = (BEATS_AT_LEAST, 1 - BEATS_AT_LEAST)
    (low, high), (there_low, there_high), (behind_low, behind_high) = (
        np.quantile(values, quantiles, axis=0) for values in (losses, losses * levels, behind)
    )
    return [
        Standing(
            loss_low=float(low[i]),
            loss_high=float(high[i]),
            elsewhere_low=float(there_low[i]),
            elsewhere_high=float(there_high[i]),
            behind_low=float(behind_low[i]),
            behind_high=float(behind_high[i]),
            p_best=float(np.mean(best == i)),
            tied=bool(ties[i]),
        )
        for i in range(losses.shape[1])
    ]


def tied(losses: np.ndarray) -> np.ndarray:
    """Whether each candidate is the first, or beats it in enough of the draws."""
    beats = np.mean(losses < losses[:, :1], axis=0) >= BEATS_AT_LEAST
    return beats | (np.arange(losses.shape[1]) == 0)


def stacked(items: Sequence[T]) -> T:
    """Several architectures, or predictions with their executions, as one of arrays."""
    columns: dict[str, Any] = {}
    for field in dataclasses.fields(items[0]):
        values = [getattr(one, field.name) for one in items]
        is_how = isinstance(values[0], Execution)
        columns[field.name] = chosen(values, np.arange(len(items))) if is_how else np.array(values)
    return type(items[0])(**columns)


def draw_losses(
    objective: LossAtTime,
    arch: Architecture,
    prediction: Prediction,
    draws: Draws,
    *,
    alone: bool = True,
    seed: int = 0,
) -> np.ndarray:
    """Loss of each candidate in each draw, (draws, candidates), nats per token.

    Args:
        objective: as for `rank`.
        arch: the candidates, one array a field, or one value for all.
        prediction: of each, under `objective`.
        draws: as for `rank`.
        alone: with what befalls each candidate alone, its scatter and its luck; without, a mean
            over the draws is what to expect of it, and far more precise.
        seed: as for `rank`.
    """
    rng = np.random.default_rng(seed)
    n_draws = max(len(draws.laws), len(draws.seconds_per_unit))
    laws, seconds = (
        _resized(table, n_draws, rng) for table in (draws.laws, draws.seconds_per_unit)
    )
    n_params = objective.counted_params(prediction).astype(float)
    shape = n_draws, len(n_params)
    residual = draws.time_residual if alone else 0.0
    step_time_s = draw_step_times(
        objective.device, arch, prediction.execution, seconds, rng, residual=residual
    )
    n_steps = np.maximum(np.floor(objective.time_budget_s / step_time_s), 1)
    spread: Any = 1.0
    if objective.data_limit_tokens is not None:
        spread = np.exp(SCALE_SPREAD * rng.standard_normal((n_draws, 1)))
    n_tokens = objective.effective_tokens(
        n_steps * arch.tokens_per_step, arch.tokens_per_step, prediction.n_params, spread=spread
    )
    off_law = residuals(rng, draws.law_residual, *shape) if alone else 1.0
    run = run_columns(arch, prediction, n_steps)
    law = objective.law
    if law.copying and alone:
        run["luck"] = rng.random(shape)
    return law.loss_under(laws.T[:, :, None], n_params, n_tokens, run) * off_law


def _resized(table: np.ndarray, n_draws: int, rng: np.random.Generator) -> np.ndarray:
    """As many rows as there are draws, in random order."""
    return table[rng.permutation(np.arange(n_draws) % len(table))]
