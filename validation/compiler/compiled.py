"""A training step compiled for TPUs that are not here, and the analytic prediction beside it.

What the compiler says is its estimate, never a measurement: no chip has run the step.
"""

from __future__ import annotations

import dataclasses
import gzip
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

from ...files.write import write_whole
from ...objectives.cost.communication import collective_bytes, step_time_s
from ...objectives.cost.counts import flops_by_part, memcpys_by_part, total
from ...objectives.cost.memory import memory_bytes, squeezed_bytes
from ...objectives.cost.remat import FULL_HEADS, PADDED_HEADS, REMATS, remat_code
from ...objectives.loss_at_time import Attention
from ...search.predict import architecture_of
from ...search.record import read_record
from ...space.architecture import Architecture
from ..training.model import FUSED_KERNELS, Execution
from .cache import cached, versions
from .hlo.flops import matmul_flops
from .hlo.program import parse_program
from .hlo.time import ProgramTime, Rates, program_time
from .hlo.time import collective_bytes as compiled_bytes
from .hlo.traffic import memory_traffic_bytes
from .plan import DUMP, PROGRAM, dump_flags, keep_plan
from .step import ANSWER
from .topology import GENERATIONS, Topology, parse_topology

TIMEOUT_S = 150.0
SHARDINGS = ("data", "full")
COLLECTIVES = ("all_reduce", "all_gather", "reduce_scatter")
INSTALL = "pip install -e '.[tpu]' (Linux on x86-64 only)"
# Flags that would change the program behind the back of its cache.
DROPPED = ("XLA_FLAGS", "LIBTPU_INIT_ARGS")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Compiled:
    """What the compiler says of one training step, per chip.

    Attributes:
        arch: the model, with the batch of all chips together.
        execution: how it is computed.
        topology: what it was compiled for.
        fully_sharded: whether the chips share the state.
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
    fully_sharded: bool
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
    def full_head(self) -> int:
        """As of `StepTimeModel`: of a fused kernel, and 0 where attention is plain."""
        return FULL_HEADS["tpu"] if self.execution.attention == FUSED_KERNELS["tpu"] else 0

    @property
    def share(self) -> Architecture:
        """The model with one chip's share of the batch."""
        batch_size = self.arch.batch_size // self.topology.n_chips
        return dataclasses.replace(self.arch, batch_size=batch_size)

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
        device, remat = self.topology.device, remat_code(self.execution.remat)
        n_chips, size = self.topology.n_chips, device.bytes_per_element
        how = {"remat": remat, "fused": self.full_head > 0}
        flops = float(total(flops_by_part(self.share, **how)))
        copied_bytes = float(size * total(memcpys_by_part(self.share, **how)))
        collected = collective_bytes(
            self.arch, bytes_per_element=size, fully_sharded=self.fully_sharded
        )
        step_s = compute_s = device.step_time_model.step_time_s(
            self.share, remat=remat, n_shares=self._n_shares, full_head=self.full_head
        )
        if n_chips > 1:
            rate = self.topology.interconnect_bytes_per_s * device.utilisation
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
            "execution": dataclasses.asdict(self.execution),
            "fully_sharded": self.fully_sharded,
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

    @property
    def _n_shares(self) -> int:
        """Chips among which the state is split."""
        return self.topology.n_chips if self.fully_sharded else 1

    def _memory(self, count: Callable[..., Any]) -> float:
        """Bytes of one chip, as one of the functions of `objectives.memory` counts them."""
        needed = count(
            self.share,
            bytes_per_element=self.topology.device.bytes_per_element,
            remat=remat_code(self.execution.remat),
            scan_layers=self.execution.scan_layers,
            n_shares=self._n_shares,
            padded_head=PADDED_HEADS["tpu"] if self.full_head else 0,
        )
        return float(needed)


def compile_for(
    arch: Architecture,
    topology: Topology,
    *,
    execution: Execution,
    fully_sharded: bool = False,
    with_time: bool = True,
    timeout_s: float = TIMEOUT_S,
) -> Compiled:
    """Compile an architecture's training step for a topology, or look up that it was.

    Args:
        arch: what to train; the chips split its batch.
        topology: the chips.
        execution: how the model is computed.
        fully_sharded: whether the chips also share weights, gradient and optimizer state.
        with_time: False stops after the memory plan, in seconds instead of minutes.
        timeout_s: after which the compiler is stopped; what was planned by then is the answer.

    Raises:
        ValueError: the compiler is not installed, the chips do not divide the batch, the time is
            up before memory is planned, or the compiler fails for another reason than memory.
    """
    if arch.batch_size % topology.n_chips:
        raise ValueError(
            f"`batch_size` must be a multiple of the {topology.n_chips} chips of {topology.name}, "
            f"but got {arch.batch_size}"
        )
    request = {
        "architecture": arch.as_dict(),
        "execution": dataclasses.asdict(execution),
        "topology": topology.name,
        "fully_sharded": fully_sharded,
        "stage": "program" if with_time else "plan",
    }
    plan = request | {"stage": "plan"}
    try:
        folder = cached(
            request, lambda partial: _run_compiler(request, topology, timeout_s, partial)
        )
    except UnfinishedError as unfinished:
        folder = cached(plan, unfinished.write)
    answer = json.loads((folder / ANSWER).read_text(encoding="utf-8"))
    known: dict[str, Any] = {}
    # What a fused kernel does is not in the program's text.
    if answer["status"] != "out_of_memory" and execution.attention != FUSED_KERNELS["tpu"]:
        known = _read_program(folder, answer, topology)
    if execution.scan_layers:
        known |= {"flops": None, "bytes_accessed": None}
    return Compiled(
        arch=arch,
        execution=execution,
        topology=topology,
        fully_sharded=fully_sharded,
        fits=answer["status"] != "out_of_memory",
        memory_bytes=answer["memory_bytes"],
        versions=versions(),
        **known,
    )


class UnfinishedError(Exception):
    """The time was up after memory was planned; `write` keeps the plan in another folder."""

    def __init__(self, memory_bytes: int, program: bytes):
        super().__init__("the compiler had planned memory, but the program was not finished")
        self.memory_bytes, self.program = memory_bytes, program

    def write(self, folder: Path) -> None:
        """The plan as the compiler's process would have written it."""
        answer = {"status": "planned", "memory_bytes": self.memory_bytes}
        write_whole(folder / ANSWER, json.dumps(answer))
        (folder / PROGRAM).write_bytes(self.program)


def compile_all(
    topology: str,
    *,
    fields: dict[str, Any],
    result: Path | None = None,
    top: int = 3,
    remat: str | None = None,
    attention: str | None = None,
    scan_layers: bool = False,
    sharding: str = "data",
    with_time: bool = True,
    timeout_s: float = TIMEOUT_S,
    on_progress: Callable[[str], None] = lambda line: None,
) -> list[Compiled]:
    """Compile one architecture, or the best of a result, one after the other.

    Args:
        topology: its name, as `v5e:1x1`.
        fields: the architecture's; what is left out is customary.
        result: what `find --out` wrote, instead of fields.
        top: how many of its candidates.
        remat: `none`, `dots` or `layer`; left out, each candidate's own, or none.
        attention: `plain`, or `fused`, of which only memory is known; left out, the result's, or
            plain.
        scan_layers: whether the layers are a loop.
        sharding: `data`, or `full` when the chips also share the state.
        with_time: False stops after the memory plan.
        timeout_s: for each.
        on_progress: told what is compiled next.

    Raises:
        ValueError: as `compile_for`, or a name, a field or the result is wrong.
    """
    chips = parse_topology(topology)
    if sharding not in SHARDINGS:
        raise ValueError(f"`sharding` must be one of {SHARDINGS}, but got {sharding!r}")
    if result and fields:
        raise ValueError(f"a result already says `{next(iter(fields))}`; leave one of them out")
    if result:
        found = read_record(result)
        attention = attention or found.objective.attention
        todo = [(one.arch, REMATS[one.prediction.remat]) for one in found.candidates[:top]]
    else:
        todo = [(architecture_of(fields, "--result DIR"), "none")]
    if attention not in (None, *get_args(Attention)):
        raise ValueError(f"`attention` must be plain or fused, but got {attention!r}")
    fused = attention == "fused"
    if fused and chips.n_chips > 1:
        raise ValueError(
            f"fused attention is compiled for one chip, but {topology} has more; "
            "give --attention plain"
        )
    require_compiler()
    steps = []
    for number, (arch, own_remat) in enumerate(todo, start=1):
        on_progress(f"{number} of {len(todo)}: {arch.d_model}×{arch.n_layers} for {chips.name}")
        execution = Execution(
            scan_layers=scan_layers,
            remat=remat or own_remat,  # type: ignore[arg-type]
            attention=FUSED_KERNELS["tpu"] if fused else "einsum",
            dtype=chips.device.dtype,
        )
        step = compile_for(
            arch,
            chips,
            execution=execution,
            fully_sharded=sharding == "full",
            with_time=with_time and not fused,
            timeout_s=timeout_s,
        )
        steps.append(step)
    return steps


def compiler_environment(topology: Topology, log_folder: str) -> dict[str, str]:
    """The environment in which a TPU's compiler runs on a machine without TPU.

    Without `TPU_SKIP_MDS_QUERY` it waits for minutes for a metadata server, and without
    `ALLOW_MULTIPLE_LIBTPU_LOAD` a lock file stops a second process.
    """
    kept = {name: value for name, value in os.environ.items() if name not in DROPPED}
    return kept | {
        "JAX_PLATFORMS": "cpu",
        "TPU_SKIP_MDS_QUERY": "1",
        "TPU_ACCELERATOR_TYPE": GENERATIONS[topology.generation].accelerator_type,
        "TPU_WORKER_HOSTNAMES": "localhost",
        "TPU_WORKER_ID": "0",
        "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
        "TPU_LOG_DIR": log_folder,
    }


def require_compiler() -> None:
    """Raise ValueError where the TPU's compiler is not installed."""
    if importlib.util.find_spec("libtpu") is None:
        raise ValueError(f"the TPU's compiler is not installed; {INSTALL}")


def _run_compiler(
    request: dict[str, Any], topology: Topology, timeout_s: float, folder: Path
) -> None:
    """Let a process of its own write the answer into the folder, or say why there is none."""
    require_compiler()
    command = [sys.executable, "-P", "-m", "anybudget.validation.compiler.step"]
    with tempfile.TemporaryDirectory() as log_folder:
        try:
            done = subprocess.run(
                [*command, json.dumps(request), str(folder)],
                env=compiler_environment(topology, log_folder) | {"XLA_FLAGS": dump_flags(folder)},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=timeout_s,
            )
        except subprocess.TimeoutExpired:
            if memory_bytes := keep_plan(folder):
                program = (folder / PROGRAM).read_bytes()
                raise UnfinishedError(memory_bytes, program) from None
            raise ValueError(
                f"the compiler had not even planned memory in {timeout_s:g} s; give more with "
                "--timeout, or --scan, which compiles one layer for all"
            ) from None
    shutil.rmtree(folder / DUMP, ignore_errors=True)
    if done.returncode or not (folder / ANSWER).exists():
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise ValueError(f"the TPU's compiler failed (exit code {done.returncode}): {last[:500]}")


def _read_program(folder: Path, answer: dict[str, Any], topology: Topology) -> dict[str, Any]:
    with gzip.open(folder / PROGRAM, "rt", encoding="utf-8") as file:
        program = parse_program(file.read())
    known: dict[str, Any] = {
        "matmul_flops": matmul_flops(program),
        "traffic_bytes": memory_traffic_bytes(program),
        "collective_bytes": compiled_bytes(program),
    }
    if answer["status"] == "planned":
        return known
    rates = Rates(
        clock_hz=topology.clock_hz,
        bandwidth_bytes_per_s=topology.device.bandwidth_bytes_per_s,
        interconnect_bytes_per_s=topology.interconnect_bytes_per_s,
    )
    names = ("flops", "bytes_accessed", "compile_s")
    return known | {name: answer[name] for name in names} | {"time": program_time(program, rates)}
