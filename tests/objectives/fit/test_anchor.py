"""A law of other data moved by few runs: level first, then scales, and as unsure as it is."""

import dataclasses

import numpy as np
import pytest

from anybudget.objectives.fit.prior import (
    MIN_NOISE,
    anchor,
    between_corpora,
    of_another_recipe,
)
from anybudget.objectives.fit.runs import LawRuns, law_runs
from anybudget.objectives.law.loss_law import LossLaw
from anybudget.presets.laws import known_law

KNOWN = known_law("gemstones-2025")
SHAPES = np.array([[256, 12], [512, 8], [512, 16], [768, 12], [1024, 24], [2048, 16]])


def counts(shapes: np.ndarray) -> dict[str, np.ndarray]:
    d_model, n_layers = shapes.T
    inside = 14.0 * n_layers * d_model**2
    return {
        "d_model": d_model,
        "n_layers": n_layers,
        "n_params": inside + 2 * 50304 * d_model,
        "n_params_non_embedding": inside,
        "n_tokens": 30 * inside + 5e9,
    }


def runs_under(law: LossLaw, n_runs: int, noise: float = 0.0, seed: int = 0) -> LawRuns:
    """The cheapest runs of another corpus, of which a law tells."""
    table = counts(SHAPES[:n_runs])
    loss = law.loss(table["n_params"], table["n_tokens"], table)
    noisy = loss * np.exp(noise * np.random.default_rng(seed).standard_normal(n_runs))
    return law_runs(table | {"measured_loss": noisy}, few=True)


def loss_of_largest(law: LossLaw, draws: np.ndarray | None = None) -> np.ndarray:
    table = counts(SHAPES[-1:])
    numbers = law.numbers.values() if draws is None else draws.T
    return law.loss_under(numbers, table["n_params"], table["n_tokens"], table)


def drawn(row: np.ndarray) -> LossLaw:
    numbers = dict(zip(KNOWN.law.numbers, row.tolist(), strict=True))
    pure = {name: numbers.pop(name) for name in ("E", "A", "B", "alpha", "beta")}
    return dataclasses.replace(KNOWN.law, **pure, terms=numbers)


def others(n: int, seed: int) -> list[LossLaw]:
    """Laws of other corpora, but of those whose losses a table would be taken to have wrong."""
    laws = [drawn(row) for row in between_corpora(KNOWN.law, KNOWN.draws, seed=seed)]
    first = counts(SHAPES[:1])
    losses = [law.loss(first["n_params"], first["n_tokens"], first)[0] for law in laws]
    return [law for law, loss in zip(laws, losses, strict=True) if loss < 6][:n]


def test_one_run_tells_the_level():
    other = dataclasses.replace(
        KNOWN.law, E=1.2 * KNOWN.law.E, A=1.2 * KNOWN.law.A, B=1.2 * KNOWN.law.B
    )
    moved = anchor(KNOWN.law, KNOWN.draws, runs_under(other, 1))
    assert moved.level == pytest.approx(0.2)
    assert loss_of_largest(moved.law) == pytest.approx(loss_of_largest(other), rel=0.02)
    assert loss_of_largest(KNOWN.law) < 0.9 * loss_of_largest(other)


def test_of_runs_of_one_model_the_longest_counts():
    table = counts(SHAPES[[1, 1, 1]]) | {"n_tokens": np.array([1e9, 3e9, 2e9])}
    # A slope in tokens that the law does not have.
    loss = KNOWN.law.loss(table["n_params"], table["n_tokens"], table) * [1.1, 1.0, 1.05]
    three = law_runs(table | {"measured_loss": loss}, few=True)
    one = law_runs({k: v[[1]] for k, v in (table | {"measured_loss": loss}).items()}, few=True)
    moved = [anchor(KNOWN.law, KNOWN.draws, runs) for runs in (three, one)]
    assert moved[0].law == moved[1].law
    assert [m.n_runs for m in moved] == [1, 1]


def test_runs_on_the_law_leave_it_where_it_is_however_its_draws_lean():
    leaning = KNOWN.draws.copy()
    leaning[::5, 4] *= 2
    moved = anchor(KNOWN.law, leaning, runs_under(KNOWN.law, 2))
    assert moved.law.numbers == pytest.approx(KNOWN.law.numbers, rel=1e-4)


def test_runs_of_the_reference_ratio_of_width_to_depth_tell_nothing_of_shape():
    # Of GPT-2 small the logarithm of the ratio is 0, of the other all but that.
    for shape in ([768, 12], [6401, 100]):
        table = counts(np.array([shape]))
        loss = 1.1 * KNOWN.law.loss(table["n_params"], table["n_tokens"], table)
        moved = anchor(KNOWN.law, KNOWN.draws, law_runs(table | {"measured_loss": loss}, few=True))
        assert moved.law.terms == pytest.approx(KNOWN.law.terms, rel=0.05)
        widths = moved.draws[:, 5:].std(axis=0) / np.abs(list(KNOWN.law.terms.values()))
        assert np.all(widths < 1)


def test_more_runs_tell_more_and_the_interval_says_so():
    laws, errors, widths = others(40, seed=5), [], []
    for n_runs in (1, 3, 6):
        moved = [anchor(KNOWN.law, KNOWN.draws, runs_under(one, n_runs)) for one in laws]
        off = [loss_of_largest(m.law) / loss_of_largest(o) - 1 for m, o in zip(
            moved, laws, strict=True)]  # fmt: skip
        errors.append(np.abs(off).mean())
        widths.append(np.mean([np.log(loss_of_largest(m.law, m.draws)).std() for m in moved]))
    assert errors[0] > errors[1] > errors[2]
    assert widths[0] > widths[1] > widths[2]
    assert errors[2] < 0.01


def test_intervals_of_an_anchored_law_hold_as_often_as_they_say():
    """Of another corpus as unlike this one as it is said to be, with noise in its three runs."""
    held = []
    for seed, other in enumerate(others(200, seed=7)):
        moved = anchor(KNOWN.law, KNOWN.draws, runs_under(other, 3, MIN_NOISE, seed))
        low, high = np.quantile(loss_of_largest(moved.law, moved.draws), [0.025, 0.975])
        held.append(low < loss_of_largest(other)[0] < high)
    # Two standard errors of 200 at 95%, and the Laplace approximation's slack.
    assert 0.90 <= np.mean(held) <= 0.99


@pytest.mark.parametrize("kappa", [1.0, 0.5])
def test_another_recipe_has_a_level_of_its_own_for_all_shapes_alike(kappa):
    law, table = dataclasses.replace(KNOWN.law, kappa=kappa), counts(SHAPES)
    recipes = np.array(["theirs"] * 3 + ["others'"])
    there = of_another_recipe(KNOWN.draws, recipes, kappa=kappa, std=0.1)
    before, after = (
        law.loss_under(draws.T[:, :, None], table["n_params"], table["n_tokens"], table)
        for draws in (KNOWN.draws, there)
    )
    levels = np.log(after / before)
    np.testing.assert_allclose(levels, np.repeat(levels[:, :1], len(SHAPES), axis=1), atol=1e-12)
    # Its own, and that of the mean of two recipes, one of them of three runs.
    assert levels[:, 0].std() == pytest.approx(0.1 * np.sqrt(1 + 9 / 16 + 1 / 16), rel=0.07)
    assert abs(levels[:, 0].mean()) < 0.015


def test_unanchored_a_level_is_as_unsure_as_it_is_between_corpora():
    spread = np.log(loss_of_largest(KNOWN.law, between_corpora(KNOWN.law, KNOWN.draws))).std()
    own = np.log(loss_of_largest(KNOWN.law, KNOWN.draws)).std()
    assert own < 0.02
    assert 0.2 < spread < 0.35


def test_what_a_term_needs_must_be_there():
    table = {"n_params": [1e8], "n_tokens": [1e10], "measured_loss": [3.0]}
    with pytest.raises(ValueError, match="need the columns d_model, n_layers"):
        anchor(KNOWN.law, KNOWN.draws, law_runs(table, few=True))


def test_what_the_runs_do_not_vary_stays_as_it_was():
    shapes = np.array([[256, 4], [512, 8], [768, 12], [1024, 16]])  # as wide for their depth
    table = counts(shapes)
    loss = 0.9 * KNOWN.law.loss(table["n_params"], table["n_tokens"], table)
    runs = law_runs(table | {"measured_loss": loss}, few=True)
    moved = anchor(KNOWN.law, KNOWN.draws, runs).law
    assert moved.terms["size_log_aspect_ratio"] == pytest.approx(
        KNOWN.law.terms["size_log_aspect_ratio"], rel=0.2
    )
    assert moved.loss(table["n_params"], table["n_tokens"], table) == pytest.approx(loss, rel=0.02)


def test_a_run_outside_of_the_law_s_own_tells_the_less_the_farther_it_lies():
    widths = []
    for smaller in (1, 10, 100):
        table = counts(SHAPES[1:2])
        table = table | {"n_params": table["n_params"] / smaller, "n_tokens": np.array([2e10])}
        loss = KNOWN.law.loss(table["n_params"], table["n_tokens"], table)
        moved = anchor(KNOWN.law, KNOWN.draws, law_runs(table | {"measured_loss": loss}, few=True))
        widths.append(np.log(moved.law.loss_under(
            moved.draws.T, table["n_params"], table["n_tokens"], table)).std())  # fmt: skip
    np.testing.assert_allclose(widths, [0.01, 0.025 * np.log(10), 0.025 * np.log(100)], rtol=0.5)
    assert widths[0] < widths[1] < widths[2]


@pytest.mark.parametrize(
    ("n_params", "n_tokens", "folds"), [(1e9, 1e11, 0), (1e7, 1e11, 1.58), (1e9, 1e9, 1.31)]
)
def test_how_far_outside(n_params, n_tokens, folds):
    assert KNOWN.law.folds_outside(n_params, n_tokens) == pytest.approx(folds, abs=0.02)
