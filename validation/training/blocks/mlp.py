"""A dense feed-forward, plain or gated."""

from __future__ import annotations

import jax

from ....space.blocks import Mlp
from .attention import Params, Shapes
from .forms import PLAIN, Forms


def param_shapes(mlp: Mlp, d_model: int) -> Shapes:
    """Up and down, and a gate of the up-projection's shape."""
    up = (d_model, int(mlp.d_ff))
    shapes = {"mlp_up": up, "mlp_down": up[::-1]}
    return shapes | {"mlp_gate": up} if mlp.gated else shapes


def apply(mlp: Mlp, params: Params, x_btd: jax.Array, forms: Forms = PLAIN) -> jax.Array:
    """Two matrices around a GELU, or three as a SwiGLU (Shazeer 2020, arXiv:2002.05202)."""
    hidden_btf = x_btd @ params["mlp_up"]
    if mlp.gated:
        hidden_btf *= jax.nn.silu(x_btd @ params["mlp_gate"])
    else:
        hidden_btf = jax.nn.gelu(hidden_btf)
    return hidden_btf @ params["mlp_down"]
