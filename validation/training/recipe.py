"""The recipe in JAX: how parameters begin, the optimizer, and the learning rate's schedule."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from ...objectives.recipe import EPSILON, Recipe, Scale
from ...space.decoder import Model
from .blocks.trainable import param_shapes, scales
from .model import Params

# What `recipe_for` sets by the horizon is an argument of a compiled step, the rest a part of it.
BY_HORIZON = ("learning_rate", "warmup", "weight_decay", "beta2")
jax.tree_util.register_dataclass(
    Recipe,
    data_fields=BY_HORIZON,
    meta_fields=[
        field.name
        for field in dataclasses.fields(Recipe)
        if field.name not in (*BY_HORIZON, "rule")
    ],
    drop_fields=["rule"],
)


def init_params(arch: Model, recipe: Recipe, seed: int) -> Params:
    """The parameters before the first step, float32, on the host."""
    return drawn(scales(arch, recipe), param_shapes(arch), seed)


def drawn(table: Params, shapes: Params, seed: int) -> Params:
    """Arrays of these shapes as a table of `Scale`s has them begin, float32, on the host."""
    rng = np.random.default_rng(seed)

    def draw(scale: Scale, shape: tuple[int, ...]) -> np.ndarray:
        if not scale.std:
            return np.full(shape, scale.mean, np.float32)
        return np.float32(scale.std) * rng.standard_normal(shape, np.float32)

    return _for_each_array(draw, table, shapes)


def optimizer(arch: Model, recipe: Recipe) -> optax.GradientTransformation:
    """Clipping and AdamW, without the schedule's factor and the sign."""
    return optimizer_by(scales(arch, recipe), recipe)


def optimizer_by(table: Params, recipe: Recipe) -> optax.GradientTransformation:
    """As `optimizer`, of arrays with these `Scale`s."""
    is_matrix = _for_each_array(lambda scale: scale.std > 0, table)

    def by_rate(updates: optax.Updates, params: optax.Params | None) -> optax.Updates:
        return _for_each_array(lambda scale, update: scale.rate * update, table, updates)

    return optax.chain(
        optax.clip_by_global_norm(recipe.clip_norm),
        optax.scale_by_adam(recipe.beta1, recipe.beta2, EPSILON),
        optax.stateless(by_rate),
        optax.add_decayed_weights(recipe.weight_decay, is_matrix),
    )


def learning_rate(recipe: Recipe, progress: jax.Array | float) -> jax.Array:
    """The scheduled learning rate, at a progress from 0 when training begins to 1 at its end."""
    rise, fall = progress / recipe.warmup, (1 - progress) / (1 - recipe.warmup)
    return recipe.learning_rate * jnp.minimum(rise, fall)


def _for_each_array(function: Callable[..., Any], table: Params, *trees: Any) -> Params:
    return jax.tree.map(function, table, *trees, is_leaf=lambda node: isinstance(node, Scale))
