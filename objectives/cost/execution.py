"""How an optimizer step is run: what changes its time and its memory, and not its result.

A choice is a name to people (options, files, tables) and a small whole number to arithmetic, so
that an array of models can have an array of executions, as `Architecture` is one model or many.
"""

from __future__ import annotations

import copy
import dataclasses
import enum
import functools
import operator
from collections.abc import Callable
from typing import Any, Self

import numpy as np

from ...space.architecture import Architecture, altered

Count = Any
Parts = dict[str, Any]


class Choice(int, enum.Enum):
    """One of a few ways, whose name in lower case is what people call it."""

    @classmethod
    def of(cls, value: Any) -> Self:
        """The choice of a name or a number.

        Raises:
            ValueError: there is no such choice.
        """
        for choice in cls:
            if value in (str(choice), choice) and not isinstance(value, bool):
                return choice
        *names, last = map(str, cls)
        raise ValueError(
            f"`{cls.__name__.lower()}` must be {', '.join(names)} or {last}, but got {value!r}"
        )

    def __str__(self) -> str:
        return self.name.lower()


class Attention(Choice):
    """Matmuls that write their scores to memory, or one kernel that does not."""

    PLAIN = 0
    FUSED = 1


class Remat(Choice):
    """What the backward pass runs a second time; the later, the less memory and the more time.

    Nothing; all of a block but its matmuls with weights ("dots" keeps what those put out); or the
    whole block.
    """

    NONE = 0
    DOTS = 1
    LAYER = 2


class Sharding(Choice):
    """What chips that split the batch hold: each the whole state, or its share of it.

    `OPTIMIZER`: its share of master weights and moments, and all of weights and gradients (ZeRO-1,
    or a distributed optimizer).
    """

    DATA = 0
    FULL = 1
    OPTIMIZER = 2

    @property
    def phrase(self) -> str:
        """What it is called in a sentence."""
        return ("data parallel", "fully sharded", "optimizer sharded")[self]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Execution:
    """How a step is run; every field is a scalar (one step) or an array, as of `Architecture`.

    Attributes:
        attention: see `Attention`; this and the other choices may be given by name.
        remat: see `Remat`.
        n_accumulation: passes over which a step adds up its gradient, one micro-batch in each.
        sharding: see `Sharding`.
        n_replicas: of a fully sharded state; each has a part of the chips that split the batch, and
            they reduce its gradient once a step (hybrid sharding).
        n_chips: that train one model.
        tensor_parallel: chips among which each layer is split, neighbours on a host.
        pipeline_parallel: stages, each of which has a part of the layers.
        virtual_stages: pieces into which a stage's layers are cut, which take turns: the pipeline
            fills and empties in so many times less time (interleaving).
        scan_layers: whether the layers are a loop, which compiles faster and runs slower.

    Raises:
        ValueError: there is no such choice, a count is not a positive whole number,
            `tensor_parallel` times `pipeline_parallel` does not divide the chips, or `n_replicas`
            not those that split the batch.
    """

    attention: Any = Attention.PLAIN
    remat: Any = Remat.NONE
    n_accumulation: Count = 1
    sharding: Any = Sharding.DATA
    n_replicas: Count = 1
    n_chips: Count = 1
    tensor_parallel: Count = 1
    pipeline_parallel: Count = 1
    virtual_stages: Count = 1
    scan_layers: Any = False

    def __post_init__(self) -> None:
        for name, kind in KINDS.items():
            if np.ndim(value := getattr(self, name)) == 0:
                object.__setattr__(self, name, kind.of(value))
        for name in COUNTS:
            if type(value := getattr(self, name)) is int and value >= 1:
                continue
            value = np.asarray(value)
            if value.dtype.kind not in "iuf" or not np.all((value >= 1) & (value % 1 == 0)):
                raise ValueError(
                    f"`{name}` must be a whole number >= 1, but got {getattr(self, name)!r}"
                )
        if np.any(self.n_chips % (self.tensor_parallel * self.pipeline_parallel)):
            raise ValueError(
                "`tensor_parallel` * `pipeline_parallel` must divide `n_chips`, but got "
                f"{self.tensor_parallel}, {self.pipeline_parallel} and {self.n_chips}"
            )
        if np.any(self.n_split % self.n_replicas):
            raise ValueError(
                f"`n_replicas` must divide the {self.n_split} chips that split the batch, but got "
                f"{self.n_replicas}"
            )

    @classmethod
    def of_values(cls, *values: Any) -> Self:
        """Of the values of `FIELDS`."""
        return cls(**dict(zip(FIELDS, values, strict=True)))

    @property
    def fused(self) -> Any:
        """Whether attention is one kernel that never writes its scores."""
        return self.attention == Attention.FUSED

    @property
    def fully_sharded(self) -> Any:
        """Whether chips that split the batch share the state."""
        return self.sharding == Sharding.FULL

    @property
    def n_split(self) -> Count:
        """Chips that split the batch."""
        return self.n_chips // (self.tensor_parallel * self.pipeline_parallel)

    @property
    def n_shares(self) -> Count:
        """Chips among which weights, gradients and moments are split."""
        return 1 + (self.n_split // self.n_replicas - 1) * self.fully_sharded

    @property
    def n_optimizer_shares(self) -> Count:
        """Chips among which master weights and moments are split, each of which updates its own."""
        return self.n_shares * (1 + (self.n_split - 1) * (self.sharding == Sharding.OPTIMIZER))

    @property
    def n_copies(self) -> Count:
        """Of the whole state among all chips, which reduce its gradient."""
        return self.n_split // self.n_shares

    @property
    def n_in_flight(self) -> Count:
        """Passes whose activations the first stage of a pipeline keeps at a time."""
        more = -(-(self.pipeline_parallel - 1) // self.virtual_stages) * (self.virtual_stages > 1)
        return np.minimum(self.n_accumulation, self.pipeline_parallel + more)

    @property
    def n_passes(self) -> Count:
        """Passes that the last stage waits for and runs: a pipeline fills before it runs full.

        Where there are fewer passes than stages, a stage's next piece waits for the first of them.
        """
        waits = self.pipeline_parallel - 1
        if not np.any(self.virtual_stages > 1):
            return self.n_accumulation + waits
        each_piece = np.maximum(self.n_accumulation, self.pipeline_parallel)
        pieces = (self.virtual_stages - 1) * each_piece + self.n_accumulation + waits
        return pieces / self.virtual_stages

    @property
    def share_full(self) -> Count:
        """The share of a step in which its pipeline is full."""
        return self.n_accumulation / self.n_passes

    def in_passes(self, n_accumulation: Count) -> Self:
        """The same in other passes, which are taken to be right."""
        other = copy.copy(self)
        vars(other)["n_accumulation"] = n_accumulation
        return other

    def micro_batch_size(self, arch: Any) -> Count:
        """Sequences that one chip takes in one pass, of whole ones."""
        return arch.batch_size // (self.n_split * self.n_accumulation)

    def divides(self, batch_size: Any) -> Any:
        """Whether chips and passes split a batch into whole sequences."""
        return batch_size % (self.n_split * self.n_accumulation) == 0

    def part(self, arch: Any) -> Any:
        """What one chip computes in one pass: its sequences, its layers, its part of each.

        Args:
            arch: the model or models, with the batch of a whole step.
        """
        n = self.tensor_parallel
        changes: dict[str, Any] = {}
        if np.any(self.n_split * self.n_accumulation != 1):
            changes["batch_size"] = self.micro_batch_size(arch)
        if np.any(self.pipeline_parallel != 1):
            # Where they do not come out even, the others wait for the longest stage.
            changes["n_layers"] = -(-arch.n_layers // self.pipeline_parallel)
        if np.any(n != 1):
            changes |= {
                # Some chip has the most heads where they do not come out even.
                "n_heads": -(-arch.n_heads // n),
                "n_kv_heads": np.maximum(arch.n_kv_heads / n, 1),
                "d_ff": arch.d_ff / n,
                "vocab_size": -(-arch.vocab_size // n),
            }
        return altered(arch, **changes) if changes else arch

    def as_dict(self) -> dict[str, Any]:
        """The fields by name, as numbers; see `named`."""
        return {name: getattr(self, name) for name in FIELDS}

    def columns(self, arch: Architecture) -> dict[str, Any]:
        """How one model's step was run, as a table of runs has it."""
        return self.named() | {"micro_batch_size": self.micro_batch_size(arch)}

    def named(self) -> dict[str, Any]:
        """The fields of one execution as tables and JSON have them, choices by their names."""
        return {n: str(v) if isinstance(v, Choice) else v for n, v in self.as_dict().items()}


KINDS: dict[str, type[Choice]] = {"attention": Attention, "remat": Remat, "sharding": Sharding}
# How chips split a step beyond its batch and its state.
SPLITS = ("tensor_parallel", "pipeline_parallel", "virtual_stages")
COUNTS = ("n_accumulation", "n_replicas", "n_chips", *SPLITS)
FIELDS = tuple(field.name for field in dataclasses.fields(Execution))
# What formulas branch on.
BRANCHES = (*KINDS, "scan_layers")
PLAIN = Execution()


def by_choice(execution: Execution, parts: Callable[[Execution], Parts]) -> Parts:
    """The parts of an execution, or of each of an array of them.

    Formulas branch on choices, so an array is taken apart by the choices in it; counts may stay
    arrays. A part that some choice does not have is 0 there. The parts of each choice keep their
    order, so that their sum is rounded as for that choice alone.
    """
    values = {n: getattr(execution, n) for n in BRANCHES}
    # One choice is a whole number, and NumPy takes long to see that.
    arrays = {n: v for n, v in values.items() if not isinstance(v, int) and np.ndim(v)}
    if not arrays:
        return parts(execution)
    columns = np.stack([np.ravel(v) for v in np.broadcast_arrays(*arrays.values())])
    found: Parts = {}
    order: list[str] = []
    for combination in np.unique(columns, axis=1).T.tolist():
        choices = {
            name: KINDS.get(name, bool)(n) for name, n in zip(arrays, combination, strict=True)
        }
        chosen = 1 * functools.reduce(
            operator.and_, (arrays[name] == value for name, value in choices.items())
        )
        at = 0
        for name, value in parts(altered(execution, **choices)).items():
            found[name] = found.get(name, 0) + chosen * value
            if name not in order:
                order.insert(at, name)
            at = order.index(name) + 1
    return {name: found[name] for name in order}
