"""Parameters, memory copies and FLOPs of an architecture, all from one list of matmuls.

Not counted: norms, softmax, rotary positions, the residual additions and the embedding lookup
(together under 1% of the FLOPs for d_model >= 256), and the optimizer's own traffic.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import numpy as np

from ...space.architecture import Architecture
from .remat import PASSES, flop_passes, matmul_passes

Count = Any


class Matmul(NamedTuple):
    """One kind of matmul, (m, k) x (k, n), and how often a forward pass runs it.

    `has_weights` says whether its right-hand sides are parameters, one for each time it runs;
    `unwritten` are elements of each that stay within a fused kernel.
    """

    part: str
    has_weights: bool
    count: Count
    m: Count
    k: Count
    n: Count
    unwritten: Count = 0

    @property
    def flops(self) -> Count:
        """FLOPs of all of them, forward: 2mkn each."""
        return 2 * self.count * self.m * self.k * self.n

    @property
    def memcpys(self) -> Count:
        """Elements read and written by all of them, forward: mk + kn + mn each."""
        operands = self.m * self.k + self.k * self.n + self.m * self.n
        return self.count * (operands - self.unwritten)

    @property
    def n_params(self) -> Count:
        """Elements of their weights."""
        return self.count * self.k * self.n if self.has_weights else 0


def layer_matmuls(arch: Architecture, *, fused: bool = False) -> tuple[Matmul, ...]:
    """The matmuls in the forward pass of one block.

    Query, key and value are one matmul and so are up and gate where the paper has them so: the
    former counts its input once, a gate counts as a second up-projection. With `fused` attention
    scores are never written.
    """
    rows = arch.batch_size * arch.seq_len
    heads = arch.batch_size * arch.n_heads
    unwritten = fused * arch.seq_len * arch.seq_len
    d_qkv = (arch.n_heads + 2 * arch.n_kv_heads) * arch.d_head
    return (
        Matmul("qkv", True, 1, rows, arch.d_model, d_qkv),
        Matmul("scores", False, heads, arch.seq_len, arch.d_head, arch.seq_len, unwritten),
        Matmul("weighted_values", False, heads, arch.seq_len, arch.seq_len, arch.d_head, unwritten),
        Matmul("attention_output", True, 1, rows, arch.n_heads * arch.d_head, arch.d_model),
        Matmul("mlp_up", True, 1 + arch.gated_mlp, rows, arch.d_model, arch.d_ff),
        Matmul("mlp_down", True, 1, rows, arch.d_ff, arch.d_model),
    )


def logits_matmul(arch: Architecture) -> Matmul:
    """The matmul from the last hidden state to the logits; tied, its weight is the embedding."""
    rows = arch.batch_size * arch.seq_len
    return Matmul("logits", True, 1, rows, arch.d_model, arch.vocab_size)


def n_params_by_part(arch: Architecture) -> dict[str, Count]:
    """Parameters of each part: the matmuls' weights, the norms' gains, the embedding."""
    parts = {mm.part: arch.n_layers * mm.n_params for mm in layer_matmuls(arch) if mm.has_weights}
    parts["norms"] = (2 * arch.n_layers + 1) * arch.d_model
    parts["embedding"] = arch.vocab_size * arch.d_model
    parts["logits"] = (1 - 1 * arch.tied_embeddings) * logits_matmul(arch).n_params
    return parts


def total(parts: dict[str, Count]) -> Count:
    """The sum of parts; parts of one shape first, so that an open mesh stays small for longest."""
    by_shape: dict[tuple, Count] = {}
    for value in parts.values():
        by_shape[np.shape(value)] = by_shape.get(np.shape(value), 0) + value
    return sum(sorted(by_shape.values(), key=np.size))


def n_params(arch: Architecture) -> Count:
    """All parameters; a tied embedding counts once."""
    return total(n_params_by_part(arch))


def n_params_non_embedding(arch: Architecture) -> Count:
    """Parameters without the vocabulary matrices (Kaplan et al. 2020, arXiv:2001.08361)."""
    parts = n_params_by_part(arch)
    return total({part: parts[part] for part in parts if part not in ("embedding", "logits")})


def flops_by_part(
    arch: Architecture, *, remat: Count = False, fused: bool = False
) -> dict[str, Count]:
    """FLOPs of one optimizer step by part, forward and backward.

    Args:
        arch: the model or models.
        remat: what the backward pass runs a second time, a number of `REMATS`.
        fused: whether attention is one kernel that never writes its scores.

    Returns:
        FLOPs, a count (not FLOP/s).

    References:
        Hoffmann et al. 2022, Appendix F, arXiv:2203.15556.
    """
    return _by_part(arch, remat, fused, "flops")


def memcpys_by_part(
    arch: Architecture, *, remat: Count = False, fused: bool = False
) -> dict[str, Count]:
    """Elements that one optimizer step's matmuls read and write, by part; arguments as above.

    References:
        Inbar and Sernau 2024, arXiv:2406.18922.
    """
    return _by_part(arch, remat, fused, "memcpys")


def flops_per_step(arch: Architecture, *, remat: Count = False) -> Count:
    """FLOPs of one optimizer step, the sum of `flops_by_part`."""
    return total(flops_by_part(arch, remat=remat))


def memcpys_per_step(arch: Architecture, *, remat: Count = False) -> Count:
    """Elements read and written in one optimizer step, the sum of `memcpys_by_part`."""
    return total(memcpys_by_part(arch, remat=remat))


def _by_part(arch: Architecture, remat: Count, fused: bool, quantity: str) -> dict[str, Count]:
    passes = partial(flop_passes, fused=fused) if quantity == "flops" else matmul_passes
    parts = {
        mm.part: passes(mm.part, remat) * arch.n_layers * getattr(mm, quantity)
        for mm in layer_matmuls(arch, fused=fused)
    }
    parts["logits"] = PASSES * getattr(logits_matmul(arch), quantity)
    return parts
