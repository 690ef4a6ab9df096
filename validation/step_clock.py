"""How long a training step takes on this machine, and how fast the machine is at its best."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import optax

from ..space.architecture import Architecture
from .machine import count_cores
from .model import Execution, loss, param_shapes

MIN_GROUPS = 5
MAX_GROUPS = 15
COPY_BYTES = 1 << 28


@dataclasses.dataclass(frozen=True, kw_only=True)
class StepTiming:
    """Time of one architecture's training step.

    Attributes:
        step_time_s: median over groups of steps.
        step_time_spread: interquartile range of the groups over their median.
        core_share: processor time over wall time; well under 1, another process had our core.
        n_steps: steps timed.
    """

    step_time_s: float
    step_time_spread: float
    core_share: float
    n_steps: int


def counts_processor_time() -> bool:
    """Whether time is our processor's, not the wall's: on one CPU core.

    Other processes that take turns on the core do not count then. On a quiet core both are equal.
    """
    return jax.default_backend() == "cpu" and count_cores() == 1


def compile_step(arch: Architecture, execution: Execution) -> Callable:
    """Compile a training step, `(params, opt_state, tokens) -> (params, opt_state, loss)`."""
    optimizer = optax.adamw(1e-4)

    def step(params, opt_state, tokens):
        value, grads = jax.value_and_grad(loss)(params, tokens, arch, execution)
        updates, opt_state = optimizer.update(grads, opt_state, params)
        return optax.apply_updates(params, updates), opt_state, value

    params = jax.tree.map(
        lambda shape: jax.ShapeDtypeStruct(shape, jnp.float32),
        param_shapes(arch),
        is_leaf=lambda x: isinstance(x, tuple),
    )
    opt_state = jax.eval_shape(optimizer.init, params)
    tokens = jax.ShapeDtypeStruct((arch.batch_size, arch.seq_len + 1), jnp.int32)
    return jax.jit(step, donate_argnums=(0, 1)).lower(params, opt_state, tokens).compile()


def init_step(arch: Architecture) -> tuple:
    params = jax.tree.map(
        lambda shape: jnp.full(shape, 0.01, jnp.float32),
        param_shapes(arch),
        is_leaf=lambda x: isinstance(x, tuple),
    )
    return params, optax.adamw(1e-4).init(params)


def time_step(arch: Architecture, program: Callable, *, seconds: float) -> StepTiming:
    """Time a compiled step for about `seconds`, after two steps to warm up.

    Steps run in groups without waiting in between, as in training; a group ends with the device.
    """
    rng = np.random.default_rng(0)
    tokens = jnp.asarray(
        rng.integers(arch.vocab_size, size=(arch.batch_size, arch.seq_len + 1)), jnp.int32
    )
    state = jax.block_until_ready(init_step(arch))

    def run(n_steps: int) -> tuple[float, float]:
        nonlocal state
        wall, cpu = time.perf_counter(), time.process_time()
        for _ in range(n_steps):
            *state, _ = program(*state, tokens)
        jax.block_until_ready(state)
        return time.perf_counter() - wall, time.process_time() - cpu

    run(1)
    wall_s, cpu_s = run(1)
    one = cpu_s if counts_processor_time() else wall_s
    n_groups = min(max(math.ceil(seconds / one), MIN_GROUPS), MAX_GROUPS)
    n = max(round(seconds / n_groups / one), 1)
    times = np.array([run(n) for _ in range(n_groups)]) / n
    chosen = times[:, 1 if counts_processor_time() else 0]
    low, median, high = np.quantile(chosen, [0.25, 0.5, 0.75])
    return StepTiming(
        step_time_s=float(median),
        step_time_spread=float((high - low) / median),
        core_share=float(min(1, times[:, 1].sum() / times[:, 0].sum())),
        n_steps=n * n_groups,
    )
