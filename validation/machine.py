"""Which machine this is, and how much of it we use; JAX is imported only when it must be."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import TYPE_CHECKING

from .host import use_cores

if TYPE_CHECKING:
    from ..objectives.device import Device

CPUINFO = Path("/proc/cpuinfo")
# What a processor's generation is called there.
CPU_NUMBERS = {"family": "cpu family", "model": "model"}
# Where Linux lists NVIDIA, AMD and TPU accelerators.
ACCELERATORS = ("/dev/nvidia0", "/dev/kfd", "/dev/accel0", "/dev/vfio/0")


def pin_cores(n_cores: int | None = None) -> None:
    """Use that many cores; to be called before JAX starts its threads.

    Left out, it is one; or all, beside an accelerator, whose host needs them to compile, and on a
    system that cannot confine a process.

    Raises:
        ValueError: there are not so many, or the system cannot confine a process.
    """
    if n_cores := n_cores or default_n_cores():
        use_cores(n_cores)


def default_n_cores() -> int | None:
    """One; None, for all, beside an accelerator and where a process cannot be confined."""
    return 1 if hasattr(os, "sched_setaffinity") and not _has_accelerator() else None


def _has_accelerator() -> bool:
    return any(map(os.path.exists, ACCELERATORS))


def count_cores() -> int:
    """Cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def cpu_name() -> str:
    """The processor's model, with the numbers that tell generations of one name apart.

    A virtual machine may call every generation alike ("AMD EPYC"), of which one computes several
    times as fast as another: family 26 has AVX-512, family 25 may not.
    """
    facts = _cpu_facts()
    name = facts.get("model name") or platform.processor() or platform.machine()
    numbers = [f"{what} {facts[key]}" for what, key in CPU_NUMBERS.items() if key in facts]
    return f"{name} ({', '.join(numbers)})" if numbers else name


def _cpu_facts() -> dict[str, str]:
    """What Linux says of the first processor."""
    if not CPUINFO.exists():
        return {}
    lines = CPUINFO.read_text().partition("\n\n")[0].splitlines()
    pairs = (line.partition(":") for line in lines)
    return {key.strip(): value.strip() for key, _, value in pairs}


def machine_name(kind: str) -> str:
    """What a step time depends on apart from the architecture: the chip that JAX runs on."""
    if kind == "cpu":
        return cpu_name()
    import jax

    return jax.devices()[0].device_kind


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
    if ours is None and device.kind != "cpu" and not _has_accelerator():
        return None
    if theirs is None or theirs == (ours := ours or machine_name(device.kind)):
        return None
    return (
        f"device {device.name} was calibrated on {theirs}, but this machine is {ours}: its step "
        "times hold there; run `anybudget calibrate` for this one"
    )
