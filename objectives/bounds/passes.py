"""The fewest passes of a step that any model of a box may be given."""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np

from ...space.architecture import Architecture, altered
from ..cost.execution import Execution
from ..fastest import CUT_OFF_BYTES
from ..loss_at_time import LossAtTime
from ..step_cost import step_memory_bytes, take

# Batches of up to so many sequences a chip are bounded by the passes that divide them.
MOST_SEQUENCES = 4096


def fewest_passes(
    objective: LossAtTime, way: Execution, first: Architecture, last: Architecture
) -> np.ndarray:
    """Passes that no model of a box has less of in one way of running steps; 0: none fits.

    Memory and time grow with the sequences of a pass, and time with passes. So of the most
    sequences with which the first model fits come the fewest passes; where batches differ, as if
    they split each of them, for one that is a multiple is seldom far.
    """
    n_sequences = (first.batch_size // way.n_split).astype(int)
    one_batch = first.batch_size == last.batch_size

    def excess(in_a_pass: np.ndarray, passes: int, arch: Architecture = first) -> np.ndarray:
        """Bytes that are not there; positive where a pass of so many sequences does not fit."""
        batch = altered(arch, batch_size=in_a_pass * way.n_split * passes)
        needed = step_memory_bytes(objective.device, batch, way.in_passes(passes))
        return needed - CUT_OFF_BYTES - objective.device.room_bytes

    pinned = objective.micro_batch_size
    if pinned is not None:
        passes = -(-n_sequences // pinned)
        splits = ~one_batch | (n_sequences % pinned == 0)
        fits = excess(np.full_like(n_sequences, pinned), 1) <= 0
        return np.where(splits & fits, passes, 0)
    in_one = excess(n_sequences, 1) <= 0
    most = np.ones_like(n_sequences)
    if len(at := np.flatnonzero(~in_one)):
        # Two passes of a batch one more than an odd first one have over half of the first's.
        end = -(-n_sequences[at] // 2)
        most[at] = _most_that_fit(lambda n, i: excess(n, 2, take(first, at[i])), end)
    passes = -(-n_sequences // np.maximum(most, 1))
    if (largest := int(n_sequences.max())) <= MOST_SEQUENCES:
        passes = np.where(one_batch, _next_divisor(largest)[n_sequences, passes], passes)
    return np.where(in_one, 1, passes * (most > 0)) * (n_sequences > 0)


def _most_that_fit(excess: Callable[..., np.ndarray], end: np.ndarray) -> np.ndarray:
    """Of each box the most sequences of a pass, up to `end`, with which no bytes are in excess.

    They are about straight in the sequences: the line through both ends meets 0 near where they do,
    so that most boxes are done after a look there and beside it; the others are halved.
    """
    most, too_many, at = np.zeros_like(end), end + 1, np.arange(len(end))
    least, greatest = (excess(n, at) for n in (np.ones_like(end), end))
    guess = 1 - least / np.maximum(greatest - least, 1) * (end - 1)
    guess = np.clip(guess, 0, end).astype(int)
    n_looks = 0
    while len(at):
        middle = guess[at] + n_looks if n_looks < 2 else (most[at] + too_many[at]) // 2
        middle = np.clip(middle, most[at] + 1, too_many[at] - 1)
        fits = excess(middle, at) <= 0
        most[at[fits]], too_many[at[~fits]] = middle[fits], middle[~fits]
        at = at[too_many[at] - most[at] > 1]
        n_looks += 1
    return most


@functools.lru_cache(maxsize=4)
def _next_divisor(largest: int) -> np.ndarray:
    """Of each number up to the largest and each lower one, the least divisor that is no less."""
    numbers = np.arange(largest + 1)
    table = np.zeros((largest + 1, largest + 2), dtype=np.int16)
    for divisor in range(largest, 0, -1):
        divides = (numbers % divisor == 0) & (numbers > 0)
        table[:, divisor] = np.where(divides, divisor, table[:, divisor + 1])
    return table
