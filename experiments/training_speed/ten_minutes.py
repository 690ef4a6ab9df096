"""What do ten minutes of one core come to, with this step and with an earlier one?

Command: python experiments/training_speed/ten_minutes.py after [seconds of each shape] [shape ...]
         (and with `before`, in an environment that has anybudget of commit 1fd62a5)
Wall time: ten minutes each of a quiet core, and some for compiling and judging.
Expected: on a processor with AMX twice the steps, and a loss lower by a tenth (found in three
shapes: 1.6 to 2.2 times the steps, a loss lower by 8 to 15%).

Two and a half minutes of training, or as told, for each of four shapes, as `confirm` trains, from
the same weights and in the same order of the text, with one recipe. The clock is the processor's,
since what else runs on a machine is no matter of the step's. Writes ten_minutes.csv; rows that are
there are kept.
"""
# ruff: noqa: E402

from __future__ import annotations

import sys
import time
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

from anybudget.machines import host

# Before anything starts its threads.
host.use_cores(1)
host.keep_freed_memory()

import pandas as pd

from anybudget.machines.machine import cpu_name
from anybudget.objectives.cost.execution import Execution
from anybudget.objectives.recipe import Recipe
from anybudget.space.architecture import Architecture
from anybudget.validation.training import clock
from anybudget.validation.training import train as training
from anybudget.validation.training.corpus import load_corpus
from anybudget.validation.training.tokens import prepare_tokens

TEXT = {"vocab_size": 2048, "seq_len": 256, "batch_size": 8}
SHAPES = {
    "narrow": {"d_model": 64, "n_layers": 8},
    "wide": {"d_model": 512, "n_layers": 2},
    "gated": {"d_model": 256, "n_layers": 6, "d_ff": 688, "gated_mlp": True},
    "long": {"d_model": 256, "n_layers": 4, "seq_len": 1024, "batch_size": 2},
}
UPKEEP = training.Upkeep(n_heldout_tokens=2**15)
ATTENTION = {"before": "plain", "after": "fused"}
RESULT = Path(__file__).with_suffix(".csv")


def main(which: str, time_budget_s: float, names: list[str]) -> None:
    """Train what is missing of some shapes, a row each."""
    tokens = prepare_tokens(load_corpus("python"), vocab_size=TEXT["vocab_size"])
    rows = pd.read_csv(RESULT) if RESULT.exists() else pd.DataFrame(columns=["step", "shape"])
    processors = SimpleNamespace(perf_counter=time.process_time)
    for name in names or SHAPES:
        if (which, name) in set(zip(rows["step"], rows["shape"], strict=True)):
            continue
        with (
            mock.patch.object(clock, "time", processors),
            mock.patch.object(training, "time", processors),
        ):
            run = training.train(
                Architecture.from_shape(**TEXT | SHAPES[name]),
                tokens,
                seed=0,
                time_budget_s=time_budget_s,
                upkeep=UPKEEP,
                recipe=Recipe(),
                execution=Execution(attention=ATTENTION[which]),
            )
        row = {
            "processor": cpu_name(),
            "step": which,
            "shape": name,
            "dtype": getattr(run, "dtype", "float32"),
            "time_budget_s": time_budget_s,
            "n_steps": run.n_steps,
            "n_tokens": run.n_tokens,
            "measured_loss": run.measured_loss,
        }
        print(row, flush=True)
        rows = pd.concat([rows, pd.DataFrame([row])], ignore_index=True)
        rows.to_csv(RESULT, index=False, float_format="%.6g")


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]) if len(sys.argv) > 2 else 150.0, sys.argv[3:])
