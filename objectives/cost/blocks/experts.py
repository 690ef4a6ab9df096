"""Experts: a router, grouped matmuls over the tokens of each expert, and what all tokens meet."""

from __future__ import annotations

from typing import Any

from ....space.blocks import Experts
from ..execution import Execution, Parts, Remat
from .attention import WIDE_BYTES
from .matmul import Matmul, weighted


def matmuls(experts: Experts, arch: Any, execution: Execution) -> list[Matmul]:
    """Grouped: each expert's are over its own rows."""
    return weighted(experts, arch)


def other_params(experts: Experts, arch: Any) -> Parts:
    """Nothing but its matmuls has parameters."""
    return {}


def elementwise(experts: Experts, arch: Any) -> Parts:
    """Elements of a row: dispatch and return of its copies, and the nonlinearity of each."""
    met = experts.n_per_token
    found = {
        "router": 3 * experts.n_experts,
        "dispatch": (3 * met + 1) * arch.d_model,
        "experts_up": met * experts.d_expert * (2 + experts.gated),
    }
    if experts.d_shared:
        found["shared_up"] = experts.d_shared * (2 + experts.gated)
    return found


def kept(experts: Experts, arch: Any, size: int, execution: Execution, padded_head: int) -> Parts:
    """Bytes of a row: the router's scores, its copies in expert order, what both matrices put out.

    Whatever is put out is weighed by the router, so it waits for the weights' gradient.
    """
    met, up = experts.n_per_token, 1 + experts.gated
    hidden = up * (met * experts.d_expert + experts.d_shared)
    put_out = met * arch.d_model
    if execution.remat == Remat.DOTS:
        return {"experts": size * (hidden + put_out) + WIDE_BYTES * experts.n_experts}
    return {"experts": size * (hidden + 2 * put_out) + WIDE_BYTES * experts.n_experts}
