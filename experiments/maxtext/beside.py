"""Two programs of one model on one compiler: MaxText's own ahead-of-time compile beside ours.

    L="--device tpu-v5e --space llama"; B="--set seq_len=1024 --set batch_size=8"
    anybudget find 15m $L --set seq_len=1024 --set batch_size=16 --out small
    anybudget find 7d $L --set d_model=2048:4096:128 $B --out large
    anybudget find 3d $L --set seq_len=2048 --set n_kv_heads=4 --set batch_size=16 --out grouped
    anybudget find 3d $L --set seq_len=8192 --set batch_size=4 --out long
    for r in small large grouped long; do anybudget export $r --to maxtext; done
    python -m anybudget.experiments.maxtext.beside small large grouped long

Needs Python 3.12, `pip install 'maxtext[tpu]==0.2.5'` and anybudget beside it, and no TPU. For each
result MaxText's step of the exported file is compiled for one v5e chip, and its FLOPs are counted
in what it traces with plain attention, loops as often as they run; ours is compiled by the same
compiler and counted. Appends to `beside.csv`; some minutes of one core for each. Expected: equal
parameters, equal FLOPs of matmuls where nothing runs again, memory within a fifth.
"""

from __future__ import annotations

import importlib
import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import jax
import pandas as pd

from ...objectives.cost.counts import flops_per_step
from ...objectives.cost.execution import Execution, Remat
from ...search.record import read_record

CSV = Path(__file__).parent / "beside.csv"
TOPOLOGY, CHIP = "v5e:1x1", "v5e-1"
# A line of a child's output that begins so is its answer.
ANSWER = "ANSWER "
PLAIN = "attention=dot_product"
# Parameters are what is neither an optimizer's nor a generator's.
NO_PARAMS = ("opt", "rng", "dropout")


def theirs(config: str, *more: str) -> dict[str, Any]:
    """What MaxText says of a file of its own, in a process of its own."""
    words = [sys.executable, "-m", "anybudget.experiments.maxtext.beside", "--child", config, *more]
    found = subprocess.run(words, capture_output=True, text=True, check=False)
    answers = [line for line in found.stdout.splitlines() if line.startswith(ANSWER)]
    if not answers:
        raise SystemExit(f"{config}: MaxText ended with {found.stderr[-2000:]}")
    told = json.loads(answers[-1].removeprefix(ANSWER))
    return {f"maxtext_{name}": value for name, value in told.items()}


def child(config: str, *more: str) -> None:
    """Compile MaxText's step, or count it where attention is asked to be plain, and tell."""
    train_compile: Any = importlib.import_module("maxtext.trainers.pre_train.train_compile")
    told: dict[str, Any] = {}
    shaped, compiled = train_compile.get_shaped_inputs, train_compile.jit_and_compile

    def counting(*args: Any) -> Any:
        found = shaped(*args)
        leaves = jax.tree_util.tree_flatten_with_path(found[0][0])[0]
        named = [(jax.tree_util.keystr(path).lower(), leaf) for path, leaf in leaves]
        told["n_params"] = sum(
            math.prod(leaf.shape) for name, leaf in named if not any(no in name for no in NO_PARAMS)
        )
        return found

    def compiling(*args: Any) -> Any:
        if more:
            told["flops"] = flops(traced(*args).jaxpr.jaxpr)
        else:
            plan = compiled(*args).memory_analysis()
            told["memory_bytes"] = plan.argument_size_in_bytes + plan.output_size_in_bytes
            told["memory_bytes"] += plan.temp_size_in_bytes - plan.alias_size_in_bytes
        raise SystemExit(0)  # what is left of their program looks at a TPU

    train_compile.get_shaped_inputs, train_compile.jit_and_compile = counting, compiling
    where = ("run_name=beside", "base_output_directory=beside", "dataset_type=synthetic")
    chip = (f"compile_topology={CHIP}", "compile_topology_num_slices=1")
    try:
        train_compile.main(["train_compile", config, *where, *chip, *more])
    finally:
        print(ANSWER + json.dumps(told), flush=True)


def traced(function: Any, args: Any, kwargs: Any, mesh: Any, *rest: Any) -> Any:
    """Their step, traced; arguments as of their `jit_and_compile`."""
    in_shardings, out_shardings, static, donated, _, rules = rest
    with jax.set_mesh(mesh), rules:
        step = jax.jit(
            function, in_shardings=in_shardings, out_shardings=out_shardings,
            static_argnums=static, donate_argnums=donated,
        )  # fmt: skip
        return step.trace(*args, **kwargs)


def flops(jaxpr: Any) -> float:
    """FLOPs of all matmuls of a traced function, loops as often as they run."""
    found = 0.0
    for eqn in jaxpr.eqns:
        times = eqn.params.get("length", 1) if eqn.primitive.name == "scan" else 1
        if eqn.primitive.name == "dot_general":
            (contracted, _), _ = eqn.params["dimension_numbers"]
            left = eqn.invars[0].aval.shape
            out = eqn.outvars[0].aval.shape
            found += 2 * math.prod(out) * math.prod(left[i] for i in contracted)
        for value in eqn.params.values():
            for inner in value if isinstance(value, tuple | list) else (value,):
                inner = getattr(inner, "jaxpr", inner)
                found += times * flops(inner) if hasattr(inner, "eqns") else 0
    return found


def ours(result: str) -> dict[str, Any]:
    """Our own compile of the same model, and what was counted and predicted of it."""
    words = ["compile", TOPOLOGY, "--result", result, "--top", "1", "--no-time", "--json"]
    said = subprocess.run(
        [sys.executable, "-m", "anybudget", *words], capture_output=True, text=True, check=True
    )
    (compiled,) = json.loads(said.stdout)
    best = read_record(Path(result)).candidates[0]
    plain = Execution(remat=Remat(best.prediction.execution.remat))
    return {
        "model": f"{best.arch.d_model}x{best.arch.n_layers}",
        "seq_len": best.arch.seq_len,
        "batch_size": best.arch.batch_size,
        "remat": str(best.prediction.execution.remat),
        "n_params": best.prediction.n_params,
        "flops": flops_per_step(best.arch, plain),
        "predicted_bytes": best.prediction.memory_bytes,
        "memory_bytes": compiled["compiler"]["memory_bytes"],
        "versions": " ".join(f"{name} {of}" for name, of in compiled["versions"].items()),
    }


def main(*results: str) -> None:
    """Compare what is not in the table yet."""
    table: list[dict[str, Any]] = []
    if CSV.exists():
        table = pd.read_csv(CSV).to_dict(orient="records")
    for result in results:
        own = ours(result)
        if any(all(row[name] == own[name] for name in ("model", "seq_len")) for row in table):
            continue
        config = str(Path(result) / "export/maxtext/maxtext.yml")
        table.append(own | theirs(config) | theirs(config, PLAIN))
        print(table[-1], flush=True)
        pd.DataFrame(table).to_csv(CSV, index=False)


if __name__ == "__main__":
    child(*sys.argv[2:]) if sys.argv[1:2] == ["--child"] else main(*sys.argv[1:])
