"""Optuna's exploration of a space."""

import dataclasses

import pytest

from anybudget.search.certify.scan import scan
from anybudget.search.explore import study
from anybudget.search.explore.study import Exploring, explore
from anybudget.search.question import Question


@pytest.mark.parametrize("seed", range(5))
def test_auto_ends_on_the_optimum_of_a_small_space(small_space, objective, seed):
    best = scan(small_space, objective, top=1).candidates[0]
    explored = explore(
        Question(space=small_space, objective=objective, seed=seed), Exploring(n_trials=80)
    )
    assert explored.best.loss == pytest.approx(best.loss, rel=1e-14)


def test_progress_adds_up_to_the_trials(small_space, objective):
    counts = []
    explored = explore(
        Question(space=small_space, objective=objective),
        Exploring(n_trials=150, sampler="random"),
        on_progress=counts.append,
    )
    assert sum(counts) == explored.n_trials == 150
    assert max(counts) <= study.GENERATION


def test_repeats_count_for_nothing(small_space, objective, monkeypatch):
    """As many models are evaluated as were asked for, however often some are suggested."""
    evaluated = []
    of = study.Candidate.of_several
    monkeypatch.setattr(
        study.Candidate,
        "of_several",
        lambda archs, objective: evaluated.extend(archs) or of(archs, objective),
    )
    explored = explore(
        Question(space=small_space, objective=objective), Exploring(n_trials=400, sampler="random")
    )
    assert explored.n_repeats > 50
    assert len(evaluated) == explored.n_trials == 400


def test_the_winner_may_be_the_polish_alone_and_is_then_first(small_space, objective):
    explored = explore(
        Question(space=small_space, objective=objective, seed=2),
        Exploring(n_trials=3, sampler="random"),
    )
    assert explored.best.key == explored.candidates[0].key
    assert explored.best.loss < explored.candidates[1].loss
    assert explored.n_trials == 3


@pytest.mark.parametrize("n_trials", [0, -1])
def test_no_trials(small_space, objective, n_trials):
    with pytest.raises(ValueError, match=f"`n_trials` must be at least 1, but got {n_trials}"):
        explore(Question(space=small_space, objective=objective), Exploring(n_trials=n_trials))


def test_nothing_feasible_leaves_no_candidate(small_space, objective):
    hopeless = dataclasses.replace(objective, time_budget_s=1e-6)
    explored = explore(Question(space=small_space, objective=hopeless), Exploring(n_trials=10))
    assert (explored.candidates, explored.n_trials) == ([], 10)
