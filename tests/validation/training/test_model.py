import dataclasses
import functools
import math
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from anybudget.objectives.cost import counts
from anybudget.objectives.cost.execution import PLAIN, Execution, Remat
from anybudget.space.architecture import Architecture
from anybudget.validation.training import model
from anybudget.validation.training.model import CPU, Backend

SMALL = Architecture.from_shape(
    d_model=32, n_layers=1, d_head=8, vocab_size=61, seq_len=12, batch_size=2
)
GROUPED = Architecture(
    d_model=24,
    n_layers=2,
    n_heads=4,
    n_kv_heads=2,
    d_head=10,
    d_ff=40,
    gated_mlp=True,
    vocab_size=50,
    tied_embeddings=False,
    seq_len=9,
    batch_size=3,
)
# The same program of XLA's, compiled by LLVM in half the time.
QUICK = {"xla_backend_optimization_level": 0}
BOTH = pytest.mark.parametrize("arch", [SMALL, GROUPED], ids=["small", "grouped"])


def is_shape(node):
    return isinstance(node, tuple)


def random_params(arch, dtype="float32"):
    rng = np.random.default_rng(0)

    def draw(shape):
        return jnp.asarray(rng.normal(0.5, 1, shape) / math.sqrt(shape[-1]), dtype)

    return jax.tree.map(draw, model.param_shapes(arch), is_leaf=is_shape)


def random_tokens(arch):
    shape = (arch.batch_size, arch.seq_len + 1)
    return jnp.asarray(np.random.default_rng(1).integers(0, arch.vocab_size, shape))


def lowered_step(arch, execution=PLAIN, backend=CPU):
    step = jax.jit(jax.value_and_grad(model.loss), static_argnums=(2, 3, 4), compiler_options=QUICK)
    return step.lower(random_params(arch), random_tokens(arch), arch, execution, backend)


@functools.cache
def compiled_step(arch, *how):
    return lowered_step(arch, *how).compile()


def value_and_grad(arch, *how):
    return compiled_step(arch, *how)(random_params(arch), random_tokens(arch))


def dot_flops(hlo):
    """2mkn of every dot in a compiled program's text."""
    defined = re.finditer(r"%?([\w.-]+) = \w+\[([\d,]*)\]", hlo)
    shapes = {found[1]: [int(n) for n in found[2].split(",") if n] for found in defined}
    dot = r"%?([\w.-]+) = \S+ dot\(%?([\w.-]+), .*?lhs_contracting_dims=\{([\d,]+)\}"
    total = 0
    for out, left, axes in re.findall(dot, hlo):
        k = math.prod(shapes[left][int(axis)] for axis in axes.split(","))
        total += 2 * math.prod(shapes[out]) * k
    return total


@pytest.mark.parametrize("gated_mlp", [False, True])
@pytest.mark.parametrize("tied_embeddings", [False, True])
@pytest.mark.parametrize("heads", [(4, 4, 8), (4, 2, 8), (6, 1, 10)])
def test_parameters_are_those_counted(gated_mlp, tied_embeddings, heads):
    arch = Architecture(
        d_model=32,
        n_layers=3,
        n_heads=heads[0],
        n_kv_heads=heads[1],
        d_head=heads[2],
        d_ff=72,
        gated_mlp=gated_mlp,
        tied_embeddings=tied_embeddings,
        vocab_size=100,
    )
    shapes = jax.tree.leaves(model.param_shapes(arch), is_leaf=is_shape)
    assert sum(map(math.prod, shapes)) == counts.n_params(arch)


# Where nothing is skipped or made again: elsewhere than on a CPU.
PLAIN_KERNELS = Backend(kind="gpu", dtype="float32")


@BOTH
def test_matmul_flops_are_those_xla_compiles(arch):
    hlo = compiled_step(arch, PLAIN, PLAIN_KERNELS).as_text()
    assert dot_flops(hlo) == counts.flops_per_step(arch)


def test_xla_counts_little_beside_the_matmuls():
    arch = Architecture.from_shape(d_model=256, n_layers=1, vocab_size=512, batch_size=2)
    by_xla = lowered_step(arch, PLAIN, PLAIN_KERNELS).cost_analysis() or {}
    # At this width norms, softmax, GELU and rotations are 1.5% of XLA's own count.
    assert 1 < by_xla["flops"] / counts.flops_per_step(arch) < 1.03


@pytest.mark.parametrize(
    "changes",
    [
        {"scan_layers": True},
        {"remat": "layer"},
        {"remat": "dots"},
        {"scan_layers": True, "remat": "layer"},
        {"scan_layers": True, "remat": "dots"},
    ],
    ids=str,
)
def test_execution_does_not_change_loss_or_gradient(changes):
    expected = value_and_grad(GROUPED)
    found = value_and_grad(GROUPED, Execution(**changes))
    # Sums in another order, in float32.
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, 1e-4, 1e-6), expected, found)


def test_layers_of_a_stack_have_the_gradient_of_the_stack():
    stack = jnp.arange(24.0).reshape(3, 2, 4)
    weights = jnp.arange(1.0, 25.0).reshape(3, 2, 4)

    def product(stack):
        return sum(jnp.sum(w * x**2) for w, x in zip(weights, model._unstack(stack), strict=True))

    np.testing.assert_array_equal(jax.grad(product)(stack), 2 * weights * stack)


@pytest.mark.parametrize("remat", Remat)
def test_what_runs_again_is_what_is_counted(remat):
    """Matmuls of the step before any compiler takes equal ones together."""
    arch = dataclasses.replace(GROUPED, n_layers=1, gated_mlp=False)
    text = lowered_step(arch, Execution(remat=remat), PLAIN_KERNELS).as_text()
    plain = lowered_step(arch, PLAIN, PLAIN_KERNELS).as_text()
    again = text.count("stablehlo.dot_general") - plain.count("stablehlo.dot_general")
    counted = sum(
        counts.flops_by_part(arch, Execution(remat=remat))[part] > once
        for part, once in counts.flops_by_part(arch).items()
    )
    assert again == counted


def test_bfloat16_agrees_to_its_precision():
    loss, gradients = value_and_grad(GROUPED)
    loss_bfloat16, rounded = value_and_grad(GROUPED, PLAIN, Backend(dtype="bfloat16"))
    # Eight bits of mantissa; equal would mean that the dtype was ignored.
    assert 0 < abs(loss_bfloat16 - loss) < 0.02 * loss
    for a, b in zip(jax.tree.leaves(gradients), jax.tree.leaves(rounded), strict=True):
        assert 0 < jnp.linalg.norm(a - b) < 0.03 * jnp.linalg.norm(a)


@BOTH
def test_gradient_equals_finite_differences(arch):
    backend = Backend(dtype="float64")
    with jax.enable_x64(True):
        params, tokens = random_params(arch, "float64"), random_tokens(arch)
        loss = jax.jit(lambda params: model.loss(params, tokens, arch, PLAIN, backend))
        gradients = jax.jit(jax.grad(loss), compiler_options=QUICK)(params)
        leaves, tree = jax.tree.flatten(params)
        for i, gradient in enumerate(jax.tree.leaves(gradients)):
            way = np.random.default_rng(i).normal(size=gradient.shape)
            up, down = (
                loss(jax.tree.unflatten(tree, [*leaves[:i], leaves[i] + step, *leaves[i + 1 :]]))
                for step in (1e-5 * way, -1e-5 * way)
            )
            # The differences' own error: 1e-10 by truncation, 1e-10 by rounding.
            np.testing.assert_allclose((gradient * way).sum(), (up - down) / 2e-5, 1e-6, 1e-9)


@BOTH
def test_no_position_sees_later_tokens(arch):
    arch = Architecture(**{**arch.as_dict(), "tied_embeddings": False, "batch_size": 1})
    params, tokens = random_params(arch), jnp.arange(arch.seq_len)[None]

    @functools.partial(jax.jit, compiler_options=QUICK)
    @jax.grad
    def gradient_at(embedding, position):
        out = model.logits(params | {"embedding": embedding}, tokens, arch)
        return out[position].sum()

    for position in (0, arch.seq_len // 2):
        gradient = gradient_at(params["embedding"], position)
        reach = np.abs(gradient[: arch.seq_len]).max(axis=1)
        assert np.all(reach[: position + 1] > 0)
        assert np.all(reach[position + 1 :] == 0)


def test_rotated_products_depend_on_distance_alone():
    q, k = np.random.default_rng(0).normal(size=(2, 8)).astype(np.float32)
    turned_q, turned_k = (model.rotate(jnp.tile(x, (1, 6, 1, 1)))[0, :, 0] for x in (q, k))
    products = np.asarray(turned_q @ turned_k.T)
    for distance in range(6):
        np.testing.assert_allclose(np.diag(products, distance), products[0, distance], 1e-5, 1e-5)
    assert abs(products[0, 5] - products[0, 0]) > 0.1


def test_grouped_heads_are_repeated_heads():
    shapes = {"q": (2, 7, 6, 4), "k": (2, 7, 2, 4), "v": (2, 7, 2, 4)}
    rng = np.random.default_rng(0)
    q, k, v = (rng.normal(size=shape).astype(np.float32) for shape in shapes.values())
    scores = np.einsum("btqc,bsqc->bqts", q, np.repeat(k, 3, axis=2)) / 2
    weights = np.exp(scores) * np.tril(np.ones((7, 7)))
    weights /= weights.sum(axis=-1, keepdims=True)
    expected = np.einsum("bqts,bsqc->btqc", weights, np.repeat(v, 3, axis=2))
    found = model.attend(jnp.asarray(q), jnp.asarray(k), jnp.asarray(v)).reshape(q.shape)
    np.testing.assert_allclose(found, expected, 1e-4, 1e-5)


def test_uniform_logits_cost_the_log_of_the_vocabulary():
    params = random_params(GROUPED)
    params["logits"] = jnp.zeros_like(params["logits"])
    loss, _ = compiled_step(GROUPED)(params, random_tokens(GROUPED))
    np.testing.assert_allclose(loss, math.log(GROUPED.vocab_size), 1e-6)


def test_refuses_what_it_cannot_build():
    with pytest.raises(ValueError, match=r"`d_head` must be even.* 7"):
        model.param_shapes(Architecture.from_shape(d_model=21, n_layers=1, d_head=7))
