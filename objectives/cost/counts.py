"""Parameters, memory copies and FLOPs of an architecture, all from one list of matmuls.

Not counted: norms, softmax, rotary positions, the residual additions and the embedding lookup
(together under 1% of the FLOPs for d_model >= 256), and the optimizer's own traffic.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Iterable

from ...space.decoder import Model, kinds_of
from .blocks import parts_of
from .blocks.matmul import Matmul
from .execution import PLAIN, Count, Execution, Parts, by_choice
from .passes import PASSES, flop_passes, matmul_passes


def layer_matmuls(arch: Model, execution: Execution = PLAIN) -> list[Matmul]:
    """The matmuls in the forward pass of each kind of block, each with how many blocks have it.

    Query, key and value are one matmul and so are up and gate where the paper has them so: the
    former counts its input once, a gate counts as a second up-projection. Fused attention never
    writes its scores.
    """
    return [
        matmul._replace(n_layers=n)
        for n, block in kinds_of(arch)
        for kind, part in parts_of(block)
        for matmul in kind.matmuls(part, arch, execution)
    ]


def summed(units: Iterable[tuple[str, Count]]) -> Parts:
    """Units by part, of which several may have the same."""
    parts: Parts = {}
    for part, n in units:
        parts[part] = parts[part] + n if part in parts else n
    return parts


def logits_matmul(arch: Model) -> Matmul:
    """The matmul from the last hidden state to the logits; tied, its weight is the embedding."""
    rows = arch.batch_size * arch.seq_len
    return Matmul("logits", True, 1, rows, arch.d_model, arch.vocab_size)


def n_params_by_part(arch: Model, *, active: bool = False) -> Parts:
    """Parameters of each part: the matmuls' weights, the norms' gains, the embedding.

    Args:
        arch: the model or models.
        active: of routed experts only those that one token meets.
    """
    matmuls = [mm for mm in layer_matmuls(arch) if mm.has_weights]
    parts = summed((mm.part, mm.n_layers * (mm.n_active if active else mm.n_params))
                   for mm in matmuls)  # fmt: skip
    n_norms = sum(n * len(parts_of(block)) for n, block in kinds_of(arch)) + 1
    parts["norms"] = n_norms * arch.d_model
    for n, block in kinds_of(arch):
        for kind, part in parts_of(block):
            more = kind.other_params(part, arch)
            parts = summed([*parts.items(), *((name, n * each) for name, each in more.items())])
    parts["embedding"] = arch.vocab_size * arch.d_model
    parts["logits"] = (1 - 1 * arch.tied_embeddings) * logits_matmul(arch).n_params
    return parts


def total(parts: Parts) -> Count:
    """The sum of parts in their order, so that a model's is the same in an array of any shape."""
    return functools.reduce(operator.add, parts.values()) if parts else 0


def n_params(arch: Model) -> Count:
    """All parameters; a tied embedding counts once.

    Examples:
        One block of width 4: 4 * 12 for query, key and value, 4 * 4 for their output, 2 * 4 * 16 in
        the MLP, three norms of 4, and an embedding of 10 tokens: 48 + 16 + 128 + 12 + 40.

        >>> shape = {"d_model": 4, "n_layers": 1, "vocab_size": 10}
        >>> n_params(Architecture.from_shape(**shape))
        244
        >>> n_params(Architecture.from_shape(**shape, tied_embeddings=False))
        284
    """
    return total(n_params_by_part(arch))


def n_active_params(arch: Model) -> Count:
    """Those that one token meets: of routed experts only those that it is given."""
    return total(n_params_by_part(arch, active=True))


def n_params_non_embedding(arch: Model) -> Count:
    """Parameters without the vocabulary matrices (Kaplan et al. 2020, arXiv:2001.08361).

    Examples:
        The 244 of `n_params` without the embedding's 40.

        >>> n_params_non_embedding(Architecture.from_shape(d_model=4, n_layers=1, vocab_size=10))
        204
    """
    parts = n_params_by_part(arch)
    return total({part: parts[part] for part in parts if part not in ("embedding", "logits")})


def flops_by_part(arch: Model, execution: Execution = PLAIN) -> Parts:
    """FLOPs of one forward and backward pass by part.

    Examples:
        Two sequences of three tokens, width 4, one head: each matmul 2mkn and its backward pass
        twice that. The MLP goes up with 2 * 6 * 4 * 16, scores are 2 * 3 * 4 * 3 for each sequence.

        >>> shape = {"d_model": 4, "n_layers": 1, "vocab_size": 10, "seq_len": 3, "batch_size": 2}
        >>> flops = flops_by_part(Architecture.from_shape(**shape))
        >>> flops["mlp_up"]
        2304
        >>> flops["scores"]
        432

    Args:
        arch: the model or models, with the batch of the pass.
        execution: how it is run.

    Returns:
        FLOPs, a count (not FLOP/s).

    References:
        Hoffmann et al. 2022, Appendix F, arXiv:2203.15556.
    """

    def parts(one: Execution) -> Parts:
        blocks = summed(
            (mm.part, flop_passes(mm.part, one) * mm.n_layers * mm.flops)
            for mm in layer_matmuls(arch, one)
        )
        return blocks | {"logits": PASSES * logits_matmul(arch).flops}

    return by_choice(execution, parts)


def memcpys_by_part(arch: Model, execution: Execution = PLAIN) -> Parts:
    """Elements that one pass's matmuls read and write, by part; arguments as of `flops_by_part`.

    References:
        Inbar and Sernau 2024, arXiv:2406.18922.
    """

    def parts(one: Execution) -> Parts:
        blocks = summed(
            (mm.part, matmul_passes(mm.part, one) * mm.n_layers * mm.memcpys)
            for mm in layer_matmuls(arch, one)
        )
        return blocks | {"logits": PASSES * logits_matmul(arch).memcpys}

    return by_choice(execution, parts)


def flops_per_step(arch: Model, execution: Execution = PLAIN) -> Count:
    """FLOPs that one chip does in one optimizer step, all its passes together.

    Args:
        arch: the model or models, with the batch of the step.
        execution: how it is run; left out, one chip does all of it in one pass.
    """
    part = execution.part(arch)
    return execution.n_accumulation * total(flops_by_part(part, execution))


def memcpys_per_step(arch: Model, execution: Execution = PLAIN) -> Count:
    """Elements that one chip's matmuls read and write in one step; as `flops_per_step`."""
    part = execution.part(arch)
    return execution.n_accumulation * total(memcpys_by_part(part, execution))
