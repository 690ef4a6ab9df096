import math

import numpy as np
import pytest

from anybudget.objectives.fit import solver as law_solver
from anybudget.objectives.fit.solver import ALPHA, HIGHEST, LawData, log_residuals, minimise

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
