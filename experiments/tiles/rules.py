"""Which rule says what a step off its tiles costs, and how right is the model that follows?

Command: python experiments/tiles/rules.py
Wall time: 20 s, with the rows of tiles.py in place.
Expected: on rows that no fit has seen, off by at most 8% on average, and of 20 pairs (off the tile,
next multiple of 128) at least 19 in the right order.

Each candidate is a column in place of one feature of a step-time model, with a coefficient of its
own that is not negative. rules.csv has its mean error on shapes left out, of the base design
(experiments/tpu_compile), of the choosing rows, and of all with a length that is no multiple of 8:
of relaid weights the rule of least error on the choosing rows is taken, of such lengths that of
least error on these.
Then heldout.csv and pairs.csv set the model that is fitted to both beside the held-out rows.
`--give` adds the choosing rows to those of tpu_compile, of which `anybudget calibrate --topology`
makes the presets; `--ship` gives presets the coefficient of lengths alone.
"""

from __future__ import annotations

import argparse
import itertools
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.optimize import nnls

from anybudget.experiments.shared.coefficient import give_coefficient
from anybudget.experiments.tiles.tiles import CHIPS, ROWS, ROWS_OF_TILE, TILE, Job, design
from anybudget.objectives.cost.counts import layer_matmuls, logits_matmul
from anybudget.objectives.cost.execution import PLAIN
from anybudget.objectives.cost.features import UNALIGNED
from anybudget.objectives.cost.passes import PASSES
from anybudget.objectives.cost.step_time import StepTimeModel
from anybudget.objectives.cost.tiles import relaid_by_part
from anybudget.objectives.fit.step_time import fit_step_time
from anybudget.space.architecture import Architecture
from anybudget.validation.compiler.rows import CompileRow, steps_of
from anybudget.validation.compiler.topology import parse_topology
from anybudget.validation.runs import append_row, read_rows

FOLDER = Path(__file__).parent
MODEL = "on_chip"


def rules(arch: Architecture) -> dict[str, np.ndarray]:
    """Units of each candidate rule in each step: what of a matmul off its tiles may cost more."""
    none = np.zeros(np.shape(arch.d_model))
    found = {"none": [none]}
    for mm in (*layer_matmuls(arch), logits_matmul(arch)):
        if not mm.has_weights:
            continue
        times = PASSES * (1 if mm.part == "logits" else arch.n_layers)
        k, n = (1.0 * (size % TILE > 0) for size in (mm.k, mm.n))
        either = np.maximum(k, n)
        for name, (of_k, of_n) in {
            "128": (128, 128),
            "256": (256, 256),
            "8 x 128": (8, 128),
        }.items():
            padded = up(mm.k, of_k) * up(mm.n, of_n) - mm.k * mm.n
            found.setdefault(f"padding to {name}", []).append(2 * times * mm.count * mm.m * padded)
        found.setdefault("FLOPs where k or n is off", []).append(times * mm.flops * either)
        found.setdefault("FLOPs where k is off", []).append(times * mm.flops * k)
        rows = times * mm.count * mm.m * (mm.k * k + mm.n * n)
        found.setdefault("activations off", []).append(rows)
        found.setdefault("weights off", []).append(mm.n_params * either * times / PASSES)
        found.setdefault("a cost for each matmul off", []).append(times * either)
    rows = PASSES * arch.n_layers * arch.batch_size * arch.seq_len
    heads = arch.n_heads + 2 * arch.n_kv_heads
    relaid = list(relaid_by_part(arch, PLAIN).values())
    found["weights relaid"] = relaid
    found["weights relaid in every layer"] = [units * arch.n_layers for units in relaid]
    found["weights relaid, where one layer"] = [units * (arch.n_layers == 1) for units in relaid]
    found["weights relaid over the layers"] = [units / arch.n_layers for units in relaid]
    found["heads padded to 128"] = [rows * heads * (up(arch.d_head, TILE) - arch.d_head)]
    return {name: none + sum(parts) for name, parts in found.items()}


def of_lengths(arch: Architecture) -> dict[str, np.ndarray]:
    """Likewise of what a length that is no multiple of 8 may cost more."""
    seq_len, n_heads, n_sequences = arch.seq_len, arch.n_heads, arch.batch_size
    odd = 1.0 * (seq_len % ROWS_OF_TILE > 0)
    narrow = 1.0 * (arch.d_head % TILE > 0)
    scores = PASSES * arch.n_layers * n_sequences * n_heads * seq_len**2 * odd
    heads = PASSES * arch.n_layers * n_sequences * n_heads * seq_len * arch.d_head * odd
    lanes = up(seq_len, TILE) / seq_len
    # Where sequences take the place of positions in a tile: whether rows stay empty, and how many.
    few = n_sequences < ROWS_OF_TILE
    empty = up(n_sequences, ROWS_OF_TILE) / n_sequences - 1
    return {
        "none": 0 * odd,
        "scores": scores,
        "scores, keys padded": scores * lanes,
        "scores by empty rows": scores * lanes * empty,
        "scores of few sequences": scores * lanes * few,
        "scores of narrow heads": scores * narrow,
        "heads": heads,
        "heads of few sequences": heads * few,
        "narrow heads": heads * narrow,
    }


# Candidates for each feature of the model that is a rule.
CANDIDATES = {"relaid": rules, UNALIGNED: of_lengths}


def up(size: np.ndarray, tile: int) -> np.ndarray:
    """The next multiple."""
    return -(-size // tile) * tile


def fitted(units: np.ndarray, seconds: np.ndarray) -> np.ndarray:
    """Seconds per unit, none negative, of least relative error."""
    relative = units / seconds[:, None]
    scale = np.maximum(relative.mean(axis=0), np.finfo(float).tiny)
    return nnls(relative / scale, np.ones(len(seconds)))[0] / scale


def base_path(chip: str) -> Path:
    """Rows of the base design of a chip, to which choosing rows may have been added."""
    return FOLDER.parent / "tpu_compile" / f"{chip.partition(':')[0]}.csv"


def rows_of(chip: str) -> tuple[list[CompileRow], list[CompileRow], list[CompileRow]]:
    """Timed rows of a chip: of the base design, those that choose, those held out."""
    held = {(job.chip, job.arch) for job in design() if job.use != "choose"}
    mine = [row for row in read_rows(ROWS, CompileRow) if row.step_time_s and row.topology == chip]
    # Rows of an earlier draw choose as well.
    chosen = [row for row in mine if (chip, row.architecture) not in held]
    unseen = [row for row in mine if (chip, row.architecture) in held]
    others = {row.architecture for row in chosen}
    base = [
        row
        for row in read_rows(base_path(chip), CompileRow)
        if row.step_time_s and row.architecture not in others
    ]
    return base, chosen, unseen


def choose(chip: str, base: list[CompileRow], chosen: list[CompileRow], rule: str) -> pd.DataFrame:
    """Errors on shapes left out with each candidate for a feature in its place.

    Means of the base design, of the choosing rows, and of all whose length is no multiple of 8.
    """
    steps = steps_of([*base, *chosen])
    fields = {
        name: np.broadcast_to(value, len(steps.measured_s))
        for name, value in steps.arch.as_dict().items()
    }
    ridge = fit_step_time(steps, MODEL).model.ridge
    others = np.array([feature != rule for feature in steps.features(MODEL)])
    odd = fields["seq_len"] % ROWS_OF_TILE > 0
    common = steps.units(MODEL, ridge)[:, others]
    lines = []
    for name, column in CANDIDATES[rule](Architecture(**fields)).items():
        units = np.column_stack([common, column])
        predicted = np.empty(len(column))
        for shape in range(steps.shape_index.max() + 1):
            out = steps.shape_index == shape
            predicted[out] = units[out] @ fitted(units[~out], steps.measured_s[~out])
        off = np.abs(predicted / steps.measured_s - 1)
        errors = {"base": off[: len(base)].mean(), "choosing": off[len(base) :].mean()}
        errors |= {"odd_lengths": off[odd].mean(), "n_choosing": len(chosen)}
        lines.append({"chip": chip, "feature": rule, "rule": name, **errors})
    return pd.DataFrame(lines)


def held_out(chip: str, model: StepTimeModel, held: list[CompileRow]) -> pd.DataFrame:
    """Steps that no fit has seen, beside what the model says that is fitted to those known."""
    jobs = {(job.chip, job.arch): job for job in design()}
    lines = []
    for row in held:
        job = jobs[chip, row.architecture]
        shape = {name: getattr(job.arch, name) for name in ("d_model", "n_heads", "d_head", "d_ff")}
        rest = {name: getattr(job.arch, name) for name in ("vocab_size", "seq_len", "batch_size")}
        predicted_s = model.step_time_s(job.arch)
        times = {"compiled_s": row.step_time_s, "predicted_s": predicted_s}
        ratio = {"ratio": row.step_time_s / predicted_s}
        lines.append(
            {"chip": chip, "use": job.use, "dimension": job.dimension}
            | shape
            | rest
            | times
            | ratio
        )
    return pd.DataFrame(lines)


def in_pairs(held: pd.DataFrame, jobs: list[Job]) -> pd.DataFrame:
    """Of each pair that is whole: the step off its tile over that with the next multiple."""
    keys = ["d_model", "n_heads", "d_head", "d_ff", "vocab_size", "seq_len", "batch_size"]
    seen = {(line["chip"], *(line[key] for key in keys)): line for _, line in held.iterrows()}
    lines = []
    for off, on in itertools.pairwise(jobs):
        if (off.use, on.use) != ("pair", "partner"):
            continue
        both = [
            seen.get((job.chip, *(getattr(job.arch, key) for key in keys))) for job in (off, on)
        ]
        if both[0] is not None and both[1] is not None:
            compiled, predicted = (
                both[0][name] / both[1][name] for name in ("compiled_s", "predicted_s")
            )
            lines.append(
                {
                    "chip": off.chip,
                    "dimension": off.dimension,
                    "off": value_of(off),
                    "next": value_of(on),
                    "compiled": compiled,
                    "predicted": predicted,
                }
            )
    return pd.DataFrame(lines)


def value_of(job: Job) -> int:
    """Of a pair's dimension."""
    return getattr(job.arch, "d_model" if job.dimension == "width" else job.dimension)


def main() -> None:
    """The rules on the choosing rows, then the held-out steps and pairs by the model chosen."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--give", action="store_true", help="add rows to those of tpu_compile")
    parser.add_argument("--ship", action="store_true", help="give presets what lengths cost")
    options = parser.parse_args()
    tried, held = [], []
    for chip in CHIPS:
        base, chosen, unseen = rows_of(chip)
        if options.give:
            path = base_path(chip)
            given = {row.architecture for row in read_rows(path, CompileRow)}
            for row in chosen:
                if row.architecture not in given:
                    append_row(path, row)
        tried += [choose(chip, base, chosen, rule) for rule in CANDIDATES]
        model = fit_step_time(steps_of([*base, *chosen]), MODEL).model
        held.append(held_out(chip, model, unseen))
        if options.ship and (found := model.seconds_per_unit[UNALIGNED]):
            # Alone: no other length's time moves.
            name = parse_topology(chip).device.name.removesuffix("-datasheet")
            give_coefficient(name, UNALIGNED, found)
    table(pd.concat(tried), "rules.csv")
    unseen_lines = pd.concat(held)
    table(unseen_lines, "heldout.csv")
    off = unseen_lines[unseen_lines.use != "partner"]
    error = (1 / off.ratio - 1).abs().mean()
    print(f"\n{len(off)} steps off their tiles held out: off by {error:.1%}")
    pairs = in_pairs(unseen_lines, design())
    table(pairs, "pairs.csv")
    slower = pairs.compiled > 1
    right = (slower == (pairs.predicted > 1)).sum()
    print(f"\nof {len(pairs)} pairs {slower.sum()} are slower off the tile; order right: {right}")


def table(lines: pd.DataFrame, name: str) -> None:
    """Print and write one."""
    print("\n", lines.round(4).to_string(index=False))
    lines.to_csv(FOLDER / name, index=False, float_format="%.5g")


if __name__ == "__main__":
    main()
