"""Matmuls of rows with their expert's matrix, a few rows at a time: no more work than there is.

XLA's own (`jax.lax.ragged_dot`) multiplies all rows with every expert's matrix on a CPU. Here an
expert's rows are taken in blocks; its last reaches into the next expert's rows, whose own blocks
come after it and write over what it put there.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp

# Rows of a block: more of them waste more of an expert's last block, fewer make slow products.
ROWS = 64


@jax.custom_vjp
def by_expert(x_mk: jax.Array, w_ekn: jax.Array, sizes_e: jax.Array) -> jax.Array:
    """Rows sorted by expert, times the matrix of each.

    Args:
        x_mk: the rows.
        w_ekn: a matrix for each expert.
        sizes_e: rows of each expert.
    """

    def block(x_rk: jax.Array, w_kn: jax.Array) -> jax.Array:
        return x_rk @ w_kn

    return _rows_by_expert(block, x_mk, w_ekn, sizes_e)


def _forward(
    x_mk: jax.Array, w_ekn: jax.Array, sizes_e: jax.Array
) -> tuple[jax.Array, tuple[jax.Array, ...]]:
    return by_expert(x_mk, w_ekn, sizes_e), (x_mk, w_ekn, sizes_e)


def _backward(kept: tuple[jax.Array, ...], g_mn: jax.Array) -> tuple[jax.Array, jax.Array, None]:
    x_mk, w_ekn, sizes_e = kept
    dx_mk = _rows_by_expert(lambda g_rn, w_kn: g_rn @ w_kn.T, g_mn, w_ekn, sizes_e)
    return dx_mk, _weights_by_expert(x_mk, g_mn, sizes_e), None


by_expert.defvjp(_forward, _backward)


def _rows_by_expert(
    block: Callable[[jax.Array, jax.Array], jax.Array],
    x_mk: jax.Array,
    w_ekn: jax.Array,
    sizes_e: jax.Array,
) -> jax.Array:
    """What blocks make of an expert's rows and its matrix, in the rows' places."""
    rows = min(ROWS, len(x_mk))
    padded_mk = jnp.pad(x_mk, ((0, rows), (0, 0)))
    begin_e = jnp.cumsum(sizes_e) - sizes_e
    width = jax.eval_shape(block, padded_mk[:rows], w_ekn[0]).shape[1]

    def of_expert(e: jax.Array, out_mn: jax.Array) -> jax.Array:
        w_kn = w_ekn[e]

        def one(i: jax.Array, out_mn: jax.Array) -> jax.Array:
            at = (begin_e[e] + i * rows, 0)
            x_rk = jax.lax.dynamic_slice(padded_mk, at, (rows, x_mk.shape[1]))
            return jax.lax.dynamic_update_slice(out_mn, block(x_rk, w_kn), at)

        return jax.lax.fori_loop(0, -(-sizes_e[e] // rows), one, out_mn)

    out_mn = jnp.zeros((len(padded_mk), width), x_mk.dtype)
    return jax.lax.fori_loop(0, len(w_ekn), of_expert, out_mn)[: len(x_mk)]


def _weights_by_expert(x_mk: jax.Array, g_mn: jax.Array, sizes_e: jax.Array) -> jax.Array:
    """The gradient of each expert's matrix, over its own rows."""
    rows = min(ROWS, len(x_mk))
    x_mk, g_mn = (jnp.pad(array, ((0, rows), (0, 0))) for array in (x_mk, g_mn))
    end_e = jnp.cumsum(sizes_e)
    begin_e = end_e - sizes_e
    k, n = x_mk.shape[1], g_mn.shape[1]

    def of_expert(e: jax.Array, dw_ekn: jax.Array) -> jax.Array:
        def one(i: jax.Array, dw_kn: jax.Array) -> jax.Array:
            first = begin_e[e] + i * rows
            x_rk = jax.lax.dynamic_slice(x_mk, (first, 0), (rows, k))
            g_rn = jax.lax.dynamic_slice(g_mn, (first, 0), (rows, n))
            is_own_r1 = (first + jnp.arange(rows) < end_e[e])[:, None]
            return dw_kn + x_rk.T @ jnp.where(is_own_r1, g_rn, 0)

        nothing_kn = jnp.zeros((k, n), g_mn.dtype)
        dw_kn = jax.lax.fori_loop(0, -(-sizes_e[e] // rows), one, nothing_kn)
        return jax.lax.dynamic_update_index_in_dim(dw_ekn, dw_kn, e, 0)

    return jax.lax.fori_loop(
        0, len(sizes_e), of_expert, jnp.zeros((len(sizes_e), k, n), g_mn.dtype)
    )
