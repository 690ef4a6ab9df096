"""Few steps beside a model that others fitted to the same hardware."""

import dataclasses

import numpy as np

from anybudget.objectives.cost.step_time import MODELS, StepTimeModel
from anybudget.objectives.fit.step_time import (
    Steps,
    compare_step_times,
    draw_coefficients,
    fit_step_time,
)
from anybudget.space.architecture import Architecture

PRIOR = StepTimeModel(
    name="traffic",
    seconds_per_unit=dict.fromkeys(MODELS["traffic"], 2e-9) | {"flops": 2e-11, "steps": 2e-3},
)
TRUE = dataclasses.replace(
    PRIOR, seconds_per_unit={name: 1.3 * s for name, s in PRIOR.seconds_per_unit.items()}
)


def models(n, seed):
    """Unlike architectures as one, every field an array."""
    rng = np.random.default_rng(seed)
    n_heads = rng.choice([1, 2, 4, 8], n)
    return Architecture(
        d_model=32 * n_heads, n_layers=rng.integers(1, 13, n), n_heads=n_heads, n_kv_heads=1,
        d_head=32, d_ff=32 * n_heads * rng.integers(2, 9, n),
        vocab_size=rng.choice([512, 4096, 32768], n), seq_len=rng.choice([64, 256, 1024], n),
        batch_size=rng.choice([1, 4, 16], n),
    )  # fmt: skip


def six_steps(prior):
    """With 3% of noise."""
    noise = np.exp(0.03 * np.random.default_rng(1).standard_normal(6))
    return Steps(arch=models(6, 1), measured_s=TRUE.step_time_s(models(6, 1)) * noise, prior=prior)


def error(model):
    others = models(200, 2)
    return np.abs(model.step_time_s(others) / TRUE.step_time_s(others) - 1).mean()


def test_six_steps_tell_a_level_and_leave_the_rest_as_others_fitted_it():
    moved, *_ = compare_step_times(six_steps(PRIOR))
    assert moved.from_prior
    alone = fit_step_time(six_steps(None), "traffic")
    assert 2 * error(moved.model) < min(error(alone.model), 0.1)


def test_draws_leave_open_what_six_steps_do_not_tell():
    steps = six_steps(PRIOR)
    draws = draw_coefficients(steps, fit_step_time(steps, "traffic").model, n_draws=50)
    spread = np.std(np.log(draws), axis=0)
    assert spread.max() > 0.2
