import math

import numpy as np
import pytest

from anybudget.objectives.fit.law import (
    LawFit,
    fit_linear,
    fit_varpro,
    law_data,
    profile,
)
from anybudget.objectives.fit.runs import LawRuns, as_loss_law, law_runs
from anybudget.objectives.fit.solver import minimise

TRUTH = {"E": 1.8, "A": 480.0, "B": 2000.0, "alpha": 0.35, "beta": 0.37}


def make_runs(noise: float = 0.0, seed: int = 0, n_runs: int = 60, **columns) -> LawRuns:
    rng = np.random.default_rng(seed)
    n_params, n_tokens = 10 ** rng.uniform(6, 9, n_runs), 10 ** rng.uniform(7.5, 10.5, n_runs)
    loss = TRUTH["E"] + TRUTH["A"] * n_params**-0.35 + TRUTH["B"] * n_tokens**-0.37
    loss = (loss + columns.pop("extra", 0)) * np.exp(noise * rng.standard_t(3, n_runs))
    return law_runs({"n_params": n_params, "n_tokens": n_tokens, "measured_loss": loss, **columns})


def objective(residuals: np.ndarray, delta: float) -> float:
    """The Huber loss from its definition."""
    r = np.abs(residuals)
    return float(np.where(r <= delta, r**2 / 2, delta * (r - delta / 2)).sum())


@pytest.mark.parametrize("delta", [1e-3, None, math.inf])
def test_without_noise_the_law_comes_back(delta: float | None):
    fit = fit_varpro(make_runs(), delta=delta)
    assert fit.values == pytest.approx(TRUTH, rel=1e-6)
    assert fit.warnings == ()


def test_given_exponents_need_no_search():
    fit = fit_linear(make_runs(), alpha=0.35, beta=0.37)
    assert fit.values == pytest.approx(TRUTH, rel=1e-9)
    with pytest.raises(ValueError, match="exponents must be > 0, but got alpha=0"):
        fit_linear(make_runs(), alpha=0)


def test_no_coefficient_is_negative():
    runs = make_runs()
    rising = {"n_params": runs.n_params, "n_tokens": runs.n_tokens}
    values = fit_linear(law_runs(rising | {"measured_loss": runs.n_tokens**0.1})).values
    assert min(values.values()) >= 0
    assert values["B"] / runs.n_tokens.min() ** 0.53 < 1e-6


def test_a_row_of_weights_is_a_set_of_repeated_runs():
    runs = make_runs(noise=0.01, n_runs=30)
    counts = np.random.default_rng(1).multinomial(30, np.full(30, 1 / 30))
    fit = fit_varpro(runs, delta=0.01)
    weighted = minimise(
        fit.theta[None], law_data(runs), counts[None].astype(float), delta=0.01
    ).objective[0]
    names = ("n_params", "n_tokens", "measured_loss")
    columns = {name: np.repeat(getattr(runs, name), counts) for name in names}
    # Runs of their own, for of equal rows one would count.
    repeated = law_runs(columns | {"run": np.arange(30)})
    assert weighted == pytest.approx(fit_varpro(repeated, delta=0.01).objective, rel=1e-9)


def test_the_tuned_threshold_resists_outliers():
    clean, spoiled = make_runs(noise=0.002), make_runs(noise=0.002)
    spoiled.measured_loss[[3, 40]] *= 1.5
    robust, squares = (fit_varpro(spoiled, delta=delta) for delta in (None, math.inf))
    reference = fit_varpro(clean)
    assert robust.values["E"] == pytest.approx(reference.values["E"], abs=0.01)
    assert abs(squares.values["E"] - reference.values["E"]) > 0.05


def test_a_profile_is_lowest_where_the_fit_is():
    runs = make_runs(noise=0.01)
    fit = fit_varpro(runs)
    for name in ("E", "alpha", "beta"):
        at = fit.values[name] * np.array([0.97, 1.0, 1.03])
        below, middle, above = profile(runs, fit, name, at)
        assert middle == pytest.approx(fit.objective, rel=1e-9)
        assert min(below, above) > middle
    with pytest.raises(ValueError, match="E, alpha or beta, but got 'A'"):
        profile(runs, fit, "A", np.array([1.0]))


def test_a_further_term_is_found_with_its_coefficient():
    d_model, n_layers = np.tile([64, 128, 256, 512], 15), np.repeat([2, 4, 8, 16, 32, 48], 10)
    bowl = 0.02 * np.log(d_model / n_layers / 64) ** 2
    runs = make_runs(extra=bowl, d_model=d_model, n_layers=n_layers)
    fit = fit_varpro(runs, terms=("log_aspect_ratio", "log_aspect_ratio_squared"))
    further = {"log_aspect_ratio": 0.0, "log_aspect_ratio_squared": 0.02}
    assert fit.values == pytest.approx(TRUTH | further, rel=1e-5, abs=1e-6)
    assert fit.terms == tuple(further)


def test_at_its_kappa_a_coupled_law_comes_back():
    columns = make_runs()
    inside = 2.0 + 3e4 * columns.n_params**-0.6 + 4e5 * columns.n_tokens**-0.5
    table = {"n_params": columns.n_params, "n_tokens": columns.n_tokens}
    runs = law_runs(table | {"measured_loss": inside**0.25})
    fit = fit_varpro(runs, delta=math.inf, kappa=0.25)
    truth = {"E": 2.0, "A": 3e4, "B": 4e5, "alpha": 0.6, "beta": 0.5}
    assert fit.values == pytest.approx(truth, rel=1e-4)
    law = as_loss_law(fit, runs, name="coupled", corpus="made up", source="a test")
    assert law.loss(runs.n_params, runs.n_tokens) == pytest.approx(inside**0.25, rel=1e-6)
    # What a fit says of itself is in terms of the loss, whatever the power.
    wrong = fit_varpro(runs, delta=0.002, kappa=0.5)
    assert wrong.objective == pytest.approx(objective(fit_residuals(wrong, runs), 0.002))


def fit_residuals(fit: LawFit, runs: LawRuns) -> np.ndarray:
    """Log of predicted over measured loss, from the formula."""
    law = as_loss_law(fit, runs, name="any", corpus="made up", source="a test")
    return np.log(law.loss(runs.n_params, runs.n_tokens) / runs.measured_loss)


def test_terms_that_the_runs_cannot_carry_are_refused():
    with pytest.raises(ValueError, match=r"a further term is one of .*, but got 'width'"):
        fit_varpro(make_runs(), terms=("width",))
    with pytest.raises(ValueError, match=r"[(]inverse_steps[)] need the columns n_steps"):
        fit_varpro(make_runs(), terms=("inverse_steps",))
    few = make_runs(n_runs=6, n_steps=np.arange(1, 7) * 100)
    with pytest.raises(ValueError, match="6 unknowns needs more runs than that, but got 6"):
        fit_varpro(few, terms=("inverse_steps",))


def test_the_law_file_holds_the_fit_and_the_range_of_its_runs():
    d_model, n_layers = np.tile([64, 128], 30), np.repeat([2, 4, 8], 20)
    runs = make_runs(noise=0.01, d_model=d_model, n_layers=n_layers)
    fit = fit_varpro(runs, terms=("inverse_depth",))
    law = as_loss_law(fit, runs, name="mine", corpus="c4", source="my runs")
    predicted = law.loss(runs.n_params, runs.n_tokens, {"d_model": d_model, "n_layers": n_layers})
    residuals = np.log(predicted / runs.measured_loss)
    assert law.residual_std == pytest.approx(np.sqrt((residuals**2).sum() / 54), rel=1e-9)
    assert objective(residuals, fit.delta) == pytest.approx(fit.objective, rel=1e-9)
    assert law.n_params_range == (runs.n_params.min(), runs.n_params.max())
    assert law.aspect_ratio_range == (8.0, 64.0)
    assert (law.n_convention, law.corpus) == ("total", "c4")
