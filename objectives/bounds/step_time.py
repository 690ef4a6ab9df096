"""The least time of a step of a box, by how many parameters more it has than the first model's."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from ...space.architecture import Architecture, altered
from ...space.sparse import is_sparse
from ..cost.counts import n_params, n_params_by_part, total
from ..cost.execution import Execution, Parts
from ..cost.features import FEATURES, OverABox
from ..cost.passes import MLP, OF_A_LAYER, OF_KEY_HEADS
from ..loss_at_time import LossAtTime
from ..step_cost import with_communication

# What sums and powers may lose to rounding, many times over.
ROUNDING = 1e-9


def least_time_s(
    objective: LossAtTime,
    first: Architecture,
    last: Architecture,
    execution: Execution,
    more_params: np.ndarray,
) -> np.ndarray:
    """Seconds at least of a step of which a token meets so many more parameters than at first."""
    device = objective.device
    seconds = functools.partial(_seconds_by_part, objective, execution)
    certain = (over_a_box for over_a_box in OverABox if over_a_box != OverABox.NOTHING)
    of = {over_a_box: seconds(first, over_a_box) for over_a_box in certain}
    per_param = least_per_param(
        first, last, of[OverABox.PER_LAYER], seconds(widened(first), OverABox.PER_LAYER)
    ) + total(of[OverABox.PER_PARAM]) / n_params(first) * least_per_active(first, last)
    may_fall = total(that_may_fall(of[OverABox.UNSTEADY], first, last))
    if execution.pipeline_parallel > 1:
        # A layer more may make no stage longer.
        more_params = 0 * more_params
    compute = sum(map(total, of.values())) * (1 - ROUNDING) - may_fall + more_params * per_param
    least_s = with_communication(device, compute, first, execution) * (1 - ROUNDING)
    return least_s * execution.share_full


def least_per_active(first: Architecture, last: Architecture) -> Any:
    """Parameters that come at least with one more that a token meets."""
    if not is_sparse(first):
        return 1
    return least_per_param(first, last, n_params_by_part(first), n_params_by_part(widened(first)))


def that_may_fall(parts: Parts, first: Architecture, last: Architecture) -> Parts:
    """What other models of a box may not have of an unsteady quantity of its first one."""
    widens: Parts = dict.fromkeys(MLP, first.d_ff < last.d_ff)
    widens |= dict.fromkeys(OF_KEY_HEADS, first.n_kv_heads < last.n_kv_heads)
    return {part: parts[part] * widens[part] for part in parts.keys() & widens}


def widened(arch: Architecture) -> Architecture:
    """Models with one more of what makes a layer wider, which rules may not allow."""
    return altered(arch, d_ff=arch.d_ff + 1, n_kv_heads=arch.n_kv_heads + 1)


def least_per_param(first: Architecture, last: Architecture, parts: Parts, wider: Parts) -> Any:
    """What each further parameter that a token meets adds at least to what is so much a layer.

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
    counts, wider_counts = (n_params_by_part(one, active=True) for one in (first, widened(first)))
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
