"""What an optimizer step costs on a device, and which execution of several a model is given."""

from __future__ import annotations

import copy
import dataclasses
import functools
from collections.abc import Callable
from typing import Any, Self, TypeVar

import numpy as np

from ..space.decoder import Model
from .cost import communication
from .cost.counts import flops_per_step, total
from .cost.execution import FIELDS, Execution, Parts
from .cost.features import FEATURES, OverABox
from .cost.memory import memory_bytes
from .device import Device

# Seconds of a hop of what tensor-parallel chips reduce, where they were not timed: fitted to 800
# steps of Megatron on up to eight A100 (vTrain; experiments/published_gpu).
TENSOR_HOP_S = 1.7e-5


@dataclasses.dataclass(frozen=True, kw_only=True)
class Cost:
    """What models cost; scalars or arrays as the architecture's fields.

    Attributes:
        n_params: all parameters.
        n_active_params: those that one token meets, of a dense model all.
        n_params_non_embedding: those outside the vocabulary matrices.
        step_time_s: seconds of an optimizer step.
        memory_bytes: of training, on each chip.
        execution: how the step is run; of an array of models, each with its own.
    """

    n_params: Any
    n_active_params: Any
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
        values = [columns[name] for name in FIELDS]
        of_values = Execution.of_values if any(map(np.ndim, values)) else _execution
        return cls(**own, execution=of_values(*values))


def run_columns(arch: Model, cost: Cost, n_steps: Any) -> dict[str, Any]:
    """A run as the terms of a law read it."""
    return {
        "d_model": arch.d_model,
        "n_layers": arch.n_layers,
        "n_experts": getattr(arch, "n_experts", 1),
        "n_steps": n_steps,
        "n_params": cost.n_params,
        "n_params_non_embedding": cost.n_params_non_embedding,
    }


T = TypeVar("T")


def take(values: T, at: np.ndarray) -> T:
    """Some of a flat array of models, of their costs or executions; one may stand for all.

    Args:
        values: whose fields are each an array of one length, or of a single value.
        at: places; what is taken has its shape.
    """
    return _each_array(values, lambda array: array[at] if np.size(array) > 1 else array)


def layer(stack: T, at: int) -> T:
    """One of several along the first axis of an open mesh of costs or executions."""
    return _each_array(stack, lambda array: array[at if len(array) > 1 else 0])


def _each_array(values: T, changed: Callable[[np.ndarray], Any]) -> T:
    other = copy.copy(values)
    for name, value in vars(values).items():
        if isinstance(value, Execution):
            vars(other)[name] = _each_array(value, changed)
        elif np.ndim(value):
            vars(other)[name] = changed(value)
    return other


# A search's models share a few executions, which take longer to check than all else of a model.
_execution = functools.lru_cache(Execution.of_values)


def step_memory_bytes(device: Device, arch: Model, execution: Execution) -> Any:
    """Bytes that a step needs on each chip; arguments as of `step_time_s`."""
    size = device.bytes_per_element
    return memory_bytes(arch, execution, bytes_per_element=size, kind=device.kind)


def compute_s(device: Device, arch: Model, execution: Execution) -> Any:
    """Seconds of what each chip computes in a step; arguments as of `step_time_s`."""
    return device.step_time_model.step_time_s(arch, execution, kind=device.kind)


def flop_utilisation(device: Device, arch: Model, cost: Cost) -> float:
    """The share of its chips' peak that a model's step reaches, what runs again left out (MFU)."""
    flops_per_s = flops_per_step(arch) / cost.step_time_s / cost.execution.n_chips
    return flops_per_s / device.peak_flops_per_s


def certain_compute_s(device: Device, arch: Model, execution: Execution) -> Any:
    """Seconds of compute that any model has too that is larger in every count.

    Of what a machine's tiles cost, see `OverABox.NOTHING`, a larger one may have nothing.
    """
    certain = [f for f, about in FEATURES.items() if about.over_a_box != OverABox.NOTHING]
    model, kind = device.step_time_model, device.kind
    return total(model.step_time_by_part(arch, execution, kind=kind, features=certain))


def step_time_s(device: Device, arch: Model, execution: Execution) -> Any:
    """Seconds of an optimizer step, the chips' communication included.

    Args:
        device: each of the chips.
        arch: the model or models, with the batch of the whole step.
        execution: how the step is run.
    """
    return with_communication(device, compute_s(device, arch, execution), arch, execution)


def with_communication(device: Device, compute_s: Any, arch: Model, execution: Execution) -> Any:
    """Seconds of a step whose compute takes `compute_s` on each chip."""
    if execution.n_chips == 1:
        return compute_s
    if device.step_time_model.times_links:
        return _with_timed_links(device, compute_s, sent(device, arch, execution))
    rate = device.gather_s_per_byte(execution.n_chips)
    tensor_parallel = execution.tensor_parallel
    if np.any(tensor_parallel != 1):
        waits = sent(device, arch, execution)["tensor_bytes"]
        compute_s = compute_s + waits / device.collective_bytes_per_s

    def with_collectives(vocabulary: str) -> Any:
        collected = communication.collective_bytes(
            arch, execution, bytes_per_element=device.bytes_per_element, vocabulary=vocabulary
        )
        # Each of the tensor-parallel chips exchanges its part of all with its own peers.
        collected = {name: n_bytes / tensor_parallel for name, n_bytes in collected.items()}
        return communication.step_time_s(compute_s, collected, gather_s_per_byte=rate)

    # The faster of both: so a step never grows shorter with a larger vocabulary or more passes.
    return np.minimum(*map(with_collectives, communication.VOCABULARY))


def sent(device: Device, arch: Model, execution: Execution) -> Parts:
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
    if "tensor_bytes" not in device.step_time_model.seconds_per_unit:
        # Tensor-parallel chips have nothing else to do meanwhile.
        compute_s = compute_s + exchanged["tensor_bytes"] / device.collective_bytes_per_s
        compute_s = compute_s + exchanged["tensor_hops"] * TENSOR_HOP_S
    return np.maximum(compute_s + device.step_time_model.communication_s(exchanged), wire_s)
