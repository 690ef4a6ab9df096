"""Many processes at once on one new study, over every kind of storage, and one of them killed."""

import collections
import os
import signal
import socket
import subprocess
import sys

import optuna
import pytest

# Opens the storage and searches, in one of several processes that start at once. Says which
# architectures it evaluated.
WORKER = """
import sys
from anybudget.objectives.loss_at_time import LossAtTime
from anybudget.presets.devices import load_device
from anybudget.presets.laws import load_law
from anybudget.search.explore import study
from anybudget.search.candidate import Candidate
from anybudget.search.question import Question
from anybudget.presets.spaces import load_space

of = Candidate.of
def reported(arch, objective):
    print(*Candidate.key_of(arch), flush=True)
    return of(arch, objective)

url, n_trials = sys.argv[1:]
device = load_device("tpu-v5e-datasheet")
objective = LossAtTime(device=device, law=load_law("besiroglu-2024"), time_budget_s=3600.0)
evaluate = study._evaluate
def traced(*args):
    study.Candidate.of = reported
    try:
        return evaluate(*args)
    finally:
        study.Candidate.of = of
study._evaluate = traced
study.explore(
    Question(space=load_space(), objective=objective),
    study.Exploring(n_trials=int(n_trials), sampler="random", storage=url),
)
"""


def start(url, n_trials):
    return subprocess.Popen(
        [sys.executable, "-c", WORKER, url, str(n_trials)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process):
    """The architectures that a process evaluated."""
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    return out.splitlines()


# What a shell starts in the background ignores Ctrl-C, and hands that on; this server does not.
LISTENING = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)
from anybudget.cli import main
main()
"""


@pytest.fixture
def proxy(database):
    """The URL of a proxy in front of an empty PostgreSQL database."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    command = [sys.executable, "-c", LISTENING, "proxy", database, "--port", str(port)]
    server = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        assert server.stderr
        assert f"at grpc://127.0.0.1:{port}" in server.stderr.readline()
        yield f"grpc://127.0.0.1:{port}"
        server.send_signal(signal.SIGINT)
        _, err = server.communicate(timeout=30)
    finally:
        server.kill()
        server.wait()
    assert (server.returncode, "Traceback" in err) == (130, False)


@pytest.fixture(params=["sqlite", "postgres", "proxy"])
def url(request, tmp_path):
    match request.param:
        case "sqlite":
            return f"sqlite:///{tmp_path / 'study.db'}"
        case "postgres":
            return request.getfixturevalue("database")
    return request.getfixturevalue("proxy")


def test_processes_share_a_new_study_and_a_killed_ones_batch_is_redone(url, kept_trials):
    """All with one seed, started at once, on a storage without its tables."""
    doomed, *others = [start(url, 100) for _ in range(3)]
    assert doomed.stdout
    by_doomed = [doomed.stdout.readline().strip()]
    os.kill(doomed.pid, signal.SIGKILL)
    by_doomed += doomed.communicate()[0].splitlines()
    evaluated = collections.Counter(line for process in others for line in finish(process))
    assert max(evaluated.values()) == 1
    trials = kept_trials(url)
    assert {trial.state for trial in trials} == {optuna.trial.TrialState.COMPLETE}
    assert len(trials) == len({tuple(sorted(trial.params.items())) for trial in trials}) == 100
    # What it had evaluated and not yet written is evaluated again, and is one at most.
    assert len(set(by_doomed) & set(evaluated)) <= 1
    assert len(set(by_doomed) | set(evaluated)) == 100
