"""Four processes on one study, one of them killed: is anything lost, is anything run twice?

Command: python experiments/storage/many_workers.py            (needs pip install -e '.[dev]')
Wall time: 5 min on 2 cores.
Expected: 2,000 trials of 2,000 architectures on PostgreSQL and through the proxy in front of it,
none lost, none run twice; what the killed worker had claimed is finished by the others.

The workers start at once, with one seed, on a database without its tables. Each writes the
architectures it evaluates to a file before it evaluates them. `SIGKILL` comes when the first has
evaluated 200. `lost`: evaluated by a living worker, or claimed by the dead one, and not in the
study. `run_twice`: evaluated by more than one worker, but for what the killed one was at when it
died, which is `redone`. `duplicated`: trials of an architecture that has one already.
"""

import collections
import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import optuna
import pandas as pd

from anybudget.experiments.shared.postgres_server import running
from anybudget.objectives.loss_at_time import LossAtTime
from anybudget.presets.devices import load_device
from anybudget.presets.laws import load_law
from anybudget.presets.spaces import load_space
from anybudget.search.candidate import Candidate
from anybudget.search.explore import study
from anybudget.search.explore.storage import close_storage, open_storage
from anybudget.search.question import Question

CSV = Path(__file__).with_suffix(".csv")
N_TRIALS, N_WORKERS, KILL_AFTER = 2000, 4, 200


def work(url: str, log: str) -> None:
    """Search in this process, and note each architecture before its evaluation."""
    evaluate, of = study._evaluate, Candidate.of

    def noted(arch, objective):
        with Path(log).open("a") as file:
            file.write(f"{Candidate.key_of(arch)}\n")
        return of(arch, objective)

    def traced(*arguments):
        study.Candidate.of = noted
        try:
            return evaluate(*arguments)
        finally:
            study.Candidate.of = of

    study._evaluate = traced
    objective = LossAtTime(
        device=load_device("tpu-v5e-datasheet"),
        law=load_law("besiroglu-2024"),
        time_budget_s=3 * 3600.0,
    )
    explored = study.explore(
        Question(space=load_space(), objective=objective),
        study.Exploring(n_trials=N_TRIALS, storage=url),
    )
    print(explored.n_retried)


@contextlib.contextmanager
def proxy(url: str) -> Iterator[str]:
    """Optuna's proxy in front of a database, in a process of its own."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    command = [sys.executable, "-m", "anybudget", "proxy", url, "--port", str(port)]
    server = subprocess.Popen(command)
    try:
        yield f"grpc://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait()


def row(name: str, url: str, folder: Path) -> dict:
    """Run the workers on one storage, kill the first, and count."""
    start = time.perf_counter()
    logs = [folder / f"{i}.log" for i in range(N_WORKERS)]
    commands = [[sys.executable, __file__, url, str(log)] for log in logs]
    workers = [subprocess.Popen(one, stdout=subprocess.PIPE, text=True) for one in commands]
    while not logs[0].exists() or len(logs[0].read_text().splitlines()) < KILL_AFTER:
        time.sleep(0.005)
    os.kill(workers[0].pid, signal.SIGKILL)
    outputs = [worker.communicate()[0] for worker in workers]
    assert [worker.returncode for worker in workers] == [-signal.SIGKILL, 0, 0, 0]
    wall_s = time.perf_counter() - start
    storage = open_storage(url)
    trials = optuna.load_study(study_name="anybudget", storage=storage).trials
    close_storage(storage)
    finished = collections.Counter(tuple(sorted(trial.params.items())) for trial in trials)
    evaluated = [log.read_text().splitlines() for log in logs]
    by_living = collections.Counter(line for lines in evaluated[1:] for line in lines)
    return {
        "storage": name,
        "n_workers": N_WORKERS,
        "n_trials": len(trials),
        "n_complete": sum(trial.state == optuna.trial.TrialState.COMPLETE for trial in trials),
        "distinct": len(finished),
        "duplicated": len(trials) - len(finished),
        "lost": len(set(evaluated[0]) | set(by_living)) - len(finished),
        "run_twice": sum(n - 1 for n in by_living.values()),
        "redone": len(set(evaluated[0]) & set(by_living)),
        "evaluated_by_killed": len(evaluated[0]),
        "retried_of_killed": sum(map(int, filter(None, outputs))),
        "wall_s": round(wall_s, 1),
    }


def main() -> None:
    """Both storages, one after the other."""
    rows = []
    with running() as server, tempfile.TemporaryDirectory() as folder:
        for name in ("postgres", "proxy"):
            place = Path(folder) / name
            place.mkdir()
            database = server.create_database(f"study_{name}")
            context = proxy(database) if name == "proxy" else contextlib.nullcontext(database)
            with context as url:
                rows.append(row(name, url, place))
            print(rows[-1], flush=True)
    pd.DataFrame(rows).to_csv(CSV, index=False)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        work(*sys.argv[1:])
    else:
        main()
