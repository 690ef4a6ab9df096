"""A training step compiled for TPUs that are not here, and the analytic prediction beside it.

What the compiler says is its estimate, never a measurement: no chip has run the step.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from ...objectives.cost.communication import collective_bytes, step_time_s
from ...objectives.cost.counts import flops_per_step, memcpys_per_step
from ...objectives.cost.execution import Execution
from ...objectives.cost.memory import memory_bytes, squeezed_bytes
from ...space.architecture import Architecture
from .hlo.time import ProgramTime
from .topology import Topology

COLLECTIVES = ("all_reduce", "all_gather", "reduce_scatter")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Compiled:
    """What the compiler says of one training step, per chip.

    Attributes:
        arch: the model, with the batch of all chips together.
        execution: how it is run.
        topology: what it was compiled for.
        fits: whether it fits into the chip's memory; if not, only `memory_bytes` is known.
        memory_bytes: of the chip's main memory.
        matmul_flops: of the matmuls, counted in the program.
        traffic_bytes: read from and written to the chip's main memory, counted in the program.
        collective_bytes: whole arrays that collectives of each kind gather, scatter or reduce.
        flops: of everything; None when the layers are a loop, whose body the compiler counts once,
            and like all below when only the plan is known.
        bytes_accessed: an upper bound of the memory's traffic, for it includes what stays on the
            chip; None as for `flops`.
        time: the step's, by term.
        compile_s: seconds that the compiler took when it ran.
        versions: of the packages that it depends on.
    """

    arch: Architecture
    execution: Execution
    topology: Topology
    fits: bool
    memory_bytes: int
    matmul_flops: int | None = None
    traffic_bytes: int | None = None
    collective_bytes: dict[str, int] = dataclasses.field(default_factory=dict)
    flops: float | None = None
    bytes_accessed: float | None = None
    time: ProgramTime | None = None
    compile_s: float | None = None
    versions: dict[str, str]

    @property
    def compiler(self) -> dict[str, float | None]:
        """The compiler's estimates of what `analytic` predicts, per chip and step."""
        return {
            "matmul_flops": self.matmul_flops,
            "flops_per_step": self.flops,
            "traffic_bytes": self.traffic_bytes,
            "bytes_accessed": self.bytes_accessed,
            "memory_bytes": self.memory_bytes,
            "step_time_s": self.time and self.time.step_time_s,
            **{
                f"{kind}_bytes": self.collective_bytes.get(kind.replace("_", "-"))
                for kind in COLLECTIVES
            },
        }

    @property
    def analytic(self) -> dict[str, float]:
        """Our own predictions from counts and datasheet, per chip and step.

        Chips send over the links that this topology leaves them, where `find` knows none.
        """
        device, n_chips = self.topology.device, self.topology.n_chips
        size = device.bytes_per_element
        flops = float(flops_per_step(self.arch, self.execution))
        copied_bytes = float(size * memcpys_per_step(self.arch, self.execution))
        collected = collective_bytes(self.arch, self.execution, bytes_per_element=size)
        step_s = compute_s = device.step_time_model.step_time_s(
            self.arch, self.execution, kind=device.kind
        )
        if n_chips > 1:
            rate = self.topology.interconnect_bytes_per_s * device.share
            s_per_byte = (n_chips - 1) / n_chips / rate
            step_s = step_time_s(compute_s, collected, gather_s_per_byte=s_per_byte)
        return {
            "matmul_flops": flops,
            "flops_per_step": flops,
            "traffic_bytes": copied_bytes,
            "bytes_accessed": copied_bytes,
            "memory_bytes": self._memory(memory_bytes),
            "step_time_s": float(step_s),
            **{
                f"{kind}_bytes": float(collected[kind]) if n_chips > 1 else 0.0
                for kind in COLLECTIVES
            },
        }

    def as_dict(self) -> dict[str, Any]:
        """All of it as plain data."""
        return {
            "basis": "compiler estimate",
            "topology": self.topology.name,
            **self.arch.as_dict(),
            "dtype": self.topology.device.dtype,
            "execution": self.execution.named(),
            "fits": self.fits,
            "compiler": self.compiler,
            "analytic": self.analytic | {"fits": self.analytic_fits},
            "seconds_by_term": self.time.seconds if self.time else None,
            "collective_bytes": self.collective_bytes,
            "compile_s": self.compile_s,
            "versions": self.versions,
        }

    @property
    def analytic_fits(self) -> bool:
        """Whether we predict that the compiler accepts the step, if only by running more again."""
        return self._memory(squeezed_bytes) <= self.topology.device.memory_bytes

    def _memory(self, count: Callable[..., Any]) -> float:
        """Bytes of one chip, as one of the functions of `objectives.cost.memory` counts them."""
        device = self.topology.device
        size = device.bytes_per_element
        return float(count(self.arch, self.execution, bytes_per_element=size, kind=device.kind))
