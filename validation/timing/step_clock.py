"""How long a training step takes on this machine, and how fast its memory is at best."""

from __future__ import annotations

import dataclasses
import functools
import math
import time

import jax
import jax.numpy as jnp
import numpy as np

from ...objectives.cost.execution import PLAIN, Execution
from ...objectives.recipe import Recipe
from ...space.architecture import Architecture
from ..backend import clock_name, step_clock
from ..training.model import CPU, Backend, param_shapes
from ..training.recipe import optimizer
from ..training.step import State, train_step

MIN_GROUPS, MAX_GROUPS = 5, 15
# A copy that beside an accelerator takes far longer than to start it.
COPY_BYTES, ACCELERATOR_COPY_BYTES, N_COPIES = 1 << 28, 1 << 31, 9
# Weights to time with: so many numbers, over and over, for to draw a billion takes half a minute.
N_DRAWN = 1 << 20


@dataclasses.dataclass(frozen=True, kw_only=True)
class StepTiming:
    """Time of one architecture's training step.

    Attributes:
        step_time_s: median over groups of steps, in seconds of `clock_name`.
        step_time_spread: interquartile range of the groups over their median.
        core_share: processor time over wall time, at most 1; below it, others used our core or we
            waited for an accelerator.
        n_steps: steps timed.
    """

    step_time_s: float
    step_time_spread: float
    core_share: float
    n_steps: int


class CompiledStep:
    """A training step of one architecture, compiled when built and ready to be timed."""

    def __init__(self, arch: Architecture, backend: Backend = CPU, execution: Execution = PLAIN):
        self.arch = arch
        self._recipe = recipe = Recipe()
        params = jax.tree.map(
            lambda shape: jax.ShapeDtypeStruct(shape, jnp.float32),
            param_shapes(arch),
            is_leaf=lambda x: isinstance(x, tuple),
        )
        self._state = State(params, jax.eval_shape(optimizer(arch, recipe).init, params))
        tokens = jax.ShapeDtypeStruct((arch.batch_size, arch.seq_len + 1), jnp.int32)
        step = functools.partial(train_step, arch=arch, execution=execution, backend=backend)
        lowered = jax.jit(step, donate_argnums=0).lower(self._state, tokens, 0.5, recipe)
        self._step = lowered.compile()

    def time(self, seconds: float) -> StepTiming:
        """Time steps for about `seconds`, after two to warm up.

        A group of steps runs without waiting in between, as in training.
        """
        arch, rng = self.arch, np.random.default_rng(0)
        tokens = jnp.asarray(
            rng.integers(arch.vocab_size, size=(arch.batch_size, arch.seq_len + 1), dtype=np.int32)
        )
        drawn = 0.02 * rng.standard_normal(N_DRAWN, np.float32)
        state = State(
            jax.tree.map(lambda x: jnp.asarray(np.resize(drawn, x.shape)), self._state.params),
            jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), self._state.opt_state),
        )

        def run(n_steps: int) -> dict[str, float]:
            nonlocal state
            processor_s, wall_s = time.process_time(), time.perf_counter()
            for _ in range(n_steps):
                state, _ = self._step(state, tokens, 0.5, self._recipe)
            jax.block_until_ready(state)
            return {
                "processor": time.process_time() - processor_s,
                "wall": time.perf_counter() - wall_s,
            }

        run(1)
        clock = clock_name()
        one_s = run(1)[clock]
        n_groups = min(max(math.ceil(seconds / one_s), MIN_GROUPS), MAX_GROUPS)
        n_steps = max(round(seconds / n_groups / one_s), 1)
        groups = [run(n_steps) for _ in range(n_groups)]
        low, median, high = np.quantile([group[clock] for group in groups], [0.25, 0.5, 0.75])
        processor_s, wall_s = (
            sum(group[name] for group in groups) for name in ("processor", "wall")
        )
        return StepTiming(
            step_time_s=float(median / n_steps),
            step_time_spread=float((high - low) / median),
            core_share=min(processor_s / wall_s, 1.0),
            n_steps=n_steps * n_groups,
        )


def copy_bytes_per_s() -> float:
    """Best rate of a copy in main memory, counting bytes read and bytes written."""
    copy = jax.jit(lambda x: x + 1)
    n_bytes = COPY_BYTES if jax.default_backend() == "cpu" else ACCELERATOR_COPY_BYTES
    source = jnp.zeros(n_bytes // 4, jnp.float32)
    copy(source).block_until_ready()
    clock = step_clock()
    times = []
    for _ in range(N_COPIES):
        start = clock()
        copy(source).block_until_ready()
        times.append(clock() - start)
    return 2 * n_bytes / min(times)
