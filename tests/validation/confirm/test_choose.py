"""Choosing what to train of what was found."""

import pytest

from anybudget.search.candidate import Candidate
from anybudget.search.explore.study import Exploring
from anybudget.search.find import find
from anybudget.search.question import Question
from anybudget.validation.confirm.choose import MIN_CONTRAST_STEPS, Choice, choose


def test_the_choice(result):
    question, entries = choose(result, Choice(top=3, contrast=5))
    objective = question.objective
    assert objective == result.objective
    assert [entry.role for entry in entries] == ["top"] * 3 + ["contrast"] * 5
    assert [e.candidate.arch for e in entries[:3]] == [c.arch for c in result.candidates[:3]]
    contrast = [entry.candidate for entry in entries[3:]]
    shapes = {c.shape for c in contrast}
    assert len(shapes) == 5
    assert not shapes & {c.shape for c in result.candidates[:3]}
    assert all(c.arch in result.space and c.prediction.feasible for c in contrast)
    assert all(c.prediction.n_steps >= MIN_CONTRAST_STEPS for c in contrast)
    losses = [c.loss for c in contrast]
    assert losses == sorted(losses)
    assert losses[0] > result.candidates[0].loss
    assert choose(result, Choice(top=3, contrast=5))[1] == entries
    assert choose(result, Choice(top=3, contrast=5, seed=1))[1] != entries


def test_less_time_is_predicted_anew(result):
    question, entries = choose(result, Choice(top=2, contrast=1, scale=0.25))
    objective = question.objective
    assert objective.time_budget_s == 1.0
    for entry in entries:
        anew = Candidate.of(entry.candidate.arch, objective)
        # The same numbers in another order of summation differ in the last digit.
        assert entry.candidate.loss == pytest.approx(anew.loss, rel=1e-12)
        assert entry.candidate.prediction.n_steps == anew.prediction.n_steps
    best = find(
        Question(space=result.space, objective=objective), top=1, exploring=Exploring(n_trials=1)
    ).candidates[0]
    assert best.arch != result.candidates[0].arch
    assert [e.role for e in entries] == ["top", "top", "best in 1s", "contrast"]
    assert entries[2].candidate.arch == best.arch


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ({"top": 0}, "`top` must be at least 1, but got 0"),
        ({"contrast": -1}, "`contrast` must be at least 0, but got -1"),
        ({"scale": 0}, "`scale` must be above 0 and at most 1, but got 0"),
        ({"scale": float("nan")}, "`scale` must be above 0"),
        ({"scale": 1e-3}, r"at least 10 steps, but 0.004s hold \d of .* take more time"),
    ],
)
def test_a_choice_that_cannot_be(result, choice, message):
    with pytest.raises(ValueError, match=message):
        choose(result, Choice(**choice))
