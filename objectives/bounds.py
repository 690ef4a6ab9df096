"""A loss that no model of a box reaches less than: what a search by bounds prunes with.

A box holds the models between two that differ in depth, MLP width, key heads and batch alone, the
first of which has the least of each and the last the most. Over a box

- parameters grow with all but the batch, and memory with all, so that the ends say which executions
  any model of it may be given;
- a step takes at least as long as the first model's, and longer by what further parameters cost at
  least (`OverABox`). Bounded apart, a box would have its last model's parameters in its
  first one's time; linked, many parameters are bought with few steps;
- the law's loss falls with parameters and tokens, and each of its terms says what it lies between.

The parameters from first to last are cut into pieces, each with its own most parameters and least
time; the lowest of the pieces bounds the box.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from ..space.architecture import Architecture, altered
from .cost.counts import n_params, n_params_by_part, n_params_non_embedding, total
from .cost.execution import Execution, Parts
from .cost.features import FEATURES, OverABox
from .cost.passes import MLP, OF_A_LAYER, OF_KEY_HEADS
from .cost.ways import splits
from .fastest import CUT_OFF_BYTES
from .law.least_loss import least_loss
from .law.loss_law import LossLaw
from .law.terms import TERMS
from .loss_at_time import LossAtTime
from .step_cost import step_memory_bytes, take, with_communication

# The fields in which the models of a box differ.
WITHIN_BOX = ("n_layers", "d_ff", "n_kv_heads", "batch_size")
N_PIECES = 8
# Likewise of steps, where a law has more loss with more of them.
N_STEP_RANGES = 6
# What sums and powers may lose to rounding, many times over.
ROUNDING = 1e-9
# Batches of up to so many sequences a chip are bounded by the passes that divide them.
MOST_SEQUENCES = 4096


def least_losses(
    objective: LossAtTime, first: Architecture, last: Architecture, batch_sizes: np.ndarray
) -> np.ndarray:
    """A loss for each box that none of its feasible models is below; infinite: it has none.

    Args:
        objective: under which.
        first: the least model of each box, its fields arrays of one length.
        last: the greatest.
        batch_sizes: all that there are, ascending.
    """
    bounds = np.full(np.shape(first.n_layers), np.inf)
    for families in objective.ways(batch_sizes):
        # Of a box whose least model is beyond the law's reach none is within it.
        settled = ~np.broadcast_to(objective.reaches(first), len(bounds))
        # With more run again, only fewer passes may be faster.
        fewest = np.full(len(bounds), np.inf)
        for family in families:
            if not len(at := np.flatnonzero(~settled)):
                break
            if family[0].pipeline_parallel > 1:
                # Fuller with more passes, which may fit where fewer do: as if in one, and full.
                settled[at] = True
                bounds[at] = np.minimum(
                    bounds[at],
                    _least_in(objective, take(first, at), take(last, at), family[0].in_passes(1)),
                )
                continue
            n_passes = _fewest_passes(objective, family[0], take(first, at), take(last, at))
            tried = (n_passes > 0) & (n_passes < fewest[at])
            at, n_passes = at[tried], n_passes[tried]
            if len(at):
                fewest[at] = n_passes
                way = family[0].in_passes(n_passes)
                ends = take(first, at), take(last, at)
                bounds[at] = np.minimum(bounds[at], _least_in(objective, *ends, way))
            if family[0].n_accumulation == 1:
                # Of models that all fit in one pass, none is run with more run again.
                split = splits(last.batch_size, family[0], objective.micro_batch_size)
                all_fit = _bytes(objective, last, family[0]) + CUT_OFF_BYTES
                settled |= split & (all_fit <= objective.device.room_bytes)
    bounded = bounds < np.inf
    bounds[bounded] -= ROUNDING * np.abs(bounds[bounded])
    return bounds


def _fewest_passes(
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
        needed = _bytes(objective, batch, way.in_passes(passes))
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


def _bytes(objective: LossAtTime, arch: Architecture, way: Execution) -> np.ndarray:
    return step_memory_bytes(objective.device, arch, way)


def _least_in(
    objective: LossAtTime, first: Architecture, last: Architecture, execution: Execution
) -> np.ndarray:
    """The bound of boxes whose models are all run in one way."""
    fewest, most = n_params(first), n_params(last)
    n_pieces = N_PIECES if np.any(most > fewest) else 1
    share = np.linspace(0, 1, n_pieces + 1)[:, None]
    edges = fewest + (most - fewest) * share
    edges[-1] = most
    more = edges[:-1] - fewest
    time_s = _least_time_s(objective, first, last, execution, more)
    n_steps = np.floor(objective.time_budget_s / time_s)
    n_tokens = n_steps * last.tokens_per_step
    if np.any(last.batch_size > first.batch_size):
        # A step does not grow faster than its batch, so no batch has more tokens than the largest
        # would if it made parts of steps.
        n_parts = execution.n_split * execution.n_accumulation
        widest = altered(first, batch_size=-(-last.batch_size // n_parts) * n_parts)
        time_s = _least_time_s(objective, widest, last, execution, more)
        n_tokens = np.minimum(
            n_tokens, objective.time_budget_s / time_s * widest.tokens_per_step * (1 + ROUNDING)
        )
    makes_a_step = n_steps >= 1
    n_steps = np.maximum(n_steps, 1)
    n_tokens = np.where(makes_a_step, n_tokens, first.tokens_per_step)
    vocabulary = fewest - n_params_non_embedding(first)
    losses: Any = np.inf
    # Bounded apart, a term that grows with steps would have few in the tokens of many.
    n_ranges = N_STEP_RANGES if _grows_with_steps(objective.law) else 1
    for i in range(n_ranges):
        few, many = (n_steps ** ((i + end) / n_ranges) for end in (0, 1))
        greatest = _columns(last, edges[1:], vocabulary, many)
        tokens = np.minimum(n_tokens, many * (1 + ROUNDING) * last.tokens_per_step)
        of_range = least_loss(
            objective.law,
            greatest[objective.law.n_column],
            objective.effective_tokens(tokens, first.tokens_per_step, last.tokens_per_step),
            _columns(first, edges[:-1], vocabulary, few),
            greatest,
        )
        losses = np.minimum(losses, of_range)
    return np.min(np.where(makes_a_step, losses, np.inf), axis=0)


def _grows_with_steps(law: LossLaw) -> bool:
    return any(c < 0 and "n_steps" in TERMS[name].needs for name, c in law.terms.items())


def _columns(arch: Architecture, n: Any, vocabulary: Any, n_steps: Any) -> dict[str, Any]:
    """What terms read of models with `n` parameters."""
    return {
        "d_model": arch.d_model,
        "n_layers": arch.n_layers,
        "n_steps": n_steps,
        "n_params": n,
        "n_params_non_embedding": n - vocabulary,
    }


def _least_time_s(
    objective: LossAtTime,
    first: Architecture,
    last: Architecture,
    execution: Execution,
    more_params: np.ndarray,
) -> np.ndarray:
    """Seconds of a step that has so many more parameters than the first model's, at least."""
    device = objective.device
    seconds = functools.partial(_seconds_by_part, objective, execution)
    certain = (over_a_box for over_a_box in OverABox if over_a_box != OverABox.NOTHING)
    of = {over_a_box: seconds(first, over_a_box) for over_a_box in certain}
    per_param = least_per_param(
        first, last, of[OverABox.PER_LAYER], seconds(widened(first), OverABox.PER_LAYER)
    ) + total(of[OverABox.PER_PARAM]) / n_params(first)
    may_fall = total(that_may_fall(of[OverABox.UNSTEADY], first, last))
    if execution.pipeline_parallel > 1:
        # A layer more may make no stage longer.
        more_params = 0 * more_params
    compute = sum(map(total, of.values())) * (1 - ROUNDING) - may_fall + more_params * per_param
    least_s = with_communication(device, compute, first, execution) * (1 - ROUNDING)
    return least_s * execution.share_full


def that_may_fall(parts: Parts, first: Architecture, last: Architecture) -> Parts:
    """What other models of a box may not have of an unsteady quantity of its first one."""
    widens: Parts = dict.fromkeys(MLP, first.d_ff < last.d_ff)
    widens |= dict.fromkeys(OF_KEY_HEADS, first.n_kv_heads < last.n_kv_heads)
    return {part: parts[part] * widens[part] for part in parts.keys() & widens}


def widened(arch: Architecture) -> Architecture:
    """Models with one more of what makes a layer wider, which rules may not allow."""
    return altered(arch, d_ff=arch.d_ff + 1, n_kv_heads=arch.n_kv_heads + 1)


def least_per_param(first: Architecture, last: Architecture, parts: Parts, wider: Parts) -> Any:
    """What each further parameter adds at least to a quantity that is so much a layer.

    Quantity and parameters are a constant and the depth times so much a layer, which grows with the
    MLP's width and with key heads, each in parts of its own. From the first model to any other, let
    the MLP widen, key heads grow, and then the depth: each adds at least as much per parameter as
    at the first model, as the ratio of two sums is no less than the least ratio of their parts.

    Args:
        first: the least model of each box.
        last: the greatest.
        parts: of the quantity, of the first models.
        wider: of `widened` ones.
    """
    counts, wider_counts = n_params_by_part(first), n_params_by_part(widened(first))
    pairs = (parts, wider), (counts, wider_counts)
    added = {"n_layers": [_of(one, OF_A_LAYER) for one, _ in pairs]}
    for name, chosen in (("d_ff", MLP), ("n_kv_heads", OF_KEY_HEADS)):
        added[name] = [_of(more, chosen) - _of(one, chosen) for one, more in pairs]
    ratio: Any = np.inf
    for name, (units, params) in added.items():
        grows = getattr(first, name) < getattr(last, name)
        ratio = np.where(grows, np.minimum(ratio, units / params), ratio)
    return np.where(ratio < np.inf, np.maximum(ratio * (1 - 1e-6), 0), 0)


def _of(parts: Parts, chosen: tuple[str, ...]) -> Any:
    return total({part: parts[part] for part in chosen if part in parts})


def _seconds_by_part(
    objective: LossAtTime, execution: Execution, arch: Architecture, over_a_box: OverABox
) -> Parts:
    """Seconds of the features of which so much is certain."""
    model = objective.device.step_time_model
    features = [name for name in FEATURES if FEATURES[name].over_a_box == over_a_box]
    return model.step_time_by_part(arch, execution, kind=objective.device.kind, features=features)
