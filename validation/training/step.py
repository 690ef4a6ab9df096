"""One optimizer step, compiled ahead of time, on one device or spread over several."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from ...objectives.cost.execution import PLAIN, Execution, Sharding
from ...objectives.recipe import Recipe
from ...space.decoder import Model
from .blocks.trainable import loss, param_shapes
from .model import CPU, Backend, Params
from .recipe import init_params, learning_rate, optimizer


class State(NamedTuple):
    """What a step changes: the master weights and the optimizer's moments."""

    params: Params
    opt_state: optax.OptState


def train_step(
    state: State,
    tokens_bt: jax.Array,
    progress: jax.Array | float,
    recipe: Recipe,
    *,
    arch: Model,
    execution: Execution = PLAIN,
    backend: Backend = CPU,
) -> tuple[State, jax.Array]:
    """The state after one step, and the loss before it.

    Args:
        state: as it is.
        tokens_bt: (batch_size, seq_len + 1) token ids.
        progress: through the schedule, from 0 to 1.
        recipe: how it is updated.
        arch: the model.
        execution: how its gradient is computed.
        backend: what it is compiled for.
    """
    one_pass = functools.partial(
        loss, arch=arch, execution=execution, backend=backend, trained=True
    )
    before, gradient = over_passes(
        functools.partial(jax.value_and_grad(one_pass), state.params), tokens_bt, execution
    )
    updates, opt_state = optimizer(arch, recipe).update(gradient, state.opt_state, state.params)
    rate = learning_rate(recipe, progress)
    params = jax.tree.map(lambda param, update: param - rate * update, state.params, updates)
    return State(params, opt_state), before


def over_passes(
    one_pass: Callable[[jax.Array], Any], tokens_bt: jax.Array, execution: Execution
) -> Any:
    """The mean over a step's passes of what one gives for its sequences.

    Each chip cuts its own sequences into micro-batches, so that none moves to another chip.
    """
    n_passes = execution.n_accumulation
    if n_passes == 1:
        return one_pass(tokens_bt)
    length = tokens_bt.shape[1]
    by_chip = tokens_bt.reshape(execution.n_split, n_passes, -1, length)
    passes = by_chip.swapaxes(0, 1).reshape(n_passes, -1, length)
    nothing = jax.tree.map(jnp.zeros_like, jax.eval_shape(one_pass, passes[0]))

    def add(so_far: Any, tokens: jax.Array) -> tuple[Any, None]:
        return jax.tree.map(jnp.add, so_far, one_pass(tokens)), None

    summed, _ = jax.lax.scan(add, nothing, passes)
    return jax.tree.map(lambda x: x / n_passes, summed)


@dataclasses.dataclass(frozen=True, kw_only=True)
class CompiledTraining:
    """The compiled functions that train one architecture.

    Attributes:
        init: seed -> `State`.
        step: `State`, tokens, progress, recipe -> `State`, loss; the first `State` is consumed, and
            the recipe may differ in `BY_HORIZON` from the one that was compiled.
        evaluate: params, tokens -> loss.
        place: tokens on the host -> tokens on the devices, of which each process has its own; what
            it is given is the whole batch.
        state_shapes: shape, dtype and sharding of every array of the `State`.
        memory_bytes: what a step needs on each device.
        recipe: with which it was compiled.
    """

    init: Callable[[int], State]
    step: Callable[[State, jax.Array, float, Recipe], tuple[State, jax.Array]]
    evaluate: Callable[[Params, jax.Array], jax.Array]
    place: Callable[[np.ndarray], jax.Array]
    state_shapes: State
    memory_bytes: int
    recipe: Recipe


def compile_training(
    arch: Model,
    *,
    recipe: Recipe,
    execution: Execution = PLAIN,
    backend: Backend = CPU,
) -> CompiledTraining:
    """Compile ahead of time all that training needs.

    It runs on devices of this process and of those that train with it.

    Args:
        arch: what to train.
        recipe: how it is initialised and updated.
        execution: how a step is run.
        backend: what it is compiled for.

    Raises:
        ValueError: there are not so many devices, or they and the passes do not divide the batch,
            or some process would have none, or the execution splits more than the batch.
    """
    _check(arch, execution)
    devices = jax.devices()[: execution.n_chips]
    inputs = abstract_inputs(arch, recipe, devices, sharding=execution.sharding)
    shardings = jax.tree.map(lambda x: x.sharding, inputs.state)
    begin = jax.jit(optimizer(arch, recipe).init, out_shardings=shardings.opt_state)

    def init(seed: int) -> State:
        params = jax.device_put(init_params(arch, recipe, seed), shardings.params)
        return State(params, begin(params))

    how = {"execution": execution, "backend": backend}
    compiled_step = lower_step(inputs, arch, recipe=recipe, **how).compile()

    @functools.partial(jax.jit, out_shardings=inputs.whole)
    def evaluate(params: Params, tokens_bt: jax.Array) -> jax.Array:
        one_pass = functools.partial(loss, params, arch=arch, **how)
        return over_passes(one_pass, tokens_bt, execution)

    return CompiledTraining(
        init=init,
        step=compiled_step,
        evaluate=evaluate.lower(inputs.state.params, inputs.tokens).compile(),
        place=lambda tokens_bt: jax.make_array_from_process_local_data(
            inputs.tokens.sharding, tokens_bt, tokens_bt.shape
        ),
        state_shapes=inputs.state,
        memory_bytes=_memory_bytes(compiled_step),
        recipe=recipe,
    )


class Inputs(NamedTuple):
    """Shape, dtype and sharding of all that a step takes, and the sharding that splits nothing."""

    state: State
    tokens: jax.ShapeDtypeStruct
    whole: NamedSharding


def abstract_inputs(
    arch: Model,
    recipe: Recipe,
    devices: Sequence[Any],
    *,
    sharding: Sharding = Sharding.DATA,
) -> Inputs:
    """What a step takes, on devices that need not be there.

    Args:
        arch: what to train.
        recipe: whose optimizer's moments are part of the state.
        devices: they split the batch; real ones, or those of a described topology.
        sharding: `FULL`, they also share the state, each array split along the longest axis that
            they divide; `DATA`, each device holds all of it.

    Raises:
        ValueError: the optimizer's state alone is to be shared.
    """
    if sharding == Sharding.OPTIMIZER:
        raise ValueError("`sharding` must be data or full for a step of ours, but got 'optimizer'")
    mesh = Mesh(np.array(devices), ("devices",))
    whole = NamedSharding(mesh, PartitionSpec())
    split = NamedSharding(mesh, PartitionSpec("devices"))
    params = jax.tree.map(
        lambda shape: jax.ShapeDtypeStruct(shape, jnp.float32),
        param_shapes(arch),
        is_leaf=lambda node: isinstance(node, tuple),
    )
    is_shared = sharding == Sharding.FULL
    state = jax.tree.map(
        lambda x: x.update(sharding=_longest_axis(x.shape, mesh) if is_shared else whole),
        State(params, jax.eval_shape(optimizer(arch, recipe).init, params)),
    )
    tokens = jax.ShapeDtypeStruct((arch.batch_size, arch.seq_len + 1), jnp.int32, sharding=split)
    return Inputs(state, tokens, whole)


def lower_step(
    inputs: Inputs,
    arch: Model,
    *,
    recipe: Recipe,
    execution: Execution = PLAIN,
    backend: Backend = CPU,
) -> jax.stages.Lowered:
    """The optimizer step for the inputs' devices, ready to be compiled; it consumes its state."""
    shardings = jax.tree.map(lambda x: x.sharding, inputs.state)
    run = functools.partial(train_step, arch=arch, execution=execution, backend=backend)
    step = jax.jit(run, donate_argnums=0, out_shardings=(shardings, inputs.whole))
    return step.lower(inputs.state, inputs.tokens, 0.0, recipe)


def _check(arch: Model, execution: Execution) -> None:
    n_chips, n_here, together = execution.n_chips, jax.device_count(), jax.process_count() > 1
    if execution.n_split != n_chips:
        raise ValueError(
            "`tensor_parallel` and `pipeline_parallel` must be 1 to train here, but got "
            f"{execution.tensor_parallel} and {execution.pipeline_parallel}"
        )
    if not (n_here if together else 1) <= n_chips <= n_here or arch.batch_size % n_chips:
        raise ValueError(
            f"`n_chips` must be {f'all {n_here}' if together else f'from 1 to {n_here}'} and "
            f"divide the batch, but got n_chips={n_chips}, batch_size={arch.batch_size}"
        )
    if execution.n_replicas != 1:
        raise ValueError(f"`n_replicas` must be 1 to train here, but got {execution.n_replicas}")
    if not execution.divides(arch.batch_size):
        raise ValueError(
            f"`n_accumulation` must divide the {arch.batch_size // n_chips} sequences of a chip, "
            f"but got {execution.n_accumulation}"
        )


def _longest_axis(shape: tuple[int, ...], mesh: Mesh) -> NamedSharding:
    """Split the longest axis that the devices divide; none when they divide none."""
    divided = [axis for axis, size in enumerate(shape) if size % mesh.size == 0]
    axes = [None] * len(shape)
    if divided:
        axes[max(divided, key=lambda axis: shape[axis])] = mesh.axis_names[0]
    return NamedSharding(mesh, PartitionSpec(*axes))


def _memory_bytes(compiled: Any) -> int:
    used = compiled.memory_analysis()
    kept = used.argument_size_in_bytes + used.output_size_in_bytes - used.alias_size_in_bytes
    return kept + used.temp_size_in_bytes
