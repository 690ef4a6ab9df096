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
        table = all_of[all_of.rate == 1].pivot(index="kind", columns="seed", values="measured_loss")
        table = table.dropna().loc[
            [kind for kind in all_of.kind.unique() if kind in table.dropna().index]
        ]
        own_steps = steps[steps.seq_len == seq_len]
        behind = table.drop(index="dense") - table.loc["dense"]
        n_seeds = table.shape[1]
        half, half_pair = (_half(one.to_numpy(), n_seeds) for one in (table, behind))
        rates = all_of[all_of.seed == 0].pivot(index="kind", columns="rate", values="measured_loss")
        for kind, losses in table.iterrows():
            first = all_of[all_of.kind == kind].iloc[0]
            step_s = own_steps[own_steps.kind == kind].step_s.iloc[0]
            gap = behind.loc[kind].mean() if kind in behind.index else 0.0
            found.append({
                "kind": kind, "seq_len": seq_len, "n_seeds": n_seeds, "n_params": first.n_params,
                "n_active_params": first.n_active_params, "step_ms": 1e3 * step_s,
                "n_tokens": first.n_tokens, "measured_loss": losses.mean(), "loss_half": half,
                "behind_dense": gap, "behind_half": half_pair if kind in behind.index else 0.0,
                "best_rate": rates.loc[kind].idxmin(), "best_rate_gain":
                    rates.loc[kind, 1.0] - rates.loc[kind].min(),
            })  # fmt: skip
    table = pd.DataFrame(found)
    table.to_csv(TABLE, index=False, float_format="%.5g")
    draw(table)
    return table


def _half(losses: np.ndarray, n_seeds: int) -> float:
    """Half an interval of 95% of a row's mean, from the spread about the rows' means."""
    freedom = losses.size - len(losses)
    if freedom == 0:
        return math.nan
    spread = (np.square(losses - losses.mean(axis=1, keepdims=True)).sum() / freedom) ** 0.5
    return float(stats.t.isf(0.025, freedom) * spread / n_seeds**0.5)


def draw(table: pd.DataFrame) -> None:
    """How far each is behind dense at either length; to the left is better."""
    with plt.rc_context(STYLE):
        figure, panels = plt.subplots(1, 2, figsize=(9.5, 3.4), sharey=True, layout="constrained")
        for axes, (seq_len, one) in zip(panels, table.groupby("seq_len"), strict=True):
            rest = one.query("kind != 'dense'").iloc[::-1]
            ahead = rest.behind_dense + rest.behind_half < 0
            for is_ahead, colour in ((True, SECOND), (False, ACCENT)):
                part = pd.DataFrame(rest[ahead == is_ahead])
                axes.errorbar(part.behind_dense, part.kind, xerr=part.behind_half, fmt="o",
                              color=colour, capsize=3)  # fmt: skip
            axes.axvline(0, color=FAINT, linewidth=1)
            axes.set_yticks(range(len(rest)), rest.kind)
            axes.set_title(f"{seq_len:,} tokens")
        figure.supxlabel("loss over the dense model's at equal time, nats per token", fontsize=10)
        figure.savefig(FIGURE, dpi=130)
