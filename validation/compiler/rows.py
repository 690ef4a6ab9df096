"""Compiled steps as rows of a CSV file, and as the steps that a step-time model is fitted to."""

from __future__ import annotations

from typing import Any

import numpy as np
from pydantic import AwareDatetime, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from ...objectives.cost.execution import Execution
from ...objectives.fit.step_time import Steps
from ...objectives.uncertainty import stacked
from ...space.architecture import FIELDS, Architecture
from ..runs import ExecutedRow
from .compiled import Compiled
from .topology import parse_topology


class CompileRow(ExecutedRow):
    """What a TPU's compiler estimates of one training step, per chip; nothing was measured.

    Attributes:
        topology: as `v5e:1x1`.
        memory_bytes: of the chip's main memory, or needed where it does not fit.
        flops: of everything; None with a loop, whose body the compiler counts once.
        matmul_flops: of the matmuls, loops counted as often as they run.
        traffic_bytes: read from and written to main memory.
        bytes_accessed: an upper bound of the memory's traffic; None as for `flops`.
        step_time_s: the sum of the five terms behind it (`hlo_time.py`); None with a mere plan.
        all_reduce_bytes: whole arrays that are reduced, gathered or scattered, like the next two.
        compile_s: seconds that the compiler took.
    """

    topology: str
    dtype: str
    fits: bool
    memory_bytes: PositiveInt
    flops: PositiveFloat | None = None
    matmul_flops: PositiveInt | None = None
    traffic_bytes: NonNegativeInt | None = None
    bytes_accessed: PositiveFloat | None = None
    step_time_s: PositiveFloat | None = None
    compute_s: NonNegativeFloat | None = None
    copies_s: NonNegativeFloat | None = None
    collectives_s: NonNegativeFloat | None = None
    gathers_s: NonNegativeFloat | None = None
    others_s: NonNegativeFloat | None = None
    all_reduce_bytes: NonNegativeInt | None = None
    all_gather_bytes: NonNegativeInt | None = None
    reduce_scatter_bytes: NonNegativeInt | None = None
    compile_s: PositiveFloat | None = None
    versions: str
    compiled: AwareDatetime

    @property
    def key(self) -> tuple[Architecture, str, Execution]:
        """What a file holds once."""
        return (self.architecture, self.topology, self.execution)


def row_of(step: Compiled, compiled: AwareDatetime) -> CompileRow:
    """A compiled step as a row; `compiled` is when."""
    kinds = ("all-reduce", "all-gather", "reduce-scatter")
    estimates: dict[str, Any] = {
        f"{kind.replace('-', '_')}_bytes": step.collective_bytes.get(kind, 0) for kind in kinds
    }
    if step.time:
        estimates |= {f"{term}_s": seconds for term, seconds in step.time.seconds.items()}
        estimates["step_time_s"] = step.time.step_time_s
    return CompileRow(
        **step.arch.as_dict(),
        **step.execution.columns(step.arch),
        **estimates,
        topology=step.topology.name,
        dtype=step.topology.device.dtype,
        fits=step.fits,
        memory_bytes=step.memory_bytes,
        flops=step.flops,
        matmul_flops=step.matmul_flops,
        traffic_bytes=step.traffic_bytes,
        bytes_accessed=step.bytes_accessed,
        compile_s=step.compile_s,
        versions=";".join(f"{name} {version}" for name, version in step.versions.items()),
        compiled=compiled,
    )


def steps_of(rows: list[CompileRow]) -> Steps:
    """Rows of one chip as a step-time fit takes them, with the compiler's step times.

    Raises:
        ValueError: a row is of several chips or has no step time, or the shapes are too few.
    """
    for row in rows:
        if row.step_time_s is None or parse_topology(row.topology).n_chips > 1:
            raise ValueError(f"a fit takes steps with a time, of one chip, but got {row.key}")
    archs = [row.architecture for row in rows]
    fields = {name: np.array([getattr(arch, name) for arch in archs]) for name in FIELDS}
    return Steps(
        arch=Architecture(**fields),
        measured_s=np.array([row.step_time_s for row in rows]),
        execution=stacked([row.execution for row in rows]),
        kind="tpu",
    )
