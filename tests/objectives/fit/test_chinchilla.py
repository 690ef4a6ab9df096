"""The re-estimate of Chinchilla's law by Besiroglu et al. 2024 (arXiv:2404.10102), table 1."""

from pathlib import Path

import pandas as pd
import pytest

from anybudget.objectives.fit.bootstrap import bootstrap_law
from anybudget.objectives.fit.law import REFERENCE_DELTA, fit_varpro
from anybudget.objectives.fit.runs import LawRuns, law_runs

CSV = Path(__file__).parents[3] / "experiments" / "chinchilla" / "chinchilla_extracted.csv"


@pytest.fixture(scope="module")
def runs() -> LawRuns:
    table = pd.read_csv(CSV)
    return law_runs({name: table[name].to_numpy() for name in table})


def test_the_published_numbers_come_back(runs: LawRuns):
    assert len(runs.n_params) == 240
    values = fit_varpro(runs, delta=REFERENCE_DELTA).values
    assert values["E"] == pytest.approx(1.8172, abs=0.01)
    assert values["alpha"] == pytest.approx(0.3478, abs=0.003)
    assert values["beta"] == pytest.approx(0.3658, abs=0.004)
    # Within their standard errors, which are large: A and B trade against the exponents.
    assert values["A"] == pytest.approx(482.01, abs=124.5)
    assert values["B"] == pytest.approx(2085.43, abs=1293)


def test_the_published_standard_errors_come_back(runs: LawRuns):
    draws = bootstrap_law(runs, fit_varpro(runs, delta=REFERENCE_DELTA), n_draws=1000)
    errors = draws.standard_errors()
    assert draws.n_failed == 0
    assert errors["E"] == pytest.approx(0.026, rel=0.25)
    assert errors["alpha"] == pytest.approx(0.015, rel=0.25)
    assert 0.015 <= errors["beta"] <= 0.03
    assert errors["A"] == pytest.approx(124.58, rel=0.25)
    assert errors["B"] == pytest.approx(1293.23, rel=0.25)
