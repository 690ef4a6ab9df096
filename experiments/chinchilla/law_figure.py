"""The loss law of the README as a figure: the points, the fit, and what the runs leave open.

Command: python experiments/chinchilla/law_figure.py
Wall time: 5 s; reads chinchilla_extracted.csv and chinchilla_draws.csv, writes law_fit.png.
Expected: residuals within some 1% without a trend, and exponents that are known together far better
than each alone.
"""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from anybudget.objectives.law.loss_law import LossLaw
from anybudget.presets.laws import load_law
from anybudget.show.pictures.style import STYLE

HERE = Path(__file__).parent
ACCENT, SECOND = "#c2410c", "#1d4ed8"


def draw_points(axes: Axes, runs: pd.DataFrame, law: LossLaw) -> None:
    """Measured loss against tokens, coloured by size, with the law at five sizes."""
    dots = axes.scatter(
        runs.n_tokens, runs.measured_loss, c=runs.n_params, norm="log", s=9, cmap="viridis"
    )
    tokens = np.geomspace(runs.n_tokens.min(), runs.n_tokens.max(), 100)
    for size in (1e8, 3e8, 1e9, 3e9, 1e10):
        colour = dots.to_rgba(np.array([size]))[0]
        axes.plot(tokens, law.loss(size, tokens), color=colour, linewidth=1)
    axes.figure.colorbar(dots, ax=axes, label="parameters")
    axes.set(xscale="log", xlabel="tokens", ylabel="loss, nats per token")
    axes.set_title("240 runs and the law")


def draw_residuals(axes: Axes, runs: pd.DataFrame, law: LossLaw) -> None:
    """What the law leaves unexplained, against size."""
    share = runs.measured_loss / law.loss(runs.n_params, runs.n_tokens) - 1
    axes.axhline(0, color="0.7", linewidth=0.8)
    axes.scatter(runs.n_params, 100 * share, s=9, color=SECOND)
    axes.set(xscale="log", xlabel="parameters", ylabel="measured over predicted, %")
    axes.set_title("What it leaves")


def draw_exponents(axes: Axes, draws: pd.DataFrame, law: LossLaw) -> None:
    """Both exponents in each bootstrap draw."""
    axes.scatter(draws.alpha, draws.beta, s=3, color=SECOND, alpha=0.25, linewidths=0)
    axes.plot(law.alpha, law.beta, "*", color=ACCENT, markersize=13, markeredgecolor="white")
    axes.annotate(
        "Besiroglu et al.", (law.alpha, law.beta), (10, -14), textcoords="offset points",
        color=ACCENT, bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.85, "pad": 1.5},
    )  # fmt: skip
    axes.set(xlabel="alpha, of parameters", ylabel="beta, of tokens")
    axes.set_title("4,000 laws that the runs allow")


if __name__ == "__main__":
    table = pd.read_csv(HERE / "chinchilla_extracted.csv", comment="#")
    law = load_law("besiroglu-2024")
    plt.rcParams |= STYLE
    figure, panels = plt.subplots(1, 3, figsize=(11, 3.4), layout="constrained")
    runs = table.query("status == 'ok'")
    draw_points(panels[0], runs, law)
    draw_residuals(panels[1], runs, law)
    draw_exponents(panels[2], pd.read_csv(HERE / "chinchilla_draws.csv"), law)
    figure.savefig(HERE / "law_fit.png", dpi=130)
