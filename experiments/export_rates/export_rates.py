"""What does an exported model lose by one learning rate and one beginning for all its matrices?

Command: python experiments/export_rates/export_rates.py
Wall time: about five minutes on a quiet Zen 5 core.
Expected: 10 to 30% above the recipe's loss on these narrow models; where matrices begin with
1/sqrt(fan-in) the exported rate, that of those that read the residual stream, is the best of the
three; where they begin with 0.02, a quarter of it is better.

Trainers take one learning rate. Every shape is trained for the same 400,000 tokens of `python`
three ways: by the recipe; as an exported config has it, all matrices beginning with a spread of
0.02 (as nanoGPT and the default of transformers); and all beginning with 1/sqrt(fan-in), the
embedding with 1/sqrt(d_model) (as MaxText). Writes export_rates.csv, a row as each run ends; rows
that are there are kept.
"""
# ruff: noqa: E402

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

from anybudget.machines import host

host.use_cores(1)  # before anything starts its threads, like the next
host.keep_freed_memory()

import jax

from anybudget.objectives.recipe import Recipe, Scale
from anybudget.space.architecture import Architecture
from anybudget.validation.runs import Run, append_row, read_rows
from anybudget.validation.training import recipe as rules
from anybudget.validation.training.corpus import load_corpus
from anybudget.validation.training.model import Params, param_shapes
from anybudget.validation.training.tokens import prepare_tokens
from anybudget.validation.training.train import Upkeep, train

N_STEPS = 200
TEXT = {"vocab_size": 2048, "seq_len": 128, "batch_size": 16}
SHAPES = (
    Architecture.from_shape(d_model=64, n_layers=2, **TEXT),
    Architecture.from_shape(d_model=128, n_layers=2, **TEXT),
)
FACTORS = (1.0, 0.5, 0.25)
RESULT = Path(__file__).with_suffix(".csv")


def uniform(beginning: str, factor: float, arch: Architecture, recipe: Recipe) -> Params:
    """As `recipe.scales`, with one rate for all, `factor` times that of `qkv`."""
    rate = factor * recipe.base_d_model / arch.d_model
    fan_in = {"attention_output": arch.n_heads * arch.d_head, "mlp_down": arch.d_ff}

    def scale(path: tuple, shape: tuple[int, ...]) -> Scale:
        name = path[-1].key
        if name.endswith("norm"):
            return Scale(1.0, 0.0, rate)
        std = 0.02 if beginning == "0.02" else fan_in.get(name, arch.d_model) ** -0.5
        return Scale(0.0, std, rate)

    return jax.tree_util.tree_map_with_path(
        scale, param_shapes(arch), is_leaf=lambda node: isinstance(node, tuple)
    )


def ways() -> Iterator[tuple[str, object]]:
    """A label and the table of scales for each way to train."""
    yield Recipe().label, rules.scales
    for beginning in ("0.02", "fan-in"):
        for factor in FACTORS:

            def table(arch: Architecture, recipe: Recipe, b=beginning, f=factor) -> Params:
                return uniform(b, f, arch, recipe)

            yield f"one rate x {factor:g}, begins {beginning}", table


def main() -> None:
    """Train, and say how far each way ends above the recipe."""
    tokens = prepare_tokens(load_corpus("python"), vocab_size=TEXT["vocab_size"])
    for arch in SHAPES:
        print(f"{arch.d_model} x {arch.n_layers}", flush=True)
        losses: dict[str, float] = {}
        for label, table in ways():
            known = read_rows(RESULT, Run)
            runs = [run for run in known if run.architecture == arch and run.recipe == label]
            if not runs:
                with mock.patch.object(rules, "scales", table):
                    run = train(
                        arch, tokens, seed=0, n_steps=N_STEPS, upkeep=Upkeep(n_heldout_tokens=2**16)
                    )
                runs = [run.model_copy(update={"recipe": label})]
                append_row(RESULT, runs[0])
            losses[label] = runs[0].measured_loss or math.inf
            excess = losses[label] / losses[Recipe().label] - 1
            print(f"  {label}: {losses[label]:.4f}, {excess:+.2%}", flush=True)


if __name__ == "__main__":
    main()
