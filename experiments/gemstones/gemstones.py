"""Which law ranks shapes of real size: judged on Gemstones, 22 shapes of 48 million to 2 billion.

Command: python experiments/gemstones/gemstones.py DATA [--presets]  # a minute
DATA is a table of the runs of McLeish et al. 2025, arXiv:2502.06857 (github.com/mcleish7/
gemstone-scaling-laws, MIT), a row an evaluation: run, schedule, the fields of an architecture,
n_params, n_params_non_embedding, n_tokens, n_steps, step_time_s, n_devices, measured_loss.
Expected: at equal hours the law with terms in shape ranks unseen shapes by a rank correlation
above 0.95, its winners 0.2% behind, besiroglu-2024's 1% and up to 3.6%; fitted below 150 million
parameters it foretells 475 million and more within 1%.

Equal hours: of one die, 9 budgets evenly in log between 64 and 8,192 hours, the least and the most
at which eight shapes have rows. A shape's loss at a budget is its measured loss at the tokens that
its measured step gives it, between rows; budgets beyond a shape's rows are left out for it. Steps
are foretold by the paper's model and what fully sharded dies send (eight share a host). Judged are,
per budget, Spearman's correlation and how far the predicted winner is behind the best; and over
shapes of equal N (95 to 117 million, 475 to 543, 1.01 to 1.05 and 1.90 to 2.01 billion) whether
the widest or the deepest is better, and each pair that differs by more than 0.005 nats.
Writes gemstones.csv; with --presets the laws in presets/laws, with their draws, of tokens as in the
best batch: theirs, 4.2 million tokens, is 3 to 13 times as large, which costs the shortest most.
"""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats

from anybudget.objectives.cost.communication import sent
from anybudget.objectives.cost.execution import Execution
from anybudget.objectives.fit.bootstrap import bootstrap_law
from anybudget.objectives.fit.law import REFERENCE_DELTA, LawFit, fit_varpro
from anybudget.objectives.fit.prior import OWN_LEVEL, shrunk
from anybudget.objectives.fit.report import Fitting, report_law
from anybudget.objectives.fit.runs import as_loss_law, law_runs
from anybudget.objectives.fit.step_time import Steps, fit_step_time
from anybudget.objectives.law.batch_price import best_batch_worth
from anybudget.objectives.law.loss_law import LossLaw
from anybudget.objectives.law.terms import FORMS
from anybudget.presets.laws import KnownLaw, load_law, save_law
from anybudget.space.architecture import FIELDS, Architecture

OUT = Path(__file__).with_suffix(".csv")
LAWS = Path(__file__).parents[2] / "presets" / "laws"
SOURCE = (
    "McLeish et al. 2025, 'Gemstones', arXiv:2502.06857, runs of {} on Dolma, tokens counted as "
    "many as in their best batch, fitted by experiments/gemstones/gemstones.py"
)
PRESETS = {
    "gemstones-2025": ("constant", "a constant learning rate"),
    "gemstones-2025-cooldown": ("cooldown", "learning rates cooled down to zero"),
}
HOURS = np.geomspace(64, 8192, 9)
LEVELS = (8e7, 2e8, 7e8, 1.5e9, 3e9)
APART_NATS = 0.005
DIES_PER_HOST = 8
SMALL, LARGE = 1.5e8, 4.5e8
# What `fit` chose before it knew of terms that fade with size, and what it chooses now.
FORM_BEFORE, KAPPA_BEFORE = "depth", 1 / 3
FORM = "shape of size, size in tokens"
RUN = ("d_model", "n_layers", "n_steps", "n_params", "n_params_non_embedding")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Family:
    """The shapes at constant rate, and what they reach at equal hours.

    Attributes:
        rows: of the table.
        shapes: one row each.
        tokens: by measured steps, (budgets, shapes).
        losses: measured there, not a number beyond a shape's rows.
    """

    rows: pd.DataFrame
    shapes: pd.DataFrame
    tokens: np.ndarray
    losses: np.ndarray

    def at(self, die_seconds: np.ndarray) -> np.ndarray:
        """Tokens of each shape at each budget if a step takes a die so long in all."""
        per_step = (self.shapes.batch_size * self.shapes.seq_len).to_numpy()
        return HOURS[:, None] * 3600 / die_seconds * per_step


def main() -> None:
    """Judge the laws, print and write their scores, and write the presets if asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--presets", action="store_true", help="write the shipped laws too")
    options = parser.parse_args()
    table = pd.read_csv(options.data)
    family = read_family(table)
    scores = pd.DataFrame([*judged_at_equal_hours(family), *judged_on_larger(family)])
    print(scores.to_string(index=False, float_format=lambda value: f"{value:.4g}"))
    scores.to_csv(OUT, index=False, float_format="%.4g")
    if options.presets:
        for name, (schedule, words) in PRESETS.items():
            write_preset(table[table.schedule == schedule], name, words)


def read_family(table: pd.DataFrame) -> Family:
    """The rows at constant rate, and the losses at equal hours."""
    rows = table[table.schedule == "constant"]
    shapes = rows.groupby(["d_model", "n_layers"], as_index=False).first()
    family = Family(rows=rows, shapes=shapes, tokens=np.empty(0), losses=np.empty(0))
    tokens = family.at((shapes.step_time_s * shapes.n_devices).to_numpy())
    losses = interpolated(rows, shapes, tokens, beyond=np.nan)
    return dataclasses.replace(family, tokens=tokens, losses=losses)


def timed(shapes: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Seconds of a step on all its dies together, foretold without the shape and with it."""
    fields = {name: shapes[name].to_numpy() for name in FIELDS}
    arch = Architecture(**fields)
    execution = Execution(sharding="full", n_chips=shapes.n_devices.to_numpy())
    units = sent(arch, execution, bytes_per_element=2, chips_per_host=DIES_PER_HOST)
    steps = Steps(
        arch=arch,
        measured_s=shapes.step_time_s.to_numpy(),
        execution=execution,
        sent={"network_bytes": units["network_bytes"]},
    )
    fit = fit_step_time(steps, "paper")
    seconds = np.array([fit.model.seconds_per_unit[name] for name in steps.features("paper")])
    within = steps.units("paper", 0.0) @ seconds
    return fit.heldout_s * shapes.n_devices, within * shapes.n_devices


def judged_at_equal_hours(family: Family) -> list[dict]:
    """A row for each law and way to know the times."""
    heldout_s, within_s = (np.asarray(s) for s in timed(family.shapes))
    measured_s = (family.shapes.step_time_s * family.shapes.n_devices).to_numpy()
    times = {"measured": measured_s, "shape left out": heldout_s, "fitted": within_s}
    besiroglu = load_law("besiroglu-2024")
    predictions = {
        "besiroglu-2024": {"as shipped": lambda tokens: of_law(besiroglu, family, tokens)}
    }
    for name, form, kappa in (("before", FORM_BEFORE, KAPPA_BEFORE), ("gemstones-2025", FORM, 1.0)):
        law, left_out = fitted_without_each(family, form, kappa)
        predictions[name] = {
            "shape left out": lambda tokens, laws=left_out: of_each(laws, family, tokens),
            "as shipped": lambda tokens, law=law: of_law(law, family, tokens),
        }
    rows = [
        {"law": name, "law_fit": how, "step_times": known}
        | judge(predict(family.at(seconds)), family)
        for name, ways in predictions.items()
        for how, predict in ways.items()
        for known, seconds in times.items()
        if known != ("shape left out" if how == "as shipped" and name != "besiroglu-2024" else "")
    ]
    true = interpolated(family.rows, family.shapes, family.at(heldout_s))
    return [*rows, {"law": "measured losses", "step_times": "shape left out"} | judge(true, family)]


def interpolated(
    rows: pd.DataFrame, shapes: pd.DataFrame, tokens: np.ndarray, beyond: float | None = None
) -> np.ndarray:
    """Measured losses at some tokens, (budgets, shapes); beyond its rows the last, or that."""
    by_shape = dict(list(rows.sort_values("n_tokens").groupby(["d_model", "n_layers"])))
    curves = [by_shape[key] for key in zip(shapes.d_model, shapes.n_layers, strict=True)]
    return np.stack(
        [
            np.interp(np.log(at), np.log(own.n_tokens), own.measured_loss, beyond, beyond)
            for at, own in zip(tokens.T, curves, strict=True)
        ],
        axis=1,
    )


def judge(predicted: np.ndarray, family: Family) -> dict[str, float]:
    """How well predicted losses rank the shapes at equal hours."""
    ranks, regrets, sides, pairs = [], [], [], []
    level = np.digitize(family.shapes.n_params, LEVELS)
    ratio = (family.shapes.d_model / family.shapes.n_layers).to_numpy()
    for losses, guesses in zip(family.losses, predicted, strict=True):
        seen = np.flatnonzero(np.isfinite(losses))
        ranks.append(stats.spearmanr(losses[seen], guesses[seen]).statistic)
        regrets.append(losses[seen[np.argmin(guesses[seen])]] / losses[seen].min() - 1)
        for equal in range(1, len(LEVELS)):
            own = seen[level[seen] == equal]
            if len(own) < 2:
                continue
            wide, deep = own[np.argmax(ratio[own])], own[np.argmin(ratio[own])]
            sides.append((losses[wide] < losses[deep]) == (guesses[wide] < guesses[deep]))
            pairs += [
                (losses[a] < losses[b]) == (guesses[a] < guesses[b])
                for i, a in enumerate(own)
                for b in own[:i]
                if abs(losses[a] - losses[b]) > APART_NATS
            ]
    return {
        "spearman": float(np.mean(ranks)),
        "spearman_worst": float(np.min(ranks)),
        "regret": float(np.mean(regrets)),
        "regret_worst": float(np.max(regrets)),
        "wide_or_deep_right": int(np.sum(sides)),
        "n_cells": len(sides),
        "pairs_right": int(np.sum(pairs)),
        "n_pairs": len(pairs),
    }


def of_law(law: LossLaw, family: Family, tokens: np.ndarray) -> np.ndarray:
    """Losses of each shape at some tokens, (budgets, shapes)."""
    return law.loss(family.shapes.n_params.to_numpy(), tokens, columns(family.shapes, tokens))


def of_each(laws: list[LossLaw], family: Family, tokens: np.ndarray) -> np.ndarray:
    """The same, each shape by a law of its own."""
    each = [of_law(law, family, tokens)[:, place] for place, law in enumerate(laws)]
    return np.stack(each, axis=1)


def columns(shapes: pd.DataFrame, tokens: np.ndarray) -> dict[str, np.ndarray]:
    """What the terms of a law read."""
    run = {name: shapes[name].to_numpy() for name in RUN}
    return run | {"n_steps": tokens / (shapes.batch_size * shapes.seq_len).to_numpy()}


def fit_form(rows: pd.DataFrame, form: str, kappa: float) -> tuple[LawFit, LossLaw]:
    """A form fitted to some rows."""
    runs = law_runs({name: rows[name].to_numpy() for name in rows})
    fit = fit_varpro(runs, delta=REFERENCE_DELTA, terms=FORMS[form], kappa=kappa)
    fit = shrunk(runs, fit)
    return fit, as_loss_law(fit, runs, name="gemstones", corpus="dolma", source="")


def fitted_without_each(family: Family, form: str, kappa: float) -> tuple[LossLaw, list[LossLaw]]:
    """A form fitted to all rows, and without each shape."""
    rows = family.rows
    left_out = [
        fit_form(rows[(rows.d_model != d_model) | (rows.n_layers != n_layers)], form, kappa)[1]
        for d_model, n_layers in zip(family.shapes.d_model, family.shapes.n_layers, strict=True)
    ]
    return fit_form(rows, form, kappa)[1], left_out


def judged_on_larger(family: Family) -> list[dict]:
    """`fit` on the twelve shapes below 150 million parameters, judged on 475 million and more."""
    small = family.rows[family.rows.n_params < SMALL]
    large = family.rows[family.rows.n_params > LARGE]
    report = report_law(
        {name: small[name].to_numpy() for name in small},
        name="small",
        source="",
        fitting=Fitting(n_draws=400),
    )
    law, draws = report.law, report.draws
    assert draws
    run = {name: large[name].to_numpy() for name in RUN}
    measured = large.measured_loss.to_numpy()
    counts = (large.n_params.to_numpy(), large.n_tokens.to_numpy(), run)
    errors = law.loss(*counts) / measured - 1
    noise = np.exp(
        law.residual_std * np.random.default_rng(0).standard_normal((len(draws.values), 1))
    )
    low, high = draws.interval(draws.loss(*counts) * noise)
    expected = draws.loss(
        family.shapes.n_params.to_numpy(), family.tokens, columns(family.shapes, family.tokens)
    ).mean(axis=0)
    errors = {
        "form": report.form,
        "kappa": law.kappa,
        "error": float(np.abs(errors).mean()),
        "bias": float(errors.mean()),
        "held_by_interval": float(np.mean((low < measured) & (measured < high))),
        "interval_nats": float(np.mean(high - low)),
    }
    known = {"law_fit": "below 150M", "step_times": "measured"}
    return [
        {"law": "point"} | known | judge(of_law(law, family, family.tokens), family) | errors,
        {"law": "expected loss over draws"} | known | judge(expected, family),
    ]


def write_preset(rows: pd.DataFrame, name: str, words: str) -> None:
    """A shipped law and its draws, of tokens as many as would do as much in their best batch."""
    rows = rows.assign(n_tokens=best_batch_worth(rows.n_tokens, rows.batch_size * rows.seq_len))
    runs = law_runs({column: rows[column].to_numpy() for column in rows})
    fit, law = fit_form(rows, FORM, 1.0)
    pure, _ = fit_form(rows, "none", 1.0)
    law = dataclasses.replace(
        law,
        name=name,
        corpus="Dolma",
        schedule=rows.schedule.iloc[0],
        level_std=OWN_LEVEL,
        source=SOURCE.format(words),
        pure=tuple(pure.values[number] for number in ("E", "A", "B", "alpha", "beta")),
    )
    save_law(LAWS / f"{name}.toml", KnownLaw(law=law, draws=bootstrap_law(runs, fit).values))


if __name__ == "__main__":
    main()
