"""A dense feed-forward, plain or gated."""

from __future__ import annotations

from typing import Any

from ....space.blocks import Mlp
from ..execution import Execution, Parts, Remat
from .matmul import Matmul, weighted

# What the backward pass of a loop over layers reads of the nonlinearity, it reads from stacks, one
# for each of six intermediates, gated or not.
LOOP_HIDDEN = 6


def matmuls(mlp: Mlp, arch: Any, execution: Execution) -> list[Matmul]:
    """Up and down; a gate counts as a second up-projection."""
    return weighted(mlp, arch)


def other_params(mlp: Mlp, arch: Any) -> Parts:
    """Nothing but its matmuls has parameters."""
    return {}


def elementwise(mlp: Mlp, arch: Any) -> Parts:
    """Elements of a row that the nonlinearity reads and writes."""
    return {"mlp_up": mlp.d_ff * (2 + mlp.gated)}


def kept(mlp: Mlp, arch: Any, size: int, execution: Execution, padded_head: int) -> Parts:
    """Bytes of a row that wait for the backward pass: what its first matrices put out."""
    if execution.scan_layers and execution.remat == Remat.NONE:
        return {"mlp": size * LOOP_HIDDEN * mlp.d_ff}
    return {"mlp": size * (mlp.d_ff * (1 + mlp.gated))}
