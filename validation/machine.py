"""Which machine this is and how many of its cores we use; JAX is imported only when it must be."""

from __future__ import annotations

import os
import platform
from pathlib import Path

from ..objectives.device import Device

# Where Linux lists NVIDIA, AMD and TPU accelerators.
ACCELERATORS = ("/dev/nvidia0", "/dev/kfd", "/dev/accel0", "/dev/vfio/0")


def pin_cores(n_cores: int | None = None) -> None:
    """Run this process on `n_cores` cores; to be called before JAX starts its threads.

    Left out, it is one core, and all of them where the machine has an accelerator, whose host
    needs them to compile. The last cores are taken, for the first serve interrupts.

    Raises:
        ValueError: there are fewer cores, or this system cannot pin a process.
    """
    if n_cores is None and any(Path(path).exists() for path in ACCELERATORS):
        return
    if not hasattr(os, "sched_setaffinity"):
        if n_cores:
            raise ValueError(f"`cores` cannot be {n_cores} on {platform.system()}; leave it out")
        return
    known = sorted(os.sched_getaffinity(0))
    n_cores = n_cores or 1
    if not 1 <= n_cores <= len(known):
        raise ValueError(f"`cores` must be 1 to {len(known)} on this machine, but got {n_cores}")
    os.sched_setaffinity(0, known[-n_cores:])


def count_cores() -> int:
    """Cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def cpu_name() -> str:
    """The processor's model."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def machine_name(kind: str) -> str:
    """What a step time depends on apart from the architecture: the chip that JAX runs on."""
    if kind == "cpu":
        return cpu_name()
    import jax

    return jax.devices()[0].device_kind


def machine_warning(device: Device) -> str | None:
    """One sentence when a device was calibrated on another machine than this, else None."""
    theirs = device.calibration.get("machine")
    if theirs is None or theirs == (ours := machine_name(device.kind)):
        return None
    return (
        f"device {device.name} was calibrated on {theirs}, but this machine is {ours}: its step "
        "times hold there; run `anybudget calibrate` for this one"
    )
