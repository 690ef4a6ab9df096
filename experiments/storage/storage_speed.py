"""How many trials a second does each storage take, from one process and from four?

Command: python experiments/storage/storage_speed.py            (needs pip install -e '.[dev]')
Wall time: 5 min on 2 cores.
Expected: memory first by far, then the journal; ours ahead of Optuna's own loop on every database,
for its loop writes each parameter and attribute by itself.

`ours`: `explore`, which claims 16 architectures and writes each as one finished trial. `optimize`:
`study.optimize` on the same fields and attributes. Both draw at random, so that the storage is what
is measured; Optuna's own loop does not see to it that no architecture comes twice. Four processes
share the trials; all start their clocks at one signal, after their imports, and the last to end
stops them. In memory nothing is shared, so there is no row of four.
"""

import contextlib
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import optuna
import pandas as pd

from anybudget.experiments.shared.postgres_server import running
from anybudget.experiments.storage.many_workers import proxy
from anybudget.objectives.loss_at_time import LossAtTime
from anybudget.presets.devices import load_device
from anybudget.presets.laws import load_law
from anybudget.presets.spaces import load_space
from anybudget.search.candidate import Candidate
from anybudget.search.explore.kept_study import native_distributions
from anybudget.search.explore.storage import open_storage
from anybudget.search.explore.study import Exploring, explore
from anybudget.search.question import Question
from anybudget.space.architecture import FIELDS

CSV = Path(__file__).with_suffix(".csv")
SPACE = load_space()
OBJECTIVE = LossAtTime(
    device=load_device("tpu-v5e-datasheet"),
    law=load_law("besiroglu-2024"),
    time_budget_s=3 * 3600.0,
)
# Trials of each way: some seconds' work.
N_TRIALS = {"ours": 400, "optimize": 160}


def ours(url: str | None, n_trials: int, n_processes: int) -> None:
    """Our batches of finished trials; every process goes on until the study has them all."""
    explore(
        Question(space=SPACE, objective=OBJECTIVE),
        Exploring(n_trials=n_trials, sampler="random", storage=url),
    )


def optimize(url: str | None, n_trials: int, n_processes: int) -> None:
    """Optuna's loop, one trial after the other, each process with its share."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    storage = open_storage(url) if url else None
    study = optuna.create_study(
        storage=storage,
        study_name="optimize",
        load_if_exists=True,
        sampler=optuna.samplers.RandomSampler(),
    )
    names = native_distributions(SPACE)

    def objective(trial: optuna.Trial) -> float:
        cube = {name: trial.suggest_float(name, 0, 1) for name in SPACE.free_coordinates}
        candidate = Candidate.of(SPACE.decode(cube), OBJECTIVE)
        for name, value in candidate.as_dict().items():
            if name not in FIELDS or name in names:
                trial.set_user_attr(name, value)
        return candidate.loss

    study.optimize(objective, n_trials=n_trials // n_processes)


def rate(way: str, url: str | None, n_processes: int) -> float:
    """Trials a second of some processes on one new study."""
    n_trials = N_TRIALS[way] * (10 if url is None else 1)
    command = [sys.executable, __file__, way, url or "", str(n_trials), str(n_processes)]
    pipe = subprocess.PIPE
    workers = [
        subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) for _ in range(n_processes)
    ]
    for worker in workers:
        assert worker.stdout
        worker.stdout.readline()  # it has imported everything
    start = time.perf_counter()
    for worker in workers:
        assert worker.stdin
        worker.stdin.write("go\n")
        worker.stdin.flush()
    for worker in workers:
        worker.communicate()
        assert worker.returncode == 0
    return n_trials / (time.perf_counter() - start)


def main() -> None:
    """Every storage, way and number of processes; each on a storage of its own."""
    rows = []
    with running() as server, tempfile.TemporaryDirectory() as folder:
        for name in ("memory", "sqlite", "journal", "postgres", "proxy"):
            for way in ("ours", "optimize"):
                for n_processes in (1,) if name == "memory" else (1, 4):
                    place = f"{name}_{way}_{n_processes}"
                    context = contextlib.nullcontext(f"{folder}/{place}")
                    if name == "memory":
                        context = contextlib.nullcontext(None)
                    elif name == "sqlite":
                        context = contextlib.nullcontext(f"sqlite:///{folder}/{place}")
                    elif name == "postgres":
                        context = contextlib.nullcontext(server.create_database(place))
                    elif name == "proxy":
                        context = proxy(server.create_database(place))
                    with context as url:
                        per_s = round(rate(way, url, n_processes), 1)
                    rows.append(
                        {
                            "storage": name,
                            "way": way,
                            "n_processes": n_processes,
                            "trials_per_s": per_s,
                        }
                    )
                    print(rows[-1], flush=True)
    pd.DataFrame(rows).to_csv(CSV, index=False)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        way, url, n_trials, n_processes = sys.argv[1:]
        print("ready", flush=True)
        sys.stdin.readline()
        {"ours": ours, "optimize": optimize}[way](url or None, int(n_trials), int(n_processes))
    else:
        main()
