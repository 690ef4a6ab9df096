"""What is confirmed: a small search of four seconds."""

import dataclasses

import pytest

from anybudget.search.explore.study import Exploring
from anybudget.search.find import find
from anybudget.search.question import Question


@pytest.fixture
def found(small_space, objective):
    space = dataclasses.replace(small_space, vocab_size=(512,), batch_size=(4,))
    quick = dataclasses.replace(objective, time_budget_s=4.0)
    return find(Question(space=space, objective=quick), top=4, exploring=Exploring(n_trials=1))


@pytest.fixture
def result(found):
    return found
