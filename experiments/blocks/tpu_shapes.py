"""The shapes that are compiled for a TPU, kind by kind, always the same."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from anybudget.space.blocks import Attention, Experts, GatedDelta, LatentAttention, Mamba2, Mlp
from anybudget.space.decoder import Block, Decoder

CHIP, OTHERS = "v5e:1x1", ("v5p:1x1x1", "v6e:1x1")
SCANS = ("mamba2", "delta", "hybrid")
# The last is the dense decoder, for what the preset misses of any step so small.
KINDS = ("window", "latent", "experts", "mamba2", "delta", "hybrid", "full")
# Of each kind; of those timed as many again, as wide and with as many rows as dense steps have that
# the preset was fitted to.
N_SHAPES = 6


class Key(NamedTuple):
    """One of the design: a kind, whether its whole program is made, and its number."""

    kind: str
    timed: bool
    number: int
    topology: str = CHIP


def design() -> list[Key]:
    """Plans first; of each number all kinds, so that a run that is cut short has all of them."""
    of_all = [Key(kind, timed, i) for timed in (False, True) for i in range((1 + timed) * N_SHAPES)
              for kind in KINDS]  # fmt: skip
    wide = (N_SHAPES, N_SHAPES + 1)
    return of_all + [Key(kind, True, i, chip) for i in wide for chip in OTHERS for kind in SCANS]


def drawn(key: Key) -> Decoder:
    """The shape of a key, always the same."""
    rng = np.random.default_rng([KINDS.index(key.kind), key.timed, key.number, 24])

    def one(*values: int) -> int:
        return int(rng.choice(values))

    if key.timed and key.number >= N_SHAPES:
        d_model, seq_len = one(1024, 1280, 1536), one(512, 1024, 2048)
        n_blocks, rows, vocab_size = 1, one(8192, 16384), one(4096, 8192)
    elif key.timed:
        d_model, seq_len = one(256, 384, 512, 768), one(256, 512, 1024)
        n_blocks, rows, vocab_size = 1, one(2048, 4096, 8192), one(1024, 2048, 4096)
    else:
        d_model, seq_len = one(512, 768, 1024, 1536), one(512, 1024)
        n_blocks, rows, vocab_size = one(2, 3, 4), one(8192, 16384), one(4096, 8192, 16384)
    seq_len = min(seq_len, 512) if key.kind == "delta" else seq_len  # its chunks are unrolled
    pattern = tuple(_blocks(key.kind, d_model, seq_len, one)) * n_blocks
    return Decoder(d_model=d_model, pattern=pattern, vocab_size=vocab_size, tied_embeddings=True,
                   seq_len=seq_len, batch_size=rows // seq_len)  # fmt: skip


def _blocks(kind: str, d_model: int, seq_len: int, one: Any) -> Iterator[Block]:
    """One block of a kind, or a hybrid's two."""
    d_head = one(64, 128)
    h = d_model // d_head
    full = Attention(n_heads=h, n_kv_heads=h // one(1, h), d_head=d_head)
    mlp = Mlp(d_ff=d_model * one(2, 3, 4), gated=bool(one(0, 1)))
    scan = Mamba2(n_heads=2 * d_model // 64, d_head=64, d_state=one(64, 128), n_groups=one(1, 2),
                  d_conv=4)  # fmt: skip
    if kind == "full":
        yield Block(mixer=full, feed_forward=mlp)
    elif kind == "window":
        local = Attention(n_heads=h, n_kv_heads=h, d_head=d_head, window=seq_len // one(2, 4))
        yield Block(mixer=local, feed_forward=mlp)
    elif kind == "latent":
        ranks = {"query_rank": one(0, d_model // 2) or None, "kv_rank": one(128, 256)}
        latent = LatentAttention(n_heads=h, **ranks, d_nope=d_head, d_rope=64, d_value=d_head)
        yield Block(mixer=latent, feed_forward=mlp)
    elif kind == "experts":
        n, met, d_expert = one(4, 8, 16), one(1, 2, 4), d_model * one(1, 2)
        fed = Experts(n_experts=n, n_per_token=met, d_expert=d_expert, gated=bool(one(0, 1)),
                      d_shared=one(0, d_expert))  # fmt: skip
        yield Block(mixer=full, feed_forward=fed)
    elif kind == "mamba2":
        yield Block(mixer=scan, feed_forward=None)
    elif kind == "delta":
        n = max(d_model // 256, 1)
        delta = GatedDelta(n_key_heads=n, n_value_heads=n * one(1, 2), d_key=128, d_value=128,
                           d_conv=4)  # fmt: skip
        yield Block(mixer=delta, feed_forward=mlp)
    else:
        yield Block(mixer=scan, feed_forward=mlp)
        yield Block(mixer=full, feed_forward=mlp)
