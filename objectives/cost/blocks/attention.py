"""Softmax attention with grouped keys, over all of a sequence or a window of it."""

from __future__ import annotations

from typing import Any

from ....space.blocks import Attention
from ....space.decoder import has_dense_blocks
from ..execution import Execution, Parts, Remat
from ..kernel import head_padding
from .matmul import Matmul, weighted

# Softmax and loss are taken in float32, whatever the compute dtype, so scores wait in it for their
# backward pass and logits come in it; the gradients of both are in the compute dtype.
WIDE_BYTES = 4
# Of a block's scores: before and after the softmax's backward pass.
SCORE_GRADIENTS = 2


def score_bytes(arch: Any, size: int) -> tuple[int, int]:
    """Bytes of a plain score that waits for the backward pass, and of those that pass has besides.

    The TPU's compiler keeps a dense model's wide; those of other models, which are laid out
    otherwise, in the compute dtype, and their gradient takes one more place
    (`experiments/blocks/tpu_blocks.py`).
    """
    return (WIDE_BYTES, SCORE_GRADIENTS * size) if has_dense_blocks(arch) else (size, size)


def matmuls(mixer: Attention, arch: Any, execution: Execution) -> tuple[Matmul, ...]:
    """Query, key and value are one matmul, which counts its input once; a gate is more of it.

    Fused attention never writes its scores.
    """
    made, output = weighted(mixer, arch)
    seen = attended(mixer.n_heads, mixer.d_head, mixer.d_head, arch, execution, mixer.window)
    return (made, *seen, output)


def attended(
    n_heads: Any,
    d_key: Any,
    d_value: Any,
    arch: Any,
    execution: Execution,
    window: int | None = None,
) -> tuple[Matmul, Matmul]:
    """The scores of all heads, and the values weighted by them."""
    heads = arch.batch_size * n_heads
    seen = seen_keys(arch.seq_len, window) if execution.fused else arch.seq_len
    unwritten = execution.fused * arch.seq_len * seen
    return (
        Matmul("scores", False, heads, arch.seq_len, d_key, seen, unwritten),
        Matmul("weighted_values", False, heads, arch.seq_len, seen, d_value, unwritten),
    )


def seen_keys(seq_len: Any, window: int | None) -> Any:
    """Keys of each query in a kernel that leaves out what is not seen, were nothing future.

    A kernel's passes halve what lies in the future too (`passes.flop_passes`), so that this is
    twice the mean number of keys: of a window w over a sequence L it is w (2L - w) / L, and L where
    the window is no shorter than the sequence.

    Examples:
        >>> seen_keys(1024, None)
        1024
        >>> seen_keys(1024, 256)
        448.0
    """
    if window is None or window >= seq_len:
        return seq_len
    return window * (2 * seq_len - window) / seq_len


def other_params(mixer: Attention, arch: Any) -> Parts:
    """Nothing but its matmuls has parameters."""
    return {}


def elementwise(mixer: Attention, arch: Any) -> Parts:
    """Elements of a row that rotary positions read and write, and a gate."""
    gate = 3 * mixer.gated * mixer.n_heads * mixer.d_head
    return {"qkv": 2 * (mixer.n_heads + mixer.n_kv_heads) * mixer.d_head + gate}


def scores(mixer: Attention, arch: Any) -> tuple[Any, Any]:
    """Key heads of all sequences, and the scores of each, masked ones included."""
    group = mixer.n_heads // mixer.n_kv_heads * arch.seq_len * arch.seq_len
    return arch.batch_size * mixer.n_kv_heads, group


def chunked(mixer: Attention, arch: Any) -> Any:
    """None: no chunks."""
    return 0


def kept(mixer: Attention, arch: Any, size: int, execution: Execution, padded_head: int) -> Parts:
    """Bytes of a row that wait for the backward pass.

    Queries, keys and values, the rotated queries, scores and the heads' output. Fused attention
    keeps two numbers of a query instead of its scores, and its heads padded.
    """
    d_queries = mixer.n_heads * mixer.d_head
    d_qkv = d_queries + 2 * mixer.n_kv_heads * mixer.d_head + mixer.gated * d_queries
    if execution.remat == Remat.DOTS:
        return {"attention": size * d_qkv}
    n_scores = mixer.n_heads * (2 if padded_head else arch.seq_len)
    width = d_qkv + (0 if execution.scan_layers else 2 * d_queries)
    if padded_head:  # heads apart, in and out, and the input of the matmul after them
        width = head_padding(mixer.d_head, padded_head) * (d_qkv + d_queries) + d_queries
    per_score = WIDE_BYTES if padded_head else score_bytes(arch, size)[0]
    per_score += size if execution.scan_layers else 0
    return {"attention": size * width + per_score * n_scores}


def gradients(mixer: Attention, arch: Any, size: int, padded_head: int) -> Any:
    """Bytes of a row that its backward pass has at once besides."""
    if padded_head:
        d_gradients = 2 * (mixer.n_heads + mixer.n_kv_heads) * mixer.d_head
        return size * head_padding(mixer.d_head, padded_head) * d_gradients
    return score_bytes(arch, size)[1] * mixer.n_heads * arch.seq_len
