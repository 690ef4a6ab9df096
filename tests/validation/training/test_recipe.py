import functools
import math
from dataclasses import replace
from typing import Any

import jax
import numpy as np
import pytest

from anybudget.objectives.recipe import Recipe, scales
from anybudget.space.architecture import Architecture
from anybudget.validation.training.model import param_shapes
from anybudget.validation.training.recipe import init_params, learning_rate, optimizer

ARCH = Architecture.from_shape(d_model=64, n_layers=4, vocab_size=300, gated_mlp=True)


def scale_ratios(changes, field):
    """By parameter, `field` of the changed architecture's scale over that of `ARCH`."""
    before, after = (
        {**table["layers"], **{name: table[name] for name in ("embedding", "final_norm")}}
        for table in (scales(arch, Recipe()) for arch in (ARCH, replace(ARCH, **changes)))
    )
    known = [name for name in before if getattr(before[name], field)]
    return {name: getattr(after[name], field) / getattr(before[name], field) for name in known}


def test_twice_the_width_learns_half_as_fast():
    wide = {"d_model": 128, "n_heads": 2, "n_kv_heads": 2, "d_ff": 512}
    ratios = scale_ratios(wide, "rate")
    unchanged = {"embedding", "attention_norm", "mlp_norm"}
    assert {name for name, ratio in ratios.items() if ratio == 1} == unchanged
    assert {ratio for name, ratio in ratios.items() if name not in unchanged} == {0.5}


def test_twice_the_depth_adds_half_as_much_by_each_branch():
    for field in ("rate", "std"):
        ratios = scale_ratios({"n_layers": 8}, field)
        changed = {name: ratio for name, ratio in ratios.items() if ratio != 1}
        assert changed == {"attention_output": 0.5, "mlp_down": 0.5}


def test_parameters_begin_as_the_table_says():
    recipe = Recipe()
    params = init_params(ARCH, recipe, seed=1)
    shapes = jax.tree.map(np.shape, params)
    assert shapes == param_shapes(ARCH)
    table = scales(ARCH, recipe)
    for name, array in params["layers"].items():
        mean, std, _ = table["layers"][name]
        # Five standard errors of the mean and of the spread.
        assert abs(array.mean() - mean) <= 5 * std / math.sqrt(array.size)
        assert abs(array.std() - std) <= 5 * std / math.sqrt(2 * array.size)
    np.testing.assert_array_equal(params["final_norm"], np.float32(table["final_norm"].mean))


def gradients(seed, *sizes):
    """Gradients of `ARCH`, their elements normal with these standard deviations."""
    rng, params = np.random.default_rng(seed), init_params(ARCH, Recipe(), seed=0)

    def draw(size, x):
        return size * rng.normal(size=x.shape).astype(np.float32)

    return [jax.tree.map(functools.partial(draw, size), params) for size in sizes]


def update(recipe, gradients) -> tuple[Any, Any]:
    """The last of the updates that these gradients give, and the optimizer's state."""
    params, transform = init_params(ARCH, recipe, seed=0), optimizer(ARCH, recipe)
    state, updates = transform.init(params), None
    for gradient in gradients:
        updates, state = transform.update(gradient, state, params)
    return updates, state


def test_an_update_is_adamw_times_the_rate():
    recipe, steps = Recipe(clip_norm=1e9), gradients(0, 1.0, 2.0, 0.5)
    m = v = 0.0
    for gradient in steps:
        g = gradient["layers"]["mlp_up"].astype(np.float64)
        m = recipe.beta1 * m + (1 - recipe.beta1) * g
        v = recipe.beta2 * v + (1 - recipe.beta2) * g**2
    adam = m / (1 - recipe.beta1**3) / np.sqrt(v / (1 - recipe.beta2**3))
    rate = scales(ARCH, recipe)["layers"]["mlp_up"].rate
    decay = recipe.weight_decay * init_params(ARCH, recipe, seed=0)["layers"]["mlp_up"]
    updates, _ = update(recipe, steps)
    np.testing.assert_allclose(updates["layers"]["mlp_up"], rate * adam + decay, 1e-4, 1e-5)


def test_gains_do_not_decay():
    updates, _ = update(Recipe(), gradients(0, 0.0))
    assert not np.any(updates["layers"]["mlp_norm"])
    assert not np.any(updates["final_norm"])
    embedding = init_params(ARCH, Recipe(), seed=0)["embedding"]
    np.testing.assert_allclose(updates["embedding"], 0.1 * embedding, 1e-6)


# The longest gradient that is not clipped has elements of 0.0015.
@pytest.mark.parametrize("size", [1e-3, 1e3])
def test_the_first_update_does_not_depend_on_the_gradients_size(size):
    (expected, _), (found, _) = (update(Recipe(), gradients(0, x)) for x in (1.0, size))
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, 1e-3, 1e-6), expected, found)


def test_clipping_bounds_a_spike_after_calm():
    spike = gradients(0, 1e-4, 1e-4, 1e3)
    for clip_norm, least, most in ((1.0, 0, 0.1), (1e9, 100, 1e9)):
        _, state = update(Recipe(clip_norm=clip_norm), spike)
        assert least < np.abs(state[1].mu["layers"]["mlp_up"]).max() < most


def test_the_schedule_rises_falls_and_ends_at_zero():
    recipe = Recipe(learning_rate=0.5, warmup=0.2)
    values = [float(learning_rate(recipe, x)) for x in (0.0, 0.1, 0.2, 0.6, 1.0)]
    np.testing.assert_allclose(values, [0.0, 0.25, 0.5, 0.25, 0.0], atol=1e-7)


def test_the_label_names_what_was_changed_but_the_learning_rate():
    assert Recipe(learning_rate=0.7).label == "completep"
    assert Recipe(rule="horizon", warmup=0.5).label == "horizon"
    assert Recipe(warmup=0.5, beta2=0.9).label == "completep warmup=0.5 beta2=0.9"
