"""What JAX finds on this machine, and whether a device's numbers are of it."""

from __future__ import annotations

import time
from collections.abc import Callable

from ..machines.machine import count_cores, cpu_name, has_accelerator, has_amx
from ..objectives.device import Device

# With JAX of this release products reach AMX; of others 0.12 was tried, which compiled with little
# optimization has no such product for a CPU (an error of XLA's).
ON_AMX = (0, 10)


def machine_name(kind: str) -> str:
    """What a step time depends on apart from the architecture: the chip that JAX runs on."""
    if kind == "cpu":
        return cpu_name()
    import jax

    return jax.devices()[0].device_kind


def compute_dtype(kind: str, n_chips: int = 1, *, dense: bool = True) -> str:
    """Of the matmuls of a step of ours: float32 on a CPU without AMX, bfloat16 elsewhere.

    Several CPUs share no step in which a CPU's matrix units are reached, see `training.model`, and
    experts' rows are multiplied without them.
    """
    if kind != "cpu":
        return "bfloat16"
    import jax

    reaches_amx = dense and n_chips == 1 and has_amx() and jax.__version_info__[:2] == ON_AMX
    return "bfloat16" if reaches_amx else "float32"


def clock_name() -> str:
    """`processor` where we run on one CPU core, else `wall`.

    Time that other processes have the core does not count by the processor's clock. On a quiet core
    both are equal.
    """
    import jax

    return "processor" if jax.default_backend() == "cpu" and count_cores() == 1 else "wall"


def step_clock() -> Callable[[], float]:
    """Seconds of the clock of `clock_name`."""
    return time.process_time if clock_name() == "processor" else time.perf_counter


def check_kind(name: str, kind: str) -> None:
    """Refuse to use a device for another kind of machine than JAX finds here.

    Raises:
        ValueError: the device's kind is not JAX's backend.
    """
    import jax

    if kind != (here := jax.default_backend()):
        raise ValueError(
            f"{name} is a {kind}, but JAX finds a {here} on this machine; run "
            "`anybudget calibrate` here and give the file that it writes to --device"
        )


def check_chips(n_chips: int) -> None:
    """Refuse to train on more chips than JAX finds.

    Raises:
        ValueError: there are fewer.
    """
    import jax

    if n_chips > (n_here := jax.device_count()):
        raise ValueError(
            f"the result is for {n_chips} chips, but JAX finds {n_here} here; start the command on "
            f"every host with --distributed, or search again with --chips {n_here}"
        )


def machine_warning(device: Device, ours: str | None = None) -> str | None:
    """One sentence when a device was calibrated on another machine than ours, else None.

    Who asks for an accelerator on a machine that has none plans for another machine, and knows.

    Args:
        device: that is to predict.
        ours: `machine_name` of the machine that trains; this one when left out.
    """
    theirs = device.calibration.get("machine")
    if ours is None and device.kind != "cpu" and not has_accelerator():
        return None
    if theirs is None or theirs == (ours := ours or machine_name(device.kind)):
        return None
    return (
        f"device {device.name} was calibrated on {theirs}, but this machine is {ours}: its step "
        "times hold there; run `anybudget calibrate` for this one"
    )
