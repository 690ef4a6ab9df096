"""Kept studies: resumed, shared, killed, torn, and refused where they are not ours."""

import contextlib
import dataclasses
import errno
import os
import signal
import subprocess
import sys

import optuna
import pytest
from optuna.storages.journal import JournalFileBackend

from anybudget.search.explore import journal as journal_module
from anybudget.search.explore.storage import close_storage, open_storage
from anybudget.search.explore.study import BATCH, Exploring, explore
from anybudget.search.question import Question
from anybudget.space.architecture import FIELDS

# A search of the default space by the slowest sampler, which reports each kept batch on stdout.
SEARCH = """
import sys
from anybudget.objectives.loss_at_time import LossAtTime
from anybudget.presets.devices import load_device
from anybudget.presets.laws import load_law
from anybudget.search.explore.study import Exploring, explore
from anybudget.search.question import Question
from anybudget.presets.spaces import load_space

storage, sampler, n_trials, seed = sys.argv[1:]
device = load_device("tpu-v5e-datasheet")
objective = LossAtTime(device=device, law=load_law("besiroglu-2024"), time_budget_s=3600.0)
explored = explore(
    Question(space=load_space(), objective=objective, seed=int(seed)),
    Exploring(n_trials=int(n_trials), sampler=sampler, storage=storage),
    on_progress=lambda n: print(n, flush=True),
)
print("done", explored.n_trials, explored.best.loss)
"""


def start(storage, *, sampler="random", n_trials, seed=0):
    return subprocess.Popen(
        [sys.executable, "-c", SEARCH, str(storage), sampler, str(n_trials), str(seed)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process):
    """The number of trials that a search reports at its end."""
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    word, n_trials, _ = out.splitlines()[-1].split()
    assert word == "done"
    return int(n_trials)


@contextlib.contextmanager
def opened(storage):
    found = open_storage(str(storage))
    yield found
    close_storage(found)


def kept(storage, name="anybudget"):
    with opened(storage) as found:
        return optuna.load_study(study_name=name, storage=found).trials


def shapes(trials):
    return [tuple(sorted(trial.params.items())) for trial in trials]


@pytest.fixture
def journal(tmp_path):
    return tmp_path / "study.journal"


@pytest.fixture(params=["journal", "sqlite"])
def url(request, tmp_path):
    journal = str(tmp_path / "study.journal")
    return journal if request.param == "journal" else f"sqlite:///{tmp_path / 'study.db'}"


def test_a_kept_study_is_taken_up_where_it_stood(small_space, objective, url):
    first = explore(
        Question(space=small_space, objective=objective),
        Exploring(n_trials=10, sampler="random", storage=url),
    )
    assert len(kept(url)) == first.n_trials == 10
    counts = []
    second = explore(
        Question(space=small_space, objective=objective),
        Exploring(n_trials=25, sampler="random", storage=url),
        on_progress=counts.append,
    )
    assert (second.n_trials, counts) == (25, [10, 15])
    assert len(set(shapes(kept(url)))) == len(kept(url)) == 25
    assert {c.key for c in first.candidates[1:]} <= {c.key for c in second.candidates}
    assert second.best.loss <= first.best.loss


def test_a_finished_study_answers_without_new_trials(small_space, objective, url):
    first = explore(
        Question(space=small_space, objective=objective), Exploring(n_trials=12, storage=url)
    )
    again = explore(
        Question(space=small_space, objective=objective), Exploring(n_trials=12, storage=url)
    )
    assert len(kept(url)) == 12
    assert [c.key for c in again.candidates] == [c.key for c in first.candidates]


def test_a_kept_trial_reads_as_an_architecture_and_its_prediction(small_space, objective, url):
    explored = explore(
        Question(space=small_space, objective=objective),
        Exploring(n_trials=20, sampler="random", storage=url),
    )
    searched = {name for name in FIELDS if len(getattr(small_space, name)) > 1}
    rows = {
        tuple(row[n] for n in searched): row for c in explored.candidates for row in [c.as_dict()]
    }
    n_feasible = 0
    for trial in kept(url):
        assert set(trial.params) == searched
        row = rows.get(tuple(trial.params[name] for name in searched))
        (excess,) = trial.constraints.values()
        assert (excess <= 0) == (row is not None)
        if row:
            n_feasible += 1
            assert trial.value == row["predicted_loss"]
            assert trial.user_attrs == {name: row[name] for name in row if name not in FIELDS}
    assert 0 < n_feasible < 20


def test_two_studies_lie_side_by_side_under_their_names(small_space, objective, url):
    longer = dataclasses.replace(objective, time_budget_s=1200.0)
    explore(
        Question(space=small_space, objective=objective),
        Exploring(n_trials=4, storage=url, study_name="ten minutes"),
    )
    explore(
        Question(space=small_space, objective=longer),
        Exploring(n_trials=7, storage=url, study_name="twenty minutes"),
    )
    assert len(kept(url, "ten minutes")) == 4
    assert len(kept(url, "twenty minutes")) == 7


def test_another_question_under_the_same_name_is_refused(small_space, objective, url):
    explore(Question(space=small_space, objective=objective), Exploring(n_trials=8, storage=url))
    longer = dataclasses.replace(objective, time_budget_s=1200.0)
    with pytest.raises(ValueError, match="searched another space, budget, device, law or the like"):
        explore(Question(space=small_space, objective=longer), Exploring(n_trials=20, storage=url))
    assert len(kept(url)) == 8


def test_someone_elses_study_of_that_name_is_refused(small_space, objective, url):
    with opened(url) as found:
        study = optuna.create_study(storage=found, study_name="anybudget")
        study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=3)
    with pytest.raises(ValueError, match="give it another --study name"):
        explore(
            Question(space=small_space, objective=objective), Exploring(n_trials=20, storage=url)
        )
    assert len(kept(url)) == 3


def test_a_kill_loses_at_most_the_batch_in_flight(journal):
    process = start(journal, sampler="tpe", n_trials=2000)
    assert process.stdout
    reported = 0
    while reported < 3 * BATCH:
        reported += int(process.stdout.readline())
    os.kill(process.pid, signal.SIGKILL)
    rest, _ = process.communicate()
    reported += sum(map(int, rest.split()))
    left = len(kept(journal))
    assert reported <= left <= reported + BATCH
    # The same command with fewer trials to go, so that the test stays short.
    assert finish(start(journal, sampler="random", n_trials=left + 100)) == left + 100
    trials = kept(journal)
    assert len(set(shapes(trials))) == len(trials) == left + 100


@pytest.mark.parametrize("cut", [1, 200, 700])
def test_a_torn_last_line_costs_its_own_trial_alone(small_space, objective, journal, cut):
    explore(
        Question(space=small_space, objective=objective),
        Exploring(n_trials=30, sampler="random", storage=str(journal)),
    )
    lines = journal.read_bytes().splitlines(keepends=True)
    while b"predicted_loss" not in lines[-1]:
        lines.pop()  # the released claim
    whole = b"".join(lines)
    assert len(lines[-1]) > 700
    journal.write_bytes(whole[:-cut])
    explored = explore(
        Question(space=small_space, objective=objective),
        Exploring(n_trials=30, sampler="random", storage=str(journal)),
    )
    assert explored.n_trials == 30
    assert len(set(shapes(kept(journal)))) == len(kept(journal)) == 30
    assert journal.read_bytes().startswith(b"\n".join(whole.splitlines()[:-1]))


def test_a_journal_torn_in_its_first_line_is_begun_anew(small_space, objective, journal):
    journal.write_bytes(b'{"op_c')
    assert (
        explore(
            Question(space=small_space, objective=objective),
            Exploring(n_trials=10, storage=str(journal)),
        ).n_trials
        == 10
    )
    assert len(kept(journal)) == 10


def test_the_lock_of_a_dead_process_is_broken(small_space, objective, journal, monkeypatch):
    monkeypatch.setattr(journal_module, "LOCK_GRACE_S", 3)
    explore(
        Question(space=small_space, objective=objective),
        Exploring(n_trials=10, sampler="random", storage=str(journal)),
    )
    os.symlink(journal, f"{journal}.lock")
    explored = explore(
        Question(space=small_space, objective=objective),
        Exploring(n_trials=20, sampler="random", storage=str(journal)),
    )
    assert explored.n_trials == len(kept(journal)) == 20


def test_two_processes_share_one_study(journal):
    """With one seed between them, so that they would suggest the same if neither looked."""
    both = [start(journal, n_trials=100) for _ in range(2)]
    assert [finish(process) for process in both] == [100, 100]
    trials = kept(journal)
    assert len(trials) == len(set(shapes(trials))) == 100


def test_what_a_full_disk_left_of_a_line_is_not_written_on(
    small_space, objective, tmp_path, monkeypatch
):
    append, n_lines = JournalFileBackend.append_logs, iter(range(10**9))

    def fill(backend, logs):
        if next(n_lines) == 4:
            with open(backend._file_path, "ab") as file:
                file.write(b'{"op_code":4,"wor')
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        append(backend, logs)

    monkeypatch.setattr(JournalFileBackend, "append_logs", fill)
    url, question = str(tmp_path / "journal"), Question(space=small_space, objective=objective)
    exploring = Exploring(n_trials=8, sampler="random", storage=url)
    with pytest.raises(ValueError, match=r"lost the storage '.*journal': .*No space left"):
        explore(question, exploring)
    assert explore(question, exploring).n_trials == 8
    assert len(kept(url)) == 8
