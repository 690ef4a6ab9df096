"""A training step compiled for TPUs that are not here, and the analytic prediction beside it.

What the compiler says is its estimate, never a measurement: no chip has run the step.
"""

from __future__ import annotations

import dataclasses
import gzip
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..objectives.counts import flops_per_step, memcpys_per_step
from ..objectives.memory import memory_bytes
from ..search.predict import architecture_of
from ..search.result_file import load_result
from ..space.architecture import Architecture
from .compile_cache import cached, versions
from .compile_step import ANSWER, PROGRAM
from .hlo import parse_program
from .hlo_flops import matmul_flops
from .hlo_time import ProgramTime, Rates, program_time
from .model import Execution
from .topology import GENERATIONS, Topology, parse_topology

TIMEOUT_S = 600.0
SHARDINGS = ("data", "full")
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
        fits: whether it fits into the chip's memory; if not, only `peak_memory_bytes` is known.
        peak_memory_bytes: at most in use at once.
        flops: of everything, or None when the layers are a loop, whose body the compiler counts
            once.
        matmul_flops: of the matmuls, counted in the program.
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
    peak_memory_bytes: int
    flops: float | None = None
    matmul_flops: int | None = None
    bytes_accessed: float | None = None
    time: ProgramTime | None = None
    compile_s: float | None = None
    versions: dict[str, str]

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
            "bytes_accessed": self.bytes_accessed,
            "memory_bytes": self.peak_memory_bytes,
            "step_time_s": self.time and self.time.step_time_s,
        }

    @property
    def analytic(self) -> dict[str, float]:
        """Our own predictions from counts and datasheet, per chip and step.

        Communication between chips is in none of them.
        """
        device, remat = self.topology.device, self.execution.remat == "layer"
        flops = float(flops_per_step(self.share, remat=remat))
        size = device.bytes_per_element
        return {
            "matmul_flops": flops,
            "flops_per_step": flops,
            "bytes_accessed": float(size * memcpys_per_step(self.share, remat=remat)),
            "memory_bytes": float(memory_bytes(self.share, bytes_per_element=size, remat=remat)),
            "step_time_s": float(device.step_time_model.step_time_s(self.share, remat=remat)),
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
            "collective_bytes": self.time.collective_bytes if self.time else None,
            "compile_s": self.compile_s,
            "versions": self.versions,
        }

    @property
    def analytic_fits(self) -> bool:
        """Whether our own prediction of memory fits into the datasheet's."""
        return self.analytic["memory_bytes"] <= self.topology.device.memory_bytes


def compile_for(
    arch: Architecture,
    topology: Topology,
    *,
    execution: Execution,
    fully_sharded: bool = False,
    timeout_s: float = TIMEOUT_S,
) -> Compiled:
    """Compile an architecture's training step for a topology, or look up that it was.

    Args:
        arch: what to train; the chips split its batch.
        topology: the chips.
        execution: how the model is computed.
        fully_sharded: whether the chips also share weights, gradient and optimizer state.
        timeout_s: after which the compiler is stopped.

    Raises:
        ValueError: the compiler is not installed, the chips do not divide the batch, the time is
            up, or the compiler fails for another reason than memory.
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
    }
    folder = cached(request, lambda partial: _run_compiler(request, topology, timeout_s, partial))
    answer = json.loads((folder / ANSWER).read_text(encoding="utf-8"))
    fits = answer["status"] == "ok"
    return Compiled(
        arch=arch,
        execution=execution,
        topology=topology,
        fully_sharded=fully_sharded,
        fits=fits,
        peak_memory_bytes=answer["peak_memory_bytes"],
        compile_s=answer.get("compile_s"),
        versions=versions(),
        **(_read_program(folder, answer, topology, execution.scan_layers) if fits else {}),
    )


def compile_all(
    topology: str,
    *,
    fields: dict[str, Any],
    result: Path | None = None,
    top: int = 3,
    remat: str | None = None,
    scan_layers: bool = False,
    sharding: str = "data",
    timeout_s: float = TIMEOUT_S,
    on_progress: Callable[[str], None] = lambda line: None,
) -> list[Compiled]:
    """Compile one architecture, or the best of a result, one after the other.

    Args:
        topology: its name, as `v5e:1x1`.
        fields: the architecture's; what is left out is customary.
        result: what `find --out` wrote, instead of fields.
        top: how many of its candidates.
        remat: `none` or `layer`; left out, each candidate's own, or none.
        scan_layers: whether the layers are a loop.
        sharding: `data`, or `full` when the chips also share the state.
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
        candidates = load_result(result).candidates[:top]
        todo = [(one.arch, "layer" if one.prediction.remat else "none") for one in candidates]
    else:
        todo = [(architecture_of(fields, "--result DIR"), "none")]
    steps = []
    for number, (arch, own_remat) in enumerate(todo, start=1):
        on_progress(f"{number} of {len(todo)}: {arch.d_model}×{arch.n_layers} for {chips.name}")
        execution = Execution(
            scan_layers=scan_layers,
            remat=remat or own_remat,  # type: ignore[arg-type]
            dtype=chips.device.dtype,
        )
        is_full = sharding == "full"
        steps.append(
            compile_for(
                arch, chips, execution=execution, fully_sharded=is_full, timeout_s=timeout_s
            )
        )
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


def _run_compiler(
    request: dict[str, Any], topology: Topology, timeout_s: float, folder: Path
) -> None:
    """Let a process of its own write the answer into the folder, or say why there is none."""
    if importlib.util.find_spec("libtpu") is None:
        raise ValueError(f"the TPU's compiler is not installed; {INSTALL}")
    command = [sys.executable, "-P", "-m", "anybudget.validation.compile_step"]
    with tempfile.TemporaryDirectory() as log_folder:
        try:
            done = subprocess.run(
                [*command, json.dumps(request), str(folder)],
                env=compiler_environment(topology, log_folder),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=timeout_s,
            )
        except subprocess.TimeoutExpired:
            raise ValueError(
                f"the compiler took longer than {timeout_s:g} s; give more with --timeout, or "
                "--scan, which compiles one layer for all"
            ) from None
    if done.returncode or not (folder / ANSWER).exists():
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise ValueError(f"the TPU's compiler failed (exit code {done.returncode}): {last[:500]}")


def _read_program(
    folder: Path, answer: dict[str, Any], topology: Topology, is_loop: bool
) -> dict[str, Any]:
    with gzip.open(folder / PROGRAM, "rt", encoding="utf-8") as file:
        program = parse_program(file.read())
    rates = Rates(
        clock_hz=topology.clock_hz,
        bandwidth_bytes_per_s=topology.device.bandwidth_bytes_per_s,
        interconnect_bytes_per_s=topology.interconnect_bytes_per_s,
    )
    return {
        "flops": None if is_loop else answer["flops"],
        "bytes_accessed": None if is_loop else answer["bytes_accessed"],
        "matmul_flops": matmul_flops(program),
        "time": program_time(program, rates),
    }
