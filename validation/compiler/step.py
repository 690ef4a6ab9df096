"""The process in which a TPU's compiler runs: a training step in, what the compiler says out.

`python -m anybudget.validation.compiler.step REQUEST FOLDER` reads a JSON request and writes the
answer, `answer.json`, into the folder, and beside it the optimized program, `program.hlo.gz`. It
runs in a process of its own since the compiler's library is set up through the environment, may
hang and may take the process with it: `compiled.py` sets, limits and watches it.

Left out of the answer, for the compiler reports them wrongly: `optimal_seconds` (negative for
training steps), the bytes of single operands, `temp_size_in_bytes` (0 for small steps) and
`peak_memory_in_bytes`, in which the chip's own memory counts as if it were main memory; FLOPs of
steps with a loop over layers, whose body it counts once, are counted from the program
(`hlo_flops.py`).
"""

from __future__ import annotations

import gzip
import json
import os
import re
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jax
from jax.experimental import topologies

from ...files.write import write_whole
from ...objectives.cost.execution import Execution
from ...objectives.recipe import Recipe
from ...space.decoder import Model
from ...space.sparse import model_of
from ..training.model import Backend
from ..training.step import abstract_inputs, lower_step
from .plan import PROGRAM, keep_plan
from .topology import Topology, parse_topology

ANSWER = "answer.json"
POLL_S = 0.2
# "Used 33.1G of 15.75G hbm", or before buffers are placed "temporaries (16.26G) exceeds available"
USED = re.compile(r"(?:Used |temporaries \()([\d.]+)([KMGT]?)(?: of [\d.]+[KMGT]? hbm|\) exceeds)")
UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


def compile_step(request: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Compile what a request asks for and say what the compiler made of it.

    Args:
        request: `architecture`, `execution`, `topology` and `stage`: "program", or "plan" to stop
            as soon as memory is planned.
        folder: where the program goes, and where `dump_flags` has the plan written.

    Returns:
        `memory_bytes` per chip and `status`: "ok", with `flops`, `bytes_accessed` and `compile_s`;
        "planned"; or "out_of_memory".
    """
    return compile_model(
        model_of(request["architecture"]),
        parse_topology(request["topology"]),
        Execution(**request["execution"]),
        folder,
        plan_only=request["stage"] == "plan",
    )


def compile_model(
    arch: Model, topology: Topology, execution: Execution, folder: Path, *, plan_only: bool
) -> dict[str, Any]:
    """As `compile_step`, of any model's step."""
    recipe = Recipe()
    devices = topologies.get_topology_desc(**topology.description).devices[: topology.n_chips]
    inputs = abstract_inputs(arch, recipe, devices, sharding=execution.sharding)
    backend = Backend(kind="tpu", dtype=topology.device.dtype)
    lowered = lower_step(inputs, arch, recipe=recipe, execution=execution, backend=backend)
    work = ThreadPoolExecutor(1).submit(_compile, lowered, folder)
    if plan_only:
        while not work.done():
            if memory_bytes := keep_plan(folder):
                return {"status": "planned", "memory_bytes": memory_bytes}
            time.sleep(POLL_S)
    return work.result()


def _compile(lowered: jax.stages.Lowered, folder: Path) -> dict[str, Any]:
    """All the way to machine code."""
    start_s = time.perf_counter()
    try:
        compiled = lowered.compile()
    except jax.errors.JaxRuntimeError as error:
        return out_of_memory(str(error))
    compile_s = time.perf_counter() - start_s
    memory_bytes = keep_plan(folder)
    if memory_bytes is None:
        raise ValueError("the compiler wrote no memory plan")
    with gzip.open(folder / PROGRAM, "wt", encoding="utf-8") as file:
        file.write(compiled.as_text() or "")
    cost: Any = compiled.cost_analysis()
    return {
        "status": "ok",
        "memory_bytes": memory_bytes,
        "flops": cost["flops"],
        "bytes_accessed": cost["bytes accessed"],
        "compile_s": compile_s,
    }


def out_of_memory(message: str) -> dict[str, Any]:
    """The answer in a complaint that a step does not fit.

    Raises:
        ValueError: the compiler complains of something else.
    """
    used = USED.search(message)
    if "RESOURCE_EXHAUSTED" not in message or not used:
        raise ValueError(f"the compiler refused the step: {message[:500]}")
    needed_bytes = round(float(used[1]) * UNITS[used[2]])
    return {"status": "out_of_memory", "memory_bytes": needed_bytes}


def main(request: str, folder: str) -> None:
    """Write the answer beside the program."""
    answer = compile_step(json.loads(request), Path(folder))
    write_whole(Path(folder) / ANSWER, json.dumps(answer))
    os._exit(0)  # a plan's compiler is still at work


if __name__ == "__main__":
    main(*sys.argv[1:])
