"""What do steps reach of a GPU's datasheet, and does a card follow from the others' shares?

Command: python experiments/published_gpu/cards.py LLM_FOUNDRY_STEPS.csv
Wall time: 5 s.
Expected: with a whole card left out, the others' shares say its steps twice as well as 70% of every
rate does, which is what a datasheet device had before.

Seconds are a sum of a step's work, each kind over what the datasheet says of it: FLOPs and fused
attention over the peak, memory copies over the bandwidth, what is sent over the links; layers and
hops take their time on any card. Steps are those to which the published presets are fitted, and
Languini's of `public_steps/facts.csv`. A card counts alike however many steps it has, and each of
its trainers has a level of its own, whose means by card are 1 together.

cards.csv has a row a card: the level of its steps and their error when it was left out, by the
shares of the other cards and by 70% of the datasheet. Of `informs` cards the shares are made, which
the last row has: those of `objectives/cost/datasheet.py`. V100 and MI250X, of an older make and of
another maker, are beside them to see how far such a card is.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from published_gpu import FACTS, SHAPE, Table, gemstones, llm_foundry
from scipy.optimize import nnls

from anybudget.objectives.cost.features import LINKS, units_by_part
from anybudget.objectives.fit.step_problem import LEVEL_ROUNDS
from anybudget.objectives.fit.step_time import MOST_HOP_S
from anybudget.presets.devices import load_device
from anybudget.validation.timing.step_table import StepTable, read_step_table

OUT = Path(__file__).with_suffix(".csv")
WORK = ("flops", "memcpys", "attention", "layers", *LINKS)
# What each device had before: every rate at 70%, fused attention at that of matmuls.
BEFORE = np.array([1 / 0.7, 1 / 0.7, 1 / 0.7, 0, 0, 0, 0])
# No card computes beyond its datasheet.
LEAST = np.array([1, 0, 1, 0, 0, 0, 0])
ASIDE = ("v100-sxm", "mi250x")
LANGUINI = "languini"


def languini() -> Iterator[Table]:
    """Languini's steps of each card, as `published_gpu` has its tables."""
    facts = pd.read_csv(FACTS).query("source == @LANGUINI")
    for device, rows in facts.groupby("device"):
        card = str(device)
        dtype = "float16" if card == "v100-sxm" else "bfloat16"
        kept = rows.filter([*SHAPE, "remat", "attention", "step_time_s", "software"])
        sheet = card if card.startswith("rtx") else f"{card}-datasheet"
        yield card, sheet, LANGUINI, kept.assign(precision=dtype)


def read(tables: Iterator[Table]) -> Iterator[pd.DataFrame]:
    """Work over datasheet of each step, with its card, trainer and seconds."""
    for card, sheet, _, rows in tables:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "steps.csv"
            rows.to_csv(path, index=False)
            table = read_step_table(path, load_device(sheet))
        steps = table.steps
        names = np.array(table.software)[steps.trainer]
        work = pd.DataFrame(dict(zip(WORK, _over_datasheet(table), strict=True)))
        yield work.assign(card=card, trainer=names, measured_s=steps.measured_s)


def _over_datasheet(table: StepTable) -> Iterator[np.ndarray]:
    steps, device = table.steps, table.device
    rates = {
        "flops": device.peak_flops_per_s,
        "attention": device.peak_flops_per_s,
        "memcpys": device.bandwidth_bytes_per_s / device.bytes_per_element,
        "host_bytes": device.interconnect_bytes_per_s or np.inf,
        "network_bytes": device.network_bytes_per_s or np.inf,
    }
    for name in WORK:
        units = steps.sent.get(name)
        if units is None:
            parts = units_by_part(
                name, steps.arch, steps.execution, kind=device.kind, times_attention=True
            )
            units = sum(parts.values())
        yield np.broadcast_to(units, steps.measured_s.shape) / rates.get(name, 1.0)


def fit(steps: pd.DataFrame) -> np.ndarray:
    """Seconds of each kind of `WORK` over what the datasheet says of it."""
    work, measured_s = steps[list(WORK)].to_numpy(), steps.measured_s.to_numpy()
    by_trainer, by_card = steps.groupby(["card", "trainer"]), steps.groupby("card")
    n_alike = by_trainer.measured_s.transform("size") * by_card.trainer.transform("nunique")
    weight = 1 / np.sqrt(n_alike.to_numpy())
    most = np.where(np.array(WORK) == "hops", MOST_HOP_S, np.inf)
    log_level, shares = np.zeros(len(steps)), BEFORE
    for _ in range(LEVEL_ROUNDS):
        relative = work / (measured_s / np.exp(log_level))[:, None]
        shares = LEAST + _above(relative, weight, LEAST)
        if np.any(over := shares > most):
            base = np.where(over, most, LEAST)
            shares = base + ~over * _above(relative * ~over, weight, base, relative)
        off = steps.assign(off=np.log(measured_s / (work @ shares)))
        levels = off.groupby(["card", "trainer"]).off
        mean = levels.mean().groupby("card").mean().mean()
        log_level = levels.transform("mean").to_numpy() - mean
    return shares


def _above(
    relative: np.ndarray, weight: np.ndarray, base: np.ndarray, whole: np.ndarray | None = None
) -> np.ndarray:
    """What is to be added to `base` for sums that come nearest to 1."""
    scale = np.maximum(relative.mean(axis=0), np.finfo(float).tiny)
    rest = 1 - (relative if whole is None else whole) @ base
    return nnls(relative / scale * weight[:, None], rest * weight)[0] / scale


def judged(steps: pd.DataFrame, shares: np.ndarray) -> dict[str, float]:
    """The level of a card's trainers together, and the error of its steps."""
    off = np.log(steps.measured_s / (steps[list(WORK)].to_numpy() @ shares))
    level = off.groupby(steps.trainer).mean().mean()
    return {"level": np.exp(level), "error": np.exp(off.abs().mean()) - 1}


def main() -> None:
    """Leave each card out, print and write."""
    parser = argparse.ArgumentParser()
    parser.add_argument("llm_foundry", type=Path)
    parser.add_argument("--gemstones", type=Path, help="beside them, the steps of an MI250X")
    given = parser.parse_args()
    tables = [*llm_foundry(given.llm_foundry), *languini()]
    if given.gemstones:
        tables += gemstones(given.gemstones)
    steps = pd.concat(read(iter(tables)), ignore_index=True)
    informs = ~steps.card.isin(ASIDE)
    rows = []
    for card, own in steps.groupby("card"):
        after = judged(own, fit(steps.loc[informs & (steps.card != card)]))
        before = judged(own, BEFORE)
        rows.append(
            {"card": card, "informs": card not in ASIDE, "n": len(own), **after}
            | {f"{name}_before": value for name, value in before.items()}
        )
    shares = dict(zip(WORK, fit(steps.loc[informs]), strict=True))
    shares |= {name: 1 / shares[name] for name in ("flops", "memcpys", "attention")}
    rows.append({"card": "shares", "informs": True, "n": int(informs.sum()), **shares})
    table = pd.DataFrame(rows)
    table.to_csv(OUT, index=False, float_format="%.3g")
    print(table.to_string(index=False, float_format="%.3g"))


if __name__ == "__main__":
    main()
