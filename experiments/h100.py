"""What does an H100 say of step times, and does wider beat deeper on it?

Command: python experiments/h100.py FILE    # on an H100; FILE: the second corpus of loss_law.py
Wall time: nine minutes, most of it compiling; with its rows in place, seconds on any machine.
Expected: at equal parameters the step of the deepest of `tpu_compile.py`'s shapes takes two to
three times the widest's, for attention that is written to memory and for kernels that have to be
started; of models of some 10M parameters trained for 10 s those of two or four layers are best and
the deepest is 0.1 nats or more behind, more than half of it for want of steps; the best model of
step times has an error of 10% on shapes left out, FLOPs alone one of over 30%.

Times the widest, the middle and the deepest of `tpu_compile.py`'s shapes (h100/steps.csv), trains
four shapes of equal parameters outside the vocabulary for 10 s by the clock, calibrates as
`anybudget calibrate` does, with half as many architectures and half the seconds, to
h100/device.toml, and trains the four again for as many steps as the slowest made (h100/runs.csv).
Rows that are there are kept.
"""

from __future__ import annotations

import argparse
import datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import jax
import pandas as pd
from pydantic import AwareDatetime, PositiveFloat
from tpu_compile import EQUAL

from anybudget.objectives.counts import flops_per_step, memcpys_per_step
from anybudget.objectives.fit_step_time import compare_step_times, variance_explained_alone
from anybudget.objectives.presets import load_device
from anybudget.space.architecture import Architecture
from anybudget.validation.calibrate import calibrate
from anybudget.validation.corpus import load_corpus
from anybudget.validation.machine import machine_name
from anybudget.validation.model import Execution
from anybudget.validation.runs import ArchitectureRow, Run, append_row, read_rows
from anybudget.validation.step_clock import CompiledStep
from anybudget.validation.step_design import Effort
from anybudget.validation.step_rows import StepRow, steps_of
from anybudget.validation.tokens import Tokens, prepare_tokens
from anybudget.validation.train import train

FOLDER = Path(__file__).with_suffix("")
STEPS, RUNS, DEVICE = (FOLDER / name for name in ("steps.csv", "runs.csv", "device.toml"))
EFFORT = Effort(n_architectures=28, seconds=0.7, max_step_s=0.2, max_layers=16)
TEXT = {"vocab_size": 4096, "seq_len": 512, "batch_size": 16}
# Width and depth of 9.6 to 9.8 million parameters outside the vocabulary, from the widest.
TRAINED = ((640, 2), (448, 4), (320, 8), (192, 22))
BUDGET_S, TIMED_S = 10.0, 1.0
MAX_BYTES = 100_000_000


class StepTime(ArchitectureRow):
    """How long a step takes on a chip."""

    step_time_s: PositiveFloat
    step_time_spread: float
    machine: str
    versions: str
    measured: AwareDatetime


def main() -> None:
    """Make what is missing, where there is a text; then report."""
    parser = argparse.ArgumentParser()
    parser.add_argument("corpus", nargs="?", help="a file of text; nothing is made when left out")
    if corpus := parser.parse_args().corpus:
        FOLDER.mkdir(exist_ok=True)
        time_steps()
        text = prepare_tokens(
            load_corpus(corpus, max_bytes=MAX_BYTES), vocab_size=TEXT["vocab_size"]
        )
        with TemporaryDirectory() as folder:  # so that no model is compiled twice
            jax.config.update("jax_compilation_cache_dir", folder)
            train_all(text, equal_time=True)
            calibrate(DEVICE, effort=EFFORT)
            train_all(text, equal_time=False)
    report_calibration()
    report_steps()
    report_runs()


def time_steps() -> None:
    """Append to `STEPS` what it lacks."""
    done = {row.architecture for row in _rows(STEPS, StepTime)}
    for d_model, n_layers in EQUAL[::2]:
        arch = Architecture.from_shape(d_model=d_model, n_layers=n_layers, batch_size=8)
        if arch in done:
            continue
        timing = CompiledStep(arch, Execution(dtype="bfloat16")).time(TIMED_S)
        row = StepTime(
            **arch.as_dict(),
            step_time_s=timing.step_time_s,
            step_time_spread=timing.step_time_spread,
            machine=machine_name(jax.default_backend()),
            versions=f"jax {jax.__version__}",
            measured=datetime.datetime.now(datetime.UTC),
        )
        append_row(STEPS, row)
        print(f"{arch.d_model}×{arch.n_layers}: {1e3 * row.step_time_s:.1f} ms", flush=True)


def train_all(text: Tokens, *, equal_time: bool) -> None:
    """Append to `RUNS` what it lacks, at equal time or at the steps of the slowest in that time."""
    runs = _rows(RUNS, Run)
    done = {run.architecture for run in runs if _has_equal_time(run) == equal_time}
    for d_model, n_layers in TRAINED:
        arch = Architecture.from_shape(d_model=d_model, n_layers=n_layers, **TEXT)
        if arch in done:
            continue
        if equal_time:
            run = train(arch, text, seed=0, time_budget_s=BUDGET_S)
        else:
            run = train(arch, text, seed=0, n_steps=min(run.n_steps for run in runs))
        append_row(RUNS, run)
        print(f"{d_model}×{n_layers}: {run.n_steps} steps, {run.measured_loss:.4f}", flush=True)


def report_calibration() -> None:
    """How well each model of step times predicts a width and depth left out."""
    rows = _rows(DEVICE.with_suffix(".csv"), StepRow)
    if len(rows) < EFFORT.n_architectures:
        print(f"{len(rows)} step times are too few to fit")
        return
    steps = steps_of(rows)
    for fit in compare_step_times(steps):
        print(f"{fit.model.name:9} R² {fit.r2:.3f}, mean error {fit.mape:.1%}")
    alone = variance_explained_alone(steps)
    print(f"variance explained alone: { {name: round(r2, 3) for name, r2 in alone.items()} }")
    sheet = load_device("h100-sxm").step_time_model.step_time_s(steps.arch)
    ratios = pd.Series(steps.measured_s / sheet)
    print(f"measured over the datasheet's at 70%: {ratios.describe().round(2).to_dict()}")


def report_steps() -> None:
    """Print what the widest and the deepest take."""
    rows = _rows(STEPS, StepTime)
    table = pd.DataFrame(
        {
            "shape": [f"{row.d_model}×{row.n_layers}" for row in rows],
            "step_ms": [1e3 * row.step_time_s for row in rows],
            "tflop": [flops_per_step(row.architecture) / 1e12 for row in rows],
            "memcpy_gb": [2 * memcpys_per_step(row.architecture) / 1e9 for row in rows],
        }
    )
    print(table.to_string(index=False, float_format="%.4g"))


def report_runs() -> None:
    """Print what was reached at equal time and at equal steps."""
    runs = _rows(RUNS, Run)
    table = pd.DataFrame(
        {
            "shape": [f"{run.d_model}×{run.n_layers}" for run in runs],
            "equal": ["time" if _has_equal_time(run) else "steps" for run in runs],
            "n_steps": [run.n_steps for run in runs],
            "tokens_m": [run.n_tokens / 1e6 for run in runs],
            "mfu": [run.mfu for run in runs],
            "loss": [run.measured_loss for run in runs],
        }
    )
    print(table.to_string(index=False, float_format="%.4f"))


def _has_equal_time(run: Run) -> bool:
    return run.time_budget_s == BUDGET_S


def _rows(path: Path, kind: type) -> list:
    return read_rows(path, kind) if path.exists() else []


if __name__ == "__main__":
    main()
