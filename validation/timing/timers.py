"""The machine that is calibrated, and what times architectures on it: this process or an engine."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax

from ...machines.engines import Engine
from ...machines.job import Job
from ...machines.machine import count_cores
from ...objectives.cost.execution import Execution
from ...space.architecture import Architecture
from ..backend import clock_name, compute_dtype, machine_name
from ..training.model import Backend
from ..training.peak import peak_matmul_flops_per_s
from .step_clock import CompiledStep, StepTiming, copy_bytes_per_s

# Times architectures once each in a pass, and yields each with its timing.
Timer = Callable[[list[Architecture], int], Iterator[tuple[Architecture, StepTiming]]]

# What computes a CPU's loss, beside JAX: rows that were timed before are of another program.
IN_BLOCKS = ", loss in blocks"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Survey:
    """A machine as it is before anything is timed.

    Attributes:
        setting: what all rows of a file must share.
        kind: JAX's backend.
        memory_bytes: of the device.
        rates: the best of a matmul and of a copy.
    """

    setting: dict[str, Any]
    kind: Any
    memory_bytes: float
    rates: dict[str, float]


def this_setting() -> dict[str, Any]:
    """What all rows of a file must share, as it is now."""
    kind = jax.default_backend()
    return {
        "machine": machine_name(kind),
        "n_cores": count_cores(),
        "dtype": compute_dtype(kind),
        "attention": "fused" if kind == "cpu" else "plain",
        "clock": clock_name(),
        "versions": f"jax {jax.__version__}" + (IN_BLOCKS if kind == "cpu" else ""),
    }


def survey(rates: dict[str, float] | None = None) -> Survey:
    """This machine as it is now.

    Args:
        rates: as measured when the file was begun, so that a rerun has the same design; they are
            measured when left out.
    """
    setting = this_setting()
    return Survey(
        setting=setting,
        kind=jax.default_backend(),
        memory_bytes=_memory_bytes(),
        rates=rates
        or {
            "peak_flops_per_s": peak_matmul_flops_per_s(setting["dtype"]),
            "bandwidth_bytes_per_s": copy_bytes_per_s(),
        },
    )


def one_by_one(here: Survey, seconds: float) -> Timer:
    """In this process, which keeps what it has compiled for the next pass."""
    steps: dict[Architecture, CompiledStep] = {}
    backend = Backend(kind=here.kind, dtype=here.setting["dtype"])
    execution = Execution(attention=here.setting["attention"])

    def timer(archs: list[Architecture], _: int) -> Iterator[tuple[Architecture, StepTiming]]:
        for arch in archs:
            if arch not in steps:
                steps[arch] = CompiledStep(arch, backend, execution)
            yield arch, steps[arch].time(seconds)

    return timer


def fan_out(engine: Engine, folder: Path, here: Survey, seconds: float) -> Timer:
    """In a job for each timing, on machines that must be alike."""
    what = {name: here.setting[name] for name in ("dtype", "attention")} | {"seconds": seconds}

    def timer(archs: list[Architecture], index: int) -> Iterator[tuple[Architecture, StepTiming]]:
        jobs = {_timing(engine, arch, index, what): arch for arch in archs}
        for job, answer in engine.run(list(jobs), folder):
            if answer["setting"] != here.setting:
                raise ValueError(
                    f"workers must be machines alike, but one is {answer['setting']} and one "
                    f"{here.setting}; calibrate each kind with --out of its own"
                )
            yield jobs[job], StepTiming(**answer["timing"])

    return timer


def _timing(engine: Engine, arch: Architecture, pass_index: int, what: dict[str, Any]) -> Job:
    label = f"pass {pass_index + 1}, {arch.d_model}×{arch.n_layers}"
    return engine.job(label, time_job, arch=arch.as_dict(), **what)


def time_job(*, arch: dict[str, Any], dtype: str, attention: str, seconds: float) -> dict[str, Any]:
    """Time one architecture's training step; the timing, and the setting it was made in."""
    backend = Backend(kind=jax.default_backend(), dtype=dtype)
    step = CompiledStep(Architecture(**arch), backend, Execution(attention=attention))
    timing = step.time(seconds)
    return {"timing": dataclasses.asdict(timing), "setting": this_setting()}


def survey_job(*, rates: dict[str, float] | None) -> dict[str, Any]:
    """`survey` of the machine that the job runs on."""
    return dataclasses.asdict(survey(rates))


def _memory_bytes() -> float:
    """Of this device, or of the host where it is a CPU."""
    stats = jax.devices()[0].memory_stats() or {}
    host_bytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return float(stats.get("bytes_limit", host_bytes))
