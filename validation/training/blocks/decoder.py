"""A decoder of any blocks, as `space.decoder` describes it, and what it is trained to lower.

Each block is a mixer and a feed-forward, each normed before and added to the residual stream.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import optax

from ....space.blocks import Experts
from ....space.decoder import Decoder
from ..model import rms_norm, wide
from . import KINDS, experts
from .forms import PLAIN, Forms

# What an uneven router adds to the loss, as Fedus et al. 2021 (arXiv:2101.03961) have it.
BALANCE = 0.01


def param_shapes(arch: Decoder) -> dict[str, Any]:
    """The shape of every parameter; `blocks` has a list for each, of its parts and their norms."""
    embedding, gain = (arch.vocab_size, arch.d_model), (arch.d_model,)
    blocks = [
        [KINDS[type(part)].param_shapes(part, arch.d_model) | {"norm": gain} for part in parts]
        for parts in _parts(arch)
    ]
    shapes = {"embedding": embedding, "blocks": blocks, "final_norm": gain}
    return shapes if arch.tied_embeddings else shapes | {"logits": embedding}


def loss(
    params: dict[str, Any], tokens_bt: jax.Array, arch: Decoder, forms: Forms = PLAIN
) -> tuple[jax.Array, jax.Array]:
    """What training lowers, and of it each token's negative log-likelihood, (batch, seq_len).

    Args:
        params: the tree of `param_shapes`.
        tokens_bt: (batch, seq_len + 1) token ids; every token but the first is a target.
        arch: the decoder.
        forms: how its parts are computed that are not computed alike everywhere.
    """
    stream = forms.stream or params["embedding"].dtype
    x_btd = params["embedding"][tokens_bt[:, :-1]].astype(stream)
    uneven = jnp.zeros((), wide(x_btd).dtype)
    for parts, weights in zip(_parts(arch), params["blocks"], strict=True):
        run = forms.again(functools.partial(_block, parts, forms=forms))
        x_btd, uneven_here = run(jax.tree.map(functools.partial(_cast, stream), weights), x_btd)
        uneven += uneven_here
    x_btd = rms_norm(x_btd, params["final_norm"])
    w_vd = params["embedding" if arch.tied_embeddings else "logits"].astype(stream)
    logits_btv = wide(x_btd @ w_vd.T)
    each_bt = optax.softmax_cross_entropy_with_integer_labels(logits_btv, tokens_bt[:, 1:])
    return jnp.mean(each_bt) + BALANCE * uneven, each_bt


def _block(
    parts: list[Any], weights: list[Any], x_btd: jax.Array, forms: Forms
) -> tuple[jax.Array, Any]:
    """A block's parts one after the other, and how uneven its router is."""
    uneven: Any = 0.0
    for part, own in zip(parts, weights, strict=True):
        normed_btd = rms_norm(x_btd, own["norm"])
        x_btd += KINDS[type(part)].apply(part, own, normed_btd, forms)
        if isinstance(part, Experts):
            uneven += experts.imbalance(part, own, normed_btd)
    return x_btd, uneven


def _cast(dtype: Any, array: jax.Array) -> jax.Array:
    """Matrices in the compute dtype; gains and what else is one number of many stay wide."""
    return array.astype(dtype) if array.ndim > 1 else array


def _parts(arch: Decoder) -> Iterator[list[Any]]:
    """Of each block what it has: a mixer, a feed-forward."""
    for block in arch.pattern:
        yield [part for part in (block.mixer, block.feed_forward) if part]
