"""How fast is each way to search the default space, and how far from the optimum does it end?

Command: python experiments/search/search_speed.py            (needs pip install -e '.[bench]')
Wall time: 25 min on 2 cores; rows are appended to search_speed.csv and skipped when they are there.
Expected: the scan evaluates thousands of times more architectures a second than a plain Optuna
loop; the default search, which starts with a polish, is within 0.1% of the certified loss some
hundred times sooner than plain TPE on SQLite and some ten times sooner than plain TPE in memory.

Two tables. `rate`: architectures a second, and the regret after the same wall time for each.
`reach`: seconds until the best loss is within 0.1% of the certified one, medians of 10 seeds; a
plain loop that does not get there in 2,000 trials or 60 s counts with its time so far. The plain
loops use the product's own parametrisation, in which every suggestion is valid. Of nevergrad it is
TwoPointsDE, for its NGOpt runs CMA in a thread that outlives a search stopped by the clock.
"""

import contextlib
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import nevergrad
import numpy as np
import optuna
import pandas as pd
from scipy.optimize import differential_evolution

from anybudget.objectives.loss_at_time import LossAtTime
from anybudget.presets.devices import load_device
from anybudget.presets.laws import load_law
from anybudget.presets.spaces import load_space
from anybudget.search.candidate import Candidate
from anybudget.search.certify.scan import scan
from anybudget.search.explore.study import Exploring, explore
from anybudget.search.question import Question

CSV = Path(__file__).with_suffix(".csv")
LAW = load_law("besiroglu-2024")
SPACE = load_space(aspect_ratio=LAW.aspect_ratio_range)
OBJECTIVE = LossAtTime(device=load_device("tpu-v5e-datasheet"), law=LAW, time_budget_s=3 * 3600)
CLOSE = 1.001
MAX_TRIALS = 2000
MAX_S = 60.0
SEEDS = range(10)
RATE_S = 5.0


class Counted:
    """The scalar objective over the unit cube, counting calls and stopping a search from within."""

    def __init__(self, *, until_loss: float = 0.0, max_s: float = 1e9, max_calls: int = 10**9):
        self.until_loss, self.max_s, self.max_calls = until_loss, max_s, max_calls
        self.best, self.calls, self.start = np.inf, 0, time.perf_counter()

    def __call__(self, position: np.ndarray) -> float:
        """Loss at a position, 100 where it is not feasible."""
        cube = dict(zip(SPACE.free_coordinates, map(float, position), strict=True))
        candidate = Candidate.of(SPACE.decode(cube), OBJECTIVE)
        loss = candidate.loss if candidate.prediction.feasible else 100.0
        self.best, self.calls = min(self.best, loss), self.calls + 1
        if (
            self.best <= self.until_loss
            or self.calls >= self.max_calls
            or self.seconds > self.max_s
        ):
            raise StopIteration
        return loss

    @property
    def seconds(self) -> float:
        """Since it was made."""
        return time.perf_counter() - self.start


def plain_optuna(counted: Counted, seed: int, *, sampler: str, sqlite: bool) -> None:
    """`study.optimize`, as anybody would write it."""
    samplers = {"tpe": optuna.samplers.TPESampler, "random": optuna.samplers.RandomSampler}

    def objective(trial: optuna.Trial) -> float:
        return counted(np.array([trial.suggest_float(n, 0, 1) for n in SPACE.free_coordinates]))

    with tempfile.TemporaryDirectory() as folder:
        storage = f"sqlite:///{folder}/study.db" if sqlite else None
        study = optuna.create_study(storage=storage, sampler=samplers[sampler](seed=seed))
        study.optimize(objective)


def scipy_evolution(counted: Counted, seed: int) -> None:
    """Differential evolution of scipy with its defaults."""
    bounds = [(0.0, 1.0)] * len(SPACE.free_coordinates)
    differential_evolution(counted, bounds, rng=seed, maxiter=10**6, tol=0, polish=False)


def nevergrad_de(counted: Counted, seed: int) -> None:
    """TwoPointsDE of nevergrad with its defaults."""
    dims = len(SPACE.free_coordinates)
    cube = nevergrad.p.Array(init=np.full(dims, 0.5)).set_bounds(0, 1)
    cube.random_state = np.random.RandomState(seed)
    optimizer = nevergrad.optimizers.TwoPointsDE(parametrization=cube, budget=10**6)
    while True:
        asked = optimizer.ask()
        optimizer.tell(asked, counted(asked.value))


PLAIN: dict[str, Callable[[Counted, int], None]] = {
    "optuna tpe, in memory": lambda c, s: plain_optuna(c, s, sampler="tpe", sqlite=False),
    "optuna tpe, sqlite": lambda c, s: plain_optuna(c, s, sampler="tpe", sqlite=True),
    "optuna random, in memory": lambda c, s: plain_optuna(c, s, sampler="random", sqlite=False),
    "scipy differential evolution": scipy_evolution,
    "nevergrad TwoPointsDE": nevergrad_de,
}


def run_plain(name: str, seed: int, counted: Counted) -> Counted:
    """Let one of the plain searches run until its objective stops it."""
    with contextlib.suppress(StopIteration):
        PLAIN[name](counted, seed)
    return counted


def our_search(seed: int, n_trials: int) -> tuple[float, float]:
    """The default search kept in a journal: seconds, and the loss it ends with."""
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        found = explore(
            Question(space=SPACE, objective=OBJECTIVE, seed=seed),
            Exploring(n_trials=n_trials, storage=f"{folder}/study.journal"),
        )
        return time.perf_counter() - start, found.best.loss


def rows(certified: float):
    """Every row of both tables as (key, function that measures it)."""
    for name in PLAIN:

        def rate(name: str = name) -> dict:
            counted = run_plain(name, 0, Counted(max_s=RATE_S))
            return {"per_s": counted.calls / counted.seconds, "regret": counted.best - certified}

        yield ("rate", name, 0), rate
    yield ("rate", "anybudget, journal", 0), lambda: our_rate(certified)
    yield ("rate", "anybudget scan", 0), scan_rate
    for seed in SEEDS:
        for name in ("optuna tpe, in memory", "optuna tpe, sqlite"):

            def reach(name: str = name, seed: int = seed) -> dict:
                counted = Counted(until_loss=CLOSE * certified, max_calls=MAX_TRIALS, max_s=MAX_S)
                run_plain(name, seed, counted)
                return {"seconds": counted.seconds, "reached": counted.best <= CLOSE * certified}

            yield ("reach", name, seed), reach

        def ours(seed: int = seed) -> dict:
            seconds, loss = our_search(seed, n_trials=64)
            return {"seconds": seconds, "reached": loss <= CLOSE * certified}

        yield ("reach", "anybudget, journal", seed), ours


def our_rate(certified: float) -> dict:
    """Distinct architectures a second of the default search, polish not counted."""
    n_trials = 1000
    seconds, loss = our_search(0, n_trials)
    return {"per_s": n_trials / seconds, "regret": loss - certified}


def scan_rate() -> dict:
    """Architectures a second of the exhaustive scan, those it rules out in bulk not counted."""
    start = time.perf_counter()
    found = scan(SPACE, OBJECTIVE, top=1)
    return {"per_s": found.n_valid / (time.perf_counter() - start), "regret": 0.0}


def main() -> None:
    """Measure what is missing, then print both tables."""
    warnings.simplefilter("ignore")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    certified = scan(SPACE, OBJECTIVE, top=1).candidates[0].loss
    our_search(0, n_trials=64)  # imports are paid once, before the clock
    done = set()
    if CSV.exists():
        done = set(pd.read_csv(CSV)[["table", "search", "seed"]].itertuples(index=False, name=None))
    columns = ["table", "search", "seed", "per_s", "regret", "seconds", "reached"]
    for key, measure in rows(certified):
        if key not in done:
            row = dict(zip(columns, key, strict=False)) | measure()
            table = pd.DataFrame([row], columns=columns)
            table.to_csv(CSV, mode="a", header=not CSV.exists(), index=False)
            print(row, flush=True)
    table = pd.read_csv(CSV)
    rates = table.query("table == 'rate'")
    print(rates.to_string(columns=["search", "per_s", "regret"], index=False))
    reach = table.query("table == 'reach'").groupby("search")
    print(reach.agg(median_s=("seconds", "median"), reached=("reached", "sum")).to_string())


if __name__ == "__main__":
    main()
