"""At equal time on one core: dense against experts, windows, a state space and a hybrid.

Command: python experiments/mechanisms/equal_time.py
         python experiments/mechanisms/equal_time.py --figure    # from the rows alone
Processor time: 7 mechanisms × 2 lengths × 3 seeds × 20 s and six runs at other rates, 16 minutes,
and eight more for compiling, timing and judging.
Expected (written before the first run): at 128 tokens none beats dense by more than 0.02 nats;
8 experts are the best of the rest and 4 lie between; the window costs loss and gains little time;
Mamba-2 and the hybrid are behind by 0.1 or more, since their steps take several times as long. At
1,024 tokens windows beat full attention, and the hybrid and Mamba-2 are nearer to dense.

Found: a window is ahead of full attention at both lengths, by 0.07 ± 0.02 and 0.08 ± 0.04 nats, at
1,024 tokens in as many steps, and so is one with one of four layers full; all others are behind, in
the order of their step times. Of half, one and two times the rule's rate, one is best for the dense
model and two for 8 experts and the hybrid, which are 0.19 and 0.51 behind at their own best.

The question of Inbar and Sernau 2024 (arXiv:2406.18922, section 7) at the size of a core. All have
the width and depth of one dense model (`models.py`), Python source in 1,024 tokens of vocabulary,
1,024 tokens a step, and the product's recipe for their horizon. First every step is timed in
processor seconds, all models in turns, so that what else runs on the machine meets all alike; a run
is then as many steps as fit in 20 s by the median, so that its loss depends on nothing but its
seed. Held-out loss is a token's mean over the same 65,536 tokens. Rows are added to steps.csv and
runs.csv as they come, and those that are there are kept; a run's `processor_s` is what it took, the
first one's with the reading of the text. Half and twice the rule's learning rate come last, of
three mechanisms. equal_time.csv and equal_time.png are made of the rows.
"""
# ruff: noqa: E402

from __future__ import annotations

import functools
import sys
from pathlib import Path

from anybudget.machines import host

# Before anything starts its threads.
host.use_cores(1)
host.keep_freed_memory()

import numpy as np
import pandas as pd
from pydantic import PositiveFloat, PositiveInt

from anybudget.experiments.loss_law.loss_law import tokens_of
from anybudget.experiments.mechanisms import training
from anybudget.experiments.mechanisms.models import decoder, mechanisms
from anybudget.experiments.mechanisms.report import report
from anybudget.experiments.mechanisms.steps import ROWS, Key, time_steps
from anybudget.objectives.cost.counts import n_active_params, n_params
from anybudget.validation.runs import Row, append_row, finished
from anybudget.validation.training.batches import batch, heldout_batches
from anybudget.validation.training.tokens import Tokens

RUNS = Path(__file__).with_name("runs.csv")
BUDGET_S, N_SEEDS, OTHER_RATES = 20.0, 3, (0.5, 2.0)
D_MODEL, N_LAYERS, TOKENS_PER_STEP, N_HELDOUT = 64, 4, 1024, 2**16
LENGTHS, RATED = (128, 1024), ("dense", "8 experts", "hybrid")


class RunRow(Row):
    """One run: what was trained, for how long, and its loss; `rate` is over the rule's."""

    kind: str
    seq_len: PositiveInt
    seed: int
    rate: PositiveFloat
    n_params: PositiveInt
    n_active_params: PositiveInt
    n_steps: PositiveInt
    n_tokens: PositiveInt
    processor_s: PositiveFloat
    measured_loss: PositiveFloat


@functools.cache
def text() -> Tokens:
    """Python source, encoded."""
    return tokens_of("python")


def key(kind: str, seq_len: int) -> Key:
    """One of the twelve models."""
    return kind, D_MODEL, N_LAYERS, seq_len, TOKENS_PER_STEP // seq_len


def jobs(keys: list[tuple[str, int]]) -> list[tuple[str, int, int, float]]:
    """Kind, length, seed and rate of every run: all of a seed, then the next, then other rates."""
    seeds = [(*key, seed, 1.0) for seed in range(N_SEEDS) for key in keys]
    rated = [key for key in keys if key[0] in RATED and key[1] == LENGTHS[0]]
    return seeds + [(*key, 0, rate) for rate in OTHER_RATES for key in rated]


def run(kind: str, seq_len: int, seed: int, rate: float, n_steps: int) -> RunRow:
    """Train one and judge it."""
    arch = decoder(*key(kind, seq_len))
    size = {"batch_size": arch.batch_size, "seq_len": seq_len}
    train_text = text().train  # read before the clock

    def load(step: int) -> np.ndarray:
        return batch(train_text, seed=seed, step=step, **size)

    state, took_s = training.train(arch, load, n_steps, seed, rate)
    heldout = heldout_batches(text().heldout, max_tokens=N_HELDOUT, **size)
    return RunRow(
        kind=kind,
        seq_len=seq_len,
        seed=seed,
        rate=rate,
        n_params=n_params(arch),
        n_active_params=n_active_params(arch),
        n_steps=n_steps,
        n_tokens=n_steps * arch.tokens_per_step,
        processor_s=took_s,
        measured_loss=training.heldout_loss(arch, state, heldout),
    )


def main() -> None:
    """Time, train what is missing, compare and draw."""
    if "--figure" not in sys.argv:
        keys = {
            (kind, t): key(kind, t) for t in LENGTHS for kind in mechanisms(D_MODEL, N_LAYERS, t)
        }
        step_s = time_steps(keys.values())
        for job in jobs(list(keys)):
            if job not in finished(RUNS, RunRow, ("kind", "seq_len", "seed", "rate")):
                append_row(RUNS, row := run(*job, n_steps=round(BUDGET_S / step_s[keys[job[:2]]])))
                print(f"{job}: {row.measured_loss:.4f}, {row.processor_s:.1f} s", flush=True)
    steps = pd.read_csv(ROWS).query(f"d_model == {D_MODEL} and n_layers == {N_LAYERS}")
    print(report(pd.read_csv(RUNS), steps).to_string(index=False))


if __name__ == "__main__":
    main()
