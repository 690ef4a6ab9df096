"""The decoder that `objectives/cost/counts.py` counts, and nothing else, as pure functions.

Pre-norm RMSNorm with gains, rotary positions, grouped-query attention, a plain (GELU) or gated
(SwiGLU) MLP, no biases. Parameters are a dict of arrays; those of the blocks are stacked on a
leading layer axis. The letters of an array's name are its axes: n rows (b batch times t
position), s earlier positions, d model width, f MLP width, v vocabulary, q query heads, k key and
value heads, c width of a head, g the query rows that share a key head.

Three choices suit XLA's CPU backend (measured with jax 0.10 on one Zen 5 core): rows stay flat,
since it transposes the operands of a 3-d weight gradient; matrices keep `d_model` first, since it
is up to twice as fast when the left operand of that gradient is the narrower one; attention is two
einsums over heads, a fifth faster than `jax.nn.dot_product_attention`.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from ...objectives.cost.execution import PLAIN, Execution, Remat
from ...space.architecture import Architecture

Params = dict[str, Any]

# What of a block stays for its backward pass; the names are those of `jax.checkpoint_policies`.
KEPT = {
    Remat.DOTS: jax.checkpoint_policies.dots_with_no_batch_dims_saveable,
    Remat.LAYER: jax.checkpoint_policies.nothing_saveable,
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Backend:
    """What a step is compiled for.

    Attributes:
        kind: JAX's name of it, `cpu`, `gpu` or `tpu`, which says what kernel fused attention is.
        dtype: of the matmuls; norms, softmax, loss and master weights are float32 or wider.
    """

    kind: str = "cpu"
    dtype: str = "float32"


CPU = Backend()
# Attention as two matmuls.
EINSUM = "einsum"


def param_shapes(arch: Architecture) -> Params:
    """The shape of every parameter, a tuple, in the tree that the model takes.

    Raises:
        ValueError: `d_head` is odd.
    """
    if arch.d_head % 2:
        raise ValueError(
            f"`d_head` must be even, since rotary positions turn pairs, but got {arch.d_head}"
        )
    n, d, f = arch.n_layers, arch.d_model, arch.d_ff
    layers = {
        "attention_norm": (n, d),
        "qkv": (n, d, (arch.n_heads + 2 * arch.n_kv_heads) * arch.d_head),
        "attention_output": (n, arch.n_heads * arch.d_head, d),
        "mlp_norm": (n, d),
        "mlp_up": (n, d, f),
        "mlp_down": (n, d, f),
    }
    if arch.gated_mlp:
        layers["mlp_gate"] = (n, d, f)
    embedding = (arch.vocab_size, d)
    shapes = {"embedding": embedding, "layers": layers, "final_norm": (d,)}
    return shapes if arch.tied_embeddings else shapes | {"logits": embedding}


def rms_norm(x_nd: jax.Array, gain_d: jax.Array) -> jax.Array:
    """Divide each row by its root mean square; Zhang and Sennrich 2019, arXiv:1910.07467."""
    wide_nd = _wide(x_nd)
    mean_square_n1 = jnp.mean(jnp.square(wide_nd), axis=-1, keepdims=True)
    return (wide_nd * jax.lax.rsqrt(mean_square_n1 + 1e-6) * gain_d).astype(x_nd.dtype)


def rotate(x_btkc: jax.Array) -> jax.Array:
    """Rotary positions, the two halves of a head paired; Su et al. 2021, arXiv:2104.09864."""
    half = x_btkc.shape[3] // 2
    angle_t1c = np.arange(x_btkc.shape[1])[:, None, None] * 10_000.0 ** (-np.arange(half) / half)
    wide_btkc = _wide(x_btkc)
    cos_t1c = jnp.asarray(np.cos(angle_t1c), wide_btkc.dtype)
    sin_t1c = jnp.asarray(np.sin(angle_t1c), wide_btkc.dtype)
    a_btkc, b_btkc = jnp.split(wide_btkc, 2, axis=-1)
    turned = (a_btkc * cos_t1c - b_btkc * sin_t1c, b_btkc * cos_t1c + a_btkc * sin_t1c)
    return jnp.concatenate(turned, axis=-1).astype(x_btkc.dtype)


def attend(q_btqc: jax.Array, k_btkc: jax.Array, v_btkc: jax.Array) -> jax.Array:
    """Causal softmax attention; query heads that share a key head are rows of one matmul."""
    b, t, n_kv_heads, c = k_btkc.shape
    q_bktc = (q_btqc * c**-0.5).reshape(b, t, n_kv_heads, -1, c).transpose(0, 2, 3, 1, 4)
    q_bkgc = q_bktc.reshape(b, n_kv_heads, -1, c)
    k_bksc, v_bksc = k_btkc.transpose(0, 2, 1, 3), v_btkc.transpose(0, 2, 1, 3)
    is_past_gs = np.arange(q_bkgc.shape[2])[:, None] % t >= np.arange(t)
    scores_bkgs = _wide(jnp.einsum("bkgc,bksc->bkgs", q_bkgc, k_bksc))
    share_bkgs = jax.nn.softmax(jnp.where(is_past_gs, scores_bkgs, -1e30), axis=-1)
    out_bkgc = jnp.einsum("bkgs,bksc->bkgc", share_bkgs.astype(v_btkc.dtype), v_bksc)
    return out_bkgc.reshape(b, n_kv_heads, -1, t, c).transpose(0, 3, 1, 2, 4)


def attention(x_nd: jax.Array, layer: Params, arch: Architecture, kernel: str) -> jax.Array:
    """Causal grouped-query attention; Ainslie et al. 2023, arXiv:2305.13245.

    `kernel` is `einsum`, plain; or a backend whose fused kernel it is, see `Backend`.
    """
    ends = (arch.n_heads, arch.n_heads + arch.n_kv_heads)
    heads_btkc = (x_nd @ layer["qkv"]).reshape(
        -1, arch.seq_len, ends[1] + arch.n_kv_heads, arch.d_head
    )
    q_btqc, k_btkc, v_btkc = jnp.split(heads_btkc, ends, axis=2)
    q_btqc, k_btkc = rotate(q_btqc), rotate(k_btkc)
    if kernel == EINSUM:
        out_btqc = attend(q_btqc, k_btkc, v_btkc)
    elif kernel == "tpu":
        from .splash import attend_fused  # a kernel that only a TPU has

        out_btqc = attend_fused(q_btqc, k_btkc, v_btkc)
    else:
        out_btqc = jax.nn.dot_product_attention(
            q_btqc, k_btkc, v_btkc, is_causal=True, implementation="cudnn"
        )
    return out_btqc.reshape(x_nd.shape[0], -1) @ layer["attention_output"]


def mlp(x_nd: jax.Array, layer: Params, arch: Architecture) -> jax.Array:
    """Two matrices around a GELU, or three as a SwiGLU (Shazeer 2020, arXiv:2002.05202)."""
    hidden_nf = x_nd @ layer["mlp_up"]
    if arch.gated_mlp:
        hidden_nf *= jax.nn.silu(x_nd @ layer["mlp_gate"])
    else:
        hidden_nf = jax.nn.gelu(hidden_nf)
    return jnp.einsum("nf,df->nd", hidden_nf, layer["mlp_down"])


def block(x_nd: jax.Array, layer: Params, *, arch: Architecture, kernel: str) -> jax.Array:
    """One layer: attention, then MLP, each normed before and added to the residual stream."""
    x_nd += attention(rms_norm(x_nd, layer["attention_norm"]), layer, arch, kernel)
    return x_nd + mlp(rms_norm(x_nd, layer["mlp_norm"]), layer, arch)


def logits(
    params: Params,
    tokens_bt: jax.Array,
    arch: Architecture,
    execution: Execution = PLAIN,
    backend: Backend = CPU,
) -> jax.Array:
    """Logits of the next token at every position, one row each, (n, vocabulary)."""
    kernel = backend.kind if execution.fused else EINSUM
    run = functools.partial(block, arch=arch, kernel=kernel)
    if execution.remat != Remat.NONE:
        policy = KEPT[execution.remat]
        run = jax.checkpoint(run, policy=policy, prevent_cse=not execution.scan_layers)
    x_nd = params["embedding"][tokens_bt.reshape(-1)].astype(backend.dtype)
    layers = {
        name: array if name.endswith("norm") else array.astype(backend.dtype)
        for name, array in params["layers"].items()
    }
    if execution.scan_layers:
        x_nd, _ = jax.lax.scan(lambda x, layer: (run(x, layer), None), x_nd, layers)
    else:
        stacks = {name: _unstack(array) for name, array in layers.items()}
        for i in range(arch.n_layers):
            x_nd = run(x_nd, {name: arrays[i] for name, arrays in stacks.items()})
    x_nd = rms_norm(x_nd, params["final_norm"])
    w_vd = params["embedding" if arch.tied_embeddings else "logits"].astype(x_nd.dtype)
    w_dv = jax.lax.optimization_barrier(w_vd.T)  # d_model first, for its gradient
    return _wide(x_nd @ w_dv)


def loss(
    params: Params,
    tokens_bt: jax.Array,
    arch: Architecture,
    execution: Execution = PLAIN,
    backend: Backend = CPU,
) -> jax.Array:
    """Mean negative log-likelihood of each token given those before it, in nats per token.

    Args:
        params: the tree of `param_shapes`.
        tokens_bt: (batch, seq_len + 1) token ids; every token but the first is a target.
        arch: the model.
        execution: how to compute it, all sequences in one pass.
        backend: what it is compiled for.
    """
    logits_nv = logits(params, tokens_bt[:, :-1], arch, execution, backend)
    targets_n = tokens_bt[:, 1:].reshape(-1)
    return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(logits_nv, targets_n))


@jax.custom_vjp
def _unstack(stack: jax.Array) -> tuple[jax.Array, ...]:
    """The layers of a stack, whose gradient is stacked from the last layer to the first.

    That is the order in which a backward pass has them. Left to itself, a TPU's compiler begins
    with the first layer's, which comes last, and keeps all that the others are made of until then.
    """
    return tuple(jnp.unstack(stack))


def _stack_backwards(_: None, gradients: tuple[jax.Array, ...]) -> tuple[jax.Array]:
    stack = jnp.zeros((len(gradients), *gradients[0].shape), gradients[0].dtype)
    for i in reversed(range(len(gradients))):
        stack = stack.at[i].set(gradients[i])
    return (stack,)


_unstack.defvjp(lambda stack: (_unstack(stack), None), _stack_backwards)


def _wide(x: jax.Array) -> jax.Array:
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))
