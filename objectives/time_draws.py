"""How sure a step's time is: draws of a step-time model, carried to any number of models."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np

from ..space.architecture import Architecture
from .cost.execution import Execution
from .cost.passes import ATTENDING
from .device import Device
from .step_cost import with_communication

# How far fused attention that was not timed is from its count, which has its kernel at the rate of
# other matmuls, on all shapes alike: an assumption. Kernels reach half to three quarters of a
# chip's peak (Dao 2023, arXiv:2307.08691, section 4).
KERNEL_SPREAD = 0.3
# About a datasheet device's utilisation, and the scatter of shapes about such a device's step time.
UTILISATION_SPREAD = 0.2
DATASHEET_RESIDUAL = 0.1
# How far a trainer on a GPU that nobody timed is from what others reached of their datasheets. Each
# of five left out, the cards were 0.07 off and the trainers of one up to 0.17 apart; a V100 and an
# AMD MI250X, of an older or another make, took 1.7 and 2.2 times (experiments/published_gpu).
CARD_SPREAD = 0.2


def draw_step_times(
    device: Device,
    arch: Architecture,
    execution: Execution,
    seconds_per_unit: np.ndarray,
    rng: np.random.Generator,
    *,
    residual: float = 0.0,
) -> np.ndarray:
    """Seconds of a step of each model in each draw, (draws, models).

    Args:
        device: each of the chips.
        arch: the models, one array a field, or one value for all.
        execution: how the step of each is run.
        seconds_per_unit: of each feature of the step-time model, (draws, features).
        rng: of what is drawn beside them.
        residual: relative standard deviation of a shape's step time about the model.
    """
    model, n_draws = device.step_time_model, len(seconds_per_unit)
    n_models = np.broadcast(*map(np.asarray, vars(arch).values())).size

    def drawn_s(of: Collection[str] | None = None) -> np.ndarray:
        units = model.units(arch, execution, kind=device.kind, of=of)
        return seconds_per_unit @ np.array([np.broadcast_to(one, n_models) for one in units])

    compute_s = drawn_s()
    if np.all(execution.fused) and not model.times_attention:
        compute_s += drawn_s(ATTENDING) * (residuals(rng, KERNEL_SPREAD, n_draws, 1) - 1)
    step_time_s = with_communication(device, compute_s, arch, execution)
    return step_time_s * residuals(rng, residual, n_draws, n_models) if residual else step_time_s


def residuals(rng: np.random.Generator, std: float, *shape: int) -> Any:
    """Factors about 1 with a relative standard deviation."""
    return np.exp(std * rng.standard_normal(shape))


def datasheet_draws(device: Device, *, n_draws: int = 400, seed: int = 0) -> np.ndarray:
    """Seconds per unit of an uncalibrated device's step-time model, (draws, features).

    Of a GPU that is taken to be as good as others, the level is uncertain by `CARD_SPREAD`. At a
    stated utilisation the spread is an assumption: each of the two rates reaches, on its own, any
    share of its datasheet value within `UTILISATION_SPREAD` of it.
    """
    seconds = np.array(list(device.step_time_model.seconds_per_unit.values()))
    if device.as_others:
        return levelled_draws(np.tile(seconds, (n_draws, 1)), CARD_SPREAD, seed=seed)
    low = max(device.share - UTILISATION_SPREAD, 0.05)
    high = min(device.share + UTILISATION_SPREAD, 1.0)
    shares = np.random.default_rng(seed).uniform(low, high, (n_draws, 2))
    return seconds * np.column_stack([device.share / shares, np.ones(n_draws)])


def levelled_draws(seconds_per_unit: np.ndarray, spread: float, *, seed: int = 0) -> np.ndarray:
    """Draws of a model of other steps than one's own, (draws, features).

    A compiler's estimates, which no chip has run, or another trainer's steps: the level of all of
    them together is uncertain by the spread.
    """
    levels = np.random.default_rng(seed).normal(0, spread, (len(seconds_per_unit), 1))
    return seconds_per_unit * np.exp(levels)
