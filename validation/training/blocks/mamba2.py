"""A state-space layer in its dual form: matmuls within chunks, a recurrence between them."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from ....space.blocks import CHUNK, Mamba2
from ..model import rms_norm
from .attention import Params, Shapes
from .convolution import convolve


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


def apply(mixer: Mamba2, params: Params, x_btd: jax.Array) -> jax.Array:
    """Heads of inputs, written to and read from a state that decays by what the input says.

    References:
        Dao and Gu 2024, arXiv:2405.21060, section 7.1.
    """
    b, t, _ = x_btd.shape
    d_inner, d_state = mixer.n_heads * mixer.d_head, mixer.n_groups * mixer.d_state
    gate_btd, channels_btd, step_bth = jnp.split(
        x_btd @ params["scan_in"], [d_inner, d_inner + mixer.n_channels], axis=-1
    )
    channels_btd = jax.nn.silu(convolve(channels_btd, params["taps"]) + params["taps_bias"])
    x_btd, write_btd, read_btd = jnp.split(channels_btd, [d_inner, d_inner + d_state], axis=-1)
    x_bthc = x_btd.reshape(b, t, mixer.n_heads, mixer.d_head)
    write_btgs, read_btgs = (
        each.reshape(b, t, mixer.n_groups, mixer.d_state) for each in (write_btd, read_btd)
    )
    step_bth = jax.nn.softplus(step_bth + params["step_bias"])
    log_kept_bth = -jnp.exp(params["log_decay"]) * step_bth
    out_bthc = scan(x_bthc * step_bth[..., None], log_kept_bth, write_btgs, read_btgs)
    out_btd = (out_bthc + params["skip"][:, None] * x_bthc).reshape(b, t, -1)
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

    def chunked(array: jax.Array) -> jax.Array:
        padded = jnp.pad(array, ((0, 0), (0, n_more), *[(0, 0)] * (array.ndim - 2)))
        return padded.reshape(b, -1, n_chunk, *array.shape[2:])

    x_bzlgjc = chunked(x_bthc.reshape(b, t, n_groups, -1, c))
    write_bzlgs, read_bzlgs = chunked(write_btgs), chunked(read_btgs)
    log_kept_bzlgj = jnp.cumsum(chunked(log_kept_bth.reshape(b, t, n_groups, -1)), axis=2)
    # Within a chunk: scores of each group, which decay from r to l for each of its heads.
    past_lr = np.tril(np.ones((n_chunk, n_chunk), bool))[:, :, None, None]
    between_bzlrgj = log_kept_bzlgj[:, :, :, None] - log_kept_bzlgj[:, :, None]
    decay_bzlrgj = jnp.exp(jnp.where(past_lr, between_bzlrgj, -jnp.inf))
    scores_bzlrg = jnp.einsum("bzlgs,bzrgs->bzlrg", read_bzlgs, write_bzlgs)
    out_bzlgjc = jnp.einsum(
        "bzlrgj,bzrgjc->bzlgjc", scores_bzlrg[..., None] * decay_bzlrgj, x_bzlgjc
    )
    # Between chunks: what each adds to the state, and what is read of the state before it.
    to_end_bzlgj = jnp.exp(log_kept_bzlgj[:, :, -1:] - log_kept_bzlgj)
    added_bzgjsc = jnp.einsum(
        "bzlgs,bzlgjc->bzgjsc", write_bzlgs, x_bzlgjc * to_end_bzlgj[..., None]
    )
    kept_bzgj = jnp.exp(log_kept_bzlgj[:, :, -1])
    state_bgjsc, before = jnp.zeros_like(added_bzgjsc[:, 0]), []
    for z in range(added_bzgjsc.shape[1]):
        before.append(state_bgjsc)
        state_bgjsc = kept_bzgj[:, z, :, :, None, None] * state_bgjsc + added_bzgjsc[:, z]
    read_bzlgjc = jnp.einsum("bzlgs,bzgjsc->bzlgjc", read_bzlgs, jnp.stack(before, axis=1))
    out_bzlgjc += read_bzlgjc * jnp.exp(log_kept_bzlgj)[..., None]
    return out_bzlgjc.reshape(b, t + n_more, n_heads, c)[:, :t]
