"""Let a TPU's compiler judge training steps, each in a process of its own."""

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
from typing import Any

from ...files.write import write_whole
from ...objectives.cost.execution import PLAIN, Execution, Sharding
from ...search.predict import architecture_of
from ...search.record import read_record
from ...space.architecture import Architecture
from .cache import cached, versions
from .compiled import Compiled
from .hlo.flops import matmul_flops
from .hlo.program import parse_program
from .hlo.time import Rates, program_time
from .hlo.time import collective_bytes as compiled_bytes
from .hlo.traffic import memory_traffic_bytes
from .plan import DUMP, PROGRAM, dump_flags, keep_plan
from .step import ANSWER
from .topology import GENERATIONS, Topology, parse_topology

TIMEOUT_S = 150.0
INSTALL = "pip install -e '.[tpu]' (Linux on x86-64 only)"
# Flags that would change the program behind the back of its cache.
DROPPED = ("XLA_FLAGS", "LIBTPU_INIT_ARGS")


def compile_for(
    arch: Architecture,
    topology: Topology,
    execution: Execution,
    *,
    with_time: bool = True,
    within_bytes: float | None = None,
    timeout_s: float = TIMEOUT_S,
) -> Compiled:
    """Compile an architecture's training step for a topology, or look up that it was.

    Args:
        arch: what to train; the chips split its batch.
        topology: the chips.
        execution: how the step is run; its chips are those of the topology.
        with_time: False stops after the memory plan, in seconds instead of minutes.
        within_bytes: compile as if a chip had no more memory than so much.
        timeout_s: after which the compiler is stopped; what was planned by then is the answer.

    Raises:
        ValueError: the compiler is not installed, the chips do not divide the batch, the time is
            up before memory is planned, or the compiler fails for another reason than memory.
    """
    execution = dataclasses.replace(execution, n_chips=topology.n_chips)
    if execution.sharding == Sharding.OPTIMIZER:
        raise ValueError("`sharding` must be data or full for a step of ours, but got 'optimizer'")
    if not execution.divides(arch.batch_size):
        raise ValueError(
            f"`batch_size` must be a multiple of the {topology.n_chips} chips of {topology.name}, "
            f"but got {arch.batch_size}"
        )
    plan = _plan_of(arch, topology, execution, within_bytes)
    request = plan | {"stage": "program"} if with_time else plan
    try:
        folder = cached(
            request, lambda partial: _run_compiler(request, topology, timeout_s, partial)
        )
    except UnfinishedError as unfinished:
        folder = cached(plan, unfinished.write)
    answer = json.loads((folder / ANSWER).read_text(encoding="utf-8"))
    known: dict[str, Any] = {}
    # What a fused kernel does is not in the program's text.
    if answer["status"] != "out_of_memory" and not execution.fused:
        known = read_program(folder, answer, topology)
    if execution.scan_layers:
        known |= {"flops": None, "bytes_accessed": None}
    return Compiled(
        arch=arch,
        execution=execution,
        topology=topology,
        fits=answer["status"] != "out_of_memory",
        memory_bytes=answer["memory_bytes"],
        versions=versions(),
        **known,
    )


def _plan_of(
    arch: Architecture, topology: Topology, execution: Execution, within_bytes: float | None
) -> dict[str, Any]:
    """What the compiler's process is asked for where a memory plan is enough."""
    plan = {
        "architecture": arch.as_dict(),
        "execution": execution.named(),
        "topology": topology.name,
        "stage": "plan",
    }
    if within_bytes is not None:
        plan["reserved_bytes"] = round(topology.device.memory_bytes - within_bytes)
    return plan


class UnfinishedError(Exception):
    """The time was up after memory was planned; `write` keeps the plan in another folder."""

    def __init__(self, memory_bytes: int, program: bytes):
        super().__init__("the compiler had planned memory, but the program was not finished")
        self.memory_bytes, self.program = memory_bytes, program

    def write(self, folder: Path) -> None:
        """The plan as the compiler's process would have written it."""
        answer = {"status": "planned", "memory_bytes": self.memory_bytes}
        write_whole(folder / ANSWER, json.dumps(answer))
        write_whole(folder / PROGRAM, self.program)


def compile_all(
    topology: str,
    *,
    fields: dict[str, Any],
    result: Path | None = None,
    top: int = 3,
    how: dict[str, Any] | None = None,
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
        how: fields of `Execution`; what is left out is as each candidate has it, or plain. Of
            fused attention only memory is known.
        with_time: False stops after the memory plan.
        timeout_s: for each.
        on_progress: told what is compiled next.

    Raises:
        ValueError: as `compile_for`, or a name, a field or the result is wrong.
    """
    chips = parse_topology(topology)
    if result and fields:
        raise ValueError(f"a result already says `{next(iter(fields))}`; leave one of them out")
    if result:
        candidates = read_record(result).candidates[:top]
        todo = [(one.arch, one.prediction.execution) for one in candidates]
    else:
        todo = [(architecture_of(fields, "--result DIR"), PLAIN)]
    changed = {"n_chips": chips.n_chips, **(how or {})}
    todo = [(arch, dataclasses.replace(own, **changed)) for arch, own in todo]
    if chips.n_chips > 1 and any(execution.fused for _, execution in todo):
        raise ValueError(
            f"fused attention is compiled for one chip, but {topology} has more; "
            "give --attention plain"
        )
    require_compiler()
    steps = []
    for number, (arch, execution) in enumerate(todo, start=1):
        on_progress(f"{number} of {len(todo)}: {arch.d_model}×{arch.n_layers} for {chips.name}")
        timed = with_time and not execution.fused
        steps.append(compile_for(arch, chips, execution, with_time=timed, timeout_s=timeout_s))
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
    flags = {"XLA_FLAGS": dump_flags(folder)}
    if reserved_bytes := request.get("reserved_bytes"):
        flags["LIBTPU_INIT_ARGS"] = f"--xla_tpu_user_reserved_hbm_bytes={reserved_bytes}"
    with tempfile.TemporaryDirectory() as log_folder:
        try:
            done = subprocess.run(
                [*command, json.dumps(request), str(folder)],
                env=compiler_environment(topology, log_folder) | flags,
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


def read_program(folder: Path, answer: dict[str, Any], topology: Topology) -> dict[str, Any]:
    """What a compiled step's text says, for `Compiled`; of a mere plan no time."""
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
