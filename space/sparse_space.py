"""A space of models with experts: a dense one, and how many experts there may be."""

from __future__ import annotations

import dataclasses

from .architecture import Architecture
from .mesh import Axes
from .search_space import SearchSpace
from .sparse import FIELD, check_n_experts


@dataclasses.dataclass(frozen=True, kw_only=True)
class SparseSpace(SearchSpace):
    """Models with experts, and how many of them.

    Attributes:
        n_experts: allowed values, ascending, two or more.
    """

    n_experts: tuple[int, ...]

    def __post_init__(self) -> None:
        check_n_experts(self.n_experts)
        super().__post_init__()

    @property
    def dense(self) -> SearchSpace:
        """The same models with one MLP in each block, which every token meets."""
        names = [field.name for field in dataclasses.fields(SearchSpace)]
        return SearchSpace(**{name: getattr(self, name) for name in names})

    @property
    def free_coordinates(self) -> tuple[str, ...]:
        """The coordinates with anything to choose."""
        return (*super().free_coordinates, *[FIELD] * (len(self.n_experts) > 1))

    def bounds(self, arch: Architecture) -> list[str]:
        """As of a dense space, and the ends of the number of experts."""
        sentences = super().bounds(arch)
        ends = {self.n_experts[0]: "lower", self.n_experts[-1]: "upper"}
        if len(ends) > 1 and (n := arch.as_dict()[FIELD]) in ends:
            sentences.append(f"{FIELD} = {n} is the {ends[n]} end of its range")
        return sentences

    def _axes(self, d_model: int) -> Axes:
        return super()._axes(d_model) | {FIELD: list(self.n_experts)}
