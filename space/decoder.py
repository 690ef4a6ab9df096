"""A decoder as a pattern of blocks; the dense one is the case in which all of them are alike."""

from __future__ import annotations

import collections
import dataclasses
import functools
from typing import Any, TypeGuard

from .architecture import Architecture, Count
from .blocks import Attention, Experts, GatedDelta, LatentAttention, Mamba2, Mlp, Weight
from .limits import MOST_OF_FIELD
from .sparse import N_PER_TOKEN, SparseArchitecture

Mixer = Attention | LatentAttention | Mamba2 | GatedDelta
FeedForward = Mlp | Experts


@dataclasses.dataclass(frozen=True, kw_only=True)
class Block:
    """What a layer is; a part that is None is not there, nor is its norm."""

    mixer: Mixer | None
    feed_forward: FeedForward | None

    def weights(self, d_model: int) -> list[Weight]:
        """Its matrices."""
        parts = [part for part in (self.mixer, self.feed_forward) if part]
        return [weight for part in parts for weight in part.weights(d_model)]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Decoder:
    """One decoder of any blocks with its training shape.

    Attributes:
        d_model: width of the residual stream.
        pattern: its blocks in their order.
        vocab_size: tokens in the vocabulary.
        tied_embeddings: whether the logits reuse the embedding matrix.
        seq_len: tokens in a sequence.
        batch_size: sequences in an optimizer step.

    Raises:
        ValueError: there is no block, a size is no positive whole number, or a block is none.
    """

    d_model: int
    pattern: tuple[Block, ...]
    vocab_size: int
    tied_embeddings: bool
    seq_len: int = 1024
    batch_size: int = 8

    def __post_init__(self) -> None:
        if not self.pattern:
            raise ValueError("a decoder must have at least one block")
        parts = [part for block in set(self.pattern) for part in vars(block).values() if part]
        for part in (self, *parts):
            for name, value in vars(part).items():
                least = 0 if name == "d_shared" else 1
                if type(value) is int and value < least:
                    raise ValueError(f"`{name}` must be a whole number >= {least}, but got {value}")
                if type(value) is int and value > MOST_OF_FIELD:
                    raise ValueError(
                        f"`{name}` must be at most {MOST_OF_FIELD:,}, but got {value:,}"
                    )
        for part in parts:
            part.check()

    @property
    def n_layers(self) -> int:
        """Number of blocks."""
        return len(self.pattern)

    @property
    def tokens_per_step(self) -> int:
        """Tokens in one optimizer step."""
        return self.batch_size * self.seq_len

    @functools.cached_property
    def kinds(self) -> tuple[tuple[int, Block], ...]:
        """Its unlike blocks, and how many there are of each."""
        return tuple((n, block) for block, n in collections.Counter(self.pattern).items())

    @property
    def d_head(self) -> int:
        """The narrowest head, on which a kernel's rate hangs; of no head a full one's."""
        heads = [block.mixer for _, block in self.kinds]
        widths = [mixer.d_head for mixer in heads if isinstance(mixer, Attention)]
        widths += [mixer.d_value for mixer in heads if isinstance(mixer, LatentAttention)]
        return min(widths, default=128)


# One model or many of the dense kind, or one of any.
Model = Architecture | Decoder


def kinds_of(arch: Any) -> tuple[tuple[Count, Block], ...]:
    """The unlike blocks of a model, and how many there are of each.

    Examples:
        >>> ((n, block),) = kinds_of(Architecture.from_shape(d_model=256, n_layers=4))
        >>> n, block.mixer.n_heads, block.feed_forward.d_ff
        (4, 4, 1024)
    """
    if isinstance(arch, Decoder):
        return arch.kinds
    mixer = Attention(n_heads=arch.n_heads, n_kv_heads=arch.n_kv_heads, d_head=arch.d_head)
    if isinstance(arch, SparseArchitecture):
        fed: FeedForward = Experts(
            n_experts=arch.n_experts,
            n_per_token=N_PER_TOKEN,
            d_expert=arch.d_ff,
            gated=arch.gated_mlp,
        )
    else:
        fed = Mlp(d_ff=arch.d_ff, gated=arch.gated_mlp)
    return ((arch.n_layers, Block(mixer=mixer, feed_forward=fed)),)


def is_dense(arch: Any) -> TypeGuard[Architecture]:
    """Whether a model, or each of many, has the dense one's fields."""
    return not isinstance(arch, Decoder | SparseArchitecture)


def has_dense_blocks(arch: Any) -> bool:
    """Whether all blocks of a model, or of many, are alike: full attention and an MLP."""
    if is_dense(arch):
        return True
    (_, block), *others = kinds_of(arch)
    full = isinstance(block.mixer, Attention) and block.mixer.window is None
    return not others and full and isinstance(block.feed_forward, Mlp)


def as_decoder(arch: Any) -> Decoder:
    """One model as the list of its blocks."""
    if isinstance(arch, Decoder):
        return arch
    ((n, block),) = kinds_of(arch)
    names = ("d_model", "vocab_size", "tied_embeddings", "seq_len", "batch_size")
    return Decoder(pattern=(block,) * n, **{name: getattr(arch, name) for name in names})


def last_block(arch: Any) -> Block:
    """The block before the logits."""
    return arch.pattern[-1] if isinstance(arch, Decoder) else kinds_of(arch)[0][1]
