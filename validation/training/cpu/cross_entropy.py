"""Logits and their loss in blocks of rows, whose gradient is made at once: no block is kept."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp

from ....objectives.cost.kernel import LEAST_LOSS_ROWS, MOST_LOGITS
from .matmul import product, turned, wide


def rows_at_once(n_rows: int, vocab_size: int) -> int:
    """Rows of a block: half of all at most, where they can be halved."""
    rows = n_rows // 2 if n_rows % 2 == 0 else n_rows
    while rows % 2 == 0 and rows > LEAST_LOSS_ROWS and rows * vocab_size > MOST_LOGITS:
        rows //= 2
    return rows


@functools.partial(jax.custom_vjp, nondiff_argnums=(3,))
def mean_loss(x_nd: jax.Array, w_vd: jax.Array, target_n: jax.Array, dtype: str) -> jax.Array:
    """Mean negative log-likelihood of targets where logits are rows times a weight.

    Operands of the products are rounded to a dtype; logits and sums are float32 or wider.
    """
    rows, dtype = _blocks(x_nd, w_vd, dtype)
    w_vd = w_vd.astype(dtype)

    def block(i: jax.Array, total: jax.Array) -> jax.Array:
        x_rd, target_r = _rows(x_nd, target_n, i, rows)
        return total + _losses(product(x_rd, w_vd, 1, dtype), target_r)[0]

    total = jax.lax.fori_loop(0, len(x_nd) // rows, block, jnp.zeros((), wide(dtype)))
    return total / len(x_nd)


def _forward(
    x_nd: jax.Array, w_vd: jax.Array, target_n: jax.Array, dtype: str
) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    n_rows, sum_dtype = len(x_nd), wide(dtype)
    rows, dtype = _blocks(x_nd, w_vd, dtype)
    w_vd = w_vd.astype(dtype)
    w_dv = turned(w_vd)

    def block(i: jax.Array, done: tuple[jax.Array, ...]) -> tuple[jax.Array, ...]:
        total, dx_nd, dw_dv = done
        x_rd, target_r = _rows(x_nd, target_n, i, rows)
        x_rd = x_rd.astype(dtype)
        loss, share_rv = _losses(product(x_rd, w_dv, 0, dtype), target_r)
        is_target_rv = target_r[:, None] == jnp.arange(share_rv.shape[1])
        slope_rv = ((share_rv - is_target_rv) / n_rows).astype(dtype)
        dx_rd = product(slope_rv, w_vd, 0, dtype)
        return (
            total + loss,
            jax.lax.dynamic_update_slice(dx_nd, dx_rd, (i * rows, 0)),
            dw_dv + product(turned(x_rd), slope_rv, 0, dtype),
        )

    nothing = (
        jnp.zeros((), sum_dtype),
        jnp.zeros(x_nd.shape, sum_dtype),
        jnp.zeros(w_dv.shape, sum_dtype),
    )
    total, dx_nd, dw_dv = jax.lax.fori_loop(0, n_rows // rows, block, nothing)
    return total / n_rows, (dx_nd, dw_dv)


def _backward(
    _: str, kept: tuple[jax.Array, jax.Array], g: jax.Array
) -> tuple[jax.Array, jax.Array, None]:
    dx_nd, dw_dv = kept
    return g * dx_nd, g * dw_dv.T, None


mean_loss.defvjp(_forward, _backward)


def _blocks(x_nd: jax.Array, w_vd: jax.Array, dtype: str) -> tuple[int, str]:
    """Rows of a block, and the dtype of its operands."""
    rows = rows_at_once(len(x_nd), len(w_vd))
    # A loop of one turn is taken apart, and its products are changed.
    return rows, str(wide(dtype)) if rows == len(x_nd) else dtype


def _losses(logits_rv: jax.Array, target_r: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The sum of the rows' losses, and the shares of the softmax."""
    top_r1 = logits_rv.max(axis=1, keepdims=True)
    share_rv = jnp.exp(logits_rv - top_r1)
    total_r1 = share_rv.sum(axis=1, keepdims=True)
    hit_r1 = jnp.take_along_axis(logits_rv, target_r[:, None], axis=1)
    return (top_r1 + jnp.log(total_r1) - hit_r1).sum(), share_rv / total_r1


def _rows(x_nd: jax.Array, target_n: jax.Array, i: Any, rows: int) -> tuple[jax.Array, jax.Array]:
    return (
        jax.lax.dynamic_slice(x_nd, (i * rows, 0), (rows, x_nd.shape[1])),
        jax.lax.dynamic_slice(target_n, (i * rows,), (rows,)),
    )
