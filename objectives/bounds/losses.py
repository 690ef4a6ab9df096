"""A loss that no model of a box reaches less than: what a search by bounds prunes with.

A box holds the models between two that differ in depth, MLP width, key heads and batch alone, the
first of which has the least of each and the last the most. Over a box

- parameters grow with all but the batch, and memory with all, so that the ends say which executions
  any model of it may be given (`passes`);
- a step takes at least as long as the first model's, and longer by what further parameters cost at
  least (`step_time`). Bounded apart, a box would have its last model's parameters in its
  first one's time; linked, many parameters are bought with few steps;
- the law's loss falls with parameters and tokens, and each of its terms says what it lies between.

The parameters from first to last are cut into pieces, each with its own most parameters and least
time; the lowest of the pieces bounds the box. Of experts those count that a token meets, as in the
law that knows them.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ...space.architecture import Architecture, altered
from ...space.sparse import FIELD, is_sparse
from ..cost.counts import n_active_params, n_params, n_params_non_embedding
from ..cost.execution import Execution
from ..cost.ways import splits
from ..fastest import CUT_OFF_BYTES
from ..law.least_loss import least_loss
from ..law.loss_law import LossLaw
from ..law.terms import TERMS
from ..loss_at_time import LossAtTime
from ..step_cost import step_memory_bytes, take
from .passes import fewest_passes
from .step_time import ROUNDING, least_time_s

# The fields in which the models of a box differ.
WITHIN_BOX = ("n_layers", "d_ff", "n_kv_heads", "batch_size")
N_PIECES = 8
# Likewise of steps, where a law has more loss with more of them.
N_STEP_RANGES = 6


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
    for families in objective.ways(batch_sizes, dense=not is_sparse(first)):
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
            n_passes = fewest_passes(objective, family[0], take(first, at), take(last, at))
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
                all_fit = step_memory_bytes(objective.device, last, family[0]) + CUT_OFF_BYTES
                settled |= split & (all_fit <= objective.device.room_bytes)
    bounded = bounds < np.inf
    bounds[bounded] -= ROUNDING * np.abs(bounds[bounded])
    return bounds


def _least_in(
    objective: LossAtTime, first: Architecture, last: Architecture, execution: Execution
) -> np.ndarray:
    """The bound of boxes whose models are all run in one way."""
    fewest, most = n_active_params(first), n_active_params(last)
    n_pieces = N_PIECES if np.any(most > fewest) else 1
    share = np.linspace(0, 1, n_pieces + 1)[:, None]
    edges = fewest + (most - fewest) * share
    edges[-1] = most
    more = edges[:-1] - fewest
    time_s = least_time_s(objective, first, last, execution, more)
    n_steps = np.floor(objective.time_budget_s / time_s)
    n_tokens = n_steps * last.tokens_per_step
    if np.any(last.batch_size > first.batch_size):
        # A step does not grow faster than its batch, so no batch has more tokens than the largest
        # would if it made parts of steps.
        n_parts = execution.n_split * execution.n_accumulation
        widest = altered(first, batch_size=-(-last.batch_size // n_parts) * n_parts)
        time_s = least_time_s(objective, widest, last, execution, more)
        n_tokens = np.minimum(
            n_tokens, objective.time_budget_s / time_s * widest.tokens_per_step * (1 + ROUNDING)
        )
    makes_a_step = n_steps >= 1
    n_steps = np.maximum(n_steps, 1)
    n_tokens = np.where(makes_a_step, n_tokens, first.tokens_per_step)
    vocabulary = n_params(first) - n_params_non_embedding(first)
    losses: Any = np.inf
    # Bounded apart, a term that grows with steps would have few in the tokens of many.
    n_ranges = N_STEP_RANGES if _grows_with_steps(objective.law) else 1
    for i in range(n_ranges):
        few, many = (n_steps ** ((i + end) / n_ranges) for end in (0, 1))
        greatest = _columns(last, edges[1:], vocabulary, many)
        most_counted = edges[1:] if objective.law.experts else greatest[objective.law.n_column]
        tokens = np.minimum(n_tokens, many * (1 + ROUNDING) * last.tokens_per_step)
        least = _columns(first, edges[:-1], vocabulary, few)
        # A text is worth most to the smallest model.
        tokens = objective.effective_tokens(
            tokens, first.tokens_per_step, least["n_params"], most_per_step=last.tokens_per_step
        )
        of_range = least_loss(objective.law, most_counted, tokens, least, greatest)
        losses = np.minimum(losses, of_range)
    return np.min(np.where(makes_a_step, losses, np.inf), axis=0)


def _grows_with_steps(law: LossLaw) -> bool:
    return any(c < 0 and "n_steps" in TERMS[name].needs for name, c in law.terms.items())


def _columns(arch: Architecture, n: Any, vocabulary: Any, n_steps: Any) -> dict[str, Any]:
    """What terms read of models with `n` parameters; of ones with experts they count all."""
    with_experts = {FIELD: arch.as_dict()[FIELD]} if is_sparse(arch) else {}
    if with_experts:
        n = n_params(arch)
    return with_experts | {
        "d_model": arch.d_model,
        "n_layers": arch.n_layers,
        "n_steps": n_steps,
        "n_params": n,
        "n_params_non_embedding": n - vocabulary,
    }
