"""What an optimizer step costs on a device, and which execution of several a model is given."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, Self

import numpy as np

from ..space.architecture import Architecture
from .cost import communication
from .cost.execution import FIELDS, Execution, Parts
from .cost.memory import memory_bytes
from .device import Device


@dataclasses.dataclass(frozen=True, kw_only=True)
class Cost:
    """What models cost; scalars or arrays as the architecture's fields.

    Attributes:
        n_params: all parameters.
        n_params_non_embedding: those outside the vocabulary matrices.
        step_time_s: seconds of an optimizer step.
        memory_bytes: of training, on each chip.
        execution: how the step is run; of an array of models, each with its own.
    """

    n_params: Any
    n_params_non_embedding: Any
    step_time_s: Any
    memory_bytes: Any
    execution: Execution

    def columns(self) -> dict[str, Any]:
        """All quantities by name, those of the execution among them."""
        own = {name: value for name, value in vars(self).items() if name != "execution"}
        return own | self.execution.as_dict()

    @classmethod
    def of_columns(cls, columns: dict[str, Any]) -> Self:
        """Of what `columns` gave."""
        names = [field.name for field in dataclasses.fields(cls)]
        own = {name: columns[name] for name in names if name != "execution"}
        execution = Execution(**{name: columns[name] for name in FIELDS})
        return cls(**own, execution=execution)


def step_memory_bytes(device: Device, arch: Architecture, execution: Execution) -> Any:
    """Bytes that a step needs on each chip; arguments as of `step_time_s`."""
    size = device.bytes_per_element
    return memory_bytes(arch, execution, bytes_per_element=size, kind=device.kind)


def compute_s(device: Device, arch: Architecture, execution: Execution) -> Any:
    """Seconds of what each chip computes in a step; arguments as of `step_time_s`."""
    return device.step_time_model.step_time_s(arch, execution, kind=device.kind)


def step_time_s(device: Device, arch: Architecture, execution: Execution) -> Any:
    """Seconds of an optimizer step, the chips' communication included.

    Args:
        device: each of the chips.
        arch: the model or models, with the batch of the whole step.
        execution: how the step is run.
    """
    return with_communication(device, compute_s(device, arch, execution), arch, execution)


def with_communication(
    device: Device, compute_s: Any, arch: Architecture, execution: Execution
) -> Any:
    """Seconds of a step whose compute takes `compute_s` on each chip."""
    if execution.n_chips == 1:
        return compute_s
    if device.step_time_model.times_links:
        return _with_timed_links(device, compute_s, sent(device, arch, execution))
    size = device.bytes_per_element
    collected = communication.collective_bytes(arch, execution, bytes_per_element=size)
    rate = device.gather_s_per_byte(execution.n_chips)
    return communication.step_time_s(compute_s, collected, gather_s_per_byte=rate)


def sent(device: Device, arch: Architecture, execution: Execution) -> Parts:
    """What each chip sends in a step, see `communication.sent`."""
    return communication.sent(
        arch,
        execution,
        bytes_per_element=device.bytes_per_element,
        chips_per_host=device.host_share(execution.n_chips),
    )


def _with_timed_links(device: Device, compute_s: Any, exchanged: Parts) -> Any:
    """Timed steps hid some of what is sent behind compute; none is faster than the links."""
    wire_s = exchanged["host_bytes"] / device.collective_bytes_per_s
    if device.network_bytes_per_s:
        wire_s = np.maximum(wire_s, exchanged["network_bytes"] / device.network_bytes_per_s)
    return np.maximum(compute_s + device.step_time_model.communication_s(exchanged), wire_s)


def first_that_fits(
    device: Device, arch: Architecture, executions: Sequence[Execution]
) -> tuple[Any, Any]:
    """The place of the first execution in which each model fits, or else of the last.

    Returns:
        The place, one for all models or an array, and the bytes then needed.
    """
    place: Any = 0
    needed = step_memory_bytes(device, arch, executions[0])
    for other, execution in enumerate(executions[1:], start=1):
        misfit = needed > device.memory_bytes
        if not np.any(misfit):
            break
        needed = np.where(misfit, step_memory_bytes(device, arch, execution), needed)
        place = np.where(misfit, other, place)
    return place, needed


def fastest_that_fits(
    device: Device, arch: Architecture, ways: Sequence[Sequence[Execution]]
) -> tuple[Any, Any, Any]:
    """The fastest execution in which each model fits, exactly.

    Args:
        device: each of the chips.
        arch: the model or models, with the batch of the whole step.
        ways: lists of executions of one length; in each, one needs less memory than the one before
            and is not faster, so that of each list the first that fits is the fastest.

    Returns:
        The place among all of `ways`, one after the other, the bytes then needed and the seconds of
        a step. Where nothing fits they are of the last.
    """
    best: tuple[Any, Any, Any] | None = None
    for number, executions in enumerate(ways):
        at, needed = first_that_fits(device, arch, executions)
        seconds = of_places(at, lambda one: step_time_s(device, arch, executions[one]))  # noqa: B023
        found = at + number * len(executions), needed, seconds
        if best is None:
            best = found
            continue
        fits, did_fit = (one <= device.memory_bytes for one in (needed, best[1]))
        better = np.where(did_fit, fits & (seconds < best[2]), True)
        best = tuple(np.where(better, new, old) for new, old in zip(found, best, strict=True))
    assert best is not None
    return best


def of_places(places: Any, value: Callable[[int], Any]) -> Any:
    """The value of a place, or of each of an array of them.

    Open meshes, one for each place that some model has, cost less than one of the full size.
    """
    first, *others = np.flatnonzero(np.bincount(np.ravel(places)))
    values = value(int(first))
    for other in others:
        values = np.where(places == other, value(int(other)), values)
    return values


def chosen(executions: Sequence[Execution], places: Any) -> Execution:
    """The executions at some places as one; what all of these share stays one value."""
    if np.ndim(places) == 0:
        return executions[int(places)]
    fields = {}
    for name in FIELDS:
        values = np.array([getattr(one, name) for one in executions])
        alike = np.all(values == values[0])
        fields[name] = getattr(executions[0], name) if alike else values[places]
    return Execution(**fields)
