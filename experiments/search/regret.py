"""How far from the certified optimum do searches end in equal time, in a space of 10^11?

    python -m anybudget.experiments.search.regret 20 [SEARCH ...]

Needs `pip install -e '.[bench]'`. Each search has so many CPU seconds as `MAX_S`, its imports not
counted, and calls one function: 9 searches, half a CPU minute for each seed. One that has nothing
by then is noted when it has. Appends to `regret.csv` and goes on where a run ended, if the question
is the same: rows say what loss was certified; draws `regret.png`. Expected: the default search,
which polishes with the scan's arrays, ends within 0.001 nats (median); the others within some
hundredths; all after the certificate is done. The device is a datasheet, which no fit of more steps
moves.

All search the product's own unit cube, in which every point is a valid architecture. Of nevergrad
there are its own choice, NGOpt8 (NGOpt itself ends in a TypeError: its metamodel takes an array of
one element for a number, which NumPy 2.4 no longer does), and the best of it in the smaller space
of `search_speed`, TwoPointsDE.
"""

from __future__ import annotations

import contextlib
import functools
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import matplotlib.pyplot as plt
import nevergrad
import numpy as np
import optuna
import pandas as pd
from scipy.optimize import differential_evolution

from ...objectives.loss_at_time import LossAtTime
from ...presets.devices import load_device
from ...presets.laws import load_law
from ...presets.spaces import load_space
from ...search.candidate import Candidate
from ...search.certify.bounds import certify
from ...search.explore.samplers import make_sampler
from ...search.explore.study import Exploring, explore
from ...search.question import Question

HERE = Path(__file__).parent
CSV = HERE / "regret.csv"
LAW = load_law("besiroglu-2024")
SETTINGS = ("batch_size=8:512", "seq_len=512,1024,2048")
SPACE = load_space(settings=SETTINGS, aspect_ratio=(1.0, 8192.0))
OBJECTIVE = LossAtTime(
    device=load_device("tpu-v5e-datasheet"), law=LAW, time_budget_s=3 * 3600, critical_batch=True
)
MAX_S = 3.0
# What each has before its first seed, for its imports.
WARM_S = 0.2
# CPU seconds at which the best so far is noted.
AT_S = (0.1, 0.2, 0.5, 1.0, 2.0, 3.0)
# Of a model that does not fit, more than any that does.
INFEASIBLE = 100.0
SAMPLERS = ("tpe", "cma", "nsga2", "qmc", "random")


class OutOfTimeError(Exception):
    """Ends a search from within the function that it calls."""


class Clock:
    """The loss over the unit cube, with the best so far by CPU time; ends a search that is over."""

    def __init__(self, max_s: float) -> None:
        self.max_s = max_s
        self.best, self.start = INFEASIBLE, time.process_time()
        self.best_at: dict[float, float] = {}
        self.ended: tuple[float, float] | None = None

    def __call__(self, position: np.ndarray) -> float:
        """Loss at a position."""
        cube = dict(zip(SPACE.free_coordinates, map(float, position), strict=True))
        candidate = Candidate.of(SPACE.decode(cube), OBJECTIVE)
        loss = candidate.loss if candidate.prediction.feasible else INFEASIBLE
        self.note(loss)
        return loss

    def note(self, loss: float) -> None:
        """Count a loss that was reached by now, and stop once the time is over."""
        spent_s = time.process_time() - self.start
        for at_s in AT_S:
            if at_s <= spent_s:
                self.best_at.setdefault(at_s, self.best)
        if spent_s >= self.max_s:
            self.ended = spent_s, loss
            raise OutOfTimeError
        self.best = min(self.best, loss)


def of_optuna(clock: Clock, seed: int, sampler: str) -> None:
    """`study.optimize`, as anybody would write it."""

    def objective(trial: optuna.Trial) -> float:
        return clock(np.array([trial.suggest_float(n, 0, 1) for n in SPACE.free_coordinates]))

    one = make_sampler(sampler, seed=seed, n_coordinates=len(SPACE.free_coordinates))
    optuna.create_study(sampler=one).optimize(objective)


def of_scipy(clock: Clock, seed: int) -> None:
    """Differential evolution with scipy's defaults, started anew when it has converged."""
    bounds = [(0.0, 1.0)] * len(SPACE.free_coordinates)
    rng = np.random.default_rng(seed)
    while True:
        differential_evolution(clock, bounds, rng=rng, maxiter=10**6, polish=False)


def of_nevergrad(clock: Clock, seed: int, name: str) -> None:
    """One of nevergrad's optimizers, asked and told."""
    cube = nevergrad.p.Array(init=np.full(len(SPACE.free_coordinates), 0.5)).set_bounds(0, 1)
    cube.random_state = np.random.RandomState(seed)
    optimizer = nevergrad.optimizers.registry[name](parametrization=cube, budget=2000)
    while True:
        asked = optimizer.ask()
        optimizer.tell(asked, clock(asked.value))


def of_ours(clock: Clock, seed: int) -> None:
    """The default search; what it has found is known at its end."""
    question = Question(space=SPACE, objective=OBJECTIVE, seed=seed)
    n_trials = 300
    while True:
        found = explore(question, Exploring(n_trials=n_trials))
        clock.note(found.best.loss)
        n_trials *= 2


SEARCHES: dict[str, Callable[[Clock, int], None]] = {
    "anybudget auto": of_ours,
    **{f"optuna {name}": functools.partial(of_optuna, sampler=name) for name in SAMPLERS},
    "scipy differential evolution": of_scipy,
    **{
        f"nevergrad {name}": functools.partial(of_nevergrad, name=name)
        for name in ("NGOpt8", "TwoPointsDE")
    },
}


def certified() -> tuple[float, float]:
    """The certified loss, and the CPU seconds that it took."""
    start = time.process_time()
    found = certify(SPACE, OBJECTIVE)
    assert found is not None
    return found.candidates[0].loss, time.process_time() - start


def main() -> None:
    """Measure what is missing of so many seeds, and draw."""
    warnings.simplefilter("ignore")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    least, certificate_s = certified()
    print(f"{SPACE.n_architectures:,} architectures, {least} certified in {certificate_s:.2f} s")
    rows = []
    if CSV.exists():
        rows = pd.read_csv(CSV, float_precision="round_trip").to_dict(orient="records")
    if any(row["certified_loss"] != least for row in rows):
        raise SystemExit(f"{CSV} has rows of another question, whose certified loss is not {least}")
    done = {(row["search"], row["seed"]) for row in rows}
    for seed in range(-1, int(sys.argv[1])):  # the first, which is not kept, pays for imports
        for name, search in SEARCHES.items():
            if (name, seed) in done or (sys.argv[2:] and name not in sys.argv[2:]):
                continue
            clock = Clock(MAX_S if seed >= 0 else WARM_S)
            with contextlib.suppress(OutOfTimeError):
                search(clock, max(seed, 0))
            if seed < 0:
                continue
            reached = [(at_s, clock.best_at.get(at_s, clock.best)) for at_s in AT_S]
            if clock.best == INFEASIBLE and clock.ended:
                reached = [clock.ended]
            rows += [
                {
                    "search": name,
                    "seed": seed,
                    "cpu_s": round(cpu_s, 3),
                    "regret": loss - least,
                    "certified_loss": least,
                }
                for cpu_s, loss in reached
            ]
            pd.DataFrame(rows).to_csv(CSV, index=False)
    draw(pd.DataFrame(rows), certificate_s)


def draw(table: pd.DataFrame, certificate_s: float) -> None:
    """Median regret against CPU time, and when the certificate was there."""
    figure, axes = plt.subplots(figsize=(7, 4.4), layout="constrained")
    for name, rows in table.groupby("search", sort=False):
        found = rows[rows["regret"] < INFEASIBLE / 2]
        late = ~found["cpu_s"].isin(AT_S)
        at_s = found["cpu_s"].where(~late, found["cpu_s"][late].median())
        median = found.groupby(at_s)["regret"].median().clip(lower=1e-6)
        axes.plot(median.index, median, "o-", ms=3, lw=1, label=name)
    axes.axvline(certificate_s, color="0.3", ls="--", lw=1)
    axes.annotate(
        "certified ", (certificate_s, 0.02), xycoords=("data", "axes fraction"), fontsize=8,
        ha="right",
    )  # fmt: skip
    n_seeds = table["seed"].nunique()
    axes.set(
        xscale="log", yscale="log", xlabel="CPU seconds",
        ylabel=f"loss above the certified, nats (median of {n_seeds} seeds)",
    )  # fmt: skip
    axes.grid(alpha=0.3)
    axes.legend(fontsize=7)
    figure.savefig(HERE / "regret.png", dpi=150)
    last = table[table["cpu_s"] >= MAX_S].groupby("search", sort=False)["regret"]
    print(last.describe()[["50%", "min", "max"]].to_string())


if __name__ == "__main__":
    main()
