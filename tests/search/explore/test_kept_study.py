"""One process among many on a study: what it claims, waits for and takes over."""

import subprocess
import sys

import optuna
import pytest

from anybudget.search.candidate import Candidate
from anybudget.search.explore import claims as claims_module
from anybudget.search.explore.kept_study import KeptStudy
from anybudget.search.explore.storage import open_storage
from anybudget.search.explore.study import Exploring, explore
from anybudget.search.find import find
from anybudget.search.question import Question

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


@pytest.mark.parametrize(
    "broken",
    [{"pid": "1"}, {"pid": 10**12}, {"machine": None}, {"keys": [[1, 2]]}, {"keys": [["a"] * 11]}],
    ids=str,
)
def test_a_claim_that_is_none(small_space, objective, journal, broken):
    claim_of_another(journal, small_space, objective, [], **broken)
    question = Question(space=small_space, objective=objective)
    with (
        KeptStudy(journal, "anybudget", question) as kept,
        pytest.raises(ValueError, match=r"'claim:elsewhere:1:0' of the study must have a pid, .*"),
    ):
        kept.look()


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
    small_space, objective, journal, candidates, kept_trials, monkeypatch, late
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
    trials = kept_trials(journal)
    assert len(trials) == len({tuple(sorted(trial.params.items())) for trial in trials}) == 30


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
    small_space, objective, journal, kept_trials
):
    question = Question(space=small_space, objective=objective)
    exploring = Exploring(n_trials=5, sampler="random", storage=journal)
    first, second = find(question, exploring=exploring), find(question, exploring=exploring)
    assert first.optuna_regret == second.optuna_regret
    assert first.n_trials == second.n_trials == 5
    trials = kept_trials(journal)
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
