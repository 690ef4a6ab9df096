"""How well the final loss and the end of a run are foretold while it runs: 62 runs of Gemstones.

Command: python experiments/forecast/forecast.py DATA   # a minute on one core
DATA as for experiments/gemstones: a row an evaluation, of 22 shapes at a constant rate to 350
billion tokens, 20 at half the rate to 100 and 20 cooled down after 100. A cooled run is the one at
constant rate up to its cooldown, and is to end where its last cooldown did.

The law is fitted on rows of all shapes but the run's own: those at constant rate, or, as `own
recipe's`, for runs at half the rate on those at half the rate. What a cooldown gives is also from
the other shapes. At 10, 25, 50 and 75% of a run its rows so far, of which there is one at least,
are what is known. Beside it E + B / D^beta fitted to those rows alone, by least squares, with the
interval of its own residuals (five rows or more; three for a point). Seconds are steady here, one
value a run, so the end says only that the arithmetic is right.

Writes forecast.csv: for each law, share and schedule, runs, mean and largest error of the final
loss, share within 1%, share that the 95% interval holds, its width, and the error of the end.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import optimize

from anybudget.objectives.curve import Curve
from anybudget.objectives.fit.bootstrap import bootstrap_law
from anybudget.objectives.fit.law import REFERENCE_DELTA, fit_varpro
from anybudget.objectives.fit.prior import shrunk
from anybudget.objectives.fit.runs import as_loss_law, law_runs
from anybudget.objectives.forecast import Course, Seen, end_time, final_loss, rate_share, seen
from anybudget.objectives.law.loss_law import LossLaw
from anybudget.objectives.law.terms import FORMS

OUT = Path(__file__).with_suffix(".csv")
SHARES = (0.1, 0.25, 0.5, 0.75)
FORM = "shape of size, size in tokens"
N_DRAWS = 200
COLUMNS = ("d_model", "n_layers", "n_params", "n_params_non_embedding")
CONSTANT, HALF, COOLED = "constant", "constant, half the rate", "cooldown"


def main() -> None:
    """Judge and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    table = pd.read_csv(parser.parse_args().data)
    shapes = [
        {str(kind): rows.sort_values("n_tokens") for kind, rows in own.groupby("schedule")}
        for _, own in table.groupby(["d_model", "n_layers"])
    ]
    laws = [without(table, own[CONSTANT]) for own in shapes]
    gains = [gain(own, one[CONSTANT][0]) for own, one in zip(shapes, laws, strict=True)]
    rows = []
    for at, own in enumerate(shapes):
        others = np.array([g for i, g in enumerate(gains) if i != at and g is not None])
        known = {"gain": others.mean(), "gain_std": others.std(ddof=1)}
        for kind in own:
            of = {
                "constant rate's law": laws[at][CONSTANT],
                "own recipe's law": laws[at][HALF if kind == HALF else CONSTANT],
            }
            rows += judged(kind, own, of, known)
    found = np.array([g for g in gains if g is not None])
    print(f"gain of a cooldown: {found.mean():.4f}, standard deviation {found.std(ddof=1):.4f}")
    each = pd.DataFrame(rows)
    worst = each[(each.share == 0.5) & ((each.value / each.measured - 1).abs() > 0.01)]
    print(worst[["run", "method", "value", "measured"]].to_string(index=False))
    both = pd.concat([each, each.assign(schedule="all")])
    scores = both.groupby(["method", "schedule", "share"]).apply(summary, include_groups=False)
    print(scores.reset_index().to_string(index=False, float_format=lambda value: f"{value:.4g}"))
    scores.reset_index().to_csv(OUT, index=False, float_format="%.4g")


def without(table: pd.DataFrame, own: pd.DataFrame) -> dict[str, tuple]:
    """Laws of the other shapes at either rate."""
    d_model, n_layers = own.d_model.iloc[0], own.n_layers.iloc[0]
    others = table[(table.d_model != d_model) | (table.n_layers != n_layers)]
    print(f"without {d_model}x{n_layers}", file=sys.stderr, flush=True)
    return {kind: fitted(others[others.schedule == kind]) for kind in (CONSTANT, HALF)}


def gain(own: dict[str, pd.DataFrame], law: LossLaw) -> float | None:
    """What a shape's last cooldown gave beside its last tenth before it, relative to the law."""
    if COOLED not in own:
        return None
    last = own[COOLED].iloc[[-1]]
    tokens, end = own[CONSTANT].n_tokens, last.n_tokens.iloc[0]
    before = own[CONSTANT][(tokens > 0.8 * end) & (tokens < end)]
    ahead, behind = (
        np.log(rows.measured_loss / expected(law, rows)).mean() for rows in (before, last)
    )
    return float(ahead - behind)


def expected(law: LossLaw, rows: pd.DataFrame) -> np.ndarray:
    """Losses of some rows under a law."""
    run = {name: rows[name].to_numpy() for name in (*COLUMNS, "n_steps")}
    return law.loss(run["n_params"], rows.n_tokens.to_numpy(), run)


def fitted(rows: pd.DataFrame) -> tuple:
    """A law of some rows, and its draws."""
    runs = law_runs({name: rows[name].to_numpy() for name in rows})
    fit = shrunk(runs, fit_varpro(runs, delta=REFERENCE_DELTA, terms=FORMS[FORM], kappa=1.0))
    law = as_loss_law(fit, runs, name="left out", corpus="dolma", source="")
    return law, bootstrap_law(runs, fit, n_draws=N_DRAWS).values


def judged(
    kind: str, by_kind: dict[str, pd.DataFrame], laws: dict[str, tuple], gains: dict[str, float]
) -> list[dict]:
    """A row for each share of one run and each way to foretell it."""
    last = by_kind[kind].iloc[-1]
    curve_of = by_kind[CONSTANT if kind == COOLED else kind]
    rows = []
    for share in SHARES:
        # The first row counts as a tenth where it stands just before or at it.
        until = max(share * last.n_tokens, curve_of.n_tokens.iloc[0]) * 1.001
        known = curve_of[curve_of.n_tokens <= until]
        tokens, loss = known.n_tokens.to_numpy(float), known.measured_loss.to_numpy()
        elapsed_s = known.n_steps.to_numpy() * last.step_time_s
        curve = Curve(n_tokens=tokens, loss=loss, elapsed_s=elapsed_s)
        end = end_time(curve, last.n_tokens)
        late = end and end.value / (last.n_steps * last.step_time_s) - 1
        points = seen(curve, last.n_tokens)
        found = {}
        for name, (law, draws) in laws.items():
            one = final_loss(points, course(law, draws, points, last, kind, gains))
            found[name] = (one.value, one.low, one.high)
        found["power law of the curve alone"] = curve_alone(tokens, loss, last.n_tokens)
        base = {
            "run": last.run,
            "schedule": kind,
            "share": share,
            "measured": last.measured_loss,
            "end_error": late,
        }
        rows += [
            base | {"method": name, "value": v, "low": low, "high": high}
            for name, (v, low, high) in found.items()
        ]
    return rows


def course(
    law: LossLaw,
    draws: np.ndarray,
    points: Seen,
    last: pd.Series,
    kind: str,
    gains: dict[str, float],
) -> Course:
    """What a law expects of a run."""
    tokens = np.append(points.n_tokens, last.n_tokens)
    run = {name: last[name] for name in COLUMNS} | {
        "n_steps": tokens / (last.batch_size * last.seq_len)
    }
    wide = {name: np.asarray(value, float) for name, value in run.items()}
    schedule = "cooldown" if kind == COOLED else "constant"
    return Course(
        n_tokens=tokens,
        log_loss=np.log(law.loss(wide["n_params"], tokens, wide)),
        log_draws=np.log(law.loss_under(draws.T[:, :, None], wide["n_params"], tokens, wide)),
        residual_std=law.residual_std,
        rate=rate_share(schedule, tokens / last.n_tokens) - 1,
        **gains,
    )


def curve_alone(tokens: np.ndarray, loss: np.ndarray, end: float) -> tuple[float, float, float]:
    """E + B / D^beta by least squares, and its interval by the delta method."""
    if len(tokens) < 3:
        return np.nan, np.nan, np.nan
    x = tokens / tokens[-1]

    def curve(theta: np.ndarray, at: np.ndarray) -> np.ndarray:
        return np.exp(theta[0]) + np.exp(theta[1]) * at ** -np.exp(theta[2])

    start = np.log([0.9 * loss[-1], 0.1 * loss[-1], 0.5])
    bounds = ([-5, -20, np.log(0.01)], [3, 5, np.log(3)])
    fit = optimize.least_squares(lambda theta: curve(theta, x) - loss, start, bounds=bounds)
    at_end = np.array([end / tokens[-1]])
    value = float(curve(fit.x, at_end)[0])
    if len(tokens) < 5:
        return value, np.nan, np.nan
    variance = 2 * fit.cost / (len(tokens) - 3)
    slope = optimize.approx_fprime(fit.x, lambda theta: float(curve(theta, at_end)[0]), 1e-7)
    std = np.sqrt(variance * (1 + slope @ np.linalg.pinv(fit.jac.T @ fit.jac) @ slope))
    return value, value - 1.96 * std, value + 1.96 * std


def summary(rows: pd.DataFrame) -> pd.Series:
    """Scores of one cell; runs without a forecast are counted and left out of the errors."""
    error = (rows.value / rows.measured - 1).dropna()
    bounded = rows.dropna(subset=["low"])
    held = (bounded.low <= bounded.measured) & (bounded.measured <= bounded.high)
    return pd.Series(
        {
            "n_runs": len(rows),
            "n_foretold": len(error),
            "error_mean": error.abs().mean(),
            "error_worst": error.abs().max(),
            "bias": error.mean(),
            "within_1_percent": (error.abs() <= 0.01).mean(),
            "n_with_interval": len(bounded),
            "held_by_interval": held.mean() if len(bounded) else np.nan,
            "interval_width": ((bounded.high - bounded.low) / bounded.measured).mean(),
            "end_error_worst": rows.end_error.astype(float).abs().max(),
        }
    )


if __name__ == "__main__":
    main()
