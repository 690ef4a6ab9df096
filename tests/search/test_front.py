"""Certified fronts: the lowest loss at each limit of time, money and memory."""

import dataclasses

import pytest

from anybudget.search.certify.fronts import N_LIMITS, best_at_limits, certain_memory_front
from anybudget.search.certify.scan import scan
from anybudget.search.front import COST, front
from anybudget.search.question import Question


@pytest.fixture
def question(small_space, objective):
    priced = dataclasses.replace(objective.device, price_per_hour_usd=2.0)
    priced = dataclasses.replace(objective, device=priced)
    return Question(space=small_space, objective=priced)


@pytest.mark.parametrize("against", COST)
def test_none_beats_a_model_of_a_front_in_both(question, against):
    counts = []
    frame = front(
        question, against=against, on_progress=lambda stage, n, total: counts.append((n, total))
    )
    assert sum(n for n, _ in counts) == N_LIMITS == counts[0][1]
    assert 3 < len(frame) <= N_LIMITS
    assert frame[COST[against]].is_monotonic_increasing
    assert frame["predicted_loss"].is_monotonic_decreasing
    explored = front(question, against=against, certify=False, n_trials=100)
    for one in explored.itertuples():
        dearer = frame[frame[COST[against]] >= getattr(one, COST[against]) * (1 - 1e-9)]
        if len(dearer):
            assert dearer["predicted_loss"].iloc[0] <= one.predicted_loss + 1e-12


@pytest.mark.parametrize("limit", ["time_budget_s", "memory_bytes"])
def test_each_limit_has_a_scan_s_winner(small_space, objective, limit):
    found = best_at_limits(small_space, objective, limit)
    assert len(found) > 3
    for limited, candidate in found[::5]:
        assert scan(small_space, limited, top=1).candidates == [candidate]


def test_money_is_the_time_s_price(question):
    frame = front(question, against="money")
    assert frame["cost_usd"].tolist() == pytest.approx(
        (frame["time_budget_s"] * 2.0 / 3600).tolist()
    )
    free = dataclasses.replace(question.objective.device, price_per_hour_usd=None)
    free = dataclasses.replace(question.objective, device=free)
    with pytest.raises(ValueError, match="needs a price, but toy has none; give --price"):
        front(dataclasses.replace(question, objective=free), against="money")


def test_a_large_space_s_picture_has_certified_points(small_space, objective, monkeypatch):
    all_of_it = certain_memory_front(small_space, objective)
    monkeypatch.setattr("anybudget.search.certify.fronts.MAX_SCANNED", 5)
    at_limits = certain_memory_front(small_space, objective)
    assert 3 < len(at_limits) <= N_LIMITS
    # A model may be run again and slower to fit, so that a limit has at least what all of it has.
    for one in all_of_it:
        roomier = [c for c in at_limits if c.prediction.memory_bytes >= one.prediction.memory_bytes]
        assert not roomier or roomier[0].loss <= one.loss
