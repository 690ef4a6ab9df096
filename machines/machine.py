"""Which machine this is, and how much of it we use."""

from __future__ import annotations

import os
import platform
from pathlib import Path

from .host import use_cores

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
    return 1 if hasattr(os, "sched_setaffinity") and not has_accelerator() else None


def has_accelerator() -> bool:
    """Whether this machine has an accelerator, as far as Linux lists it."""
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


def has_avx512() -> bool:
    """Whether the processor multiplies 512 bits at a time, as far as Linux lists it."""
    return "avx512f" in _cpu_flags()


def has_amx() -> bool:
    """Whether it has units that multiply matrices in bfloat16, as far as Linux lists them."""
    return "amx_bf16" in _cpu_flags()


def _cpu_flags() -> list[str]:
    """What the first processor can do."""
    return _cpu_facts().get("flags", "").split()


def _cpu_facts() -> dict[str, str]:
    """What Linux says of the first processor."""
    if not CPUINFO.exists():
        return {}
    lines = CPUINFO.read_text().partition("\n\n")[0].splitlines()
    pairs = (line.partition(":") for line in lines)
    return {key.strip(): value.strip() for key, _, value in pairs}
