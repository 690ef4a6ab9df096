"""Attention whose keys and values are made from one narrow vector (MLA)."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from ....space.blocks import LatentAttention
from ..model import rms_norm, rotate
from .attention import Params, Shapes
from .forms import PLAIN, Forms


def param_shapes(mixer: LatentAttention, d_model: int) -> Shapes:
    """Down to the narrow vectors, their norms, and up to heads."""
    d_query = mixer.n_heads * (mixer.d_nope + mixer.d_rope)
    rank = mixer.query_rank
    queries: Shapes = {"queries": (d_model, d_query)}
    if rank is not None:
        queries = {"query_down": (d_model, rank), "query_norm": (rank,), "queries": (rank, d_query)}
    return queries | {
        "kv_down": (d_model, mixer.kv_rank + mixer.d_rope),
        "kv_norm": (mixer.kv_rank,),
        "kv_up": (mixer.kv_rank, mixer.n_heads * (mixer.d_nope + mixer.d_value)),
        "attention_output": (mixer.n_heads * mixer.d_value, d_model),
    }


def apply(
    mixer: LatentAttention, params: Params, x_btd: jax.Array, forms: Forms = PLAIN
) -> jax.Array:
    """A head's key is a part of its own and a rotated one that all heads share.

    References:
        DeepSeek-V2, arXiv:2405.04434, section 2.1.
    """
    b, t, _ = x_btd.shape
    heads = (b, t, mixer.n_heads, -1)
    narrow_btd = x_btd
    if mixer.query_rank is not None:
        narrow_btd = rms_norm(x_btd @ params["query_down"], params["query_norm"])
    q_bthc = (narrow_btd @ params["queries"]).reshape(heads)
    kv_btd, shared_btc = jnp.split(x_btd @ params["kv_down"], [mixer.kv_rank], axis=-1)
    kv_bthc = (rms_norm(kv_btd, params["kv_norm"]) @ params["kv_up"]).reshape(heads)
    own_bthc, v_bthv = jnp.split(kv_bthc, [mixer.d_nope], axis=-1)
    q_own_bthc, q_turned_bthc = jnp.split(q_bthc, [mixer.d_nope], axis=-1)
    turned_bthc = jnp.broadcast_to(
        rotate(shared_btc[:, :, None]), (*own_bthc.shape[:3], mixer.d_rope)
    )
    out_bthv = forms.attend(
        jnp.concatenate([q_own_bthc, rotate(q_turned_bthc)], axis=-1),
        jnp.concatenate([own_bthc, turned_bthc], axis=-1),
        v_bthv,
        None,
    )
    return out_bthv.reshape(b, t, -1) @ params["attention_output"]
