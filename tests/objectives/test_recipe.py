"""The recipe of a run: near what others found and used, continuous, and what follows from what."""

import dataclasses
import math

import pytest

from anybudget.objectives.cost.counts import n_params, n_params_non_embedding
from anybudget.objectives.law.batch_price import best_batch_tokens
from anybudget.objectives.recipe import Recipe, recipe_for, single_rate
from anybudget.space.architecture import Architecture

ARCH = Architecture.from_shape(d_model=1024, n_layers=8, batch_size=128, seq_len=2048)


def with_batch(tokens: float, arch: Architecture = ARCH) -> Architecture:
    return dataclasses.replace(arch, batch_size=round(tokens / arch.seq_len))


@pytest.mark.parametrize(
    ("d_model", "n_layers", "d_ff"), [(960, 7, 9368), (1280, 13, 9048), (2048, 16, 8192)]
)
@pytest.mark.parametrize("n_tokens", [5e9, 2e10, 1e11])
def test_in_the_best_batch_the_rate_is_near_step_laws(d_model, n_layers, d_ff, n_tokens):
    arch = Architecture.from_shape(
        d_model=d_model, n_layers=n_layers, d_ff=d_ff, gated_mlp=True, seq_len=2048
    )
    arch = with_batch(best_batch_tokens(n_tokens), arch)
    # Li et al. 2025, arXiv:2503.04715: 1.79 N^-0.713 D^0.307; their own runs scatter by 25%.
    published = 1.79 * n_params_non_embedding(arch) ** -0.713 * n_tokens**0.307
    assert single_rate(arch, recipe_for(arch, n_tokens)) == pytest.approx(published, rel=0.5)


def test_far_below_the_noise_the_rate_falls_with_the_root_of_the_batch():
    rates = [recipe_for(with_batch(2048 * n), 1e12).learning_rate for n in (1, 4, 16)]
    assert rates[1] / rates[0] == pytest.approx(2, rel=0.01)
    assert rates[2] / rates[1] == pytest.approx(2, rel=0.03)


def test_at_one_batch_a_longer_run_learns_more_slowly_and_in_the_best_batches_faster():
    one = [recipe_for(ARCH, n).learning_rate for n in (1e10, 1e11, 1e12)]
    best = [recipe_for(with_batch(best_batch_tokens(n)), n).learning_rate for n in (1e10, 1e12)]
    assert one == sorted(one, reverse=True)
    assert best[0] < best[1]


def test_the_decay_averages_over_power_lines_share_of_the_run():
    n_tokens = 20.0 * n_params(ARCH)
    recipe = recipe_for(ARCH, n_tokens)
    n_steps = n_tokens / ARCH.tokens_per_step
    # Bergsma et al. 2025: B / (eta lambda D) = 1.084 (D / N)^-0.527.
    share = 1 / (recipe.learning_rate * recipe.weight_decay * n_steps)
    assert share == pytest.approx(1.084 * 20**-0.527)
    twice = recipe_for(with_batch(2 * ARCH.tokens_per_step), n_tokens)
    decays = [one.learning_rate * one.weight_decay for one in (recipe, twice)]
    assert decays[1] == pytest.approx(2 * decays[0])


def test_the_second_moment_of_small_batches_has_the_half_life_in_tokens_of_the_best():
    best = best_batch_tokens(1e10)
    half_lives = []
    for factor in (1 / 16, 1 / 4, 1):
        arch = with_batch(best * factor)
        recipe = recipe_for(arch, 1e10)
        half_lives.append(arch.tokens_per_step * math.log(0.5) / math.log(recipe.beta2))
    assert half_lives[0] == pytest.approx(half_lives[1]) == pytest.approx(half_lives[2], rel=0.01)
    assert recipe_for(with_batch(best * 8), 1e10).beta2 == 0.95


def test_a_long_run_warms_up_for_no_more_than_375_million_tokens():
    assert recipe_for(ARCH, 1e9).warmup == 0.1
    assert recipe_for(ARCH, 1e12).warmup * 1e12 == pytest.approx(375e6)


def test_by_hand_nothing_depends_on_the_horizon():
    assert Recipe().label == "completep"
    assert recipe_for(ARCH, 1e9).label == recipe_for(ARCH, 1e10).label == "horizon"
