"""Causal softmax attention over a window, with a gate where there is one."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from ....space.blocks import Attention
from ..model import rotate
from .forms import PLAIN, Forms

Shapes = dict[str, tuple[int, ...]]
Params = dict[str, jax.Array]


def param_shapes(mixer: Attention, d_model: int) -> Shapes:
    """Queries, keys, values and gate are one matrix."""
    d_queries = mixer.n_heads * mixer.d_head
    d_made = d_queries * (1 + mixer.gated) + 2 * mixer.n_kv_heads * mixer.d_head
    return {"qkv": (d_model, d_made), "attention_output": (d_queries, d_model)}


def apply(mixer: Attention, params: Params, x_btd: jax.Array, forms: Forms = PLAIN) -> jax.Array:
    """Each position sees the last `window` ones, itself among them; None: all before it."""
    n_heads, n_kv_heads = mixer.n_heads, mixer.n_kv_heads
    b, t, _ = x_btd.shape
    made_bthc = (x_btd @ params["qkv"]).reshape(b, t, -1, mixer.d_head)
    ends = np.cumsum([n_heads, n_kv_heads, n_kv_heads])
    q_bthc, k_btgc, v_btgc, gate_bthc = jnp.split(made_bthc, ends, axis=2)
    out_bthc = forms.attend(rotate(q_bthc), rotate(k_btgc), v_btgc, mixer.window)
    if mixer.gated:
        out_bthc *= jax.nn.sigmoid(gate_bthc)
    return out_bthc.reshape(b, t, -1) @ params["attention_output"]
