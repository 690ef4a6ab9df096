"""What it costs that a TPU's arrays are tiles, which no axis of every model fills."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...space.decoder import Model, kinds_of
from .blocks import chunked_of
from .counts import layer_matmuls, summed
from .execution import Execution, Parts
from .passes import elementwise_passes

# Of a tile of a TPU's arrays of 4 bytes.
LANES, SUBLANES = 128, 8


def relaid_by_part(arch: Model, _: Execution) -> Parts:
    """Weights of blocks that a TPU keeps in one layout and multiplies in another.

    Blocks' weights are one array, (layers, k, n). Of an array's two innermost axes one is padded to
    128 and the other to 8, or to 1, 2 or 4 where it is no longer, and the compiler keeps an array
    in the layout of least padding. Where that has the layers within, such as of one layer with
    n = 2730, which is no multiple of 8, weights and their optimizer's state are copied to a layout
    to multiply in, and back, in every step. Of several layers this costs as much as of one:
    they are sliced apart and stacked again anyway, which `stacked` counts.

    References:
        Programs of v5e, libtpu 0.0.42: experiments/tiles, of which one is 3.1 times as long with an
        MLP of 2,730 as with 2,816.
    """
    relaid: Parts = {}
    for mm in layer_matmuls(arch):
        if mm.has_weights:
            n = mm.n_layers
            rows = 1 + (n > 1) + 2 * (n > 2) + 4 * (n > 4)
            lanes_k, lanes_n = _up(mm.k, LANES), _up(mm.n, LANES)
            apart = n * _least(_up(mm.k, SUBLANES) * lanes_n, lanes_k * _up(mm.n, SUBLANES))
            within = _up(n, rows) * _least(lanes_k * mm.n, lanes_n * mm.k)
            relaid[mm.part] = relaid.get(mm.part, 0) + 1 * (within < apart) * mm.n_params
    return relaid


def unaligned_by_part(arch: Model, execution: Execution) -> Parts:
    """Scores of sequences that end within a tile, which a TPU keeps in tiles of few sequences.

    Where a length is no multiple of 8 the compiler has sequences, not positions, along the 8 rows
    of a tile, for of these none is padding; and does elementwise work on rows that fewer sequences
    leave empty. Keys fill their 128 lanes as ever. A fused kernel has tiles of its own.

    References:
        Programs of v5e and v5p, libtpu 0.0.42; of several rules the one that holds on steps left
        out (`experiments/tiles/rules.csv`).
    """
    if execution.fused:
        return {}
    few = 1 * (arch.batch_size < SUBLANES) * elementwise_passes(execution)
    return summed(
        (mm.part, (mm.m % SUBLANES > 0) * few * mm.n_layers * mm.count * mm.m * _up(mm.n, LANES))
        for mm in layer_matmuls(arch)
        if mm.part == "scores"
    )


def chunked_by_part(arch: Model, execution: Execution) -> Parts:
    """Elements that a TPU lays out anew for a scan's chunks, whose rows are apart in its tiles.

    References:
        Programs of v5e, libtpu 0.0.42: experiments/blocks/tpu_blocks.py.
    """
    elements = sum(n * chunked_of(block, arch) for n, block in kinds_of(arch))
    rows = elementwise_passes(execution) * arch.batch_size * arch.seq_len
    return {"scan": rows * elements} if np.any(elements) else {}


def _least(a: Any, b: Any) -> Any:
    """The smaller of two, likewise."""
    return a * (a <= b) + b * (b < a)


def _up(size: Any, tile: Any) -> Any:
    """The next multiple of a tile."""
    return -(-size // tile) * tile
