"""The process in which a TPU's compiler runs: a training step in, what the compiler says out.

`python -m anybudget.validation.compile_step REQUEST FOLDER` reads a JSON request and writes the
answer, `answer.json`, into the folder, and beside it the optimized program, `program.hlo.gz`. It
runs in a process of its own since the compiler's library is set up through the environment, may
hang and may take the process with it: `compiled.py` sets, limits and watches it.

Left out of the answer, for the compiler reports them wrongly: `optimal_seconds` (negative for
training steps), the bytes of single operands, and `temp_size_in_bytes` (0 where the chip's own
memory holds temporaries); FLOPs of steps with a loop over layers, whose body it counts once, are
counted from the program (`hlo_flops.py`).
"""

from __future__ import annotations

import gzip
import json
import re
import sys
import time
from pathlib import Path
from typing import Any

import jax
from jax.experimental import topologies

from ..space.architecture import Architecture
from .model import Execution
from .recipe import Recipe
from .step import abstract_inputs, lower_step
from .topology import parse_topology

ANSWER, PROGRAM = "answer.json", "program.hlo.gz"
# "Used 33.1G of 15.75G hbm"
USED = re.compile(r"Used ([\d.]+)([KMGT]?) of ([\d.]+)([KMGT]?) hbm")
UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


def compile_step(request: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Compile what a request asks for and say what the compiler made of it.

    Args:
        request: `architecture`, `execution`, `topology` and `fully_sharded`.
        folder: where the program goes.

    Returns:
        `status` is "ok", with `flops`, `bytes_accessed` and `peak_memory_bytes` per chip, or
        "out_of_memory", with `peak_memory_bytes` needed and `memory_bytes` there.
    """
    arch = Architecture(**request["architecture"])
    topology, recipe = parse_topology(request["topology"]), Recipe()
    devices = topologies.get_topology_desc(**topology.description).devices
    inputs = abstract_inputs(arch, recipe, devices, fully_sharded=request["fully_sharded"])
    execution = Execution(**request["execution"])
    start_s = time.perf_counter()
    lowered = lower_step(inputs, arch, recipe=recipe, execution=execution)
    lowered_s = time.perf_counter()
    try:
        compiled = lowered.compile()
    except jax.errors.JaxRuntimeError as error:
        return out_of_memory(str(error))
    seconds = {"lower_s": lowered_s - start_s, "compile_s": time.perf_counter() - lowered_s}
    with gzip.open(folder / PROGRAM, "wt", encoding="utf-8") as file:
        file.write(compiled.as_text() or "")
    cost: Any = compiled.cost_analysis()
    memory: Any = compiled.memory_analysis()
    return seconds | {
        "status": "ok",
        "flops": cost["flops"],
        "bytes_accessed": cost["bytes accessed"],
        "peak_memory_bytes": memory.peak_memory_in_bytes,
    }


def out_of_memory(message: str) -> dict[str, Any]:
    """The answer in a complaint that a step does not fit.

    Raises:
        ValueError: the compiler complains of something else.
    """
    used = USED.search(message)
    if "RESOURCE_EXHAUSTED" not in message or not used:
        raise ValueError(f"the compiler refused the step: {message[:500]}")
    needed, there = (
        round(float(number) * UNITS[unit]) for number, unit in (used.group(1, 2), used.group(3, 4))
    )
    return {"status": "out_of_memory", "peak_memory_bytes": needed, "memory_bytes": there}


def main(request: str, folder: str) -> None:
    """Write the answer beside the program."""
    answer = compile_step(json.loads(request), Path(folder))
    (Path(folder) / ANSWER).write_text(json.dumps(answer), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
