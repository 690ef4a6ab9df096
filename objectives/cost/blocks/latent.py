"""Latent attention (MLA), trained as it is written: keys and values are made for each head."""

from __future__ import annotations

from typing import Any

from ....space.blocks import LatentAttention
from ..execution import Execution, Parts, Remat
from ..kernel import head_padding
from .attention import WIDE_BYTES, attended, score_bytes
from .matmul import Matmul, weighted


def matmuls(mixer: LatentAttention, arch: Any, execution: Execution) -> tuple[Matmul, ...]:
    """What makes heads, then attention over them."""
    *made, output = weighted(mixer, arch)
    d_query = mixer.d_nope + mixer.d_rope
    return (*made, *attended(mixer.n_heads, d_query, mixer.d_value, arch, execution), output)


def other_params(mixer: LatentAttention, arch: Any) -> Parts:
    """Gains of the norms of the narrow vectors."""
    return {"norms": (mixer.query_rank or 0) + mixer.kv_rank}


def elementwise(mixer: LatentAttention, arch: Any) -> Parts:
    """Elements of a row: rotary parts, the narrow vectors' norms, and heads put together."""
    ranks = (mixer.query_rank or 0) + mixer.kv_rank
    heads = 2 * mixer.n_heads * (mixer.d_nope + mixer.d_rope)
    return {"qkv": 2 * mixer.d_rope * (mixer.n_heads + 1) + 3 * ranks + 2 * heads}


def scores(mixer: LatentAttention, arch: Any) -> tuple[Any, Any]:
    """As of `attention.scores`; each head has its own keys."""
    return arch.batch_size * mixer.n_heads, arch.seq_len * arch.seq_len


def chunked(mixer: LatentAttention, arch: Any) -> Any:
    """None: no chunks."""
    return 0


def kept(
    mixer: LatentAttention, arch: Any, size: int, execution: Execution, padded_head: int
) -> Parts:
    """As of `attention.kept`: the narrow vectors, and all heads' queries, keys and values."""
    ranks = (mixer.query_rank or 0) + mixer.kv_rank + mixer.d_rope
    d_query = mixer.d_nope + mixer.d_rope
    made = mixer.n_heads * (d_query + mixer.d_nope + mixer.d_value)
    if execution.remat == Remat.DOTS:
        return {"attention": size * (ranks + made)}
    heads = 2 * d_query * _padding(d_query, padded_head) + 2 * mixer.d_value * _padding(
        mixer.d_value, padded_head
    )
    scores = 2 * WIDE_BYTES if padded_head else score_bytes(arch, size)[0] * arch.seq_len
    per_row = 2 * ranks + mixer.n_heads * (heads + mixer.d_value)
    return {"attention": size * per_row + mixer.n_heads * scores}


def gradients(mixer: LatentAttention, arch: Any, size: int, padded_head: int) -> Any:
    """As of `attention.gradients`."""
    if padded_head:
        d_query = mixer.d_nope + mixer.d_rope
        queries = 2 * d_query * _padding(d_query, padded_head)
        return size * mixer.n_heads * (queries + 2 * mixer.d_value)
    return score_bytes(arch, size)[1] * mixer.n_heads * arch.seq_len


def _padding(width: int, padded_head: int) -> Any:
    return head_padding(width, padded_head) if padded_head else 1
