"""A state-space layer in its dual form: matmuls within chunks, a recurrence between them."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ....space.blocks import CHUNK, Mamba2
from ..model import rms_norm, wide
from .attention import Params, Shapes
from .convolution import convolve
from .forms import PLAIN, Forms


def param_shapes(mixer: Mamba2, d_model: int) -> Shapes:
    """One matrix in, for gate, convolution and steps; one out; the rest is of heads or channels."""
    d_inner, h = mixer.n_heads * mixer.d_head, mixer.n_heads
    return {
        "scan_in": (d_model, d_inner + mixer.n_channels + h),
        "taps": (mixer.d_conv, mixer.n_channels),
        "taps_bias": (mixer.n_channels,),
        "log_decay": (h,),
        "step_bias": (h,),
        "skip": (h,),
        "scan_norm": (d_inner,),
        "scan_out": (d_inner, d_model),
    }


def apply(mixer: Mamba2, params: Params, x_btd: jax.Array, forms: Forms = PLAIN) -> jax.Array:
    """Heads of inputs, written to and read from a state that decays by what the input says.

    References:
        Dao and Gu 2024, arXiv:2405.21060, section 7.1.
    """
    b, t, _ = x_btd.shape
    d_inner, d_state = mixer.n_heads * mixer.d_head, mixer.n_groups * mixer.d_state
    gate_btd, channels_btd, step_bth = jnp.split(
        x_btd @ params["scan_in"], [d_inner, d_inner + mixer.n_channels], axis=-1
    )
    taps_bias = params["taps_bias"].astype(channels_btd.dtype)
    channels_btd = jax.nn.silu(convolve(channels_btd, params["taps"]) + taps_bias)
    x_btd, write_btd, read_btd = jnp.split(channels_btd, [d_inner, d_inner + d_state], axis=-1)
    x_bthc = x_btd.reshape(b, t, mixer.n_heads, mixer.d_head)
    write_btgs, read_btgs = (
        each.reshape(b, t, mixer.n_groups, mixer.d_state) for each in (write_btd, read_btd)
    )
    step_bth = jax.nn.softplus(wide(step_bth) + params["step_bias"])
    log_kept_bth = -jnp.exp(params["log_decay"]) * step_bth
    in_bthc = x_bthc * step_bth[..., None].astype(x_bthc.dtype)
    out_bthc = scan(in_bthc, log_kept_bth, write_btgs, read_btgs, forms.chunk)
    skip_h1 = params["skip"][:, None].astype(x_bthc.dtype)
    out_btd = (out_bthc + skip_h1 * x_bthc).reshape(b, t, -1)
    return rms_norm(out_btd * jax.nn.silu(gate_btd), params["scan_norm"]) @ params["scan_out"]


def scan(
    x_bthc: jax.Array,
    log_kept_bth: jax.Array,
    write_btgs: jax.Array,
    read_btgs: jax.Array,
    n_chunk: int = CHUNK,
) -> jax.Array:
    """What is read of S_t = kept_t S_(t-1) + write_t x_t at each position, chunk by chunk.

    Args:
        x_bthc: inputs of each head.
        log_kept_bth: log of what a step keeps of a head's state.
        write_btgs: by which inputs are written, of each group of heads.
        read_btgs: by which the state is read.
        n_chunk: positions of a chunk.
    """
    b, t, n_heads, c = x_bthc.shape
    n_groups = write_btgs.shape[2]
    n_chunk = min(n_chunk, t)
    n_more = -t % n_chunk

    def chunked(array: jax.Array, *heads: int) -> jax.Array:
        padded = jnp.pad(array, ((0, 0), (0, n_more), *[(0, 0)] * (array.ndim - 2)))
        apart = jnp.moveaxis(padded.reshape(b, -1, n_chunk, *array.shape[2:]), 2, 3)
        return apart.reshape(b, -1, *heads, n_chunk, *array.shape[3:])

    x_bzgjlc = chunked(x_bthc, n_groups, n_heads // n_groups)
    write_bzgls, read_bzgls = chunked(write_btgs, n_groups), chunked(read_btgs, n_groups)
    log_kept_bzgjl = jnp.cumsum(chunked(log_kept_bth, n_groups, n_heads // n_groups), axis=-1)
    # Within a chunk: scores of each group, which decay from r to l for each of its heads.
    past_lr = np.tril(np.ones((n_chunk, n_chunk), bool))
    between_bzgjlr = log_kept_bzgjl[..., None] - log_kept_bzgjl[..., None, :]
    decay_bzgjlr = jnp.exp(jnp.where(past_lr, between_bzgjlr, -jnp.inf))
    scores_bzglr = wide(jnp.einsum("bzgls,bzgrs->bzglr", read_bzgls, write_bzgls))
    decayed_bzgjlr = (scores_bzglr[:, :, :, None] * decay_bzgjlr).astype(x_bthc.dtype)
    out_bzgjlc = decayed_bzgjlr @ x_bzgjlc
    # Between chunks: what each adds to the state, and what is read of the state before it.
    to_end_bzgjl1 = jnp.exp(log_kept_bzgjl[..., -1:] - log_kept_bzgjl)[..., None]
    left_bzgjlc = x_bzgjlc * to_end_bzgjl1.astype(x_bthc.dtype)
    added_zbgjsc = wide(jnp.einsum("bzgls,bzgjlc->zbgjsc", write_bzgls, left_bzgjlc))
    kept_zbgj11 = jnp.moveaxis(jnp.exp(log_kept_bzgjl[..., -1:, None]), 1, 0)

    def after(state_bgjsc: jax.Array, chunk: tuple[jax.Array, jax.Array]) -> Any:
        kept_bgj11, added_bgjsc = chunk
        return kept_bgj11 * state_bgjsc + added_bgjsc, state_bgjsc

    nothing_bgjsc = jnp.zeros_like(added_zbgjsc[0])
    _, before_zbgjsc = jax.lax.scan(after, nothing_bgjsc, (kept_zbgj11, added_zbgjsc))
    before_zbgjsc = before_zbgjsc.astype(x_bthc.dtype)
    read_bzgjlc = jnp.einsum("bzgls,zbgjsc->bzgjlc", read_bzgls, before_zbgjsc)
    out_bzgjlc += read_bzgjlc * jnp.exp(log_kept_bzgjl)[..., None].astype(x_bthc.dtype)
    out_bzlhc = jnp.moveaxis(out_bzgjlc.reshape(b, -1, n_heads, n_chunk, c), 3, 2)
    return out_bzlhc.reshape(b, t + n_more, n_heads, c)[:, :t]
