"""Causal softmax attention over a window, with a gate where there is one."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from ....space.blocks import Attention
from ..model import rotate

Shapes = dict[str, tuple[int, ...]]
Params = dict[str, jax.Array]


def param_shapes(mixer: Attention, d_model: int) -> Shapes:
    """Queries, keys, values and gate are one matrix."""
    d_queries = mixer.n_heads * mixer.d_head
    d_made = d_queries * (1 + mixer.gated) + 2 * mixer.n_kv_heads * mixer.d_head
    return {"qkv": (d_model, d_made), "attention_output": (d_queries, d_model)}


def apply(mixer: Attention, params: Params, x_btd: jax.Array) -> jax.Array:
    """Each position sees the last `window` ones, itself among them; None: all before it."""
    n_heads, n_kv_heads = mixer.n_heads, mixer.n_kv_heads
    b, t, _ = x_btd.shape
    made_bthc = (x_btd @ params["qkv"]).reshape(b, t, -1, mixer.d_head)
    ends = np.cumsum([n_heads, n_kv_heads, n_kv_heads])
    q_bthc, k_btgc, v_btgc, gate_bthc = jnp.split(made_bthc, ends, axis=2)
    out_bthc = attend(rotate(q_bthc), rotate(k_btgc), v_btgc, mixer.window)
    if mixer.gated:
        out_bthc *= jax.nn.sigmoid(gate_bthc)
    return out_bthc.reshape(b, t, -1) @ params["attention_output"]


def attend(
    q_bthc: jax.Array, k_btgc: jax.Array, v_btgv: jax.Array, window: int | None = None
) -> jax.Array:
    """Softmax attention of query heads, as many of which share a key head as it takes."""
    b, t, n_heads, c = q_bthc.shape
    n_kv_heads = k_btgc.shape[2]
    q_btgjc = q_bthc.reshape(b, t, n_kv_heads, n_heads // n_kv_heads, c) * c**-0.5
    scores_bgjtr = jnp.einsum("btgjc,brgc->bgjtr", q_btgjc, k_btgc)
    share_bgjtr = jax.nn.softmax(jnp.where(seen(t, window), scores_bgjtr, -jnp.inf), axis=-1)
    out_btgjv = jnp.einsum("bgjtr,brgv->btgjv", share_bgjtr, v_btgv)
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
