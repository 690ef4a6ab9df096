"""The fused kernel of a TPU computes what plain attention computes, forward and backward."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from anybudget.validation.training.model import attend
from anybudget.validation.training.splash import attend_fused


@pytest.mark.parametrize(("seq_len", "n_kv_heads", "d_head"), [(128, 2, 32), (1024, 1, 64)])
def test_it_is_plain_attention(seq_len, n_kv_heads, d_head):
    rng = np.random.default_rng(0)
    inputs = [
        rng.standard_normal((2, seq_len, n, d_head), np.float32)
        for n in (2, n_kv_heads, n_kv_heads)
    ]
    weights = rng.standard_normal((2, seq_len, 2, d_head), np.float32)

    def weighted(attention, *inputs):
        out = attention(*inputs).reshape(weights.shape)
        return (out * weights).sum(), out

    (_, expected), expected_gradients = jax.value_and_grad(
        lambda *inputs: weighted(attend, *inputs), argnums=(0, 1, 2), has_aux=True
    )(*inputs)
    (_, found), gradients = jax.value_and_grad(
        lambda *inputs: weighted(lambda *x: attend_fused(*x, interpret=True), *inputs),
        argnums=(0, 1, 2),
        has_aux=True,
    )(*inputs)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    for one, other in zip(gradients, expected_gradients, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-4)


@pytest.mark.parametrize("seq_len", [64, 200, 768])
def test_lengths_that_the_kernel_does_not_take(seq_len):
    inputs = [jnp.zeros((1, seq_len, 1, 32))] * 3
    with pytest.raises(ValueError, match=f"a multiple of 512, but got {seq_len}"):
        attend_fused(*inputs)
