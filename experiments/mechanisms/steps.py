"""Do memory copies or FLOPs explain a core's step, for each mechanism, on shapes left out?

Command: python experiments/mechanisms/steps.py
Processor time: six minutes of one core, most of it compiling; with its rows in place, seconds.
Expected: FLOPs explain dense models, experts and windows, whose time goes to matmuls; memory copies
explain state spaces, which do more elementwise work than matmuls.

Found: as expected but for windows alone in all layers, where copies do a little better. FLOPs
foretell experts 10 and 11% off, dense models 20%; steps of Mamba-2 they put at 0.43 of what they
take, copies at 0.82. The paper's both 10 to 28%, with terms for elementwise work 10 to 22%. No fit
is within 12% of all.

Seven mechanisms (`models.py`) at six shapes, in processor seconds, all models in turns. Steps of
all of them are fitted by memory copies, by FLOPs and by both, each with a constant (Inbar and
Sernau 2024, arXiv:2406.18922), and by features of the product's models, elementwise work among
them; a shape of all mechanisms is left out and foretold. Counted is what a core runs: attention in
blocks or bands, chunks of 32 positions in a scan. Rows are added to steps.csv, and those that are
there are kept; explained.csv is made of them.
"""
# ruff: noqa: E402

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from unittest import mock

from anybudget.machines import host

# Before anything starts its threads.
host.use_cores(1)
host.keep_freed_memory()

import jax
import numpy as np
import pandas as pd
from pydantic import AwareDatetime, PositiveFloat, PositiveInt
from scipy.optimize import nnls

from anybudget.experiments.mechanisms import training
from anybudget.experiments.mechanisms.models import decoder, mechanisms
from anybudget.objectives.cost.blocks import mamba2
from anybudget.objectives.cost.counts import total
from anybudget.objectives.cost.execution import PLAIN, Execution
from anybudget.objectives.cost.features import units_by_part
from anybudget.objectives.cost.step_time import MODELS
from anybudget.space.blocks import Attention
from anybudget.space.decoder import Decoder
from anybudget.validation.backend import machine_name
from anybudget.validation.runs import Row, append_row, read_rows
from anybudget.validation.training.blocks.forms import ON_ONE_CPU

ROWS = Path(__file__).with_name("steps.csv")
EXPLAINED = Path(__file__).with_name("explained.csv")
SHAPE = ["d_model", "n_layers", "seq_len", "batch_size"]
SHAPES = (
    (64, 4, 128, 8), (64, 4, 1024, 1), (128, 4, 128, 8),
    (128, 4, 1024, 1), (192, 4, 256, 4), (64, 8, 256, 4),
)  # fmt: skip
N_TURNS, STEPS_A_TURN = 7, 2
# What each block is counted for by itself; all that a model of all mechanisms has; those of one.
OF_BLOCKS = ("memcpys", "flops", "activations", "softmax")
TOGETHER = (*OF_BLOCKS, "loss", "layers", "steps")
ALONE = ("memcpys", "flops", "paper")
Key = tuple[str, int, int, int, int]


class StepRow(Row):
    """The processor time of one model's step, the median of its turns and their quartiles."""

    kind: str
    d_model: PositiveInt
    n_layers: PositiveInt
    seq_len: PositiveInt
    batch_size: PositiveInt
    step_s: PositiveFloat
    low_s: PositiveFloat
    high_s: PositiveFloat
    machine: str
    measured: AwareDatetime

    @property
    def key(self) -> Key:
        """The mechanism and its shape."""
        return self.kind, self.d_model, self.n_layers, self.seq_len, self.batch_size


def time_steps(keys: Iterable[Key]) -> dict[Key, float]:
    """Processor seconds of each one's step; those that the file lacks are timed, all in turns.

    What comes later than the dense model of its shape is timed in turns with that one, and its time
    is set right by what that one takes now over what it took.
    """
    done = {row.key: row.step_s for row in read_rows(ROWS, StepRow)}
    lacking = {key: decoder(*key) for key in keys if key not in done}
    before = {key: done[key] for key in {("dense", *key[1:]) for key in lacking} if key in done}
    lacking |= {key: decoder(*key) for key in before}
    states = {key: training.compiled(arch).begin(0) for key, arch in lacking.items()}
    turns_s: dict[Key, list[float]] = {key: [] for key in lacking}
    for turn in range(N_TURNS + 1):
        for key, arch in lacking.items():
            took_s, states[key] = training.processor_s(arch, states[key], STEPS_A_TURN)
            turns_s[key] += [took_s] * (turn > 0)  # the first warms caches
    for key, times_s in turns_s.items():
        if key in before:
            continue
        dense = ("dense", *key[1:])
        then = before[dense] / float(np.median(turns_s[dense])) if dense in before else 1.0
        low_s, done[key], high_s = then * np.quantile(times_s, (0.25, 0.5, 0.75))
        named: dict[str, Any] = dict(zip(("kind", *SHAPE), key, strict=True))
        append_row(ROWS, StepRow(
            **named, step_s=done[key], low_s=low_s, high_s=high_s,
            machine=machine_name(jax.default_backend()),
            measured=datetime.datetime.now(datetime.UTC),
        ))  # fmt: skip
        print(f"{key}: {1e3 * done[key]:.1f} ms", flush=True)
    return done


def units(feature: str, arch: Decoder) -> float:
    """Units of a feature in a step as a core runs it, its unlike blocks one after the other."""
    whole = units_by_part(feature, arch, kind="cpu")
    if feature not in OF_BLOCKS:
        return float(total(whole))
    found = whole.get("logits", 0)
    for n, block in arch.kinds:
        alone = dataclasses.replace(arch, pattern=(block,) * n)
        parts = units_by_part(feature, *as_run(alone), kind="cpu")
        found += total(parts) - parts.get("logits", 0)
    return float(found)


def as_run(arch: Decoder) -> tuple[Decoder, Execution]:
    """A model of blocks that are alike, and its execution, as its steps here are to be counted."""
    mixer = arch.pattern[0].mixer
    if not isinstance(mixer, Attention):
        return arch, PLAIN
    if mixer.window is None:
        return arch, Execution(attention="fused")
    # Each position meets the keys of two windows, as if sequences were so long.
    keys = 2 * mixer.window
    rows = arch.tokens_per_step // keys
    return dataclasses.replace(arch, seq_len=keys, batch_size=rows), PLAIN


def left_out(table: pd.DataFrame, features: Iterable[str]) -> np.ndarray:
    """Predicted over measured seconds of each row, by a fit to rows of other shapes."""
    relative = table[[*features]].to_numpy() / table.step_s.to_numpy()[:, None]
    scale = relative.mean(axis=0)
    shapes = table[SHAPE].apply(tuple, axis=1)
    found = np.empty(len(table))
    for shape in shapes.unique():
        out = (shapes == shape).to_numpy()
        seconds, _ = nnls(relative[~out] / scale, np.ones((~out).sum()))
        found[out] = relative[out] / scale @ seconds
    return found


def explained(table: pd.DataFrame) -> pd.DataFrame:
    """A row a mechanism: how far each fit to all of them is off on it, a shape left out."""
    models = {name: MODELS[name] for name in ALONE} | {"together": TOGETHER}
    ratios = {f"{name}_ratio": left_out(table, features) for name, features in models.items()}
    table = table.assign(**ratios, flops_per_s=table.flops / table.step_s)
    rows = []
    for kind, one in table.groupby("kind", sort=False):
        off = {name: float(np.abs(one[f"{name}_ratio"] - 1).mean()) for name in models}
        rows.append({
            "kind": kind,
            "n_shapes": len(one),
            "flops_per_s": one.flops_per_s.median(),
            "memcpys_per_flop": (one.memcpys / one.flops).median(),
            "activations_per_flop": (one.activations / one.flops).median(),
            **{f"{name}_off": value for name, value in off.items()},
            "flops_predicted_over_measured": one.flops_ratio.mean(),
            "memcpys_predicted_over_measured": one.memcpys_ratio.mean(),
            "nearer": min(("memcpys", "flops"), key=off.__getitem__),
        })  # fmt: skip
    return pd.DataFrame(rows)


def main() -> None:
    """Time what is missing, count, and fit."""
    keys = [(kind, *shape) for shape in SHAPES for kind in mechanisms(*shape[:3])]
    step_s = time_steps(keys)
    with mock.patch.object(mamba2, "CHUNK", ON_ONE_CPU.chunk):
        rows = [
            dict(zip(("kind", *SHAPE), key, strict=True))
            | {"step_s": step_s[key]}
            | {feature: units(feature, decoder(*key)) for feature in TOGETHER}
            for key in keys
        ]
    table = explained(pd.DataFrame(rows))
    table.to_csv(EXPLAINED, index=False, float_format="%.3g")
    print(table.round(3).to_string(index=False))


if __name__ == "__main__":
    main()
