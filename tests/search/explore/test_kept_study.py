"""Many processes on one study: over every kind of storage, killed, paused, and racing."""

import collections
import os
import signal
import socket
import subprocess
import sys

import optuna
import pytest

from anybudget.search.candidate import Candidate
from anybudget.search.explore import claims as claims_module
from anybudget.search.explore.kept_study import KeptStudy
from anybudget.search.explore.storage import close_storage, open_storage
from anybudget.search.explore.study import Exploring, explore
from anybudget.search.find import find
from anybudget.search.question import Question

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


def kept(url):
    storage = open_storage(url)
    trials = optuna.load_study(study_name="anybudget", storage=storage).trials
    close_storage(storage)
    return trials


def shapes(trials):
    return [tuple(sorted(trial.params.items())) for trial in trials]


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


def test_processes_share_a_new_study_and_a_killed_ones_batch_is_redone(url):
    """All with one seed, started at once, on a storage without its tables."""
    doomed, *others = [start(url, 100) for _ in range(3)]
    assert doomed.stdout
    by_doomed = [doomed.stdout.readline().strip()]
    os.kill(doomed.pid, signal.SIGKILL)
    by_doomed += doomed.communicate()[0].splitlines()
    evaluated = collections.Counter(line for process in others for line in finish(process))
    assert max(evaluated.values()) == 1
    trials = kept(url)
    assert {trial.state for trial in trials} == {optuna.trial.TrialState.COMPLETE}
    assert len(trials) == len(set(shapes(trials))) == 100
    # What it had evaluated and not yet written is evaluated again, and is one at most.
    assert len(set(by_doomed) & set(evaluated)) <= 1
    assert len(set(by_doomed) | set(evaluated)) == 100


HERE = claims_module._machine()


def gone_pid():
    """The number of a process that has ended."""
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    return gone.pid


def claim_of_another(url, small_space, objective, archs, **changes):
    """Leave a claim as a process elsewhere would."""
    study = KeptStudy(url, "anybudget", Question(space=small_space, objective=objective))
    claim = {"number": 1, "pid": 1, "machine": "elsewhere", "keys": [a.key for a in archs]}
    study.storage.set_study_system_attr(study.study_id, "claim:elsewhere:1:0", claim | changes)


@pytest.fixture
def journal(tmp_path):
    return str(tmp_path / "study.journal")


@pytest.fixture
def candidates(small_space, objective):
    """What a search of 30 finds."""
    return explore(
        Question(space=small_space, objective=objective), Exploring(n_trials=30, sampler="random")
    ).candidates


def test_a_stale_claim_is_taken_over(small_space, objective, journal, candidates, monkeypatch):
    monkeypatch.setattr(claims_module, "GRACE_S", 0.5)
    claim_of_another(journal, small_space, objective, candidates[:5])
    explored = explore(
        Question(space=small_space, objective=objective),
        Exploring(n_trials=40, sampler="random", storage=journal),
    )
    assert (explored.n_trials, explored.n_retried) == (40, 5)
    assert {c.key for c in candidates[:5]} <= {c.key for c in explored.candidates}


def test_the_claim_of_a_dead_process_here_is_taken_over_at_once(
    small_space, objective, journal, candidates
):
    here = {"pid": gone_pid(), "machine": HERE}
    claim_of_another(journal, small_space, objective, candidates[:5], **here)
    explored = explore(
        Question(space=small_space, objective=objective),
        Exploring(n_trials=5, sampler="random", storage=journal),
    )
    assert (explored.n_trials, explored.n_retried) == (5, 5)


def test_the_place_of_a_dead_ones_batch_is_kept(small_space, objective, journal, candidates):
    """Though it died after this process had proposed a batch, and before it looked."""
    claim_of_another(journal, small_space, objective, candidates[:5], pid=gone_pid(), machine=HERE)
    with KeptStudy(journal, "anybudget", Question(space=small_space, objective=objective)) as kept:
        archs = [candidate.arch for candidate in candidates]
        kept.claim(archs[5:25])
        kept.look()
        assert kept.granted(20) == archs[5:20]
        assert kept.granted(5) == []
        kept.claim(archs[3:25])
        kept.look()
        assert kept.granted(20) == archs[3:20]
        assert kept.granted(1) == archs[3:4]


@pytest.mark.parametrize("late", [None, 3], ids=["in time", "late in the middle"])
def test_what_is_taken_over_is_evaluated_once(
    small_space, objective, journal, candidates, monkeypatch, late
):
    """Though our seed proposes it too, and though it is left over and claimed again."""
    here = {"pid": gone_pid(), "machine": HERE}
    claim_of_another(journal, small_space, objective, candidates[::3], **here)
    looks = iter(range(10**9))
    is_old = property(lambda claims: next(looks) == late)
    monkeypatch.setattr(claims_module.Claims, "is_old", is_old)
    explore(
        Question(space=small_space, objective=objective),
        Exploring(n_trials=30, sampler="random", storage=journal),
    )
    trials = shapes(kept(journal))
    assert len(trials) == len(set(trials)) == 30


def test_a_living_claim_is_left_alone(small_space, objective, journal, candidates):
    claimed, finished = candidates[:3], candidates[3:6]
    claim_of_another(journal, small_space, objective, claimed)
    question = Question(space=small_space, objective=objective)
    study = KeptStudy(journal, "anybudget", question)
    for candidate in finished:
        study.write(candidate)
    study.claim([c.arch for c in candidates])
    assert study.look() == []
    assert study.taken == {c.key for c in claimed}
    granted = {Candidate.key_of(arch) for arch in study.granted(1000)}
    assert granted == {c.key for c in candidates[6:]}
    # Three are finished and three are promised.
    assert [len(study.granted(n)) for n in (5, 6, 7, 8)] == [0, 0, 1, 2]


def test_a_trial_listed_late_is_not_lost(small_space, objective, journal, candidates, monkeypatch):
    """Optuna's proxy may list a trial before an earlier one."""
    question = Question(space=small_space, objective=objective)
    writer = KeptStudy(journal, "anybudget", question)
    for candidate in candidates[:4]:
        writer.write(candidate)
    reader = KeptStudy(journal, "anybudget", question)
    trials = reader.study.get_trials()
    monkeypatch.setattr(reader.study, "get_trials", lambda deepcopy: [*trials[:1], *trials[2:]])
    assert [c.key for c in reader.look()] == [c.key for c in candidates[:4]]


def test_what_a_process_could_not_do_in_time_it_claims_again(
    small_space, objective, journal, monkeypatch
):
    monkeypatch.setattr(claims_module, "RENEW_S", -1.0)  # at once too late
    made = []
    make = claims_module.Claims.make

    def renew_from_the_third_on(self, storage, study_id, keys):
        made.append(keys)
        if len(made) == 3:
            monkeypatch.setattr(claims_module, "RENEW_S", 1e9)
        make(self, storage, study_id, keys)

    monkeypatch.setattr(claims_module.Claims, "make", renew_from_the_third_on)
    explored = explore(
        Question(space=small_space, objective=objective),
        Exploring(n_trials=20, sampler="random", storage=journal),
    )
    assert explored.n_trials == 20
    assert made[0] == made[1] == made[2] != made[3]


def test_the_answer_is_the_studys_best_trial_and_counts_for_nothing(
    small_space, objective, journal
):
    question = Question(space=small_space, objective=objective)
    exploring = Exploring(n_trials=5, sampler="random", storage=journal)
    first, second = find(question, exploring=exploring), find(question, exploring=exploring)
    assert first.optuna_regret == second.optuna_regret
    assert first.n_trials == second.n_trials == 5
    trials = kept(journal)
    assert len(trials) == 6
    storage = open_storage(journal)
    best = optuna.load_study(study_name="anybudget", storage=storage).best_trial
    assert best.value == first.best.loss
    assert best.params == {name: getattr(first.best.arch, name) for name in best.params}
    assert [trial.user_attrs.get("answer") for trial in trials] == [None] * 5 + [True]


def test_a_storage_lost_before_the_answer_is_kept_costs_no_answer(
    small_space, objective, journal, monkeypatch
):
    question = Question(space=small_space, objective=objective)

    def lose(stage, done, total):
        if stage == "certify":
            monkeypatch.setattr(
                "anybudget.search.explore.kept_study.open_storage",
                lambda url: (_ for _ in ()).throw(ValueError("cannot open the storage")),
            )

    exploring = Exploring(n_trials=5, sampler="random", storage=journal)
    answer = find(question, exploring=exploring, on_progress=lose)
    assert "the study lacks this answer: cannot open the storage" in answer.warnings
