"""Does the predicted best model of a time budget win, and does it beat the rules people use?

Command: python experiments/best_config/best_config.py --step-times    # first: 20 minutes
         (beside an idle core)
         python experiments/best_config/best_config.py
         python experiments/best_config/best_config.py --budgets 1m,2m --seeds 1    # a part of it
         python experiments/best_config/best_config.py --seeds 1 --budgets 1m,2m,4m --law LAW
         (LAW: experiments/best_config/smooth.toml; with it also --space experiments/best_config/
         before.toml for 1m and heads.toml for 1m,2m)
         python experiments/best_config/best_config.py --figure
         (draws what is in the tables again, 5 s)
         (elsewhere first `anybudget calibrate --out DEVICE.toml`, and give it --device DEVICE.toml)
Wall time: for all four budgets 3.5 hours of one core with `--seeds 1`, 6.5 hours with three; with
its rows in place, a minute. Once step times are measured, losses do not depend on what else runs:
give other cores other budgets.
Expected: in each budget the predicted winner is within 1% of the best loss measured, the Spearman
correlation of predicted and measured loss is at least 0.8, and the winner is ahead of each of
three rules: 20 tokens per parameter of 6ND FLOPs at 40% of peak and width over depth 64; the
largest such model that reads 10 MB once; nanoGPT's shape for a CPU, 128×4.

For 1, 2, 4 and 8 minutes: `find` in the space `cpu`, then training of its winner, of the two tied
with it that have the highest P(best), of eight others spread over predicted loss, and of the rules'
models, each for the steps that it makes in that time alone (fixed_time.py). What laws before this
one had trained for the budget is compared too, and spares as many of the eight. Those predicted
over 2% behind only show whether the ranking holds and are trained with one seed, all others with
three. Writes best_config/BUDGET/runs.csv row by row and models.csv beside it, predicted and
measured, best_config.csv, a row a budget, and best_config.png.

Two earlier spaces, before.toml and heads.toml, and the law without copying, smooth.toml, are what
was asked before each was mended; their budgets have the name behind the time.
"""
# ruff: noqa: E402

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path
from typing import Any

from anybudget.machines import host
from anybudget.search.question import Question

host.use_cores(1)  # before anything starts its threads, like the next
host.keep_freed_memory()

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from anybudget.experiments.loss_law.loss_law import tokens_of
from anybudget.experiments.shared.fixed_time import (
    entry_list,
    measure_step_times,
    rules,
    train_entries,
)
from anybudget.objectives.budget import parse_budget
from anybudget.objectives.flags import FEW_STEPS
from anybudget.objectives.loss_at_time import LossAtTime
from anybudget.objectives.uncertainty import Draws, rank
from anybudget.presets.known import Known, known
from anybudget.presets.spaces import load_space
from anybudget.search.candidate import Candidate
from anybudget.search.find import find
from anybudget.show.pictures.style import ACCENT, SECOND, STYLE
from anybudget.space.architecture import Architecture
from anybudget.validation.confirm.choose import Choice, Entry, choose
from anybudget.validation.confirm.compare import Comparison, compare
from anybudget.validation.confirm.train_all import RUNS_FILE
from anybudget.validation.runs import Run, read_rows

FOLDER = Path(__file__).parent
OUT = Path(__file__).with_suffix(".csv")
FIGURE = Path(__file__).with_name("best_config.png")
MODELS_FILE = "models.csv"
N_TIED, N_CONTRAST = 2, 8
N_PROBES = 3
COLOURS = {
    "winner": ACCENT, "tied": "#d97706", "earlier": "0.7", "contrast": SECOND, "rule": "0.2"
}  # fmt: skip
# Other laws: what they had trained is in folders with their names behind the budget. The second,
# whose onset of copying went with 1 / width, was refuted by it and is no more.
EARLIER = ("smooth", "width")
# Trained to be compared only, and therefore with one seed, unless they may win: predicted no more
# than this behind the winner.
COMPARED = ("contrast", "earlier")
MAY_WIN = 0.02


def entries_for(
    objective: LossAtTime, rests_on: Known, space_name: str, earlier: list[Run]
) -> list[Entry]:
    """The winner, some tied with it, the rules' models, those trained earlier, and contrast."""
    space = load_space(space_name, aspect_ratio=objective.law.aspect_ratio_range)
    found = find(
        Question(space=space, objective=objective, draws=rests_on.draws(objective)),
        top=300,
    )
    standings = found.standings or []
    by_chance = sorted(
        zip(found.candidates[1:], standings[1:], strict=True), key=lambda pair: -pair[1].p_best
    )
    roles: dict[Candidate, str] = {found.best: "winner"}
    roles |= {one: "tied" for one, standing in by_chance[:N_TIED] if standing.tied}
    for name, candidate in rules(objective).items():
        roles.setdefault(candidate, name)
    known = {candidate.arch for candidate in roles}
    archs = list(dict.fromkeys(run.architecture for run in earlier))
    for arch in archs:
        if arch not in known:
            roles[Candidate.of(arch, objective)] = "earlier"
    n_contrast = max(N_CONTRAST - len(archs), 0)
    _, chosen = choose(found, Choice(top=1, contrast=n_contrast))
    for entry in chosen[1:]:
        roles.setdefault(entry.candidate, "contrast")
    return entry_list(roles)


def row_of(budget: str, comparison: Comparison, inside: float | None) -> dict[str, Any]:
    """One budget in figures; `behind_` is a loss as a share above the best measured."""
    best = comparison.best.measured_loss
    behind = {
        f"behind_{model.role}": model.measured_loss / best - 1
        for model in comparison.models
        if model.role not in (*COMPARED, "tied") and model.measured_loss and best
    }
    noise = comparison.seed_noise_nats
    n_seeds = [len(model.losses) for model in (comparison.winner, comparison.best)]
    doubt = noise and best and noise / best * sum(1 / n for n in n_seeds) ** 0.5
    return {
        "budget": budget,
        "predicted_winner": comparison.winner.label,
        "best_measured": comparison.best.label,
        "spearman": comparison.loss.spearman,
        "r_squared": comparison.loss.r_squared,
        "r_squared_log_step_time": comparison.log_step_time.r_squared,
        "seed_noise_nats": noise,
        "inside_95": inside,
        **behind,
        "behind_winner_se": doubt,
    }


def intervals_hold(
    objective: LossAtTime, losses: dict[Architecture, list[float]], draws: Draws | None
) -> tuple[float, float] | None:
    """Share of losses within their intervals of 95%, and the mean width of these in nats.

    Of models that make enough steps; None where there is none, or nothing is known of the law.
    """
    predictions = {arch: objective.predict(arch) for arch in losses}
    many = {arch: one for arch, one in predictions.items() if one.n_steps >= FEW_STEPS}
    if draws is None or not many:
        return None
    standings = rank(objective, list(many), list(many.values()), draws)
    inside = [
        standing.loss_low <= loss <= standing.loss_high
        for arch, standing in zip(many, standings, strict=True)
        for loss in losses[arch]
    ]
    widths = [standing.loss_high - standing.loss_low for standing in standings]
    return float(np.mean(inside)), float(np.mean(widths))


def draw() -> None:
    """Measured against predicted loss, a panel for each budget in the space `cpu`."""
    table = pd.read_csv(OUT)
    table = table[~table.budget.str.contains("-")]
    if table.empty:
        return
    with plt.rc_context(STYLE):
        figure, panels = plt.subplots(
            1, len(table), figsize=(3.2 * len(table), 3.3), layout="constrained", squeeze=False
        )
        for axes, budget, spearman in zip(panels[0], table.budget, table.spearman, strict=True):
            models = pd.read_csv(FOLDER / budget / MODELS_FILE).dropna(subset="measured_loss")
            ends = [models.predicted_loss.min(), models.predicted_loss.max()]
            axes.plot(ends, ends, "--", color="0.6", linewidth=0.8)
            for role, same in models.groupby(models.role.where(models.role.isin(COLOURS), "rule")):
                axes.plot(
                    same.predicted_loss, same.measured_loss, "o", color=COLOURS[str(role)], ms=4,
                    label=str(role),
                )  # fmt: skip
            axes.set(xlabel="predicted loss, nats per token")
            axes.set_title(f"{budget}: Spearman {spearman:.2f}")
        panels[0, 0].set(ylabel="measured loss, nats per token")
        # A role may be in some panels only.
        shown = [axes.get_legend_handles_labels() for axes in panels[0]]
        by_role = {
            label: dot for dots, labels in shown for dot, label in zip(dots, labels, strict=True)
        }
        panels[0, 0].legend(by_role.values(), by_role.keys(), frameon=False, fontsize=8)
        figure.savefig(FIGURE, dpi=130)


def main() -> None:
    """Search, train what is missing, compare, write and draw."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--device", default="cpu-core")
    parser.add_argument("--law", default="python-source")
    parser.add_argument("--space", default="cpu", help="a file's stem is added to a budget's name")
    parser.add_argument("--budgets", default="1m,2m,4m,8m")
    parser.add_argument("--seeds", type=int, default=3, help="of all but the contrast")
    parser.add_argument("--step-times", action="store_true", help="measure steps, train nothing")
    parser.add_argument("--figure", action="store_true", help="only draw what is in the tables")
    options = parser.parse_args()
    if options.figure:
        draw()
        return
    text, rests_on = tokens_of("python"), known(options.device, options.law)
    device, law = rests_on.device.device, rests_on.law.law
    of_space = "" if options.space == "cpu" else f"-{Path(options.space).stem}"
    of_law = "" if options.law == "python-source" else f"-{Path(options.law).stem}"
    kind = of_space or of_law
    objectives = {
        budget + kind: LossAtTime(device=device, law=law, time_budget_s=parse_budget(budget))
        for budget in options.budgets.split(",")
    }
    entries = {}
    for name, objective in objectives.items():
        before = [] if of_space else runs_before(name.removesuffix(kind), Path(options.law).stem)
        entries[name] = entries_for(objective, rests_on, options.space, before)
    step_times = FOLDER / f"step_times{of_space}.csv"
    if options.step_times:
        candidates = [entry.candidate for some in entries.values() for entry in some]
        measure_step_times(candidates, text, step_times, n_probes=N_PROBES)
        return
    for name, objective in objectives.items():
        done = Counter(run.architecture for run in read_rows(FOLDER / name / RUNS_FILE, Run))
        by_seeds: dict[int, list[Entry]] = {}
        least = float(entries[name][0].candidate.loss)
        for entry in entries[name]:
            behind = float(entry.candidate.loss) / least - 1
            wanted = 1 if entry.role in COMPARED and behind > MAY_WIN else options.seeds
            by_seeds.setdefault(max(wanted, done[entry.candidate.arch]), []).append(entry)
        models = [
            one
            for n_seeds, some in by_seeds.items()
            for one in train_entries(
                some, text, FOLDER / name, objective, step_times=step_times, n_seeds=n_seeds
            )
        ]
        table = pd.DataFrame([model.as_dict() for model in models])
        table.to_csv(FOLDER / name / MODELS_FILE, index=False, float_format="%.6g")
        losses = {model.candidate.arch: model.losses for model in models}
        held = intervals_hold(objective, losses, rests_on.draws(objective))
        keep(row_of(name, compare(models), held and held[0]))
    draw()


def runs_before(budget: str, law: str) -> list[Run]:
    """What other laws than one had trained for a budget; nothing for the first of all."""
    laws = () if law == EARLIER[0] else EARLIER
    return [run for name in laws for run in read_rows(FOLDER / f"{budget}-{name}" / RUNS_FILE, Run)]


def keep(row: dict[str, Any]) -> None:
    """Put a budget's row into the table, in place of an earlier one."""
    rows = pd.read_csv(OUT).to_dict(orient="records") if OUT.exists() else []
    others = [earlier for earlier in rows if earlier["budget"] != row["budget"]]
    new = pd.DataFrame(sorted([*others, row], key=lambda one: one["budget"]))
    new.to_csv(OUT, index=False, float_format="%.5g")
    print(new.T.to_string(header=False))


if __name__ == "__main__":
    main()
