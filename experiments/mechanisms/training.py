"""Training of a decoder of any blocks on one core, and the processor time of its steps."""

from __future__ import annotations

import dataclasses
import functools
import math
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from anybudget.objectives.recipe import EXPERTS_EXPONENT, Recipe, recipe_for
from anybudget.space.blocks import Experts
from anybudget.space.decoder import Decoder
from anybudget.validation.training.blocks.decoder import loss, param_shapes
from anybudget.validation.training.blocks.forms import ON_ONE_CPU
from anybudget.validation.training.blocks.scales import scales
from anybudget.validation.training.recipe import drawn, learning_rate, optimizer_by


class Compiled(NamedTuple):
    """What trains one decoder.

    Attributes:
        begin: a seed -> a state.
        step: state, tokens, progress, recipe -> state, loss before it; the first is consumed.
        evaluate: state, tokens -> their mean loss.
    """

    begin: Callable[[int], Any]
    step: Callable[..., Any]
    evaluate: Callable[..., Any]


@functools.cache
def compiled(arch: Decoder) -> Compiled:
    """What trains a decoder, compiled once for all seeds and horizons."""
    table = scales(arch, Recipe())
    update = optimizer_by(table, Recipe()).init

    def begin(seed: int) -> Any:
        params = jax.tree.map(jnp.asarray, drawn(table, param_shapes(arch), seed))
        return params, update(params)

    def step(state: Any, tokens_bt: jax.Array, progress: float, recipe: Recipe) -> Any:
        params, moments = state
        slopes, each_bt = jax.grad(loss, has_aux=True)(params, tokens_bt, arch, ON_ONE_CPU)
        updates, moments = optimizer_by(table, recipe).update(slopes, moments, params)
        rate = learning_rate(recipe, progress)
        params = jax.tree.map(lambda param, change: param - rate * change, params, updates)
        return (params, moments), jnp.mean(each_bt)

    def evaluate(state: Any, tokens_bt: jax.Array) -> jax.Array:
        return jnp.mean(loss(state[0], tokens_bt, arch, ON_ONE_CPU)[1])

    state = jax.eval_shape(lambda: begin(0))
    tokens = jax.ShapeDtypeStruct((arch.batch_size, arch.seq_len + 1), jnp.int32)
    stepping = jax.jit(step, donate_argnums=0).lower(state, tokens, 0.0, recipe_of(arch, 1e6))
    return Compiled(begin, stepping.compile(), jax.jit(evaluate).lower(state, tokens).compile())


def recipe_of(arch: Decoder, n_tokens: float) -> Recipe:
    """The product's rule for a dense model and, of experts, for a lower rate the more there are."""
    recipe = recipe_for(arch, n_tokens)  # type: ignore[arg-type]
    for _, block in arch.kinds:
        if isinstance(block.feed_forward, Experts):
            return at_rate(recipe, block.feed_forward.n_experts**EXPERTS_EXPONENT)
    return recipe


def at_rate(recipe: Recipe, factor: float) -> Recipe:
    """Another learning rate, and matrices that shrink as fast as before."""
    return dataclasses.replace(
        recipe,
        learning_rate=factor * recipe.learning_rate,
        weight_decay=recipe.weight_decay / factor,
    )


def train(
    arch: Decoder, load: Callable[[int], np.ndarray], n_steps: int, seed: int, rate: float
) -> tuple[Any, float]:
    """The state after a whole schedule, and the processor seconds of its steps and batches.

    Args:
        arch: the decoder.
        load: from a step to its tokens.
        n_steps: of the schedule.
        seed: of the weights.
        rate: what the rule's learning rate is multiplied by.
    """
    own = compiled(arch)
    recipe = at_rate(recipe_of(arch, n_steps * arch.tokens_per_step), rate)
    state = own.begin(seed)
    began = time.process_time()
    for i in range(n_steps):
        state, _ = own.step(state, load(i), i / n_steps, recipe)
        if i % 8 == 0:
            jax.block_until_ready(state)
    jax.block_until_ready(state)
    return state, time.process_time() - began


def processor_s(arch: Decoder, state: Any, n_steps: int) -> tuple[float, Any]:
    """Processor seconds of a step, the mean of a few, and the state after them."""
    own, recipe = compiled(arch), recipe_of(arch, 1e6)
    tokens = np.random.default_rng(0).integers(
        0, arch.vocab_size, (arch.batch_size, arch.seq_len + 1), np.int32
    )
    began = time.process_time()
    for _ in range(n_steps):
        state, _ = own.step(state, tokens, 0.0, recipe)
    jax.block_until_ready(state)
    return (time.process_time() - began) / n_steps, state


def lowered_loss(arch: Decoder, state: Any, tokens_bt: np.ndarray) -> jax.Array:
    """What training lowers, of one batch."""
    return loss(state[0], jnp.asarray(tokens_bt), arch, ON_ONE_CPU)[0]


def heldout_loss(arch: Decoder, state: Any, batches: np.ndarray) -> float:
    """Mean over batches of tokens that were not trained on, in nats per token."""
    own = compiled(arch)
    return math.fsum(float(own.evaluate(state, tokens)) for tokens in batches) / len(batches)
