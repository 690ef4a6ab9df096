"""Does wider beat deeper on a GPU, by its step time and by its loss at equal time?

Command: python experiments/gpu_wider_deeper.py FILE    # the second corpus of loss_law.py
Wall time: five minutes of an H100; with its rows in place, seconds on any machine.
Expected: at equal parameters the step of the deepest of `tpu_compile.py`'s shapes takes two to
three times the widest's on an H100 too, for attention that is written to memory and for kernels
that have to be started, and as a loop each takes longer than unrolled; models of some 10M
parameters trained for 20 s are best with two or four layers, the deepest 0.1 nats or more behind,
more than half of it for want of steps.

Times the five shapes of `tpu_compile.py`, unrolled and with the layers as a loop, and appends them
to gpu_wider_deeper/steps.csv. Then trains five shapes of equal parameters outside the vocabulary
for 20 s each by the clock, and again for as many steps as the slowest of them made; a row each in
gpu_wider_deeper/runs.csv. Rows that are there are kept. All is compiled first, side by side: a
GPU's compiler tries kernels on the chip.
"""

from __future__ import annotations

import argparse
import datetime
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory

import jax
import pandas as pd
from pydantic import AwareDatetime, PositiveFloat
from tpu_compile import EQUAL

from anybudget.objectives.counts import flops_per_step, memcpys_per_step
from anybudget.space.architecture import Architecture
from anybudget.validation.corpus import load_corpus
from anybudget.validation.machine import count_cores, machine_name
from anybudget.validation.model import Execution
from anybudget.validation.recipe import Recipe
from anybudget.validation.runs import ArchitectureRow, Run, append_row, read_rows
from anybudget.validation.step import compile_program
from anybudget.validation.step_clock import CompiledStep
from anybudget.validation.tokens import Tokens, prepare_tokens
from anybudget.validation.train import default_execution, train

FOLDER = Path(__file__).with_suffix("")
STEPS, RUNS = FOLDER / "steps.csv", FOLDER / "runs.csv"
TEXT = {"vocab_size": 4096, "seq_len": 512, "batch_size": 16}
# Width and depth of 9.6 to 9.8 million parameters outside the vocabulary, from the widest.
TRAINED = ((896, 1), (640, 2), (448, 4), (320, 8), (192, 22))
BUDGET_S, TIMED_S = 20.0, 2.0
MAX_BYTES = 100_000_000


class StepTime(ArchitectureRow):
    """How long a step takes on a chip, unrolled or as a loop."""

    loop: bool
    step_time_s: PositiveFloat
    step_time_spread: float
    machine: str
    versions: str
    measured: AwareDatetime


def main() -> None:
    """Time and train what is missing, then print both tables."""
    parser = argparse.ArgumentParser()
    parser.add_argument("corpus", nargs="?", help="a file of text; no more runs when left out")
    options = parser.parse_args()
    FOLDER.mkdir(exist_ok=True)
    if options.corpus:
        time_steps()
        with TemporaryDirectory() as folder:
            jax.config.update("jax_compilation_cache_dir", folder)
            train_all(options.corpus)
    report()


def time_steps() -> None:
    """Append to `STEPS` what it lacks."""
    done = {(row.architecture, row.loop) for row in _rows(STEPS, StepTime)}
    shapes = [Architecture.from_shape(d_model=d, n_layers=n, batch_size=8) for d, n in EQUAL]
    todo = [(arch, loop) for loop in (False, True) for arch in shapes if (arch, loop) not in done]
    with ThreadPoolExecutor(count_cores()) as pool:
        steps = pool.map(
            lambda job: CompiledStep(job[0], Execution(scan_layers=job[1], dtype="bfloat16")), todo
        )
    for (arch, loop), step in zip(todo, steps, strict=True):
        timing = step.time(TIMED_S)
        row = StepTime(
            **arch.as_dict(),
            loop=loop,
            step_time_s=timing.step_time_s,
            step_time_spread=timing.step_time_spread,
            machine=machine_name(jax.default_backend()),
            versions=f"jax {jax.__version__}",
            measured=datetime.datetime.now(datetime.UTC),
        )
        append_row(STEPS, row)
        print(f"{arch.d_model}×{arch.n_layers} {loop=}: {1e3 * row.step_time_s:.1f} ms", flush=True)


def train_all(corpus: str) -> None:
    """Append to `RUNS` what it lacks: first equal time, then the steps of the slowest."""
    text = prepare_tokens(load_corpus(corpus, max_bytes=MAX_BYTES), vocab_size=TEXT["vocab_size"])
    shapes = [Architecture.from_shape(d_model=d, n_layers=n, **TEXT) for d, n in TRAINED]
    done = {(run.architecture, run.time_budget_s == BUDGET_S) for run in _rows(RUNS, Run)}
    with ThreadPoolExecutor(count_cores()) as pool:
        list(pool.map(_compile, (arch for arch in shapes if (arch, False) not in done)))
    for arch in shapes:
        if (arch, True) not in done:
            _train(arch, text, time_budget_s=BUDGET_S)
    fewest = min(run.n_steps for run in _rows(RUNS, Run) if run.time_budget_s == BUDGET_S)
    for arch in shapes:
        if (arch, False) not in done:
            _train(arch, text, n_steps=fewest)


def _compile(arch: Architecture) -> None:
    """Into JAX's cache, where `train` finds it."""
    compile_program(arch, recipe=Recipe(), execution=default_execution())


def _train(arch: Architecture, text: Tokens, **budget: float) -> None:
    run = train(arch, text, seed=0, **budget)  # type: ignore[arg-type]
    append_row(RUNS, run)
    print(f"{arch.d_model}×{arch.n_layers} {budget}: {run.measured_loss}", flush=True)


def report() -> None:
    """Print what the rows say."""
    steps = _rows(STEPS, StepTime)
    table = pd.DataFrame(
        {
            "shape": [f"{row.d_model}×{row.n_layers}" for row in steps],
            "loop": [row.loop for row in steps],
            "step_ms": [1e3 * row.step_time_s for row in steps],
            "tflop": [flops_per_step(row.architecture) / 1e12 for row in steps],
            "memcpy_gb": [2 * memcpys_per_step(row.architecture) / 1e9 for row in steps],
        }
    )
    print(table.to_string(index=False, float_format="%.4g"))
    runs = _rows(RUNS, Run)
    table = pd.DataFrame(
        {
            "shape": [f"{run.d_model}×{run.n_layers}" for run in runs],
            "equal": ["time" if run.time_budget_s == BUDGET_S else "steps" for run in runs],
            "n_steps": [run.n_steps for run in runs],
            "tokens_m": [run.n_tokens / 1e6 for run in runs],
            "loss": [run.measured_loss for run in runs],
        }
    )
    print(table.to_string(index=False, float_format="%.4f"))


def _rows(path: Path, kind: type) -> list:
    return read_rows(path, kind) if path.exists() else []


if __name__ == "__main__":
    main()
