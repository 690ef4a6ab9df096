"""Attention as one kernel of a TPU, which never writes its scores: jax's splash attention."""

from __future__ import annotations

from typing import Any

import jax
from jax.experimental.pallas.ops.tpu import splash_attention

# Positions of a sequence that the kernel works on at once, at most; its own default of 128 is slow.
MOST_AT_ONCE = 512


def part_of(seq_len: int) -> int:
    """Positions of a sequence that the kernel works on at once.

    Raises:
        ValueError: the sequence cannot be cut into equal parts that the kernel takes.
    """
    part = min(seq_len, MOST_AT_ONCE)
    if seq_len % part or part % 128:
        raise ValueError(
            f"a TPU's fused attention takes a `seq_len` of 128, 256, 384 or a multiple of "
            f"{MOST_AT_ONCE}, but got {seq_len}"
        )
    return part


def attend_fused(
    q_btqc: jax.Array, k_btkc: jax.Array, v_btkc: jax.Array, *, interpret: bool = False
) -> jax.Array:
    """Causal softmax attention, (b, t, q, c), as `model.attend` computes it; for one TPU.

    `interpret` runs the kernel's code without a TPU, slowly.

    Raises:
        ValueError: see `part_of`.

    References:
        Dao et al. 2022, FlashAttention, arXiv:2205.14135.
    """
    _, t, n_heads, c = q_btqc.shape
    part = part_of(t)
    sizes = splash_attention.BlockSizes(
        block_q=part,
        block_kv=part,
        block_kv_compute=part,
        block_q_dkv=part,
        block_kv_dkv=part,
        block_kv_dkv_compute=part,
        block_q_dq=part,
        block_kv_dq=part,
    )
    past = splash_attention.MultiHeadMask([splash_attention.CausalMask((t, t))] * n_heads)
    kernel = splash_attention.make_splash_mha(
        past, block_sizes=sizes, head_shards=1, q_seq_shards=1, interpret=interpret
    )
    heads_first = (x.transpose(0, 2, 1, 3) for x in (q_btqc * c**-0.5, k_btkc, v_btkc))
    out_bqtc: Any = jax.vmap(kernel)(*heads_first)
    return out_bqtc.transpose(0, 2, 1, 3)
