"""Wide or deep at real size: how far each Gemstones shape is behind the best of its size.

Command: python experiments/gemstones/wide_or_deep.py DATA   # as gemstones.py has it, 20 s
         python experiments/gemstones/wide_or_deep.py        # draws wide_or_deep.csv again
Expected: at equal hours moderate width wins short runs and depth catches up; at 100 and 500 million
parameters neither the widest nor the deepest wins, at 1 billion the deepest in long runs, at 2
billion the widest of three (3072 × 12) throughout. At equal tokens the widest is always behind, and
the deepest by less than 0.07 nats or ahead.

At the budgets and sizes of gemstones.py; foretold by gemstones-2025 without the shape, and by the
step times of the others. Equal tokens: at 10, 30, 100 and 300 billion.
Writes wide_or_deep.csv, a row a shape, size and budget, and wide_or_deep.png.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from gemstones import (
    FORM,
    HOURS,
    LEVELS,
    Family,
    fitted_without_each,
    interpolated,
    of_each,
    read_family,
    timed,
)

from anybudget.show.pictures.style import STYLE

OUT = Path(__file__).with_suffix(".csv")
NAMES = {1: "100M", 2: "500M", 3: "1B", 4: "2B"}
TOKENS = np.array([1.01e10, 3e10, 1e11, 3e11])


def main() -> None:
    """Write the rows where there is data, and draw them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, nargs="?")
    data = parser.parse_args().data
    if data:
        family = read_family(pd.read_csv(data))
        laws = fitted_without_each(family, FORM, 1.0)[1]
        heldout_s = np.asarray(timed(family.shapes)[0])
        frames = [rows_of("hours", HOURS, family, family.losses,
                          of_each(laws, family, family.at(heldout_s)))]  # fmt: skip
        equal = np.repeat(TOKENS[:, None], len(family.shapes), axis=1)
        losses = interpolated(family.rows, family.shapes, equal, beyond=np.nan)
        frames += [rows_of("tokens", TOKENS, family, losses, of_each(laws, family, equal))]
        pd.concat(frames).to_csv(OUT, index=False, float_format="%.4g")
    draw(pd.read_csv(OUT))


def rows_of(
    equal: str, budgets: np.ndarray, family: Family, losses: np.ndarray, guesses: np.ndarray
) -> pd.DataFrame:
    """How far each shape is behind the best of its size at each budget, in nats."""
    shapes, level = family.shapes, np.digitize(family.shapes.n_params, LEVELS)
    rows = []
    for budget, measured, foretold in zip(budgets, losses, guesses, strict=True):
        for one, name in NAMES.items():
            own = np.flatnonzero((level == one) & np.isfinite(measured))
            if len(own) < 2:
                continue
            best = own[np.argmin(measured[own])]
            rows += [
                {
                    "equal": equal,
                    "budget": budget,
                    "size": name,
                    "d_model": shapes.d_model[i],
                    "n_layers": shapes.n_layers[i],
                    "aspect_ratio": shapes.d_model[i] / shapes.n_layers[i],
                    "behind_nats": measured[i] - measured[best],
                    "foretold_behind_nats": foretold[i] - foretold[own].min(),
                }
                for i in own
            ]
    return pd.DataFrame(rows)


def draw(frame: pd.DataFrame) -> None:
    """Loss behind the best of a size against width over depth, by hours and by tokens."""
    plt.rcParams |= STYLE
    figure, panels = plt.subplots(
        2, len(NAMES), figsize=(11, 5.2), sharey="col", sharex=True, layout="constrained"
    )
    for row, equal in zip(panels, ("hours", "tokens"), strict=True):
        for axes, size in zip(row, NAMES.values(), strict=True):
            own = frame[(frame.equal == equal) & (frame["size"] == size)]
            budgets = sorted(own.budget.unique())
            colours = plt.get_cmap("viridis")(np.linspace(0.05, 0.9, len(budgets)))
            for budget, colour in zip(budgets, colours, strict=True):
                one = own[own.budget == budget].sort_values("aspect_ratio")
                unit = f"{budget:,.0f} h" if equal == "hours" else f"{budget / 1e9:.0f}B"
                axes.plot(one.aspect_ratio, one.behind_nats, "o-", color=colour, ms=3, lw=1,
                          label=unit)  # fmt: skip
                axes.plot(one.aspect_ratio, one.foretold_behind_nats, ":", color=colour, lw=1)
            axes.set(xscale="log", title=f"{size}, equal {equal}")
            axes.legend(fontsize=6, frameon=False)
    for axes in panels[1]:
        axes.set_xlabel("width over depth")
    figure.supylabel("nats behind the best of the size; dotted: foretold")
    figure.savefig(OUT.with_suffix(".png"))


if __name__ == "__main__":
    main()
