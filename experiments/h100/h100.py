"""What does an H100 say of step times, and does wider beat deeper on it?

Command: python experiments/h100/h100.py FILE    # on an H100; FILE: the second of loss_law
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
Rows that are there are kept. Draws h100.png.
"""

from __future__ import annotations

import argparse
import dataclasses
import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import jax
import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.ticker import NullLocator
from pydantic import AwareDatetime, PositiveFloat

from anybudget.experiments.tpu_compile.tpu_compile import EQUAL
from anybudget.objectives.cost.counts import flops_per_step, memcpys_per_step
from anybudget.objectives.fit.step_time import compare_step_times, variance_explained_alone
from anybudget.presets.devices import load_device
from anybudget.show.pictures.style import ACCENT, SECOND, STYLE
from anybudget.space.architecture import Architecture
from anybudget.validation.backend import machine_name
from anybudget.validation.runs import ArchitectureRow, Run, append_row, read_rows
from anybudget.validation.timing.calibrate import calibrate
from anybudget.validation.timing.step_clock import CompiledStep
from anybudget.validation.timing.step_design import Effort
from anybudget.validation.timing.step_rows import StepRow, steps_of
from anybudget.validation.training.corpus import load_corpus
from anybudget.validation.training.tokens import Tokens, prepare_tokens
from anybudget.validation.training.train import this_backend, train

FOLDER = Path(__file__).parent
STEPS, RUNS, DEVICE = (FOLDER / name for name in ("steps.csv", "runs.csv", "device.toml"))
EFFORT = Effort(n_architectures=28, seconds=0.7, max_step_s=0.2, max_layers=16)
FIGURE = Path(__file__).with_name("h100.png")
TEXT = {"vocab_size": 4096, "seq_len": 512, "batch_size": 16}
# Width and depth of 9.6 to 9.8 million parameters outside the vocabulary, from the widest.
TRAINED = ((640, 2), (448, 4), (320, 8), (192, 22))
BUDGET_S, TIMED_S = 10.0, 1.0
MAX_BYTES = 100_000_000
TICKS_MS = (2, 5, 10, 20, 50)


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
    rows, steps, runs = (
        read_rows(DEVICE.with_suffix(".csv"), StepRow),
        read_rows(STEPS, StepTime),
        read_rows(RUNS, Run),
    )
    times, losses = table_of(steps, runs)
    print(times.to_string(index=False, float_format="%.4g"))
    print(losses.to_string(index=False, float_format="%.4f"))
    fresh = [*steps, *filter(_has_equal_time, runs)]
    report_calibration(rows, fresh)
    draw(rows, fresh, losses)


def time_steps() -> None:
    """Append to `STEPS` what it lacks."""
    done = {row.architecture for row in read_rows(STEPS, StepTime)}
    for d_model, n_layers in EQUAL[::2]:
        arch = Architecture.from_shape(d_model=d_model, n_layers=n_layers, batch_size=8)
        if arch in done:
            continue
        timing = CompiledStep(arch, this_backend()).time(TIMED_S)
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
    runs = read_rows(RUNS, Run)
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


def report_calibration(rows: list[StepRow], fresh: list[Any]) -> None:
    """How well each model of step times predicts what it was not fitted on."""
    steps = steps_of(rows)
    fits = compare_step_times(steps)
    for fit in fits:
        print(f"{fit.model.name:9} R² {fit.r2:.3f}, mean error {fit.mape:.1%}")
    alone = variance_explained_alone(steps)
    print(f"variance explained alone: { {name: round(r2, 3) for name, r2 in alone.items()} }")
    sheet = load_device("h100-sxm-datasheet")
    for name, model in (
        ("datasheet at 70%", dataclasses.replace(sheet, utilisation=0.7).step_time_model),
        ("calibrated", fits[0].model),
    ):
        ratios = pd.Series([row.step_time_s / model.step_time_s(row.architecture) for row in fresh])
        print(f"{len(fresh)} other steps over the {name}: {ratios.min():.2f} to {ratios.max():.2f}")


def table_of(steps: list[StepTime], runs: list[Run]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """What the widest and the deepest take, and what was reached at equal time and equal steps."""
    times = pd.DataFrame(
        {
            "shape": [f"{row.architecture.d_model}×{row.architecture.n_layers}" for row in steps],
            "step_ms": [1e3 * row.step_time_s for row in steps],
            "tflop": [flops_per_step(row.architecture) / 1e12 for row in steps],
            "memcpy_gb": [2 * memcpys_per_step(row.architecture) / 1e9 for row in steps],
        }
    )
    losses = pd.DataFrame(
        {
            "shape": [f"{run.architecture.d_model}×{run.architecture.n_layers}" for run in runs],
            "equal": ["time" if _has_equal_time(run) else "steps" for run in runs],
            "n_steps": [run.n_steps for run in runs],
            "tokens_m": [run.n_tokens / 1e6 for run in runs],
            "mfu": [run.mfu for run in runs],
            "loss": [run.measured_loss for run in runs],
        }
    )
    return times, losses


def draw(rows: list[StepRow], fresh: list[Any], losses: pd.DataFrame) -> None:
    """Step times predicted and measured, and loss at equal time and at equal steps."""
    steps = steps_of(rows)
    fits = {fit.model.name: fit for fit in compare_step_times(steps)}
    best = next(iter(fits.values()))
    measured_ms = 1e3 * steps.measured_s
    with plt.rc_context(STYLE):
        figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4.2), layout="constrained")
        ends = [0.8 * measured_ms.min(), 1.25 * measured_ms.max()]
        left.plot(ends, ends, color="0.8", lw=1)
        for fit, name, colour in ((fits["flops"], "FLOPs", SECOND), (best, "model kept", ACCENT)):
            label = f"{name}, shape left out: {fit.mape:.0%} error"
            left.plot(measured_ms, 1e3 * fit.heldout_s, "o", ms=4, color=colour, label=label)
        left.plot(
            [1e3 * row.step_time_s for row in fresh],
            [1e3 * best.model.step_time_s(row.architecture) for row in fresh],
            "x", color="0.2", label="model kept, other models' steps",
        )  # fmt: skip
        left.set(
            xscale="log", yscale="log", xlabel="measured step time, ms",
            ylabel="predicted step time, ms", title="Step time on an H100",
        )  # fmt: skip
        for axis in (left.xaxis, left.yaxis):
            axis.set_ticks(TICKS_MS, [str(tick) for tick in TICKS_MS])
            axis.set_minor_locator(NullLocator())
        left.legend(frameon=False, fontsize=8)
        for equal, label, colour in (
            ("time", f"{BUDGET_S:.0f} s for each", ACCENT),
            ("steps", "as many steps as the deepest makes", SECOND),
        ):
            one = losses[losses.equal == equal]
            right.plot(one["shape"], one.loss, "o-", color=colour, label=label)
        right.set(
            xlabel="d_model × n_layers", ylabel="loss, nats per token",
            title="Models of 10M parameters, one seed",
        )  # fmt: skip
        right.legend(frameon=False, fontsize=8)
        figure.savefig(FIGURE, dpi=130)


def _has_equal_time(run: Run) -> bool:
    return run.time_budget_s == BUDGET_S


if __name__ == "__main__":
    main()
