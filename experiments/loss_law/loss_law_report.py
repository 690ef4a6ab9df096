"""What the runs of `loss_law.py` say: the laws, how well they foretell, and what transfers.

Command: python experiments/loss_law/loss_law_report.py
Wall time: half a minute; reads loss_law/CORPUS.csv, writes loss_law/laws.csv, loss_law/transfer.csv
and loss_law.png.
Expected: as at the head of `loss_law.py`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import NullFormatter
from scipy.optimize import least_squares

from anybudget.experiments.loss_law.loss_law import LEVELS
from anybudget.objectives.fit.report import Fitting, LawReport, report_law
from anybudget.objectives.law.loss_law import PARAMETERS, LossLaw, law_loss
from anybudget.show.pictures.style import ACCENT, SECOND, STYLE

FOLDER = Path(__file__).parent
FIGURE = Path(__file__).with_name("loss_law.png")
# Which numbers of one corpus's law are kept on the other, while the rest are fitted there.
KEPT = (
    (), ("E",), ("A",), ("B",), ("alpha",), ("beta",), ("alpha", "beta"),
    ("A", "alpha"), ("B", "beta"), ("A", "B", "alpha", "beta"), PARAMETERS,
)  # fmt: skip


def laws_of(runs: pd.DataFrame, corpus: str) -> dict[str, LawReport]:
    """Four laws of the first seed's runs.

    Hoffmann's sum, with further terms in shape and with copying where held-out runs want them, with
    a power as well, and with that power but without the rest.
    """
    first = runs[runs.seed == 0]
    columns = {str(name): np.asarray(first[name]) for name in first.columns}

    def report(kind: str, **options: Any) -> LawReport:
        name, source = f"{corpus}-{kind}", "experiments/loss_law"
        fitting = Fitting(huber_delta=0, **options)
        return report_law(columns, name=name, source=source, fitting=fitting)

    full = report("shape and power")
    return {
        "sum": report("sum", form="none", kappa=1.0),
        "shape": report("shape", kappa=1.0),
        "power": report("power", form="none", kappa=full.law.kappa),
        "shape and power": full,
    }


def table_of(corpus: str, kind: str, report: LawReport) -> dict[str, Any]:
    """One row: the law's numbers with their intervals and every held-out score."""
    assert report.draws is not None
    row: dict[str, Any] = {"corpus": corpus, "law": kind, "form": report.form, "n": report.n_rows}
    row["kappa"] = report.law.kappa
    for name, (low, high) in report.draws.intervals().items():
        row |= {name: report.law.numbers[name], f"{name}_low": low, f"{name}_high": high}
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
        return law_loss(values.values(), n, d, kappa=law.kappa) / loss - 1

    begin = np.log([max(getattr(law, name), 1e-3) for name in free])
    found = least_squares(relative, begin, x_scale=0.1).x if free else begin
    return float(np.abs(relative(found)).mean())


def draw(tables: dict[str, pd.DataFrame], laws: dict[str, dict[str, LawReport]]) -> None:
    """A row a corpus: its runs with the law of N and D, and what laws leave against the shape."""
    with plt.rc_context(STYLE):
        figure, panels = plt.subplots(
            len(tables), 2, figsize=(10, 3.6 * len(tables)), layout="constrained", squeeze=False
        )
        for (left, right), (corpus, runs) in zip(panels, tables.items(), strict=True):
            of_corpus = {kind: report.law for kind, report in laws[corpus].items()}
            _draw_points(left, runs, of_corpus["power"], corpus)
            _draw_residuals(right, runs, of_corpus)
        figure.savefig(FIGURE, dpi=130)


def _draw_points(axes: Axes, runs: pd.DataFrame, law: LossLaw, corpus: str) -> None:
    tokens = np.geomspace(runs.n_tokens.min(), runs.n_tokens.max(), 100)
    for i, size in enumerate(LEVELS):
        colour = plt.get_cmap("viridis")(0.9 * i / (len(LEVELS) - 1))
        same = runs[abs(np.log(runs.n_params / size)) < 0.1]
        axes.scatter(same.n_tokens, same.measured_loss, color=colour, s=9)
        if len(same):
            losses = law.loss(size, tokens)
            axes.plot(tokens, losses, color=colour, lw=1)
            axes.annotate(
                f"{size / 1e6:.3g}M" if size >= 1e6 else f"{size / 1e3:.0f}k",
                (tokens[-1], losses[-1]), (4, 0), textcoords="offset points", va="center",
                fontsize=8, color=colour,
            )  # fmt: skip
    axes.set(xscale="log", xlabel="tokens", ylabel="loss, nats per token")
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_title(f"{corpus}: {len(runs)} runs, and the law of N and D")


def _draw_residuals(axes: Axes, runs: pd.DataFrame, laws: dict[str, LossLaw]) -> None:
    axes.axhline(0, color="0.7", linewidth=0.8)
    ratio = runs.d_model / runs.n_layers
    run = {name: runs[name] for name in ("d_model", "n_layers", "n_steps")}
    for kind, colour in (("power", SECOND), ("shape and power", ACCENT)):
        predicted = laws[kind].loss(runs.n_params, runs.n_tokens, run)
        share = 100 * (runs.measured_loss / predicted - 1)
        axes.scatter(ratio, share, s=9, color=colour, alpha=0.5, linewidths=0)
        means = share.groupby(ratio).mean()
        label = "law of N and D" if kind == "power" else "and of shape"
        axes.plot(means.index, means, color=colour, label=label)
    axes.legend(frameon=False, fontsize=8)
    axes.set(xscale="log", xlabel="d_model / n_layers", ylabel="measured over predicted, %")
    axes.set_title("What it leaves, against the shape")


def main() -> None:
    """Fit, judge, compare the corpora, write and draw."""
    tables = {path.stem: pd.read_csv(path) for path in sorted(FOLDER.glob("*.csv"))[::-1]}
    tables = {corpus: runs for corpus, runs in tables.items() if "measured_loss" in runs}
    laws = {corpus: laws_of(runs, corpus) for corpus, runs in tables.items()}
    rows = [table_of(c, kind, report) for c in laws for kind, report in laws[c].items()]
    frame = pd.DataFrame(rows)
    frame.to_csv(FOLDER / "laws.csv", index=False, float_format="%.5g")
    print(frame.T.to_string(header=False))
    transfer = [
        {
            "law": kind,
            "from": source,
            "to": target,
            "kept": " ".join(kept) or "nothing",
            "mape": error_when_kept(laws[source][kind].law, tables[target], kept),
        }
        for kind in ("sum", "power")
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
