"""The gated delta rule: linear attention whose state is corrected where it is written."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np

from ....space.blocks import DELTA_CHUNK, GatedDelta
from ..model import rms_norm, wide
from .attention import Params, Shapes
from .convolution import convolve
from .forms import PLAIN, Forms


def param_shapes(mixer: GatedDelta, d_model: int) -> Shapes:
    """One matrix in, for convolution, gate, decay and step; one out; a norm all heads share."""
    d_values, h = mixer.n_value_heads * mixer.d_value, mixer.n_value_heads
    return {
        "scan_in": (d_model, mixer.n_channels + d_values + 2 * h),
        "taps": (mixer.d_conv, mixer.n_channels),
        "log_decay": (h,),
        "step_bias": (h,),
        "scan_norm": (mixer.d_value,),
        "scan_out": (d_values, d_model),
    }


def apply(mixer: GatedDelta, params: Params, x_btd: jax.Array, forms: Forms = PLAIN) -> jax.Array:
    """Queries and keys of unit length; as many value heads share them as it takes.

    References:
        Yang et al. 2024, arXiv:2412.06464, section 3.
    """
    b, t, _ = x_btd.shape
    d_keys, d_values = mixer.n_key_heads * mixer.d_key, mixer.n_value_heads * mixer.d_value
    n_channels, h = mixer.n_channels, mixer.n_value_heads
    made_btd, gate_btd, step_bth, write_bth = jnp.split(
        x_btd @ params["scan_in"],
        [n_channels, n_channels + d_values, n_channels + d_values + h],
        axis=-1,
    )
    made_btd = jax.nn.silu(convolve(made_btd, params["taps"]))
    q_btd, k_btd, v_btd = jnp.split(made_btd, [d_keys, 2 * d_keys], axis=-1)
    q_bthc, k_bthc = (
        jnp.repeat(_unit(of.reshape(b, t, -1, mixer.d_key)), h // mixer.n_key_heads, axis=2)
        for of in (q_btd, k_btd)
    )
    step_bth = jax.nn.softplus(wide(step_bth) + params["step_bias"])
    out_bthv = scan(
        q_bthc * mixer.d_key**-0.5,
        k_bthc,
        v_btd.reshape(b, t, h, -1),
        -jnp.exp(params["log_decay"]) * step_bth,
        jax.nn.sigmoid(wide(write_bth)),
    )
    gated_bthv = rms_norm(out_bthv, params["scan_norm"]) * jax.nn.silu(gate_btd).reshape(
        b, t, h, -1
    )
    return gated_bthv.reshape(b, t, -1) @ params["scan_out"]


def _unit(x_bthc: jax.Array) -> jax.Array:
    return x_bthc * jax.lax.rsqrt(jnp.sum(jnp.square(x_bthc), axis=-1, keepdims=True) + 1e-6)


def scan(
    q_bthc: jax.Array,
    k_bthc: jax.Array,
    v_bthv: jax.Array,
    log_kept_bth: jax.Array,
    write_bth: jax.Array,
    n_chunk: int = DELTA_CHUNK,
) -> jax.Array:
    """What queries read of S_t = kept_t S_(t-1) + write_t k_t (v_t - k_t^T kept_t S_(t-1))^T.

    Within a chunk the corrections of all positions are one triangular system.

    Args:
        q_bthc: queries.
        k_bthc: keys.
        v_bthv: values.
        log_kept_bth: log of what a step keeps of a head's state.
        write_bth: how much of a value is written, from 0 to 1.
        n_chunk: positions of a chunk.
    """
    b, t, n_heads, _ = k_bthc.shape
    n_chunk = min(n_chunk, t)
    n_more = -t % n_chunk

    def chunked(array: jax.Array) -> jax.Array:
        padded = jnp.pad(array, ((0, 0), (0, n_more), *[(0, 0)] * (array.ndim - 2)))
        return jnp.moveaxis(padded.reshape(b, -1, n_chunk, *array.shape[2:]), 3, 2)

    narrow = functools.partial(jax.lax.convert_element_type, new_dtype=k_bthc.dtype)
    q_bzhlc, k_bzhlc, v_bzhlv = chunked(q_bthc), chunked(k_bthc), chunked(v_bthv)
    write_bzhl1 = chunked(write_bth)[..., None]
    log_kept_bzhl = jnp.cumsum(chunked(log_kept_bth), axis=-1)
    past_lr = np.tril(np.ones((n_chunk, n_chunk), bool))
    between_bzhlr = log_kept_bzhl[..., None] - log_kept_bzhl[..., None, :]
    decay_bzhlr = jnp.exp(jnp.where(past_lr, between_bzhlr, -jnp.inf))
    kept_bzhl1 = jnp.exp(log_kept_bzhl)[..., None]
    # What each position's correction takes from those before it in the chunk.
    written_bzhlc = narrow(write_bzhl1 * k_bzhlc)
    overlap_bzhlr = jnp.einsum("bzhlc,bzhrc->bzhlr", written_bzhlc, k_bzhlc) * decay_bzhlr
    one_lr = jnp.eye(n_chunk, dtype=overlap_bzhlr.dtype)
    system_bzhlr = jnp.where(np.tril(past_lr, -1), overlap_bzhlr, 0) + one_lr
    solved_bzhlr = jax.scipy.linalg.solve_triangular(
        system_bzhlr, jnp.broadcast_to(one_lr, system_bzhlr.shape), lower=True, unit_diagonal=True
    )
    solved_bzhlr = narrow(solved_bzhlr)
    new_bzhlv = solved_bzhlr @ narrow(write_bzhl1 * v_bzhlv)
    from_state_bzhlc = solved_bzhlr @ narrow(kept_bzhl1 * written_bzhlc)
    scores_bzhlr = narrow(jnp.einsum("bzhlc,bzhrc->bzhlr", q_bzhlc, k_bzhlc) * decay_bzhlr)
    to_end_bzhl1 = jnp.exp(log_kept_bzhl[..., -1:] - log_kept_bzhl)[..., None]
    read_bzhlc, left_bzhlc = narrow(kept_bzhl1 * q_bzhlc), narrow(to_end_bzhl1 * k_bzhlc)
    state_bhcv = jnp.zeros((b, n_heads, k_bthc.shape[3], v_bthv.shape[3]), kept_bzhl1.dtype)
    out = []
    for z in range(k_bzhlc.shape[1]):
        before_bhcv = narrow(state_bhcv)
        new_bhlv = new_bzhlv[:, z] - from_state_bzhlc[:, z] @ before_bhcv
        out.append(read_bzhlc[:, z] @ before_bhcv + scores_bzhlr[:, z] @ new_bhlv)
        added_bhcv = jnp.einsum("bhlc,bhlv->bhcv", left_bzhlc[:, z], new_bhlv)
        state_bhcv = kept_bzhl1[:, z, :, -1:] * state_bhcv + added_bhcv
    out_bzlhv = jnp.moveaxis(jnp.stack(out, axis=1), 2, 3)
    return out_bzlhv.reshape(b, t + n_more, n_heads, -1)[:, :t]
