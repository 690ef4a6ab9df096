"""Time of one optimizer step as a linear model of countable work.

TIME = sum over features of (seconds per unit) x (units in a step), nothing negative. The paper's
model has memory copies, FLOPs and a constant; a richer model is another choice of features.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection
from typing import Any

from pydantic import ConfigDict

from ...space.decoder import Model
from ...space.limits import LEAST, MOST, is_size
from .counts import total
from .execution import PLAIN, Execution, Parts
from .features import ATTENTION, BESIDES, LINKS, ROOFLINE, units_by_part

# Which features each named model has; `flops` and `memcpys` are there to be compared with.
MODELS: dict[str, tuple[str, ...]] = {
    "flops": ("flops", "steps"),
    "memcpys": ("memcpys", "steps"),
    "paper": ("memcpys", "flops", "steps"),
    "overhead": ("memcpys", "flops", "layers", "steps"),
    "traffic": (
        "memcpys", "flops", "activations", "softmax", "spilled_softmax", "loss", "params", "lookup",
        "layers", "steps",
    ),
    "roofline": (
        "roofline_flops", "activations", "softmax", "spilled_softmax", "loss", "params", "lookup",
        "layers", "steps",
    ),
    "stacked": (
        "roofline_flops", "activations", "softmax", "loss", "params", "stacked", "lookup", "layers",
        "steps",
    ),
    "on_chip": (
        "roofline_flops", "activations", "softmax", "loss", "params", "stacked", "relaid",
        "spilled_lookup", "layers", "steps",
    ),
}  # fmt: skip

# A coefficient, of a rate and a utilisation that are at their limits.
LEAST_S, MOST_S = LEAST**2, MOST**2


@dataclasses.dataclass(frozen=True, kw_only=True)
class StepTimeModel:
    """Seconds per unit of each feature of a named model.

    Attributes:
        name: the model, a key of `MODELS`.
        seconds_per_unit: feature -> seconds per memory copy (element), FLOP, element, layer or
            step; with some of `BESIDES`, also per FLOP of fused attention, byte sent and hop.
        ridge: FLOPs in the time of one memory copy, for a model with a roofline; else 0.

    Raises:
        ValueError: the name or a feature is unknown, a number is negative or not finite, or a
            roofline has no ridge.

    References:
        Inbar and Sernau 2024, arXiv:2406.18922, for `paper`.
    """

    __pydantic_config__ = ConfigDict(extra="forbid")

    name: str
    seconds_per_unit: dict[str, float]
    ridge: float = 0.0

    def __post_init__(self) -> None:
        if self.name not in MODELS:
            raise ValueError(f"a step-time model is one of {sorted(MODELS)}, but got {self.name!r}")
        if set(self.seconds_per_unit) - set(BESIDES) != set(MODELS[self.name]):
            raise ValueError(
                f"step-time model {self.name!r} has the coefficients {sorted(MODELS[self.name])}, "
                f"but got {sorted(self.seconds_per_unit)}"
            )
        for feature, value in self.seconds_per_unit.items():
            if not 0 <= value <= MOST_S:
                raise ValueError(
                    f"seconds per unit of {feature!r} must be from 0 to {MOST_S:g}, but got {value}"
                )
        if not any(value >= LEAST_S for value in self.seconds_per_unit.values()):
            raise ValueError(f"a step must take time, but no coefficient is {LEAST_S:g} or more")
        if not (self.ridge == 0 or is_size(self.ridge)) or (self.ridge > 0) != (
            ROOFLINE in MODELS[self.name]
        ):
            raise ValueError(
                "`ridge` must be > 0 in a model with a roofline and 0 in any other, "
                f"but got {self.ridge} in {self.name!r}"
            )

    @property
    def features(self) -> tuple[str, ...]:
        """What has a coefficient, in the order of a table of draws."""
        return features_of(self.name, self.seconds_per_unit)

    @property
    def times_attention(self) -> bool:
        """Whether fused attention has a rate of its own."""
        return ATTENTION in self.seconds_per_unit

    @property
    def times_links(self) -> bool:
        """Whether what chips send each other has rates of its own."""
        return any(feature in self.seconds_per_unit for feature in LINKS)

    def communication_s(self, sent: Parts) -> Any:
        """Seconds for which a step waits for what is sent, see `communication.sent`."""
        return total({name: self.seconds_per_unit.get(name, 0.0) * sent[name] for name in LINKS})

    def step_time_by_part(
        self,
        arch: Model,
        execution: Execution = PLAIN,
        *,
        kind: str = "cpu",
        features: Collection[str] | None = None,
    ) -> Parts:
        """Seconds of one chip's optimizer step by part; they add up to `step_time_s`.

        Args:
            arch: the model or models, with the batch of the step.
            execution: how the step is run.
            kind: of the device, see `KERNELS`.
            features: that alone count; None: all.
        """
        counted = self.seconds_per_unit.keys() - LINKS if features is None else features
        one_pass = execution.part(arch)
        parts: Parts = {}
        for feature, seconds in self.seconds_per_unit.items():
            if seconds and feature in counted:
                units_of = self._units(feature, arch, execution, kind, one_pass)
                for part, units in units_of.items():
                    parts[part] = parts.get(part, 0) + seconds * units
        return parts

    def units(
        self,
        arch: Model,
        execution: Execution = PLAIN,
        *,
        kind: str = "cpu",
        of: Collection[str] | None = None,
    ) -> list[Any]:
        """Units of each feature in one optimizer step, in the order of `features`.

        Arguments are as of `step_time_by_part`; `of` names parts that alone count, None all.
        `LINKS` have no units here: what is sent is not the architecture's alone.
        """

        def counted(feature: str) -> Any:
            if feature in LINKS:
                return 0
            parts = self._units(feature, arch, execution, kind)
            return total({part: n for part, n in parts.items() if of is None or part in of})

        return [counted(feature) for feature in self.features]

    def _units(
        self,
        feature: str,
        arch: Model,
        execution: Execution,
        kind: str,
        one_pass: Model | None = None,
    ) -> Parts:
        return units_by_part(
            feature,
            arch,
            execution,
            ridge=self.ridge,
            kind=kind,
            times_attention=self.times_attention,
            one_pass=one_pass,
        )

    def step_time_s(self, arch: Model, execution: Execution = PLAIN, *, kind: str = "cpu") -> Any:
        """Seconds of one chip's optimizer step; arguments as of `step_time_by_part`."""
        return total(self.step_time_by_part(arch, execution, kind=kind))


def features_of(name: str, besides: Collection[str]) -> tuple[str, ...]:
    """The features of a named model, then those of `BESIDES` that it has."""
    return MODELS[name] + tuple(f for f in BESIDES if f in besides)
