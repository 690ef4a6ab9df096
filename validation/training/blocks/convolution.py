"""The short convolution before a scan."""

from __future__ import annotations

import functools
import operator

import jax
import jax.numpy as jnp


def convolve(x_btd: jax.Array, weights_kd: jax.Array) -> jax.Array:
    """Each channel's last few inputs, the present one last among the weights."""
    n_taps, t = weights_kd.shape[0], x_btd.shape[1]
    padded_btd = jnp.pad(x_btd, ((0, 0), (n_taps - 1, 0), (0, 0)))
    return functools.reduce(
        operator.add, (padded_btd[:, i : i + t] * weights_kd[i] for i in range(n_taps))
    )
