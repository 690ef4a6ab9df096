"""Optuna's exploration of a space."""

import dataclasses

import pytest

from anybudget.search.certify.scan import scan
from anybudget.search.explore import study
from anybudget.search.explore.kept_study import fingerprint
from anybudget.search.explore.study import explore


@pytest.mark.parametrize("seed", range(5))
def test_auto_ends_on_the_optimum_of_a_small_space(small_space, objective, seed):
    best = scan(small_space, objective, top=1).candidates[0]
    explored = explore(small_space, objective, n_trials=80, seed=seed)
    assert explored.best.loss == pytest.approx(best.loss, rel=1e-14)


def test_progress_adds_up_to_the_trials(small_space, objective):
    counts = []
    explored = explore(
        small_space, objective, n_trials=150, sampler="random", on_progress=counts.append
    )
    assert sum(counts) == explored.n_trials == 150
    assert max(counts) <= study.BATCH


def test_repeats_count_for_nothing(small_space, objective, monkeypatch):
    """As many models are evaluated as were asked for, however often some are suggested."""
    evaluated = []
    of = study.Candidate.of
    monkeypatch.setattr(
        study.Candidate, "of", lambda arch, objective: evaluated.append(arch) or of(arch, objective)
    )
    explored = explore(small_space, objective, n_trials=400, sampler="random")
    assert explored.n_repeats > 50
    assert len(evaluated) == explored.n_trials == 400


def test_the_winner_may_be_the_polish_alone_and_is_then_first(small_space, objective):
    explored = explore(small_space, objective, n_trials=3, sampler="random", seed=2)
    assert explored.best.key == explored.candidates[0].key
    assert explored.best.loss < explored.candidates[1].loss
    assert explored.n_trials == 3


@pytest.mark.parametrize("n_trials", [0, -1])
def test_no_trials(small_space, objective, n_trials):
    with pytest.raises(ValueError, match=f"`n_trials` must be at least 1, but got {n_trials}"):
        explore(small_space, objective, n_trials=n_trials)


def test_nothing_feasible_leaves_no_candidate(small_space, objective):
    hopeless = dataclasses.replace(objective, time_budget_s=1e-6)
    explored = explore(small_space, hopeless, n_trials=10)
    assert (explored.candidates, explored.n_trials) == ([], 10)


def test_the_fingerprint_is_of_the_whole_question(small_space, objective):
    same = dataclasses.replace(objective), dataclasses.replace(small_space)
    assert fingerprint(same[1], same[0]) == fingerprint(small_space, objective)
    questions = {
        fingerprint(small_space, objective),
        fingerprint(dataclasses.replace(small_space, batch_size=(4,)), objective),
        fingerprint(dataclasses.replace(small_space, aspect_ratio=(20.0, 65.0)), objective),
        fingerprint(small_space, dataclasses.replace(objective, time_budget_s=601.0)),
        fingerprint(small_space, dataclasses.replace(objective, remat="none")),
        fingerprint(small_space, dataclasses.replace(objective, data_limit_tokens=1e9)),
        fingerprint(
            small_space,
            dataclasses.replace(objective, law=dataclasses.replace(objective.law, beta=0.38)),
        ),
    }
    assert len(questions) == 7
