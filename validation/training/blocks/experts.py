"""Experts: each row goes to a few, all rows of one together, and none is dropped."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from ....space.blocks import Experts
from ..model import wide
from .attention import Params, Shapes
from .forms import PLAIN, Forms


def param_shapes(experts: Experts, d_model: int) -> Shapes:
    """The router, each expert's matrices, and those of what every token meets."""
    up = (experts.n_experts, d_model, experts.d_expert)
    down = (experts.n_experts, experts.d_expert, d_model)
    shapes: Shapes = {"router": (d_model, experts.n_experts), "experts_up": up}
    shapes |= {"experts_down": down} | ({"experts_gate": up} if experts.gated else {})
    if experts.d_shared:
        shared = (d_model, experts.d_shared)
        shapes |= {"shared_up": shared, "shared_down": shared[::-1]}
        shapes |= {"shared_gate": shared} if experts.gated else {}
    return shapes


def apply(experts: Experts, params: Params, x_btd: jax.Array, forms: Forms = PLAIN) -> jax.Array:
    """A token's experts are those of highest score, weighed by their share of the scores of these.

    A single one is weighed by its share of all scores, without which no router would learn.

    References:
        Shazeer et al. 2017, arXiv:1701.06538; Fedus et al. 2021, arXiv:2101.03961, equation 2, for
        a single one; Gale et al. 2022, arXiv:2211.15841: none is dropped.
    """
    x_nd = x_btd.reshape(-1, x_btd.shape[-1])
    scores_ne = wide(x_nd @ params["router"])
    scores_nk, chosen_nk = jax.lax.top_k(scores_ne, experts.n_per_token)
    among = scores_ne if experts.n_per_token == 1 else scores_nk
    share_nk = jnp.exp(scores_nk - jax.nn.logsumexp(among, axis=-1, keepdims=True))
    order_m = jnp.argsort(chosen_nk.reshape(-1), stable=True)
    row_m = order_m // experts.n_per_token
    sizes_e = jnp.bincount(chosen_nk.reshape(-1), length=experts.n_experts)
    in_md = x_nd[row_m]
    hidden_mf = forms.grouped(in_md, params["experts_up"], sizes_e)
    if experts.gated:
        hidden_mf *= jax.nn.silu(forms.grouped(in_md, params["experts_gate"], sizes_e))
    else:
        hidden_mf = jax.nn.gelu(hidden_mf)
    out_md = forms.grouped(hidden_mf, params["experts_down"], sizes_e)
    weighed_md = share_nk.reshape(-1)[order_m, None].astype(out_md.dtype) * out_md
    out_nd = jnp.zeros_like(x_nd).at[row_m].add(weighed_md)
    if experts.d_shared:
        shared_nf = x_nd @ params["shared_up"]
        if experts.gated:
            shared_nf *= jax.nn.silu(x_nd @ params["shared_gate"])
        else:
            shared_nf = jax.nn.gelu(shared_nf)
        out_nd += shared_nf @ params["shared_down"]
    return out_nd.reshape(x_btd.shape)


def imbalance(experts: Experts, params: Params, x_btd: jax.Array) -> jax.Array:
    """1 where a router gives all experts as many rows and as much of their scores, else more.

    References:
        Fedus et al. 2021, arXiv:2101.03961, equation 4; of several experts a token, each counts.
    """
    scores_ne = wide(x_btd.reshape(-1, x_btd.shape[-1]) @ params["router"])
    _, chosen_nk = jax.lax.top_k(scores_ne, experts.n_per_token)
    rows_e = jnp.bincount(chosen_nk.reshape(-1), length=experts.n_experts) / chosen_nk.size
    share_e = jax.nn.softmax(scores_ne, axis=-1).mean(axis=0)
    return experts.n_experts * jnp.vdot(rows_e.astype(share_e.dtype), share_e)
