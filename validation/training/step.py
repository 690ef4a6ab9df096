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

from ...objectives.recipe import Recipe
from ...space.architecture import Architecture
from .model import Execution, Params, loss, param_shapes
from .recipe import init_params, learning_rate, optimizer


class State(NamedTuple):
    """What a step changes: the master weights and the optimizer's moments."""

    params: Params
    opt_state: optax.OptState


def train_step(
    state: State,
    tokens_bt: jax.Array,
    progress: jax.Array | float,
    *,
    arch: Architecture,
    recipe: Recipe,
    execution: Execution,
) -> tuple[State, jax.Array]:
    """The state after one step, and the loss before it.

    Args:
        state: as it is.
        tokens_bt: (batch_size, seq_len + 1) token ids.
        progress: through the schedule, from 0 to 1.
        arch: the model.
        recipe: how it is updated.
        execution: how its loss is computed.
    """
    before, gradient = jax.value_and_grad(loss)(state.params, tokens_bt, arch, execution)
    updates, opt_state = optimizer(arch, recipe).update(gradient, state.opt_state, state.params)
    rate = learning_rate(arch, recipe, progress)
    params = jax.tree.map(lambda param, update: param - rate * update, state.params, updates)
    return State(params, opt_state), before


@dataclasses.dataclass(frozen=True, kw_only=True)
class CompiledTraining:
    """The compiled functions that train one architecture.

    Attributes:
        init: seed -> `State`.
        step: `State`, tokens, progress -> `State`, loss; the first `State` is consumed.
        evaluate: params, tokens -> loss.
        place: tokens on the host -> tokens on the devices, of which each process has its own; what
            it is given is the whole batch.
        state_shapes: shape, dtype and sharding of every array of the `State`.
        memory_bytes: what a step needs on each device.
    """

    init: Callable[[int], State]
    step: Callable[[State, jax.Array, float], tuple[State, jax.Array]]
    evaluate: Callable[[Params, jax.Array], jax.Array]
    place: Callable[[np.ndarray], jax.Array]
    state_shapes: State
    memory_bytes: int


def compile_training(
    arch: Architecture,
    *,
    recipe: Recipe,
    execution: Execution,
    n_devices: int = 1,
    fully_sharded: bool = False,
) -> CompiledTraining:
    """Compile ahead of time all that training needs.

    It runs on devices of this process and of those that train with it.

    Args:
        arch: what to train.
        recipe: how it is initialised and updated.
        execution: how its loss is computed.
        n_devices: among how many the batch is split.
        fully_sharded: as `abstract_inputs` has it.

    Raises:
        ValueError: there are not so many devices, or they do not divide the batch, or some process
            would have none.
    """
    n_here, together = jax.device_count(), jax.process_count() > 1
    if not (n_here if together else 1) <= n_devices <= n_here or arch.batch_size % n_devices:
        raise ValueError(
            f"`n_devices` must be {f'all {n_here}' if together else f'from 1 to {n_here}'} and "
            f"divide the batch, but got n_devices={n_devices}, batch_size={arch.batch_size}"
        )
    devices = jax.devices()[:n_devices]
    inputs = abstract_inputs(arch, recipe, devices, fully_sharded=fully_sharded)
    shardings = jax.tree.map(lambda x: x.sharding, inputs.state)
    begin = jax.jit(optimizer(arch, recipe).init, out_shardings=shardings.opt_state)

    def init(seed: int) -> State:
        params = jax.device_put(init_params(arch, recipe, seed), shardings.params)
        return State(params, begin(params))

    compiled_step = lower_step(inputs, arch, recipe=recipe, execution=execution).compile()
    evaluate = jax.jit(
        functools.partial(loss, arch=arch, execution=execution), out_shardings=inputs.whole
    )
    return CompiledTraining(
        init=init,
        step=compiled_step,
        evaluate=evaluate.lower(inputs.state.params, inputs.tokens).compile(),
        place=lambda tokens_bt: jax.make_array_from_process_local_data(
            inputs.tokens.sharding, tokens_bt, tokens_bt.shape
        ),
        state_shapes=inputs.state,
        memory_bytes=_memory_bytes(compiled_step),
    )


class Inputs(NamedTuple):
    """Shape, dtype and sharding of all that a step takes, and the sharding that splits nothing."""

    state: State
    tokens: jax.ShapeDtypeStruct
    whole: NamedSharding


def abstract_inputs(
    arch: Architecture, recipe: Recipe, devices: Sequence[Any], *, fully_sharded: bool = False
) -> Inputs:
    """What a step takes, on devices that need not be there.

    Args:
        arch: what to train.
        recipe: whose optimizer's moments are part of the state.
        devices: they split the batch; real ones, or those of a described topology.
        fully_sharded: whether they also share the state, each array split along the longest axis
            that they divide, where otherwise each device holds all of it.
    """
    mesh = Mesh(np.array(devices), ("devices",))
    whole = NamedSharding(mesh, PartitionSpec())
    split = NamedSharding(mesh, PartitionSpec("devices"))
    params = jax.tree.map(
        lambda shape: jax.ShapeDtypeStruct(shape, jnp.float32),
        param_shapes(arch),
        is_leaf=lambda node: isinstance(node, tuple),
    )
    state = jax.tree.map(
        lambda x: x.update(sharding=_longest_axis(x.shape, mesh) if fully_sharded else whole),
        State(params, jax.eval_shape(optimizer(arch, recipe).init, params)),
    )
    tokens = jax.ShapeDtypeStruct((arch.batch_size, arch.seq_len + 1), jnp.int32, sharding=split)
    return Inputs(state, tokens, whole)


def lower_step(
    inputs: Inputs, arch: Architecture, *, recipe: Recipe, execution: Execution
) -> jax.stages.Lowered:
    """The optimizer step for the inputs' devices, ready to be compiled; it consumes its state."""
    shardings = jax.tree.map(lambda x: x.sharding, inputs.state)
    run = functools.partial(train_step, arch=arch, recipe=recipe, execution=execution)
    step = jax.jit(run, donate_argnums=0, out_shardings=(shardings, inputs.whole))
    return step.lower(inputs.state, inputs.tokens, 0.0)


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
