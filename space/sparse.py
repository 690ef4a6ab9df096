"""Models whose feed-forward is several experts, one model or a whole array of them, and spaces.

They are dense ones in all else: `d_ff` is an expert's width. A token meets `N_PER_TOKEN` of them,
as in the runs of the one law that knows experts.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from .architecture import FIELDS, Architecture, Count
from .limits import MOST_OF_FIELD

FIELD = "n_experts"
N_PER_TOKEN = 1


@dataclasses.dataclass(frozen=True, kw_only=True)
class SparseArchitecture(Architecture):
    """One decoder with experts in each block, or a whole array of them.

    Attributes:
        n_experts: MLPs of each block, of which a router gives each token `N_PER_TOKEN`.
    """

    n_experts: Count

    def as_dict(self) -> dict[str, Any]:
        """The fields by name."""
        return super().as_dict() | {FIELD: self.n_experts}


def is_sparse(arch: Any) -> bool:
    """Whether it is a model with experts, or a space of them."""
    return hasattr(arch, FIELD)


def model_of(fields: dict[str, Any]) -> Architecture:
    """The model of some fields, which has experts where they say how many."""
    return SparseArchitecture(**fields) if FIELD in fields else Architecture(**fields)


def names_of(arch: Architecture) -> tuple[str, ...]:
    """The fields of a model."""
    return (*FIELDS, FIELD) if is_sparse(arch) else FIELDS


def check_n_experts(values: tuple[int, ...]) -> None:
    """Raise ValueError unless they are numbers of experts, two or more, ascending."""
    if not values or list(values) != sorted(set(values)):
        raise ValueError(f"space: `{FIELD}` must be ascending values, but is not")
    if not 2 <= values[0] <= values[-1] <= MOST_OF_FIELD:
        raise ValueError(
            f"space: `{FIELD}` must be from 2 to {MOST_OF_FIELD:,}, but got {values[0]}; leave it "
            "out for dense models"
        )
