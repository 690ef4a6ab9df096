import dataclasses
from typing import Any

import numpy as np
import pytest

from anybudget.objectives.fit.forms import SURELY, choose_form
from anybudget.objectives.fit.law import fit_varpro
from anybudget.objectives.fit.runs import LawRuns, law_runs
from anybudget.objectives.fit.scores import (
    compare_conventions,
    extrapolate,
    leave_shape_out,
    residual_trends,
    trend_warnings,
)
from anybudget.objectives.law.terms import FORMS, TERMS

D_MODELS, N_LAYERS, TOKENS = (64, 128, 192, 256, 384), (2, 4, 8, 16), (1e7, 4e7, 1.6e8)


def make_table(bowl: float = 0.0, noise: float = 0.003, seed: int = 0) -> dict[str, Any]:
    """60 runs of 20 shapes, which lose `bowl` per squared log of aspect ratio over 20."""
    mesh = np.meshgrid(D_MODELS, N_LAYERS, TOKENS, indexing="ij")
    d_model, n_layers, n_tokens = (axis.ravel() for axis in mesh)
    inside = 12 * n_layers * d_model**2
    n_params = inside + 8192 * d_model
    loss = 1.9 + 40 / n_params**0.3 + 1500 / n_tokens**0.4
    loss += bowl * np.log(d_model / n_layers / 20) ** 2
    batch = np.tile([8192, 16384], 30)
    return {
        "d_model": d_model,
        "n_layers": n_layers,
        "n_tokens": n_tokens,
        "n_steps": n_tokens / batch,
        "n_params": n_params,
        "n_params_non_embedding": inside,
        "measured_loss": loss * np.exp(noise * np.random.default_rng(seed).standard_normal(60)),
    }


def make_runs(**changes: Any) -> LawRuns:
    return law_runs(make_table(**changes))


def test_a_shape_is_judged_by_a_law_that_has_not_seen_it():
    runs = make_runs()
    # Rows that are off by 20% pull their own prediction unless they are left out.
    runs.measured_loss[:3] *= 1.2
    score = leave_shape_out(runs, fit_varpro(runs))
    errors = []
    for shape in range(20):
        rows = runs.shape == shape
        table = make_table() | {"measured_loss": runs.measured_loss}
        fit = fit_varpro(law_runs({name: column[~rows] for name, column in table.items()}))
        values = fit.values
        predicted = values["E"] + values["A"] / runs.n_params[rows] ** values["alpha"]
        predicted += values["B"] / runs.n_tokens[rows] ** values["beta"]
        errors += (predicted / runs.measured_loss[rows] - 1).tolist()
    assert score.n_judged == 60
    # The threshold is tuned anew in each of these fits.
    assert score.mape == pytest.approx(np.mean(np.abs(errors)), rel=0.02)
    assert score.bias == pytest.approx(np.mean(errors), abs=2e-4)
    assert 0.9 < score.r2 < 1


def test_extrapolation_is_judged_on_the_largest_alone():
    runs = make_runs(noise=0.0)
    fit = fit_varpro(runs)
    threshold = np.quantile(runs.n_params, 2 / 3)
    score = extrapolate(runs, fit, "n_params")
    assert score is not None
    assert score.n_judged == (runs.n_params > threshold).sum()
    assert score.mape < 1e-6
    runs.measured_loss[runs.n_params > threshold] *= 1.1
    shifted = extrapolate(runs, fit, "n_params")
    assert shifted is not None
    assert shifted.bias == pytest.approx(1 / 1.1 - 1, rel=1e-4)
    assert extrapolate(runs, fit, "n_tokens") is None


def test_a_bowl_in_the_residuals_is_seen_and_noise_is_not():
    quiet, bowl = make_runs(), make_runs(bowl=0.03)
    assert trend_warnings(residual_trends(quiet, fit_varpro(quiet))) == ()
    trends = residual_trends(bowl, fit_varpro(bowl))
    assert (trends[0].column, trends[0].kind) == ("aspect_ratio", "bowl")
    assert trends[0].rho > 0.4
    assert "grows away from the middle of aspect_ratio" in trend_warnings(trends)[0]


def test_a_column_that_the_loss_follows_is_named():
    table = make_table()
    rate = np.random.default_rng(3).uniform(1e-4, 1e-2, 60)
    table |= {"learning_rate": rate, "bits_per_byte": table["measured_loss"] / 3}
    table["measured_loss"] = table["measured_loss"] * (1 - 5 * rate)
    runs = law_runs(table)
    trends = residual_trends(runs, fit_varpro(runs))
    assert (trends[0].column, trends[0].kind) == ("learning_rate", "rises")
    assert trends[0].rho < -0.7
    assert "falls with learning_rate" in trend_warnings(trends)[0]
    assert "bits_per_byte" not in {trend.column for trend in trends}


@pytest.fixture(scope="module")
def of_quiet():
    """What is chosen of runs without a term, and the scores of all forms."""
    quiet = make_runs()
    return choose_form(quiet, fit_varpro(quiet))


def test_a_term_is_kept_only_where_it_pays(of_quiet):
    chosen, scores = of_quiet
    assert (chosen.form, chosen.kappa) == ("none", 1)
    assert {score.form for score in scores} == set(FORMS)
    bowl = make_runs(bowl=0.03)
    chosen, scores = choose_form(bowl, fit_varpro(bowl))
    assert (chosen.form, chosen.kappa) == ("aspect ratio", 1)
    best = min(scores, key=lambda score: score.mape)
    assert best.above_best == 0
    assert scores[0].above_best > SURELY


def test_forms_are_judged_on_the_largest_too(of_quiet):
    # 20 shapes, the 6 largest of them together, and the most tokens of each.
    assert {len(score.errors) for score in of_quiet[1]} == {20 + 6 + 20}


def test_a_power_is_kept_where_size_and_data_are_coupled():
    table = make_table()
    inside = 30 + 1e5 / table["n_params"] ** 0.6 + 2e6 / table["n_tokens"] ** 0.6
    noise = np.exp(0.003 * np.random.default_rng(0).standard_normal(60))
    runs = law_runs(table | {"measured_loss": inside**0.25 * noise})
    chosen, scores = choose_form(runs, fit_varpro(runs))
    assert (chosen.form, chosen.kappa) == ("none", 0.25)
    assert {s.kappa for s in choose_form(runs, fit_varpro(runs), (1.0,))[1]} == {1}
    assert scores[0].kappa == 1
    assert scores[0].mape > chosen.mape


def test_forms_that_the_runs_cannot_tell_apart_are_not_tried():
    table = make_table()
    table["n_steps"] = table["n_tokens"] / 8192
    runs = law_runs(table)
    forms = {score.form for score in choose_form(runs, fit_varpro(runs))[1]}
    assert forms == set(FORMS) - {"steps", "root of steps"}
    runs = dataclasses.replace(runs, columns={})
    scores = choose_form(runs, fit_varpro(runs))[1]
    assert [(s.form, s.kappa == 1) for s in scores] == [("none", True), ("none", False)]


def test_both_counts_of_parameters_are_tried_where_both_are_there():
    table = make_table()
    found = compare_conventions(table)
    assert found["total"][1].mape < found["non_embedding"][1].mape
    assert found["non_embedding"][0].values["A"] != found["total"][0].values["A"]
    del table["n_params_non_embedding"]
    assert list(compare_conventions(table)) == ["total"]


def test_the_needs_of_a_term_are_what_it_reads():
    table = make_table()
    for name, term in TERMS.items():
        assert np.isfinite(term.value({column: table[column] for column in term.needs})).all(), name
    assert {term for form in FORMS.values() for term in form} == set(TERMS)
