"""What the runs at equal time say: means with intervals, how far behind dense, and the figure."""

from __future__ import annotations

import math
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from scipy import stats

from anybudget.show.pictures.style import ACCENT, FAINT, SECOND, STYLE

FOLDER = Path(__file__).parent
TABLE, FIGURE = FOLDER / "equal_time.csv", FOLDER / "equal_time.png"


def report(runs: pd.DataFrame, steps: pd.DataFrame) -> pd.DataFrame:
    """A row a mechanism and length, written and drawn.

    A difference from dense is the mean over seeds of pairs of equal seed, which see the same text;
    its interval of 95% is by Student's t from the pairs' spread pooled over a length's mechanisms.
    """
    found = []
    for seq_len, all_of in runs.groupby("seq_len"):
        seeds = all_of[all_of.rate == 1].pivot(index="kind", columns="seed", values="measured_loss")
        losses = seeds.reindex(all_of.kind.unique()).dropna()
        behind = losses - losses.loc["dense"]
        half = _half(losses.to_numpy())
        half_pair = _half(behind.drop(index="dense").to_numpy())
        rates = all_of[all_of.seed == 0].pivot(index="kind", columns="rate", values="measured_loss")
        step_s = steps[steps.seq_len == seq_len].set_index("kind").step_s
        for kind in losses.index:
            first = all_of[all_of.kind == kind].iloc[0]
            found.append({
                "kind": kind, "seq_len": seq_len, "n_seeds": losses.shape[1],
                "n_params": first.n_params, "n_active_params": first.n_active_params,
                "step_ms": 1e3 * step_s[kind], "steps_of_dense": step_s[kind] / step_s["dense"],
                "n_tokens": first.n_tokens, "measured_loss": losses.loc[kind].mean(),
                "loss_half": half, "behind_dense": behind.loc[kind].mean(),
                "behind_half": half_pair * (kind != "dense"),
                **{f"seed_0_at_rate_{rate}": rates.loc[kind].get(rate) for rate in (0.5, 2.0)},
            })  # fmt: skip
    table = pd.DataFrame(found).dropna(axis=1, how="all")
    table.to_csv(TABLE, index=False, float_format="%.5g")
    draw(table)
    return table


def _half(losses: np.ndarray) -> float:
    """Half an interval of 95% of a row's mean, from the spread about the rows' means."""
    n_seeds, freedom = losses.shape[1], losses.size - len(losses)
    if freedom == 0:
        return math.nan
    spread = (np.square(losses - losses.mean(axis=1, keepdims=True)).sum() / freedom) ** 0.5
    return float(stats.t.isf(0.025, freedom) * spread / n_seeds**0.5)


def draw(table: pd.DataFrame) -> None:
    """How far each is behind dense at either length; to the left is better."""
    with plt.rc_context(STYLE):
        figure, panels = plt.subplots(1, 2, figsize=(9.5, 3.2), layout="constrained")
        for axes, (seq_len, one) in zip(panels, table.groupby("seq_len"), strict=True):
            rest = one.query("kind != 'dense'").iloc[::-1]
            is_ahead = (rest.behind_dense + rest.behind_half < 0).to_numpy()
            at = np.arange(len(rest))
            for chosen, colour in ((is_ahead, SECOND), (~is_ahead, ACCENT)):
                axes.errorbar(
                    rest.behind_dense[chosen], at[chosen], xerr=rest.behind_half[chosen],
                    fmt="o", color=colour, capsize=3,
                )  # fmt: skip
            axes.axvline(0, color=FAINT, linewidth=1)
            names = [f"{k}, {n:.1f}×" for k, n in zip(rest.kind, rest.steps_of_dense, strict=True)]
            axes.set_yticks(at, names)
            axes.set_title(f"{seq_len:,} tokens")
        figure.supxlabel("loss over the dense model's at equal time, nats per token", fontsize=10)
        figure.suptitle("Each mechanism and its step over the dense one's", fontsize=11)
        figure.savefig(FIGURE, dpi=130)
