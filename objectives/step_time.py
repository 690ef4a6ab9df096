"""Time of one optimizer step as a linear model of countable work.

TIME = sum over features of (seconds per unit) x (units in a step). The paper's model has memory
copies, FLOPs and a constant; a richer model is another choice of features.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

from pydantic import ConfigDict

from ..space.architecture import Architecture
from .counts import flops_by_part, memcpys_by_part

Parts = dict[str, Any]

# Every feature splits its units by part, so that a step's time splits too.
FEATURES: dict[str, Callable[..., Parts]] = {
    "memcpys": memcpys_by_part,
    "flops": flops_by_part,
    "steps": lambda arch, *, remat: {"overhead": 1},
}

# Which features each named model has.
MODELS: dict[str, tuple[str, ...]] = {
    "paper": ("memcpys", "flops", "steps"),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class StepTimeModel:
    """Seconds per unit of each feature of a named model.

    Attributes:
        name: the model, a key of `MODELS`.
        seconds_per_unit: feature -> seconds per memory copy (element), FLOP or step.

    Raises:
        ValueError: the name or a feature is unknown, or a coefficient is negative or not finite.

    References:
        Inbar and Sernau 2024, arXiv:2406.18922, for `paper`.
    """

    __pydantic_config__ = ConfigDict(extra="forbid")

    name: str
    seconds_per_unit: dict[str, float]

    def __post_init__(self) -> None:
        if self.name not in MODELS:
            raise ValueError(f"a step-time model is one of {sorted(MODELS)}, but got {self.name!r}")
        if set(self.seconds_per_unit) != set(MODELS[self.name]):
            raise ValueError(
                f"step-time model {self.name!r} has the coefficients {sorted(MODELS[self.name])}, "
                f"but got {sorted(self.seconds_per_unit)}"
            )
        for feature, value in self.seconds_per_unit.items():
            if not (math.isfinite(value) and value >= 0):
                raise ValueError(f"seconds per unit of {feature!r} must be >= 0, but got {value}")
        if not any(self.seconds_per_unit.values()):
            raise ValueError("a step must take time, but every coefficient is 0")

    def step_time_by_part(self, arch: Architecture, *, remat: Any = False) -> Parts:
        """Seconds of one optimizer step by part; they add up to `step_time_s`."""
        parts: Parts = {}
        for feature, seconds in self.seconds_per_unit.items():
            if seconds:
                for part, units in FEATURES[feature](arch, remat=remat).items():
                    parts[part] = parts.get(part, 0) + seconds * units
        return parts

    def step_time_s(self, arch: Architecture, *, remat: Any = False) -> Any:
        """Seconds of one optimizer step."""
        return sum(self.step_time_by_part(arch, remat=remat).values())
