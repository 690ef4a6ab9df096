import dataclasses
import json
import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from anybudget.objectives.cost.execution import Execution
from anybudget.objectives.recipe import Recipe
from anybudget.space.architecture import Architecture
from anybudget.validation.training.step import compile_training

ARCH = Architecture.from_shape(
    d_model=32, n_layers=1, d_head=16, vocab_size=64, seq_len=8, batch_size=4
)
SPREAD = dataclasses.replace(ARCH, n_layers=2, batch_size=8)
MESHES = {
    "one": {},
    "passes": {"n_accumulation": 4},
    "data": {"n_chips": 8},
    "full": {"n_chips": 4, "sharding": "full"},
    "full in passes": {"n_chips": 4, "sharding": "full", "n_accumulation": 2},
}


@pytest.fixture(scope="module")
def program():
    return compile_training(ARCH, recipe=Recipe())


def three_steps(**options):
    """The losses of three steps, the embedding after them, and how the weights are shared."""
    program = compile_training(SPREAD, recipe=Recipe(), execution=Execution(**options))
    rng = np.random.default_rng(0)
    state, losses = program.init(3), []
    for progress in (0.2, 0.5, 0.8):
        shape = (SPREAD.batch_size, SPREAD.seq_len + 1)
        tokens = rng.integers(0, SPREAD.vocab_size, shape, np.int32)
        state, loss = program.step(state, program.place(tokens), progress, program.recipe)
        losses.append(float(loss))
    losses.append(float(program.evaluate(state.params, program.place(tokens))))
    weights = {name: x for name, x in state.params["layers"].items() if "norm" not in name}
    kept = [x.addressable_shards[0].data.size / x.size for x in weights.values()]
    return {"losses": losses, "embedding": state.params["embedding"].tolist(), "kept": kept}


def test_devices_and_passes_equal_one():
    # The number of a CPU's devices is fixed once jax has started, hence another process.
    flags = f"{os.environ['XLA_FLAGS']} --xla_force_host_platform_device_count=8"
    variables = {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"}
    run = [sys.executable, "-W", "error", __file__]
    printed = subprocess.run(run, env=os.environ | variables, capture_output=True, text=True)
    assert printed.returncode == 0, printed.stderr
    one, *others = json.loads(printed.stdout).values()
    for other in others:
        # Sums in another order, in float32.
        np.testing.assert_allclose(other["losses"], one["losses"], 1e-5)
        np.testing.assert_allclose(other["embedding"], one["embedding"], 1e-3, 1e-5)
    kept = [set(each["kept"]) for each in (one, *others)]
    assert kept == [{1.0}, {1.0}, {1.0}, {0.25}, {0.25}]


def test_a_step_consumes_its_state_and_lowers_the_loss_on_its_batch(program):
    tokens = program.place(np.arange(36, dtype=np.int32).reshape(4, 9))
    first = program.init(0)
    before = program.evaluate(first.params, tokens)
    state, loss = program.step(first, tokens, 0.5, program.recipe)
    assert first.params["embedding"].is_deleted()
    np.testing.assert_allclose(loss, before, 1e-6)
    for _ in range(10):
        state, loss = program.step(state, tokens, 0.5, program.recipe)
    assert loss < before - 0.5


def test_seeds_decide_the_weights(program):
    a, b, c = (program.init(seed).params["embedding"] for seed in (0, 0, 1))
    assert jnp.all(a == b)
    assert jnp.abs(jnp.corrcoef(a.ravel(), c.ravel())[0, 1]) < 0.1


def test_memory_holds_the_state_at_least(program):
    state_bytes = sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(program.state_shapes))
    assert state_bytes < program.memory_bytes < 100 * state_bytes


@pytest.mark.parametrize("n_chips", [3, 99])
def test_devices_must_exist_and_divide_the_batch(n_chips):
    with pytest.raises(ValueError, match=rf"but got n_chips={n_chips}, batch_size=4"):
        compile_training(ARCH, recipe=Recipe(), execution=Execution(n_chips=n_chips))


if __name__ == "__main__":
    print(json.dumps({name: three_steps(**options) for name, options in MESHES.items()}))
