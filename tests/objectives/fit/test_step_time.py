"""Fits of step-time models: known coefficients come back, and held-out means held out."""

import dataclasses

import numpy as np
import pytest

from anybudget.objectives.cost.communication import sent
from anybudget.objectives.cost.counts import flops_per_step, memcpys_per_step
from anybudget.objectives.cost.execution import Execution
from anybudget.objectives.cost.step_time import MODELS, StepTimeModel
from anybudget.objectives.fit.step_problem import RIDGES
from anybudget.objectives.fit.step_time import (
    MOST_HOP_S,
    Steps,
    compare_step_times,
    draw_coefficients,
    fit_step_time,
    implied_rates,
    variance_explained_alone,
)
from anybudget.space.architecture import Architecture

PAPER = StepTimeModel(
    name="paper", seconds_per_unit={"memcpys": 3e-10, "flops": 2e-11, "steps": 2e-3}
)


def some_models(n=40, seed=0):
    """Unlike architectures as one, every field an array."""
    rng = np.random.default_rng(seed)
    d_head, n_heads = rng.choice([16, 32, 64], n), rng.choice([1, 2, 4, 8], n)
    d_model = d_head * n_heads
    return Architecture(
        d_model=d_model,
        n_layers=rng.integers(1, 13, n),
        n_heads=n_heads,
        n_kv_heads=1,
        d_head=d_head,
        d_ff=d_model * rng.integers(2, 9, n),
        gated_mlp=rng.random(n) < 0.5,
        vocab_size=rng.choice([512, 4096, 32768], n),
        seq_len=rng.choice([64, 256, 1024], n),
        batch_size=rng.choice([1, 4, 16], n),
    )


def steps_of(model, *, noise=0.0, seed=0):
    """Steps whose measured times are a model's, times a lognormal factor."""
    arch = some_models(seed=seed)
    factor = np.exp(noise * np.random.default_rng(seed).standard_normal(len(arch.d_model)))
    return Steps(arch=arch, measured_s=model.step_time_s(arch) * factor)


def test_coefficients_come_back_from_exact_times():
    fit = fit_step_time(steps_of(PAPER), "paper")
    assert fit.model.seconds_per_unit == pytest.approx(PAPER.seconds_per_unit, rel=1e-6)
    assert fit.r2 == pytest.approx(1, abs=1e-9)
    assert fit.mape < 1e-6
    assert fit.ratio_95 == pytest.approx((1, 1), abs=1e-6)


def test_the_ridge_of_a_roofline_comes_back():
    known = StepTimeModel(
        name="roofline",
        seconds_per_unit=dict.fromkeys(MODELS["roofline"], 0.0) | {"roofline_flops": 1e-11},
        ridge=float(RIDGES[17]),
    )
    fit = fit_step_time(steps_of(known), "roofline")
    assert fit.model.ridge == RIDGES[17]
    assert fit.model.seconds_per_unit["roofline_flops"] == pytest.approx(1e-11, rel=1e-6)


def test_no_flop_is_faster_than_the_peak_and_the_usual_ridge_stays_where_none_tells():
    steps = steps_of(PAPER)
    slow = dataclasses.replace(steps, peak_flops_per_s=2.5e10)  # but PAPER has 5e10
    fit = fit_step_time(slow, "paper")
    assert fit.model.seconds_per_unit["flops"] == 1 / 2.5e10
    assert fit.mape > 0.01
    bound = dataclasses.replace(steps, measured_s=1e-9 * flops_per_step(steps.arch))
    for usual in (3.0, 5.0):
        usually = dataclasses.replace(bound, usual_ridge=usual)
        assert fit_step_time(usually, "roofline").model.ridge == usual


def test_what_no_step_has_costs_nothing():
    steps = steps_of(PAPER)
    tied = Architecture(**(steps.arch.as_dict() | {"tied_embeddings": True}))
    fit = fit_step_time(dataclasses.replace(steps, arch=tied), "traffic")
    assert fit.model.seconds_per_unit["lookup"] == 0
    assert np.isfinite(fit.heldout_s).all()


def test_the_fit_has_the_least_relative_error():
    steps = steps_of(PAPER, noise=0.2)
    fitted = fit_step_time(steps, "paper").model

    def error(model):
        return np.sum((model.step_time_s(steps.arch) / steps.measured_s - 1) ** 2)

    for feature, seconds in fitted.seconds_per_unit.items():
        for factor in (0.99, 1.01):
            changed = fitted.seconds_per_unit | {feature: factor * seconds}
            assert error(dataclasses.replace(fitted, seconds_per_unit=changed)) > error(fitted)


def test_a_coefficient_that_least_squares_makes_negative_is_0():
    work_s = steps_of(PAPER).measured_s
    steps = Steps(arch=some_models(), measured_s=work_s - 0.9 * work_s.min())
    counts = [memcpys_per_step(steps.arch), flops_per_step(steps.arch), np.ones(40)]
    relative = np.stack(counts, axis=1) / steps.measured_s[:, None]
    scale = relative.mean(axis=0)
    assert np.linalg.lstsq(relative / scale, np.ones(40))[0][2] < 0
    assert fit_step_time(steps, "paper").model.seconds_per_unit["steps"] == 0


def test_a_shape_is_predicted_without_any_of_its_steps():
    steps = steps_of(PAPER, noise=0.1)
    out = steps.shape_index == steps.shape_index[0]
    spoilt = dataclasses.replace(steps, measured_s=np.where(out, 50, 1) * steps.measured_s)
    before, after = (fit_step_time(each, "paper").heldout_s for each in (steps, spoilt))
    np.testing.assert_array_equal(before[out], after[out])
    assert not np.allclose(before[~out], after[~out])


def test_shapes_are_width_and_depth():
    arch = Architecture(
        d_model=np.array([64, 64, 64, 128]), n_layers=np.array([2, 4, 2, 2]), n_heads=2,
        n_kv_heads=2, d_head=32, d_ff=256,
    )  # fmt: skip
    shapes = Steps(arch=arch, measured_s=np.ones(4)).shape_index
    assert shapes[0] == shapes[2]
    assert len(set(shapes)) == 3


def test_scores_are_of_the_held_out_predictions():
    steps = steps_of(PAPER, noise=0.3)
    fit = fit_step_time(steps, "memcpys")
    relative = fit.heldout_s / steps.measured_s
    assert fit.mape == pytest.approx(np.abs(relative - 1).mean())
    unexplained = np.mean((fit.heldout_s - steps.measured_s) ** 2) / np.var(steps.measured_s)
    assert fit.r2 == pytest.approx(1 - unexplained)
    inside = (1 / relative >= fit.ratio_95[0]) & (1 / relative <= fit.ratio_95[1])
    assert inside.sum() == 38


def test_models_come_best_first_and_the_true_one_beats_what_lacks_its_features():
    fits = compare_step_times(steps_of(PAPER, noise=0.02))
    assert [fit.mape for fit in fits] == sorted(fit.mape for fit in fits)
    assert {fit.model.name for fit in fits} == set(MODELS)
    assert {fits[-1].model.name, fits[-2].model.name} == {"flops", "memcpys"}


def test_accumulated_passes_multiply_all_but_what_a_step_does_once():
    arch = some_models()
    larger = dataclasses.replace(arch, batch_size=3 * arch.batch_size)
    once = Steps(arch=arch, measured_s=np.ones(40)).units("traffic", 0.0)
    passes = Execution(n_accumulation=3)
    thrice = Steps(arch=larger, measured_s=np.ones(40), execution=passes).units("traffic", 0.0)
    factor = [1 if name in ("params", "steps") else 3 for name in MODELS["traffic"]]
    np.testing.assert_array_equal(thrice, once * factor)


def test_steps_that_rematerialise_are_fitted_as_such():
    arch = some_models()
    again = Execution(remat="layer")
    steps = Steps(arch=arch, measured_s=PAPER.step_time_s(arch, again), execution=again)
    fit = fit_step_time(steps, "paper")
    assert fit.model.seconds_per_unit == pytest.approx(PAPER.seconds_per_unit, rel=1e-6)


def test_a_fused_kernel_s_rate_comes_back_beside_the_matmuls():
    known = dataclasses.replace(
        PAPER, seconds_per_unit=PAPER.seconds_per_unit | {"attention": 7e-11}
    )
    arch, execution = some_models(), Execution(attention=np.arange(40) % 2)
    measured_s = known.step_time_s(arch, execution, kind="gpu")
    steps = Steps(arch=arch, measured_s=measured_s, execution=execution, kind="gpu")
    fit = fit_step_time(steps, "paper")
    assert fit.model.seconds_per_unit == pytest.approx(known.seconds_per_unit, rel=1e-6)
    assert fit.mape < 1e-6


def test_chips_that_share_the_state_update_a_share_of_it_each():
    arch, n_shares = some_models(), 1 + np.arange(40) % 4
    larger = dataclasses.replace(arch, batch_size=n_shares * arch.batch_size)
    execution = Execution(n_chips=n_shares, sharding="full")
    once = Steps(arch=arch, measured_s=np.ones(40)).units("traffic", 0.0)
    shared = Steps(arch=larger, measured_s=np.ones(40), execution=execution).units("traffic", 0.0)
    of_state = np.array([name in ("params", "lookup") for name in MODELS["traffic"]])
    np.testing.assert_allclose(shared[:, of_state], once[:, of_state] / n_shares[:, None])
    np.testing.assert_array_equal(shared[:, ~of_state], once[:, ~of_state])


def test_what_links_cost_comes_back_where_several_chips_were_timed():
    links = {"host_bytes": 3e-8, "network_bytes": 4e-7, "hops": 5e-4}
    known = dataclasses.replace(PAPER, seconds_per_unit=PAPER.seconds_per_unit | links)
    arch, n_chips = some_models(), 2 ** (np.arange(40) % 6)
    arch = dataclasses.replace(arch, batch_size=n_chips * arch.batch_size)
    execution = Execution(n_chips=n_chips, sharding="full")
    exchanged = sent(arch, execution, bytes_per_element=4, chips_per_host=8)
    measured_s = known.step_time_s(arch, execution) + known.communication_s(exchanged)
    steps = Steps(arch=arch, measured_s=measured_s, execution=execution, sent=exchanged)
    fit = fit_step_time(steps, "paper")
    assert fit.model.seconds_per_unit == pytest.approx(known.seconds_per_unit, rel=1e-6)
    within = {name: np.where(n_chips <= 8, units, 0) for name, units in exchanged.items()}
    fit = fit_step_time(dataclasses.replace(steps, sent=within), "paper")
    assert "network_bytes" not in fit.model.seconds_per_unit


def test_no_hop_of_a_gpu_is_slower_than_a_link():
    known = dataclasses.replace(
        PAPER, seconds_per_unit=PAPER.seconds_per_unit | {"host_bytes": 3e-8, "hops": 5e-4}
    )
    arch, n_chips = some_models(), 2 ** (np.arange(40) % 3)
    arch = dataclasses.replace(arch, batch_size=n_chips * arch.batch_size)
    execution = Execution(n_chips=n_chips, sharding="full")
    exchanged = sent(arch, execution, bytes_per_element=2, chips_per_host=8)
    measured_s = known.step_time_s(arch, execution) + known.communication_s(exchanged)
    steps = Steps(arch=arch, measured_s=measured_s, execution=execution, kind="gpu", sent=exchanged)
    fit = fit_step_time(steps, "paper")
    assert fit.model.seconds_per_unit["hops"] == MOST_HOP_S
    draws = draw_coefficients(steps, fit.model, n_draws=5)
    assert np.all(draws[:, list(fit.model.seconds_per_unit).index("hops")] <= MOST_HOP_S)


def test_several_trainers_have_a_level_each_about_the_mean_of_all():
    trainer, levels = np.arange(40) % 3, np.array([0.8, 1.0, 1.25])
    alone = steps_of(PAPER)
    steps = dataclasses.replace(
        alone, measured_s=alone.measured_s * levels[trainer], trainer=trainer
    )
    fit = fit_step_time(steps, "paper")
    np.testing.assert_allclose(fit.levels, levels, rtol=1e-5)
    assert fit.model.seconds_per_unit == pytest.approx(PAPER.seconds_per_unit, rel=1e-4)
    np.testing.assert_allclose(fit.ratio_95, 1, rtol=1e-4)


def test_draws_scatter_about_the_fit_as_fits_to_new_data_do():
    fit = fit_step_time(steps_of(PAPER, noise=0.1), "paper")
    draws = draw_coefficients(steps_of(PAPER, noise=0.1), fit.model, n_draws=200, seed=1)
    fresh = [fit_step_time(steps_of(PAPER, noise=0.1, seed=s), "paper").model for s in range(30)]
    expected = np.std([list(model.seconds_per_unit.values()) for model in fresh], axis=0)
    assert draws.shape == (200, 3)
    # 30 fits give a spread to a fifth or so, and each has its own architectures.
    np.testing.assert_allclose(draws.std(axis=0), expected, rtol=0.7)
    again = draw_coefficients(steps_of(PAPER, noise=0.1), fit.model, n_draws=200, seed=1)
    np.testing.assert_array_equal(draws, again)


def test_variance_explained_alone_is_the_squared_correlation():
    memory_bound = StepTimeModel(name="memcpys", seconds_per_unit={"memcpys": 1e-10, "steps": 0.01})
    alone = variance_explained_alone(steps_of(memory_bound))
    assert alone["memcpys"] == pytest.approx(1)
    assert alone["flops"] < 0.99


@pytest.mark.parametrize(
    ("model", "rates"),
    [
        (PAPER, {"bandwidth_bytes_per_s": 4 / 3e-10, "peak_flops_per_s": 5e10}),
        (
            StepTimeModel(
                name="roofline",
                seconds_per_unit=dict.fromkeys(MODELS["roofline"], 0.0) | {"roofline_flops": 1e-11},
                ridge=20.0,
            ),
            {"bandwidth_bytes_per_s": 2e10, "peak_flops_per_s": 1e11},
        ),
        (
            StepTimeModel(name="flops", seconds_per_unit={"flops": 1e-12, "steps": 0.0}),
            {"peak_flops_per_s": 1e12},
        ),
    ],
)
def test_coefficients_imply_rates(model, rates):
    assert implied_rates(model, 4) == pytest.approx(rates)


@pytest.mark.parametrize(
    ("measured_s", "n_layers", "message"),
    [
        ([1.0, 2.0, 0.0], [1, 2, 3], "every measured step must take a time > 0"),
        ([1.0, 2.0, np.nan], [1, 2, 3], "every measured step must take a time > 0"),
        ([1.0, 2.0, 3.0], [1, 2, 2], "at least 3 shapes .* but got 2"),
    ],
)
def test_refused(measured_s, n_layers, message):
    arch = Architecture(
        d_model=64, n_layers=np.array(n_layers), n_heads=2, n_kv_heads=2, d_head=32, d_ff=256
    )
    with pytest.raises(ValueError, match=message):
        Steps(arch=arch, measured_s=np.array(measured_s))
