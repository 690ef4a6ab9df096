import dataclasses
import math

import numpy as np
import pytest

from anybudget.objectives.fit import solver as law_solver
from anybudget.objectives.fit.data import HIGHEST, LawData, Prior
from anybudget.objectives.fit.solver import ALPHA, log_residuals, minimise

TRUTH = np.array([[0.6, -0.5, 0.35, 0.2, 0.37]])


def make_data(noise: float = 0.0, theta: np.ndarray = TRUTH) -> LawData:
    rng = np.random.default_rng(0)
    x, y = rng.uniform(-3, 3, (2, 40))
    empty = np.empty((40, 0))
    exact = LawData(
        x=x, y=y, z=empty, log_loss=np.zeros(40), means=(0.0, 0.0), z_scales=np.empty(0)
    )
    log_loss = log_residuals(theta, exact)[0] + noise * rng.standard_normal(40)
    return LawData(x=x, y=y, z=empty, log_loss=log_loss, means=(1.0, 2.0), z_scales=np.empty(0))


def test_every_row_of_weights_gets_its_own_minimum(monkeypatch: pytest.MonkeyPatch):
    data = make_data(noise=0.02)
    weights = np.random.default_rng(1).multinomial(40, np.full(40, 1 / 40), size=9).astype(float)
    starts = np.repeat(TRUTH, 9, axis=0)
    together = minimise(starts, data, weights, delta=0.01)
    monkeypatch.setattr(law_solver, "BATCH_ELEMENTS", 2 * 40 * 5)
    in_pairs = minimise(starts, data, weights, delta=0.01)
    assert together.settled.all()
    assert in_pairs.theta == pytest.approx(together.theta, abs=1e-8)
    assert len(np.unique(together.objective)) == 9


@pytest.mark.parametrize("delta", [1e-3, 0.02, math.inf])
def test_no_step_from_the_minimum_goes_down(delta: float):
    data, weights = make_data(noise=0.02), np.ones((1, 40))
    found = minimise(TRUTH + 0.1, data, weights, delta=delta)

    def objective(theta: np.ndarray) -> float:
        r = np.abs(log_residuals(theta, data)[0])
        return np.where(r <= delta, r**2 / 2, min(delta, 1e9) * (r - min(delta, 1e9) / 2)).sum()

    assert found.settled[0]
    assert found.objective[0] == pytest.approx(objective(found.theta), rel=1e-12)
    for step in np.random.default_rng(2).standard_normal((200, 5)):
        assert objective(found.theta + 1e-4 * step) > found.objective[0]


def test_a_held_unknown_stays_and_the_rest_moves():
    start = TRUTH + 0.1
    found = minimise(start, make_data(noise=0.02), np.ones((1, 40)), delta=0.02, held=(ALPHA,))
    assert found.theta[0, ALPHA] == start[0, ALPHA]
    assert found.settled[0]
    assert (np.abs(found.theta - start)[0, [0, 1, 3, 4]] > 1e-3).all()


def test_an_exponent_ends_on_its_bound_and_settles_there():
    steep = TRUTH.copy()
    steep[0, ALPHA] = 3.0
    found = minimise(TRUTH, make_data(theta=steep), np.ones((1, 40)), delta=0.02)
    assert found.theta[0, ALPHA] == HIGHEST[ALPHA]
    assert found.settled[0]


def test_a_row_that_had_no_time_is_not_settled():
    found = minimise(TRUTH + 0.5, make_data(), np.ones((1, 40)), delta=0.02, max_steps=2)
    assert not found.settled[0]


def test_natural_units_undo_the_centring():
    e, a, b, alpha, beta = make_data().natural(TRUTH)[0]
    assert (alpha, beta) == (0.35, 0.37)
    assert (e, a, b) == pytest.approx(np.exp([0.6, -0.5 + 0.35 * 1.0, 0.2 + 0.37 * 2.0]))


PLACES = ("size", "tokens", "sum")
FULL = np.append(TRUTH, [[0.2, -0.3, 0.1]], axis=1)


def make_full_data(noise: float) -> LawData:
    """With a column in each place of the law."""
    rng = np.random.default_rng(4)
    x, y = rng.uniform(-3, 3, (2, 40))
    empty = LawData(
        x=x,
        y=y,
        z=rng.uniform(-1, 1, (40, 3)),
        log_loss=np.zeros(40),
        means=(1.0, 2.0),
        z_scales=np.array([2.0, 3.0, 4.0]),
        places=PLACES,
    )
    log_loss = log_residuals(FULL, empty)[0] + noise * rng.standard_normal(40)
    return dataclasses.replace(empty, log_loss=log_loss)


def test_columns_in_each_place_are_found():
    found = minimise(FULL - 0.1, make_full_data(0.0), np.ones((1, 40)), delta=math.inf)
    assert found.settled[0]
    assert found.theta == pytest.approx(FULL, abs=1e-6)


def test_a_column_stands_where_it_says():
    data = make_full_data(0.0)
    log_e, log_a, alpha, log_b, beta, *c = FULL[0]
    total = np.exp(log_e) + c[2] * data.z[:, 2]
    total += np.exp(log_a - alpha * data.x + c[0] * data.z[:, 0])
    total += np.exp(log_b - beta * data.y + c[1] * data.z[:, 1])
    assert data.log_loss == pytest.approx(np.log(total))


def test_a_prior_is_as_good_as_runs():
    data, weights = make_full_data(0.02), np.ones((2, 40))
    mean = np.stack([FULL[0] + 0.5, FULL[0] + 0.3])
    pulls = [Prior(mean, np.diag(np.full(8, p)), variance=4e-4) for p in (0.0, 1e-3, 1e6)]
    free, drawn, held = (
        minimise(np.repeat(FULL, 2, axis=0), data, weights, delta=math.inf, prior=prior)
        for prior in pulls
    )
    assert free.theta[0] == pytest.approx(free.theta[1], abs=1e-5)
    assert held.theta == pytest.approx(mean, abs=1e-4)
    assert drawn.settled.all()
    for step in np.random.default_rng(2).standard_normal((50, 8)):
        at = drawn.theta + 1e-4 * step
        off = at - mean
        value = (log_residuals(at, data) ** 2).sum(axis=1) / 2 + 5e-4 * (off**2).sum(axis=1)
        assert (value > drawn.objective).all()


def test_a_prior_s_draws_are_as_wide_as_it_says():
    precision = np.diag([4e-4 / 0.1**2, 0.0, 4e-4 / 0.3**2])
    prior = Prior(np.array([1.0, 2.0, 3.0]), precision, variance=4e-4)
    means = prior.draws(4000, np.random.default_rng(0)).mean
    assert means.std(axis=0) == pytest.approx([0.1, 0.0, 0.3], rel=0.05)
    assert means.mean(axis=0) == pytest.approx([1, 2, 3], abs=0.02)


def test_unknowns_of_natural_numbers_are_those_they_came_from():
    data = make_full_data(0.0)
    assert data.theta(data.natural(FULL)) == pytest.approx(FULL)
