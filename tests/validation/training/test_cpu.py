"""What a CPU computes in blocks, against the same written out, in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from anybudget.objectives.cost.kernel import KERNELS, seen_share
from anybudget.validation.backend import ON_AMX
from anybudget.validation.training.cpu import attention, cross_entropy, matmul
from anybudget.validation.training.model import attend

# The same program of XLA's, compiled by LLVM in half the time.
QUICK = {"xla_backend_optimization_level": 0}


@pytest.fixture
def double():
    with jax.enable_x64(True):
        yield np.random.default_rng(0)


def agree(found, expected, *inputs, dtype, rtol):
    """Their values, and their gradients of a random sum of it, are alike."""
    weights = np.random.default_rng(1).normal(size=np.shape(jax.eval_shape(expected, *inputs)))
    axes = [i for i, x in enumerate(inputs) if jnp.issubdtype(x.dtype, jnp.floating)]

    def both(function, inputs):
        def summed(*inputs):
            out = function(*inputs)
            return jnp.sum(out.reshape(weights.shape) * weights), out

        step = jax.value_and_grad(summed, axes, has_aux=True)
        (_, out), gradients = jax.jit(step, compiler_options=QUICK)(*inputs)
        return [out.reshape(weights.shape), *gradients]

    rounded = [x.astype(dtype) if i in axes else x for i, x in enumerate(inputs)]
    for a, b in zip(both(found, rounded), both(expected, inputs), strict=True):
        np.testing.assert_allclose(a, b, rtol, rtol * np.abs(b).max())


@pytest.mark.parametrize(
    ("n_heads", "n_kv_heads", "n_lengths", "dtype", "rtol"),
    [(4, 2, 2, "float64", 1e-12), (2, 2, 2, "bfloat16", 0.03), (1, 1, 1, "float64", 1e-12)],
    ids=["grouped, rows and keys in parts", "bfloat16", "one block"],
)
def test_attention_in_blocks_is_attention(
    double, n_heads, n_kv_heads, n_lengths, dtype, rtol, monkeypatch
):
    monkeypatch.setattr(attention, "MOST_SCORES", 1 << 8)
    monkeypatch.setattr(attention, "MOST_ROWS", 16)
    monkeypatch.setattr(attention, "n_lengths", lambda _: n_lengths)
    seq_len = 16 * n_lengths
    q, k, v = (double.normal(size=(1, seq_len, n, 8)) for n in (n_heads, n_kv_heads, n_kv_heads))
    wide = "float32" if dtype == "bfloat16" else dtype

    def in_blocks(q, k, v):
        return attention.attend(q, k, v, dtype)

    agree(in_blocks, attend, q, k, v, dtype=wide, rtol=rtol)


@pytest.mark.parametrize(("seq_len", "group"), [(256, 1), (384, 2), (1024, 3), (4096, 1)])
def test_the_scores_of_all_blocks_are_those_that_are_counted(seq_len, group):
    kinds = attention.kinds_of(seq_len, group)
    computed = sum((kind.end - kind.start) * kind.end for kind in kinds)
    assert computed == seen_share(KERNELS["cpu"], seq_len) * seq_len**2


@pytest.mark.parametrize(("n_rows", "vocab_size"), [(96, 40), (7, 30)])
def test_loss_in_blocks_is_the_loss(double, n_rows, vocab_size, monkeypatch):
    monkeypatch.setattr(cross_entropy, "MOST_LOGITS", 1000)
    monkeypatch.setattr(cross_entropy, "LEAST_LOSS_ROWS", 8)
    x, w = double.normal(size=(n_rows, 6)), double.normal(size=(vocab_size, 6))
    targets = jnp.asarray(double.integers(0, vocab_size, n_rows))

    def written_out(x, w, targets):
        logits = jax.nn.log_softmax(x @ w.T)
        return -jnp.mean(jnp.take_along_axis(logits, targets[:, None], 1))

    def in_blocks(x, w, targets):
        return cross_entropy.mean_loss(x, w, targets, "float64")

    agree(in_blocks, written_out, x, w, targets, dtype="float64", rtol=1e-12)
    np.testing.assert_allclose(in_blocks(x, w, targets), written_out(x, w, targets), 1e-12)


@pytest.mark.skipif(jax.__version_info__[:2] != ON_AMX, reason="no CPU multiplies so with this JAX")
@pytest.mark.parametrize("axis", [0, 1])
def test_products_in_bfloat16_are_summed_in_float32(axis):
    rng = np.random.default_rng(0)
    x, w, slope = (
        jnp.asarray(rng.normal(size=n), jnp.float32) for n in ((48, 32), (32, 24), (48, 24))
    )

    def rounded(a):
        return np.asarray(a.astype(jnp.bfloat16), np.float64)

    def step(x, w):
        out, back = jax.vjp(lambda x, w: matmul.multiply(x, w, axis, "bfloat16"), x, w)
        return out, *back(slope)

    out, dx, dw = jax.jit(step, compiler_options=QUICK)(x, w if axis == 0 else w.T)
    # Products of bfloat16 are exact in float32; so many of them are summed to its rounding.
    np.testing.assert_allclose(out, rounded(x) @ rounded(w), 1e-4, 1e-4)
    np.testing.assert_allclose(dx, rounded(slope) @ rounded(w).T, 1e-4, 1e-4)
    np.testing.assert_allclose(dw if axis == 0 else dw.T, rounded(x).T @ rounded(slope), 1e-4, 1e-4)
