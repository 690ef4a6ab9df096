"""The whole of a fit, on runs made from a known law."""

import dataclasses

import numpy as np
import pytest

from anybudget.files.table import read_runs
from anybudget.objectives.fit.report import Fitting, report_law
from anybudget.presets.known import known
from anybudget.presets.laws import KnownLaw, load_law, save_law

TRUE = {"E": 1.7, "A": 300.0, "B": 900.0, "alpha": 0.35, "beta": 0.37}


def made_runs(depth_term: float = 0.0) -> dict[str, np.ndarray]:
    """60 runs of 12 shapes with 0.2% of noise; a depth term makes shallow models worse."""
    rng = np.random.default_rng(0)
    d_model, n_layers = np.repeat([[128, 2], [128, 8], [256, 2], [256, 8], [512, 2], [512, 8],
                                   [192, 3], [192, 12], [384, 3], [384, 12], [768, 3], [768, 12]],
                                  5, axis=0).T  # fmt: skip
    n_params = 12.0 * n_layers * d_model**2
    n_tokens = np.tile(np.geomspace(1e7, 1e9, 5), 12)
    loss = TRUE["E"] + TRUE["A"] / n_params ** TRUE["alpha"] + TRUE["B"] / n_tokens ** TRUE["beta"]
    loss = (loss + depth_term / n_layers) * np.exp(0.002 * rng.standard_normal(60))
    return {
        "d_model": d_model,
        "n_layers": n_layers,
        "n_params": n_params,
        "n_tokens": n_tokens,
        "measured_loss": loss,
        "corpus": np.full(60, "made"),
    }


def test_a_known_law_lies_in_its_intervals_and_needs_no_terms():
    report = report_law(made_runs(), name="made", source="a test", fitting=Fitting(n_draws=300))
    answer = report.as_dict()
    for name, truth in TRUE.items():
        low, high = answer[name]["interval_95"]
        assert low < truth < high
        assert low < answer[name]["value"] < high
        assert answer[name]["standard_error"] > 0
    assert report.form == "none"
    assert answer["scores"]["leave_shape_out"]["r2"] > 0.99
    assert answer["residual_std"] == pytest.approx(0.002, rel=0.5)
    assert report.law.corpus == "made"


@pytest.fixture(scope="module")
def with_depth():
    """Of runs whose loss depends on depth, which the fit is told."""
    fitting = Fitting(n_draws=100, form="depth")
    return report_law(made_runs(depth_term=0.5), name="made", source="a test", fitting=fitting)


def test_a_term_that_pays_is_kept_with_the_pure_law_beside_it(with_depth):
    # Of forms that these runs do not tell apart the one that fades with size is taken.
    report = report_law(
        made_runs(depth_term=0.5), name="made", source="a test", fitting=Fitting(n_draws=100)
    )
    assert report.form == "aspect ratio of size"
    law = with_depth.law
    assert law.terms["inverse_depth"] == pytest.approx(0.5, rel=0.2)
    pure = law.without_terms()
    assert pure.terms == {}
    assert pure.E != law.E


def test_what_is_saved_is_what_find_reads(with_depth, tmp_path, objective):
    report, path = with_depth, tmp_path / "made.toml"
    assert report.draws is not None
    save_law(path, KnownLaw.of(report))
    assert load_law(str(path)) == report.law
    draws = known("tpu-v5e-datasheet", str(path)).draws(
        dataclasses.replace(objective, law=report.law)
    )
    assert draws is not None
    np.testing.assert_allclose(draws.laws, report.draws.values, rtol=1e-5)
    assert draws.law_residual == report.law.residual_std


def test_linear_has_given_exponents_and_no_intervals():
    answer = report_law(
        made_runs(), name="made", source="a test", fitting=Fitting(method="linear")
    ).as_dict()
    assert (answer["alpha"]["value"], answer["beta"]["value"]) == (0.48, 0.53)
    assert answer["E"]["interval_95"] is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "magic"}, "a method is one of varpro, linear, multi_start, but got 'magic'"),
        ({"form": "magic"}, "a form is auto or one of none, .* but got 'magic'"),
        ({"method": "linear", "form": "depth"}, "further terms are fitted by varpro"),
        ({"kappa": 0.0}, "`kappa` must be above 0 and at most 1, but got 0"),
        ({"method": "linear", "kappa": 0.5}, "a law with kappa is fitted by varpro"),
    ],
)
def test_refused(options, message):
    with pytest.raises(ValueError, match=message):
        report_law(made_runs(), name="made", source="a test", fitting=Fitting(**options))


@pytest.mark.parametrize("text", ["", '"a\n1,2,3\n4'])
def test_what_is_not_a_table_is_refused(tmp_path, text):
    path = tmp_path / "runs.csv"
    path.write_text(text)
    with pytest.raises(ValueError, match="is not a CSV of runs"):
        read_runs(path)
