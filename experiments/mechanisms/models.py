"""The decoders that are compared: one dense, and others that differ from it in one mechanism."""

from __future__ import annotations

import dataclasses

from anybudget.space.blocks import Attention, Experts, Mamba2, Mlp
from anybudget.space.decoder import Block, Decoder

D_HEAD, D_STATE, D_CONV = 32, 64, 4
# A window is an eighth of the sequence; of four layers of the hybrid the third has attention, and
# where windows and full attention take turns, that one is full.
WINDOW_SHARE, FULL_OF_FOUR = 8, 2
WINDOW_AND_FULL = "window, one of four full"


def mechanisms(d_model: int, n_layers: int, seq_len: int) -> dict[str, tuple[Block, ...]]:
    """Each one's blocks.

    Experts are half as wide as the dense feed-forward and a token meets two, so that it meets as
    many parameters. Mamba-2 has twice as many blocks and no feed-forward (Dao and Gu 2024,
    arXiv:2405.21060); the hybrid has it in three of four layers in place of attention.
    """
    h = d_model // D_HEAD
    full = Attention(n_heads=h, n_kv_heads=h, d_head=D_HEAD)
    window = dataclasses.replace(full, window=seq_len // WINDOW_SHARE)
    scan = Mamba2(n_heads=2 * h, d_head=D_HEAD, d_state=D_STATE, n_groups=1, d_conv=D_CONV)
    d_ff = round(d_model * 8 / 3 / 32) * 32
    mlp = Mlp(d_ff=d_ff, gated=True)
    dense = Block(mixer=full, feed_forward=mlp)
    local = Block(mixer=window, feed_forward=mlp)
    states = Block(mixer=scan, feed_forward=mlp)

    def experts(n: int) -> tuple[Block, ...]:
        fed = Experts(n_experts=n, n_per_token=2, d_expert=d_ff // 2, gated=True)
        return (Block(mixer=full, feed_forward=fed),) * n_layers

    return {
        "dense": (dense,) * n_layers,
        "4 experts": experts(4),
        "8 experts": experts(8),
        "window": (local,) * n_layers,
        WINDOW_AND_FULL: tuple(dense if i % 4 == FULL_OF_FOUR else local for i in range(n_layers)),
        "Mamba-2": (Block(mixer=scan, feed_forward=None),) * (2 * n_layers),
        "hybrid": tuple(dense if i % 4 == FULL_OF_FOUR else states for i in range(n_layers)),
    }


def decoder(kind: str, d_model: int, n_layers: int, seq_len: int, batch_size: int) -> Decoder:
    """One of them with its text; layers are those of the dense one."""
    return Decoder(
        d_model=d_model,
        pattern=mechanisms(d_model, n_layers, seq_len)[kind],
        vocab_size=1024,
        tied_embeddings=True,
        seq_len=seq_len,
        batch_size=batch_size,
    )
