"""What the runs of `loss_law.py` say: the laws, how well they foretell, and what transfers.

Command: python experiments/loss_law_report.py
Wall time: half a minute; reads loss_law/CORPUS.csv, writes loss_law/laws.csv, loss_law/transfer.csv
and docs/loss_law.png.
Expected: as at the head of `loss_law.py`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from scipy.optimize import least_squares

from anybudget.objectives.law_report import LawReport, report_law
from anybudget.objectives.loss_law import PARAMETERS, LossLaw
from anybudget.search.figures import ACCENT, SECOND, STYLE

FOLDER = Path(__file__).with_name("loss_law")
FIGURE = FOLDER.parent.parent / "docs" / "loss_law.png"
# Which numbers of one corpus's law are kept on the other, while the rest are fitted there.
KEPT = (
    (), ("E",), ("A",), ("B",), ("alpha",), ("beta",), ("alpha", "beta"),
    ("A", "alpha"), ("B", "beta"), ("A", "B", "alpha", "beta"), PARAMETERS,
)  # fmt: skip


def laws_of(runs: pd.DataFrame, corpus: str) -> dict[str, LawReport]:
    """The pure law of the first seed's runs, and the one whose form held-out error chooses."""
    first = runs[runs.seed == 0]
    columns = {str(name): np.asarray(first[name]) for name in first.columns}
    return {
        kind: report_law(
            columns,
            name=f"{corpus}-{kind}",
            source="experiments/loss_law.py",
            form=form,
            huber_delta=0,
        )
        for kind, form in (("pure", "none"), ("shape-aware", "auto"))
    }


def table_of(corpus: str, kind: str, report: LawReport) -> dict[str, Any]:
    """One row: the law's numbers with their intervals and every held-out score."""
    assert report.draws is not None
    row: dict[str, Any] = {"corpus": corpus, "law": kind, "form": report.form, "n": report.n_rows}
    for name, (low, high) in report.draws.intervals().items():
        row |= {name: report.fit.values[name], f"{name}_low": low, f"{name}_high": high}
    for held, score in report.scores.items():
        if score:
            row |= {f"{held}_r2": score.r2, f"{held}_mape": score.mape, f"{held}_bias": score.bias}
    return row | {f"r2_{name}": score.r2 for name, score in report.conventions.items()}


def error_when_kept(law: LossLaw, runs: pd.DataFrame, kept: tuple[str, ...]) -> float:
    """Mean relative error on some runs when a few numbers are another corpus's, the rest fitted."""
    free = [name for name in PARAMETERS if name not in kept]
    n, d, loss = (runs[name].to_numpy(float) for name in ("n_params", "n_tokens", "measured_loss"))

    def relative(logs: np.ndarray) -> np.ndarray:
        values = {name: getattr(law, name) for name in PARAMETERS}
        values |= dict(zip(free, np.exp(logs), strict=True))
        predicted = (
            values["E"] + values["A"] / n ** values["alpha"] + values["B"] / d ** values["beta"]
        )
        return predicted / loss - 1

    begin = np.log([max(getattr(law, name), 1e-3) for name in free])
    found = least_squares(relative, begin, x_scale=0.1).x if free else begin
    return float(np.abs(relative(found)).mean())


def draw(tables: dict[str, pd.DataFrame], laws: dict[str, dict[str, LawReport]]) -> None:
    """Each corpus's runs with its pure law, and what the law leaves against the shape."""
    with plt.rc_context(STYLE):
        figure, panels = plt.subplots(
            1, 2 * len(tables), figsize=(5.5 * len(tables), 3.6), layout="constrained"
        )
        for i, (corpus, runs) in enumerate(tables.items()):
            report = laws[corpus]["pure"]
            _draw_points(panels[2 * i], runs, report.law, corpus)
            _draw_residuals(panels[2 * i + 1], runs, report.law)
        figure.savefig(FIGURE, dpi=130)


def _draw_points(axes: Axes, runs: pd.DataFrame, law: LossLaw, corpus: str) -> None:
    dots = axes.scatter(
        runs.n_tokens, runs.measured_loss, c=runs.n_params, norm="log", s=9, cmap="viridis"
    )
    tokens = np.geomspace(runs.n_tokens.min(), runs.n_tokens.max(), 100)
    for size in sorted({float(f"{n:.1g}") for n in runs.n_params}):
        axes.plot(tokens, law.loss(size, tokens), color=dots.to_rgba(np.array([size]))[0], lw=1)
    axes.set(xscale="log", xlabel="tokens", ylabel="loss, nats per token")
    axes.set_title(f"{corpus}: {len(runs)} runs and the law")
    axes.figure.colorbar(dots, ax=axes, label="parameters")


def _draw_residuals(axes: Axes, runs: pd.DataFrame, law: LossLaw) -> None:
    share = 100 * (runs.measured_loss / law.loss(runs.n_params, runs.n_tokens) - 1)
    axes.axhline(0, color="0.7", linewidth=0.8)
    axes.scatter(runs.d_model / runs.n_layers, share, s=9, color=SECOND)
    means = share.groupby(runs.d_model / runs.n_layers).mean()
    axes.plot(means.index, means, color=ACCENT)
    axes.set(xscale="log", xlabel="d_model / n_layers", ylabel="measured over predicted, %")
    axes.set_title("What it leaves, against the shape")


def main() -> None:
    """Fit, judge, compare the corpora, write and draw."""
    tables = {path.stem: pd.read_csv(path) for path in sorted(FOLDER.glob("*.csv"))}
    tables = {corpus: runs for corpus, runs in tables.items() if "measured_loss" in runs}
    laws = {corpus: laws_of(runs, corpus) for corpus, runs in tables.items()}
    rows = [table_of(c, kind, report) for c in laws for kind, report in laws[c].items()]
    frame = pd.DataFrame(rows)
    frame.to_csv(FOLDER / "laws.csv", index=False, float_format="%.5g")
    print(frame.T.to_string(header=False))
    transfer = [
        {
            "from": source,
            "to": target,
            "kept": " ".join(kept) or "nothing",
            "mape": error_when_kept(laws[source]["pure"].law, tables[target], kept),
        }
        for source in tables
        for target in tables
        if source != target
        for kept in KEPT
    ]
    pd.DataFrame(transfer).to_csv(FOLDER / "transfer.csv", index=False, float_format="%.4g")
    print(pd.DataFrame(transfer).to_string(index=False))
    draw(tables, laws)


if __name__ == "__main__":
    main()
