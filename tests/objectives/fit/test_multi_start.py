import numpy as np
import pytest

from anybudget.objectives.fit.law import fit_varpro
from anybudget.objectives.fit.multi_start import fit_multi_start, huber_log_sum_exp
from anybudget.objectives.fit.runs import LawRuns, law_runs


def make_runs(noise: float = 0.0, seed: int = 0, n_runs: int = 60) -> LawRuns:
    rng = np.random.default_rng(seed)
    n_params, n_tokens = 10 ** rng.uniform(6, 9, n_runs), 10 ** rng.uniform(7.5, 10.5, n_runs)
    loss = 1.8 + 480 * n_params**-0.35 + 2000 * n_tokens**-0.37
    loss *= np.exp(noise * rng.standard_t(3, n_runs))
    return law_runs({"n_params": n_params, "n_tokens": n_tokens, "measured_loss": loss})


def objective(runs: LawRuns, values: dict[str, float], delta: float) -> float:
    """The Huber loss of the log residuals, from its definition."""
    size = values["A"] / runs.n_params ** values["alpha"]
    tokens = values["B"] / runs.n_tokens ** values["beta"]
    r = np.abs(np.log(values["E"] + size + tokens) - np.log(runs.measured_loss))
    return float(np.where(r <= delta, r**2 / 2, delta * (r - delta / 2)).sum())


@pytest.mark.parametrize("seed", range(6))
def test_varpro_is_never_worse_than_many_starts_on_the_same_objective(seed: int):
    runs = make_runs(noise=[0.002, 0.01, 0.05][seed % 3], seed=seed, n_runs=[12, 40][seed % 2])
    ours = fit_varpro(runs, delta=1e-3)
    theirs = fit_multi_start(runs, n_starts=50, seed=seed)
    assert ours.objective == pytest.approx(objective(runs, ours.values, 1e-3), rel=1e-9)
    assert theirs.objective == pytest.approx(objective(runs, theirs.values, 1e-3), rel=1e-9)
    assert ours.objective <= theirs.objective * (1 + 1e-9)


def test_the_reference_has_the_gradient_of_its_objective():
    runs = make_runs(noise=0.01)
    data = np.log(runs.n_params), np.log(runs.n_tokens), np.log(runs.measured_loss)
    unknowns = np.array([0.5, 6.0, 7.5, 0.34, 0.36])
    _, gradient = huber_log_sum_exp(unknowns, *data, 1e-3)
    for k, slope in enumerate(gradient):
        step = 1e-6 * np.eye(5)[k]
        above, _ = huber_log_sum_exp(unknowns + step, *data, 1e-3)
        below, _ = huber_log_sum_exp(unknowns - step, *data, 1e-3)
        assert slope == pytest.approx((above - below) / 2e-6, rel=1e-4, abs=1e-9)
