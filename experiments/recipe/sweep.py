"""Is the recipe's rate the best in every batch, horizon and shape, and what do batches cost?

Command: python experiments/recipe/sweep.py TEXT
  TEXT: prose, whole documents separated by a line `<|doc|>`; ours was the first 17 books of a
  collection from Project Gutenberg (8.8 MB).
Wall time: about 10 seconds a run on a quiet Zen 5 core, 96 runs.
Expected, written before any of these runs: the recipe's rate loses 0.3% on average and 1% at worst
to the best of those tried, less than the rate that knew neither horizon nor decay; what a batch
costs is within a third of what was measured.

Four shapes (narrow, wide, shallow, deep), two horizons fourfold apart, three batches sixteenfold
apart, and the recipe's rate as it was then, half and twice it, with the same decay in a step;
beside them what was before, 0.004 at width 256 and a decay of 0.1. No constant of a recipe is
fitted to these runs. The order is such that every beginning is balanced; runs are appended to
sweep.csv as they end, and those that are there are kept. `--tables` instead of the text makes
sweep_rates.csv and sweep_prices.csv of what is there: where all three rates were tried, the recipe
as it is now loses what a parabola through them says at its rate.
"""
# ruff: noqa: E402

from __future__ import annotations

import dataclasses
import itertools
import math
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from anybudget.machines import host

host.use_cores(1)  # before anything starts its threads, like the next
host.keep_freed_memory()

import jax
import numpy as np
import pandas as pd

from anybudget.files.places import default_cache_dir
from anybudget.objectives.law.batch_price import best_batch_tokens, best_batch_worth
from anybudget.objectives.recipe import Recipe, recipe_for
from anybudget.space.architecture import Architecture
from anybudget.validation.runs import Run, append_row, read_rows
from anybudget.validation.training.corpus import load_corpus
from anybudget.validation.training.tokens import prepare_tokens
from anybudget.validation.training.train import Upkeep, train

HERE = Path(__file__).parent
RESULT = HERE / "sweep.csv"
TEXT = {"vocab_size": 512, "seq_len": 64, "d_head": 32}
SHAPES = {
    "narrow": {"d_model": 32, "n_layers": 3},
    "wide": {"d_model": 128, "n_layers": 2},
    "shallow": {"d_model": 96, "n_layers": 1},
    "deep": {"d_model": 32, "n_layers": 12},
}
HORIZONS = (131_072, 524_288)
BATCHES = (4, 16, 64)
FACTORS = (1.0, 0.5, 2.0)
BEFORE = "before"


def arch_of(shape: str, batch_size: int) -> Architecture:
    """One of the shapes, in batches of so many sequences."""
    fields = SHAPES[shape]
    n_heads = fields["d_model"] // TEXT["d_head"]
    return Architecture.from_shape(**fields, **TEXT, n_heads=n_heads, batch_size=batch_size)


def middle_rate(arch: Architecture, n_tokens: float) -> float:
    """What the recipe said when the sweep was fixed; its peak was at five times the best batch."""
    ratio = arch.tokens_per_step / (5 * best_batch_tokens(n_tokens))
    return 0.0076 * (n_tokens / 1e9) ** 0.144 * 2 / (ratio**0.5 + ratio**-0.5)


def recipe_of(arch: Architecture, n_tokens: int, factor: float | str) -> Recipe:
    """A factor of the middle rate with the recipe's decay in a step, or the recipe of before."""
    if factor == BEFORE:
        rate = 0.004 * min(1.0, (arch.tokens_per_step / 2048) ** 0.5)
        return Recipe(rule=BEFORE, learning_rate=rate)
    recipe, rate = recipe_for(arch, n_tokens), factor * middle_rate(arch, n_tokens)
    decay = recipe.weight_decay * recipe.learning_rate / rate
    rule = f"horizon x {factor:g}"
    return dataclasses.replace(recipe, rule=rule, learning_rate=rate, weight_decay=decay)


def cells() -> Iterator[tuple[str, int, int, float | str]]:
    """Shape, horizon, batch and factor of every run, those that take long last."""
    short, long = HORIZONS
    small, middle, large = BATCHES
    for some in (((short, middle), (short, large), (short, small), (long, middle)),
                 ((long, large), (long, small))):  # fmt: skip
        for factor, (n_tokens, batch) in itertools.product((1.0, 2.0, BEFORE, 0.5), some):
            for shape in SHAPES:
                yield shape, n_tokens, batch, factor


def main(text: str) -> None:
    """Train what is not there yet."""
    # A program of one shape serves every rate and horizon.
    jax.config.update("jax_compilation_cache_dir", str(default_cache_dir() / "jax"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    tokens = prepare_tokens(load_corpus(text), vocab_size=TEXT["vocab_size"])
    done = {(run.architecture, run.n_steps, run.recipe) for run in read_rows(RESULT, Run)}
    for shape, n_tokens, batch, factor in cells():
        arch = arch_of(shape, batch)
        n_steps, recipe = n_tokens // arch.tokens_per_step, recipe_of(arch, n_tokens, factor)
        if (arch, n_steps, recipe.label) in done:
            continue
        upkeep = Upkeep(n_heldout_tokens=2**16)
        run = train(arch, tokens, seed=0, n_steps=n_steps, recipe=recipe, upkeep=upkeep)
        append_row(RESULT, run)
        print(f"{shape} {n_tokens} {batch} {recipe.label}: {run.measured_loss}", flush=True)


def tables() -> None:
    """Regret of the recipe in each cell, that of the rate of before, and the price of batches."""
    rows = []
    for run in read_rows(RESULT, Run):
        shape = next(name for name in SHAPES if arch_of(name, run.batch_size) == run.architecture)
        loss = run.measured_loss or math.inf
        rows.append((shape, run.n_tokens, run.batch_size, run.recipe, loss))
    runs: Any = pd.DataFrame(rows, columns=["shape", "n_tokens", "batch_size", "rule", "loss"])
    wide = runs.pivot(index=["shape", "n_tokens", "batch_size"], columns="rule", values="loss")
    tried = [name for name in wide if name.startswith("horizon")]
    wide = wide.dropna(subset=["horizon x 1"])
    best = wide[[*tried, BEFORE]].min(axis=1)
    rates: Any = pd.DataFrame({
        "best_by": wide[[*tried, BEFORE]].idxmin(axis=1),
        "n_rates": wide[[*tried, BEFORE]].notna().sum(axis=1),
        "recipe_over_middle": [_recipe_over_middle(*cell) for cell in wide.index],
        "middle_loss_%": 100 * (wide["horizon x 1"] / best - 1),
        "before_loss_%": 100 * (wide[BEFORE] / best - 1),
        "middle_loss": wide["horizon x 1"],
    })  # fmt: skip
    losses = wide[[f"horizon x {factor:g}" for factor in FACTORS]].to_numpy()
    recipe_loss = list(map(_on_parabola, losses, rates["recipe_over_middle"]))
    rates.insert(3, "recipe_loss_%", 100 * (recipe_loss / best - 1))
    rates = rates.reset_index()
    prices = _prices(rates)
    for name, table in {"sweep_rates": rates, "sweep_prices": prices}.items():
        print(table.to_string(index=False, float_format="{:.3g}".format), end="\n\n")
        table.to_csv(HERE / f"{name}.csv", index=False, float_format="%.4g")
    full = rates.dropna(subset=["recipe_loss_%"])
    print(full.filter(like="_loss_%").agg(["mean", "max", "count"]))


def _recipe_over_middle(shape: str, n_tokens: int, batch_size: int) -> float:
    arch = arch_of(shape, batch_size)
    return recipe_for(arch, n_tokens).learning_rate / middle_rate(arch, n_tokens)


def _on_parabola(losses: Any, factor: float) -> float:
    """The loss at a factor of the middle rate; unknown where a rate was not tried."""
    if pd.isna(losses).any():
        return math.nan
    logs = [math.log(tried) for tried in FACTORS]
    return float(np.polyval(np.polyfit(logs, losses, 2), math.log(factor)))


def _prices(rates: Any) -> Any:
    """What a batch loses to the least loss of its cell, at the middle rate, and what was said.

    Predicted by the loss's slope in tokens of the middle batch from one horizon to the other.
    """
    worth = {
        (n_tokens, batch): best_batch_worth(float(n_tokens), batch * TEXT["seq_len"])
        for n_tokens, batch in itertools.product(HORIZONS, BATCHES)
    }
    loss = rates.set_index(["shape", "n_tokens", "batch_size"])["middle_loss"].to_dict()
    rows = []
    for shape, n_tokens in itertools.product(SHAPES, HORIZONS):
        ends = [(horizon, BATCHES[1]) for horizon in HORIZONS]
        cell = {batch: loss.get((shape, n_tokens, batch)) for batch in BATCHES}
        if None in cell.values() or any((shape, *end) not in loss for end in ends):
            continue
        short, long = (loss[(shape, *end)] for end in ends)
        slope = math.log(short / long) / math.log(worth[ends[1]] / worth[ends[0]])
        least = min(BATCHES, key=lambda batch: cell[batch])
        for batch in set(BATCHES) - {least}:
            predicted = (worth[(n_tokens, least)] / worth[(n_tokens, batch)]) ** slope - 1
            measured = cell[batch] / cell[least] - 1
            rows.append((shape, n_tokens, least, batch, 100 * measured, 100 * predicted))
    names = ["shape", "n_tokens", "best_batch", "batch_size", "measured_%", "predicted_%"]
    return pd.DataFrame(rows, columns=names)


if __name__ == "__main__":
    tables() if "--tables" in sys.argv else main(*sys.argv[1:])
