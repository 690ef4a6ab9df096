"""The recipe in JAX: how parameters begin, the optimizer, and the learning rate's schedule."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from ...objectives.recipe import EPSILON, Recipe, Scale, peak_learning_rate, scales
from ...space.architecture import Architecture
from .model import Params, param_shapes


def init_params(arch: Architecture, recipe: Recipe, seed: int) -> Params:
    """The parameters before the first step, float32, on the host."""
    rng = np.random.default_rng(seed)

    def draw(scale: Scale, shape: tuple[int, ...]) -> np.ndarray:
        if not scale.std:
            return np.full(shape, scale.mean, np.float32)
        return np.float32(scale.std) * rng.standard_normal(shape, np.float32)

    return _for_each_array(draw, scales(arch, recipe), param_shapes(arch))


def optimizer(arch: Architecture, recipe: Recipe) -> optax.GradientTransformation:
    """Clipping and AdamW, without the schedule's factor and the sign."""
    table = scales(arch, recipe)
    is_matrix = _for_each_array(lambda scale: scale.std > 0, table)

    def by_rate(updates: optax.Updates, params: optax.Params | None) -> optax.Updates:
        return _for_each_array(lambda scale, update: scale.rate * update, table, updates)

    return optax.chain(
        optax.clip_by_global_norm(recipe.clip_norm),
        optax.scale_by_adam(recipe.beta1, recipe.beta2, EPSILON),
        optax.stateless(by_rate),
        optax.add_decayed_weights(recipe.weight_decay, is_matrix),
    )


def learning_rate(arch: Architecture, recipe: Recipe, progress: jax.Array | float) -> jax.Array:
    """The scheduled learning rate, at a progress from 0 when training begins to 1 at its end."""
    rise, fall = progress / recipe.warmup, (1 - progress) / (1 - recipe.warmup)
    return peak_learning_rate(arch, recipe) * jnp.minimum(rise, fall)


def _for_each_array(function: Callable[..., Any], table: Params, *trees: Any) -> Params:
    return jax.tree.map(function, table, *trees, is_leaf=lambda node: isinstance(node, Scale))
