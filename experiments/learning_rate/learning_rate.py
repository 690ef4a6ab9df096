"""Is one base learning rate within 1% in loss of the best for narrow, wide, shallow and deep?

Command: python experiments/learning_rate/learning_rate.py
Wall time: about 40 minutes on a quiet Zen 5 core.
Expected: the recipe's rate of 0.004 is within 1% in loss of the best rate for each of the four in
batches of 2,048 tokens; and, with the rule for small batches, for two shapes in batches of 512.

Every shape is trained for the same 600,000 tokens of `python` with each learning rate, a factor
of two apart; the rules of width, depth and batch of objectives/recipe.py turn the base
learning rate into each matrix's own. Writes learning_rate.csv, a row as each run ends; rows that
are there are kept.
"""
# ruff: noqa: E402

from __future__ import annotations

import math
from pathlib import Path

from anybudget.machines import host

host.use_cores(1)  # before anything starts its threads, like the next
host.keep_freed_memory()

from anybudget.objectives.recipe import Recipe
from anybudget.space.architecture import Architecture
from anybudget.validation.runs import Run, append_row, read_rows
from anybudget.validation.training.corpus import load_corpus
from anybudget.validation.training.tokens import Tokens, prepare_tokens
from anybudget.validation.training.train import Upkeep, train

N_TOKENS = 300 * 2048
TEXT = {"vocab_size": 2048, "seq_len": 128, "batch_size": 16}
SMALL_BATCH = TEXT | {"batch_size": 4}
SHAPES = {
    "narrow": Architecture.from_shape(d_model=64, n_layers=4, **TEXT),
    "shallow": Architecture.from_shape(d_model=192, n_layers=1, **TEXT),
    "deep": Architecture.from_shape(d_model=64, n_layers=16, **TEXT),
    "wide": Architecture.from_shape(d_model=384, n_layers=2, **TEXT),
    "narrow, small batch": Architecture.from_shape(d_model=64, n_layers=4, **SMALL_BATCH),
    "shallow, small batch": Architecture.from_shape(d_model=192, n_layers=1, **SMALL_BATCH),
}
FACTORS = (1.0, 0.5, 2.0, 0.25)
RESULT = Path(__file__).with_suffix(".csv")


def losses_of(tokens: Tokens, arch: Architecture) -> dict[float, float]:
    """Held-out loss by learning rate, training what RESULT does not hold yet."""
    n_steps = N_TOKENS // arch.tokens_per_step
    known = {
        run.learning_rate: run
        for run in read_rows(RESULT, Run)
        if run.architecture == arch and run.recipe == Recipe().label and run.n_steps == n_steps
    }
    for factor in FACTORS:
        recipe = Recipe(learning_rate=Recipe().learning_rate * factor)
        if recipe.learning_rate not in known:
            run = train(
                arch,
                tokens,
                seed=0,
                n_steps=n_steps,
                recipe=recipe,
                upkeep=Upkeep(n_heldout_tokens=2**18),
            )
            append_row(RESULT, run)
            known[recipe.learning_rate] = run
            print(f"  {recipe.learning_rate:g}: {run.measured_loss:.4f}", flush=True)
    return {rate: run.measured_loss or math.inf for rate, run in sorted(known.items())}


def main() -> None:
    """Train, and say how far the recipe's learning rate is from each shape's best."""
    tokens = prepare_tokens(load_corpus("python"), vocab_size=TEXT["vocab_size"])
    for name, arch in SHAPES.items():
        print(f"{name}: {arch.d_model} x {arch.n_layers}", flush=True)
        losses = losses_of(tokens, arch)
        best = min(losses, key=losses.__getitem__)
        excess = losses[Recipe().learning_rate] / losses[best] - 1
        print(f"  {losses}\n  best at {best:g}; the recipe's is {excess:.2%} above it")


if __name__ == "__main__":
    main()
