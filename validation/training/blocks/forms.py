"""The parts of blocks that are not computed alike everywhere: attention, and grouped matmuls."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ....objectives.cost.execution import Remat
from ....objectives.cost.kernel import n_lengths
from ....space.blocks import CHUNK
from ..cpu import attention as cpu_attention
from ..cpu.grouped import by_expert
from ..model import KEPT, wide

# Queries (b, t, heads, c), keys (b, t, key heads, c), values (b, t, key heads, v), a window.
Attend = Callable[[jax.Array, jax.Array, jax.Array, int | None], jax.Array]
# Rows sorted by expert (m, k), a matrix each (e, k, n), and rows of each (e,) -> (m, n).
Grouped = Callable[[jax.Array, jax.Array, jax.Array], jax.Array]


def attend(
    q_bthc: jax.Array, k_btgc: jax.Array, v_btgv: jax.Array, window: int | None = None
) -> jax.Array:
    """Softmax attention of query heads, as many of which share a key head as it takes."""
    b, t, n_heads, c = q_bthc.shape
    n_kv_heads = k_btgc.shape[2]
    q_btgjc = q_bthc.reshape(b, t, n_kv_heads, n_heads // n_kv_heads, c) * c**-0.5
    scores_bgjtr = wide(jnp.einsum("btgjc,brgc->bgjtr", q_btgjc, k_btgc))
    share_bgjtr = jax.nn.softmax(jnp.where(seen(t, window), scores_bgjtr, -jnp.inf), axis=-1)
    out_btgjv = jnp.einsum("bgjtr,brgv->btgjv", share_bgjtr.astype(v_btgv.dtype), v_btgv)
    return out_btgjv.reshape(b, t, n_heads, -1)


def seen(n_positions: int, window: int | None) -> np.ndarray:
    """Which position (row) sees which, (n_positions, n_positions).

    Examples:
        >>> seen(4, 2).astype(int)
        array([[1, 0, 0, 0],
               [1, 1, 0, 0],
               [0, 1, 1, 0],
               [0, 0, 1, 1]])
    """
    ago_tr = np.arange(n_positions)[:, None] - np.arange(n_positions)
    return (ago_tr >= 0) & (ago_tr < (window or n_positions))


def attend_in_bands(
    q_bthc: jax.Array, k_btgc: jax.Array, v_btgv: jax.Array, window: int
) -> jax.Array:
    """As `attend`, but as many positions as a window has meet their own keys and those before."""
    b, t, n_heads, _ = q_bthc.shape
    n_bands, n_kv_heads = -(-t // window), k_btgc.shape[2]

    def cut(x_bthc: jax.Array) -> jax.Array:
        padded = jnp.pad(x_bthc, ((0, 0), (0, n_bands * window - x_bthc.shape[1]), (0, 0), (0, 0)))
        return padded.reshape(b * n_bands, window, *x_bthc.shape[2:])

    def with_those_before(x_btgc: jax.Array) -> jax.Array:
        before_btgc = jnp.pad(
            x_btgc[:, : (n_bands - 1) * window], ((0, 0), (window, 0), (0, 0), (0, 0))
        )
        return jnp.concatenate([cut(before_btgc), cut(x_btgc)], axis=1)

    q_zlgjc = cut(q_bthc).reshape(b * n_bands, window, n_kv_heads, n_heads // n_kv_heads, -1)
    scores_zgjlr = jnp.einsum(
        "zlgjc,zrgc->zgjlr", q_zlgjc * q_bthc.shape[3] ** -0.5, with_those_before(k_btgc)
    )
    is_seen_zlr = np.repeat(seen(2 * window, window)[None, window:], n_bands, axis=0)
    is_seen_zlr[0, :, :window] = False  # nothing is before the first
    is_seen_z11lr = np.tile(is_seen_zlr, (b, 1, 1))[:, None, None]
    share_zgjlr = jax.nn.softmax(jnp.where(is_seen_z11lr, scores_zgjlr, -jnp.inf), axis=-1)
    out_zlgjv = jnp.einsum("zgjlr,zrgv->zlgjv", share_zgjlr, with_those_before(v_btgv))
    return out_zlgjv.reshape(b, n_bands * window, n_heads, -1)[:, :t]


def attend_on_one_cpu(
    q_bthc: jax.Array, k_btgc: jax.Array, v_btgv: jax.Array, window: int | None = None
) -> jax.Array:
    """As `attend`, without most of what its mask leaves out, where a sequence is long enough."""
    t = q_bthc.shape[1]
    if window is not None and 2 * window <= t:
        return attend_in_bands(q_bthc, k_btgc, v_btgv, window)
    if (window or t) >= t and n_lengths(t) > 1 and k_btgc.shape == v_btgv.shape:
        out_btgjc = cpu_attention.attend(q_bthc, k_btgc, v_btgv, str(q_bthc.dtype))
        return out_btgjc.reshape(q_bthc.shape)
    return attend(q_bthc, k_btgc, v_btgv, window)


def by_ragged_dot(x_mk: jax.Array, w_ekn: jax.Array, sizes_e: jax.Array) -> jax.Array:
    """Of any number of rows of each expert."""
    return jax.lax.ragged_dot(x_mk, w_ekn, sizes_e)


def balanced(x_mk: jax.Array, w_ekn: jax.Array, _: jax.Array) -> jax.Array:
    """Where each expert has as many rows as any, which a router is trained for."""
    x_erk = x_mk.reshape(w_ekn.shape[0], -1, x_mk.shape[1])
    return jnp.einsum("erk,ekn->ern", x_erk, w_ekn).reshape(x_mk.shape[0], -1)


class Forms(NamedTuple):
    """What computes them; by itself as plainly as it is written.

    Attributes:
        attend: attention over all positions before or a window of them.
        grouped: matmuls of an expert's rows.
        chunk: positions of a state space's chunk.
        stream: dtype of what goes from block to block and of matrices; None: that of parameters.
        remat: what of a block its backward pass runs again.
    """

    attend: Attend = attend
    grouped: Grouped = by_ragged_dot
    chunk: int = CHUNK
    stream: str | None = None
    remat: Remat = Remat.NONE

    def again(self, block: Callable[..., Any]) -> Callable[..., Any]:
        """A block whose backward pass runs of it again what it is to."""
        if self.remat == Remat.NONE:
            return block
        return jax.checkpoint(block, policy=KEPT[self.remat])


PLAIN = Forms()
# A scan's decays are as many as a chunk is long for each position, and take more time on a core
# than its matmuls: of 128 positions 17 ms, of 64 12, of 32 8 (8 x 128 tokens, four heads of 32).
ON_ONE_CPU = Forms(attend_on_one_cpu, by_expert, 32)
