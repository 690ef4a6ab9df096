"""Power laws of points that lie on one, and theory against a numerical optimum."""

import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from anybudget.objectives.scaling import fit_power_law, theoretical_exponents
from anybudget.presets.laws import load_law


def test_points_on_a_power_law_give_it_back():
    x = np.array([1.0, 60.0, 3600.0])
    fit = fit_power_law(x, 5 * x**0.54)
    assert (fit.exponent, fit.scale) == pytest.approx((0.54, 5))
    assert fit.standard_error == pytest.approx(0, abs=1e-12)
    assert fit_power_law(x[:2], x[:2]).standard_error is None


def test_the_standard_error_is_that_of_a_regression():
    rng = np.random.default_rng(0)
    x = np.geomspace(1, 1e4, 30)
    exponents, errors = [], []
    for _ in range(400):
        fit = fit_power_law(x, x**0.5 * np.exp(rng.normal(0, 0.1, 30)))
        exponents.append(fit.exponent)
        errors.append(fit.standard_error)
    # Over 400 draws a standard deviation is known to 3.5%.
    assert np.std(exponents) == pytest.approx(np.mean(errors), rel=0.11)


@pytest.mark.parametrize(
    ("x", "y"), [([1], [1]), ([2, 2], [1, 3]), ([1, 2], [0, 1]), ([-1, 2], [1, 1])]
)
def test_too_few_or_not_positive(x, y):
    with pytest.raises(ValueError, match="positive values at two x or more"):
        fit_power_law(x, y)


@pytest.mark.parametrize("gamma", [0.7, 1.0])
@pytest.mark.parametrize("name", ["besiroglu-2024", "hoffmann-2022"])
def test_theory_is_the_optimum_s(name, gamma):
    law = load_law(name)
    times, best = np.geomspace(1e3, 1e6, 4), []
    for time in times:
        loss = lambda n, t=time: law.loss(np.exp(n), 1e13 * t / np.exp(n) ** gamma)  # noqa: E731
        best.append(
            minimize_scalar(loss, bounds=(5, 40), method="bounded", options={"xatol": 1e-9}).x
        )
    n_params = np.exp(best)
    n_tokens = 1e13 * times / n_params**gamma
    expected = theoretical_exponents(law, gamma)
    values = {
        "n_params": n_params,
        "n_tokens": n_tokens,
        "tokens_per_param": n_tokens / n_params,
        "loss_above_E": law.loss(n_params, n_tokens) - law.E,
    }
    for quantity, value in values.items():
        assert fit_power_law(times, value).exponent == pytest.approx(expected[quantity], abs=1e-4)
