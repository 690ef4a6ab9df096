"""Why do some small models end far below the loss law: do they learn to copy from their window?

Command: python experiments/copying/copying.py
Wall time: 12 minutes of one core; a run that is in copying.csv is kept.
Expected: models of three layers, which at 2 million tokens lie on the law and at 4 million 3 to 6%
below it (loss_law.py, best_config.py), begin to copy in between: their loss on windows whose second
half repeats the first falls suddenly, and their loss on ordinary text with it. One layer cannot
copy, and never does; with two layers it comes later or not at all within these tokens.

Attention layers of which one finds the last occurrence of a token for a later one (induction heads,
Olsson et al. 2022, arXiv:2209.11895) need two layers at least and form suddenly. Trains models of
160 thousand parameters for 4 million tokens of `python` and judges them on the way, on held-out
windows and on the same windows with their first half in place of the second.
"""
# ruff: noqa: E402

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import cast

import numpy as np
import pandas as pd

from anybudget.machines import host

host.use_cores(1)  # before anything starts its threads
host.keep_freed_memory()

import matplotlib.pyplot as plt

from anybudget.experiments.loss_law.loss_law import TEXT, heads_of, tokens_of
from anybudget.objectives.recipe import Recipe
from anybudget.show.pictures.style import STYLE
from anybudget.space.architecture import Architecture
from anybudget.validation.training.batches import batch, heldout_batches
from anybudget.validation.training.step import compile_training
from anybudget.validation.training.tokens import Tokens
from anybudget.validation.training.train import this_backend

OUT = Path(__file__).with_suffix(".csv")
FIGURE = Path(__file__).with_name("copying.png")
# (d_model, n_layers, d_ff), all of 160 thousand parameters.
SHAPES = ((64, 3, 120), (64, 2, 240), (80, 1, 320))
SEEDS = (0, 1)
N_STEPS, EVERY = 2**13, 2**9
N_HELDOUT_TOKENS = 2**16


def repeated(windows: np.ndarray) -> np.ndarray:
    """The windows, (..., seq_len + 1), with their first half in place of the second."""
    half = windows[..., : windows.shape[-1] // 2]
    return np.concatenate([half, half, half[..., :1]], axis=-1)


def losses(arch: Architecture, text: Tokens, seed: int) -> Iterator[dict[str, float]]:
    """Loss on ordinary and on repeated windows, as a run goes on."""
    size = {"batch_size": arch.batch_size, "seq_len": arch.seq_len}
    windows = heldout_batches(text.heldout, max_tokens=N_HELDOUT_TOKENS, **size)
    program = compile_training(arch, recipe=Recipe(), backend=this_backend())

    def mean_loss(some: np.ndarray) -> float:
        values = [program.evaluate(state.params, program.place(one)) for one in some]
        return float(np.mean([float(value) for value in values]))

    state = program.init(seed)
    for step in range(N_STEPS):
        tokens = program.place(batch(text.train, seed=seed, step=step, **size))
        state, _ = program.step(state, tokens, step / N_STEPS, program.recipe)
        if (step + 1) % EVERY == 0:
            yield {
                "n_tokens": (step + 1) * arch.tokens_per_step,
                "loss": mean_loss(windows),
                "repeated_loss": mean_loss(repeated(windows)),
            }


def draw(table: pd.DataFrame) -> None:
    """Ordinary loss, and how far that of repeated windows is from it, a line for each run."""
    with plt.rc_context(STYLE):
        figure, panels = plt.subplots(1, 2, figsize=(8, 3.2), layout="constrained", sharex=True)
        colours = dict(zip(SHAPES, ("C3", "C0", "0.5"), strict=True))
        for key, run in table.groupby(["d_model", "n_layers", "d_ff", "seed"]):
            d_model, n_layers, d_ff, seed = cast(tuple[int, int, int, int], key)
            label = f"{d_model}×{n_layers}" if seed == SEEDS[0] else None
            colour = colours[d_model, n_layers, d_ff]
            for axes, loss in zip(panels, (run.loss, run.repeated_loss - run.loss), strict=True):
                axes.plot(run.n_tokens / 1e6, loss, color=colour, label=label)
        panels[0].set(title="ordinary windows", ylabel="loss, nats per token")
        panels[1].set(title="windows that repeat their first half", ylabel="nats above ordinary")
        panels[1].axhline(0, color="0.7", linewidth=0.8)
        panels[0].legend(frameon=False)
        figure.supxlabel("tokens, millions")
        figure.savefig(FIGURE, dpi=130)


def main() -> None:
    """Train what is missing, a run's rows at its end, and draw."""
    table = pd.read_csv(OUT) if OUT.exists() else pd.DataFrame()
    for seed in SEEDS:
        for d_model, n_layers, d_ff in SHAPES:
            what = {"d_model": d_model, "n_layers": n_layers, "d_ff": d_ff, "seed": seed}
            if len(table) and len(table.merge(pd.DataFrame([what]))):
                continue
            arch = Architecture.from_shape(
                d_model=d_model, n_layers=n_layers, d_ff=d_ff, d_head=heads_of(d_model), **TEXT
            )
            rows = pd.DataFrame([what | row for row in losses(arch, tokens_of("python"), seed)])
            table = pd.concat([table, rows])
            table.to_csv(OUT, index=False, float_format="%.5g")
            print(rows.to_string(index=False), flush=True)
    draw(table)


if __name__ == "__main__":
    main()
