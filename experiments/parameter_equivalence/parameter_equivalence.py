"""Do models of equal parameters and tokens reach equal loss, whatever their shape?

Command: python experiments/parameter_equivalence/parameter_equivalence.py
Wall time: seconds; reads loss_law/python.csv, which `loss_law.py python` there makes.
Expected: no. At every size here the spread over shapes from deep and narrow to a single wide layer
is several times the noise of a seed, 2% of loss and more; without the extremes, width over depth
from 12 to 128, it is under 1%, and it shrinks as N grows.

Writes parameter_equivalence.csv, a row for each parameter count and number of tokens: the spread
over shapes of the mean over seeds, the noise of a seed pooled over shapes, and the chance that a
spread so large is noise (one-way analysis of variance); and parameter_equivalence.png.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
from scipy import stats

from anybudget.experiments.loss_law.loss_law import LEVELS
from anybudget.show.pictures.style import ACCENT, SECOND, STYLE
from anybudget.validation.confirm.compare import pooled_std

RUNS = Path(__file__).parents[1] / "loss_law" / "python.csv"
OUT = Path(__file__).with_suffix(".csv")
FIGURE = Path(__file__).with_name("parameter_equivalence.png")
# Width over depth of what `find` searches on a CPU.
USUAL = (12, 128)


def load() -> pd.DataFrame:
    """The runs with the parameter count that they stand for and their aspect ratio."""
    runs = pd.read_csv(RUNS)
    level_of = {shape: level for level, shapes in LEVELS.items() for shape in shapes}
    shapes = zip(runs.d_model, runs.n_layers, runs.d_ff, strict=True)
    runs = runs.assign(
        level=[level_of.get(shape) for shape in shapes], aspect_ratio=runs.d_model / runs.n_layers
    )
    return runs.dropna(subset="level")  # one shape is in none


def judge(runs: pd.DataFrame) -> dict[str, Any]:
    """One row on the runs of one parameter count and one number of tokens."""
    groups = [group.measured_loss.tolist() for _, group in runs.groupby("aspect_ratio")]
    means = runs.groupby("aspect_ratio").measured_loss.mean()
    usual = means[(means.index >= USUAL[0]) & (means.index <= USUAL[1])]
    noise = pooled_std(groups)
    return {
        "level": runs.level.iloc[0],
        "n_tokens": runs.n_tokens.iloc[0],
        "n_shapes": len(groups),
        "n_runs": len(runs),
        "best_aspect_ratio": means.idxmin(),
        "spread_share": means.max() / means.min() - 1,
        "usual_spread_share": usual.max() / usual.min() - 1 if len(usual) > 1 else None,
        "seed_noise_share": noise / means.min() if noise else None,
        "p_by_chance": float(stats.f_oneway(*groups).pvalue) if noise else None,
    }


def draw(runs: pd.DataFrame, seeded: pd.DataFrame) -> None:
    """Loss behind the best shape at each parameter count, and the spread against seed noise."""
    with plt.rc_context(STYLE):
        figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.8), layout="constrained")
        colours = plt.get_cmap("viridis")
        for i, (level, n_tokens) in enumerate(zip(seeded.level, seeded.n_tokens, strict=True)):
            same = runs[(runs.level == level) & (runs.n_tokens == n_tokens)]
            means = same.groupby("aspect_ratio").measured_loss.mean()
            left.plot(
                means.index, 100 * (means / means.min() - 1), "o-", markersize=4,
                color=colours(i / max(len(seeded) - 1, 1)), label=f"{level / 1e3:,.0f}k",
            )  # fmt: skip
        left.set(xscale="log", xlabel="d_model / n_layers", ylabel="loss behind the best shape, %")
        left.set_title("Equal parameters and tokens, unlike shapes")
        left.legend(title="parameters", frameon=False, fontsize=8)
        for name, label, colour in (
            ("spread_share", "all shapes", ACCENT),
            ("usual_spread_share", "d_model / n_layers of 12 to 128", SECOND),
            ("seed_noise_share", "noise of a seed", "0.5"),
        ):
            right.plot(seeded.level, 100 * seeded[name], "o-", color=colour, label=label)
        right.set(xscale="log", yscale="log", xlabel="parameters", ylabel="spread of loss, %")
        right.set_title("Spread over shapes against noise")
        right.legend(frameon=False, fontsize=8)
        figure.savefig(FIGURE, dpi=130)


def main() -> None:
    """Judge every parameter count at every number of tokens that all its shapes were given."""
    runs = load()
    groups = [group for _, group in runs.groupby(["level", "n_tokens"])]
    whole = [g for g in groups if g.aspect_ratio.nunique() == len(LEVELS[g.level.iloc[0]])]
    rows = pd.DataFrame([judge(group) for group in whole])
    rows.to_csv(OUT, index=False, float_format="%.4g")
    print(rows.to_string(index=False))
    if len(seeded := pd.DataFrame(rows[rows.n_runs >= 2 * rows.n_shapes])):
        draw(runs, seeded)
    else:
        print("no budget was trained with more than one seed yet, so there is no noise to compare")


if __name__ == "__main__":
    main()
