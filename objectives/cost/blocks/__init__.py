"""What each kind of block costs, a file a kind; all of them have the same functions."""

from __future__ import annotations

from types import ModuleType
from typing import Any

from ....space.blocks import (
    Attention,
    Experts,
    GatedDelta,
    LatentAttention,
    Mamba2,
    Mlp,
)
from ....space.decoder import Block
from . import attention, experts, gated_delta, latent, mamba2, mlp

KINDS: dict[type, ModuleType] = {
    Attention: attention,
    LatentAttention: latent,
    Mamba2: mamba2,
    GatedDelta: gated_delta,
    Mlp: mlp,
    Experts: experts,
}


def parts_of(block: Block) -> list[tuple[ModuleType, object]]:
    """A block's mixer and feed-forward, those that it has, each after what knows its cost."""
    return [(KINDS[type(part)], part) for part in (block.mixer, block.feed_forward) if part]


def scores_of(block: Block, arch: Any) -> tuple[Any, Any]:
    """Key heads of all sequences whose scores pass through a softmax, and the scores of each.

    Of a scan: heads of all chunks, and the decays of each.
    """
    return KINDS[type(block.mixer)].scores(block.mixer, arch) if block.mixer else (0, 0)


def chunked_of(block: Block, arch: Any) -> Any:
    """Elements of a row that go in and out of a scan cut into chunks; of no scan none."""
    return KINDS[type(block.mixer)].chunked(block.mixer, arch) if block.mixer else 0


def gradients_of(block: Block, arch: Any, size: int, padded_head: int) -> Any:
    """Bytes of a row that the backward pass of a block's mixer has at once besides what is kept."""
    mixer = block.mixer
    return KINDS[type(mixer)].gradients(mixer, arch, size, padded_head) if mixer else 0
