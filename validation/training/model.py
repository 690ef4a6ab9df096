"""The decoder that `objectives/cost/counts.py` counts, and nothing else, as pure functions.

Pre-norm RMSNorm with gains, rotary positions, grouped-query attention, a plain (GELU) or gated
(SwiGLU) MLP, no biases. Parameters are a dict of arrays; those of the blocks are stacked on a
leading layer axis. The letters of an array's name are its axes: n rows (b batch times t
position), s earlier positions, d model width, f MLP width, v vocabulary, q query heads, k key and
value heads, c width of a head, g the query rows that share a key head.

Two choices suit XLA's CPU backend (measured with jax 0.10 on one Zen 5 core): rows stay flat,
since it transposes the operands of a 3-d weight gradient; matrices keep `d_model` first, since it
is up to twice as fast when the left operand of that gradient is the narrower one. On one CPU
attention and the loss are computed in blocks, see `cpu/`; products there may round their operands
to bfloat16, while what is between them stays float32.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from ...objectives.cost.execution import PLAIN, Execution, Remat
from ...objectives.cost.kernel import n_lengths
from ...space.architecture import Architecture
from .cpu import attention as cpu_attention
from .cpu.cross_entropy import mean_loss
from .cpu.matmul import multiply

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


class Kernels(NamedTuple):
    """What computes the parts of a step that are not alike everywhere.

    Attributes:
        multiply: rows (n, k), a weight and the weight's axis to sum over -> (n, the other axis).
        attend: as `attend`.
        stream: dtype of what goes from layer to layer.
        loss_in_blocks: whether no array of all logits is made.
    """

    multiply: Callable[[jax.Array, jax.Array, int], jax.Array]
    attend: Callable[[jax.Array, jax.Array, jax.Array], jax.Array]
    stream: str
    loss_in_blocks: bool = False


def kernels_of(execution: Execution, backend: Backend) -> Kernels:
    """The fastest there is; blocks are for one CPU, since a loop over them splits no batch."""
    if backend.kind == "cpu" and execution.n_chips == 1:
        dtype = backend.dtype
        return Kernels(
            multiply=functools.partial(_multiply_in, dtype=dtype),
            attend=functools.partial(_attend_in, dtype=dtype) if execution.fused else attend,
            stream="float32" if dtype == "bfloat16" else dtype,
            loss_in_blocks=True,
        )
    kernel = attend
    if execution.fused and backend.kind == "tpu":
        from .splash import attend_fused  # a kernel that only a TPU has

        kernel = attend_fused
    elif execution.fused:
        kernel = functools.partial(
            jax.nn.dot_product_attention, is_causal=True, implementation="cudnn"
        )
    return Kernels(_multiply, kernel, backend.dtype)


def _multiply(x_nk: jax.Array, w: jax.Array, axis: int) -> jax.Array:
    """Rows times a weight, summed over the weight's axis."""
    return x_nk @ w if axis == 0 else jnp.einsum("nf,df->nd", x_nk, w)


def _attend_in(q_btqc: jax.Array, k_btkc: jax.Array, v_btkc: jax.Array, *, dtype: str) -> jax.Array:
    """In blocks, where there are several: one is slower, and takes twice as long to compile."""
    if n_lengths(q_btqc.shape[1]) == 1:
        return attend(q_btqc, k_btkc, v_btkc)
    return cpu_attention.attend(q_btqc, k_btkc, v_btkc, dtype)


def _multiply_in(x_nk: jax.Array, w: jax.Array, axis: int, *, dtype: str) -> jax.Array:
    return multiply(x_nk, w, axis, dtype) if dtype == "bfloat16" else _multiply(x_nk, w, axis)


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
    wide_nd = wide(x_nd)
    mean_square_n1 = jnp.mean(jnp.square(wide_nd), axis=-1, keepdims=True)
    return (wide_nd * jax.lax.rsqrt(mean_square_n1 + 1e-6) * gain_d).astype(x_nd.dtype)


def rotate(x_btkc: jax.Array) -> jax.Array:
    """Rotary positions, the two halves of a head paired; Su et al. 2021, arXiv:2104.09864."""
    half = x_btkc.shape[3] // 2
    angle_t1c = np.arange(x_btkc.shape[1])[:, None, None] * 10_000.0 ** (-np.arange(half) / half)
    wide_btkc = wide(x_btkc)
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
    scores_bkgs = wide(jnp.einsum("bkgc,bksc->bkgs", q_bkgc, k_bksc))
    share_bkgs = jax.nn.softmax(jnp.where(is_past_gs, scores_bkgs, -1e30), axis=-1)
    out_bkgc = jnp.einsum("bkgs,bksc->bkgc", share_bkgs.astype(v_btkc.dtype), v_bksc)
    return out_bkgc.reshape(b, n_kv_heads, -1, t, c).transpose(0, 3, 1, 2, 4)


def attention(x_nd: jax.Array, layer: Params, arch: Architecture, kernels: Kernels) -> jax.Array:
    """Causal grouped-query attention; Ainslie et al. 2023, arXiv:2305.13245."""
    ends = (arch.n_heads, arch.n_heads + arch.n_kv_heads)
    heads_btkc = kernels.multiply(x_nd, layer["qkv"], 0).reshape(
        -1, arch.seq_len, ends[1] + arch.n_kv_heads, arch.d_head
    )
    q_btqc, k_btkc, v_btkc = jnp.split(heads_btkc, ends, axis=2)
    out_btqc = kernels.attend(rotate(q_btqc), rotate(k_btkc), v_btkc)
    return kernels.multiply(out_btqc.reshape(x_nd.shape[0], -1), layer["attention_output"], 0)


def mlp(x_nd: jax.Array, layer: Params, arch: Architecture, kernels: Kernels) -> jax.Array:
    """Two matrices around a GELU, or three as a SwiGLU (Shazeer 2020, arXiv:2002.05202)."""
    hidden_nf = kernels.multiply(x_nd, layer["mlp_up"], 0)
    if arch.gated_mlp:
        hidden_nf *= jax.nn.silu(kernels.multiply(x_nd, layer["mlp_gate"], 0))
    else:
        hidden_nf = jax.nn.gelu(hidden_nf)
    return kernels.multiply(hidden_nf, layer["mlp_down"], 1)


def block(x_nd: jax.Array, layer: Params, *, arch: Architecture, kernels: Kernels) -> jax.Array:
    """One layer: attention, then MLP, each normed before and added to the residual stream."""
    x_nd += attention(rms_norm(x_nd, layer["attention_norm"]), layer, arch, kernels)
    return x_nd + mlp(rms_norm(x_nd, layer["mlp_norm"]), layer, arch, kernels)


def hidden(
    params: Params,
    tokens_bt: jax.Array,
    arch: Architecture,
    execution: Execution = PLAIN,
    backend: Backend = CPU,
) -> jax.Array:
    """What the logits are made of at every position, one row each, (n, d_model)."""
    kernels = kernels_of(execution, backend)
    run = functools.partial(block, arch=arch, kernels=kernels)
    if execution.remat != Remat.NONE:
        policy = KEPT[execution.remat]
        run = jax.checkpoint(run, policy=policy, prevent_cse=not execution.scan_layers)
    x_nd = params["embedding"][tokens_bt.reshape(-1)].astype(kernels.stream)
    layers = {
        name: array if name.endswith("norm") else array.astype(kernels.stream)
        for name, array in params["layers"].items()
    }
    if execution.scan_layers:
        x_nd, _ = jax.lax.scan(lambda x, layer: (run(x, layer), None), x_nd, layers)
    else:
        stacks = {name: _unstack(array) for name, array in layers.items()}
        for i in range(arch.n_layers):
            x_nd = run(x_nd, {name: arrays[i] for name, arrays in stacks.items()})
    return rms_norm(x_nd, params["final_norm"])


def logits(
    params: Params,
    tokens_bt: jax.Array,
    arch: Architecture,
    execution: Execution = PLAIN,
    backend: Backend = CPU,
) -> jax.Array:
    """Logits of the next token at every position, one row each, (n, vocabulary)."""
    x_nd = hidden(params, tokens_bt, arch, execution, backend)
    w_vd = params[_logits_name(arch)].astype(x_nd.dtype)
    w_dv = jax.lax.optimization_barrier(w_vd.T)  # d_model first, for its gradient
    return wide(x_nd @ w_dv)


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
    inputs_bt, targets_n = tokens_bt[:, :-1], tokens_bt[:, 1:].reshape(-1)
    if kernels_of(execution, backend).loss_in_blocks:
        x_nd = hidden(params, inputs_bt, arch, execution, backend)
        return mean_loss(x_nd, params[_logits_name(arch)], targets_n, backend.dtype)
    logits_nv = logits(params, inputs_bt, arch, execution, backend)
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


def _logits_name(arch: Architecture) -> str:
    return "embedding" if arch.tied_embeddings else "logits"


def wide(x: jax.Array) -> jax.Array:
    """In float32 at least."""
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))
