"""What small runs leave open is drawn towards published values; what they tell is left alone."""

import dataclasses

import numpy as np
import pytest

from anybudget.objectives.fit.bootstrap import bootstrap_law
from anybudget.objectives.fit.law import fit_varpro
from anybudget.objectives.fit.prior import EXPONENTS, shrunk
from anybudget.objectives.fit.runs import LawRuns, law_runs
from anybudget.objectives.law.terms import FORMS

TERMS = FORMS["size in tokens"]


def make_runs(most_params: float, noise: float = 0.003, seed: int = 0, **columns: int) -> LawRuns:
    """60 runs of ten sizes up to `most_params`."""
    n_params = np.repeat(np.geomspace(most_params / 8, most_params, 10), 6)
    n_tokens = np.tile(np.geomspace(1e9, 1e11, 6), 10)
    tokens = 3e4 / n_tokens**0.46 * (n_params / 1e9) ** 0.2
    loss = 1.6 + 60 / n_params**0.2 + tokens
    loss = loss * np.exp(noise * np.random.default_rng(seed).standard_normal(60))
    table = {"n_params": n_params, "n_tokens": n_tokens, "measured_loss": loss}
    return law_runs(table | {name: np.full(60, value) for name, value in columns.items()})


def test_what_the_runs_leave_open_is_drawn_and_told():
    # A model twenty times as large, of which the runs know nothing.
    truth, errors = 1.6 + 60 / 2e9**0.2, []
    for seed in range(8):
        runs = make_runs(1e8, seed=seed)
        free = fit_varpro(runs, terms=TERMS)
        drawn = shrunk(runs, free)
        assert any(w.startswith("the runs leave E") for w in drawn.warnings)
        at = [f.values["E"] + f.values["A"] / 2e9 ** f.values["alpha"] for f in (free, drawn)]
        errors.append(np.abs(np.subtract(at, truth)))
    free_error, drawn_error = np.mean(errors, axis=0)
    assert drawn_error < 0.9 * free_error


def test_what_the_runs_tell_is_left_alone():
    runs = make_runs(1e8, noise=0.0)
    free = fit_varpro(runs, terms=TERMS, delta=1e-3)
    assert shrunk(runs, free).values == pytest.approx(free.values, rel=1e-6)


def test_a_small_vocabulary_has_a_floor_of_its_own():
    runs = make_runs(1e8, vocab_size=1024)
    prior = shrunk(runs, fit_varpro(runs, terms=TERMS)).prior
    assert prior is not None
    assert prior.precision[0, 0] == 0
    assert prior.precision[2, 2] > 0


def test_a_law_with_a_power_stays_as_it_is():
    runs = make_runs(1e8)
    fit = fit_varpro(runs, kappa=0.5)
    assert shrunk(runs, fit) is fit


def test_draws_are_as_wide_as_what_is_not_known():
    runs = make_runs(1e8)
    fit = shrunk(runs, fit_varpro(runs, terms=TERMS))
    draws = bootstrap_law(runs, fit, n_draws=400)
    known = dataclasses.replace(fit, prior=fit.prior and fit.prior._replace(variance=0.0))
    sure = bootstrap_law(runs, known, n_draws=400)
    spread = [np.log(d.values[:, 0]).std() for d in (draws, sure)]
    assert spread[0] > spread[1]
    assert draws.standard_errors()["beta"] < 1.2 * EXPONENTS["beta"][1]
