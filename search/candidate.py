"""A candidate: one architecture with its prediction, as it travels out of a search."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..objectives.loss_at_time import LossAtTime, Prediction
from ..objectives.recipe import recipe_for, settings_for
from ..space.architecture import BOOL_FIELDS, Architecture, altered
from ..space.mesh import side_by_side
from ..space.sparse import is_sparse, names_of

# What a prediction has as whole numbers.
WHOLE = (
    *("n_params", "n_active_params", "n_params_non_embedding"),
    *("n_steps", "n_tokens", "memory_bytes"),
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Candidate:
    """One architecture and what the objective predicts for it, all plain Python numbers."""

    arch: Architecture
    prediction: Prediction

    @classmethod
    def of(cls, arch: Architecture, objective: LossAtTime) -> Candidate:
        """The candidate of one architecture under an objective."""
        return cls.at(arch, objective.predict(arch), ())

    @classmethod
    def of_several(cls, archs: Sequence[Architecture], objective: LossAtTime) -> list[Candidate]:
        """Those of several architectures, in hardly more time than one takes."""
        if not archs:
            return []
        together = side_by_side(archs)
        return cls.each(together, objective.predict(together), (np.arange(len(archs)),))

    @classmethod
    def at(cls, mesh: Architecture, predicted: Prediction, index: tuple) -> Candidate:
        """The candidate at one index of an open mesh and its predictions."""
        return cls.each(mesh, predicted, tuple(np.atleast_1d(i) for i in index))[0]

    @classmethod
    def each(cls, mesh: Architecture, predicted: Prediction, index: tuple) -> list[Candidate]:
        """The candidates at several indices, one array of them for each axis."""
        values = mesh.as_dict() | predicted.columns()
        # Not the loss's own: it may see no difference along an axis.
        shape = np.broadcast_shapes(*map(np.shape, values.values()))
        n = math.prod(map(len, index[:1]))
        columns = {
            # Of one value an element, for broadcasting costs more than all else.
            name: [np.asarray(value).item()] * n if np.size(value) == 1
            else np.broadcast_to(value, shape)[index].reshape(-1).tolist()
            for name, value in values.items()
        }  # fmt: skip
        names = names_of(mesh)
        for name in (*(name for name in names if name not in BOOL_FIELDS), *WHOLE):
            columns[name] = list(map(int, columns[name]))
        rows = (dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True))
        return [
            cls(
                # The mesh was checked.
                arch=altered(mesh, **{name: row.pop(name) for name in names}),
                prediction=Prediction.of_columns(row),
            )
            for row in rows
        ]

    @property
    def key(self) -> tuple:
        """What makes two candidates the same architecture."""
        return self.key_of(self.arch)

    @staticmethod
    def key_of(arch: Architecture) -> tuple:
        """The fields of an architecture, to look it up by."""
        return tuple(getattr(arch, name) for name in names_of(arch))

    @property
    def shape(self) -> tuple[int, int]:
        """Width and depth, (d_model, n_layers)."""
        return self.arch.d_model, self.arch.n_layers

    @property
    def loss(self) -> float:
        """Predicted loss, nats per token."""
        return self.prediction.predicted_loss

    def beats(self, other: Candidate) -> bool:
        """Whether it is feasible and the other is not, or has the lower loss of two feasible."""
        if self.prediction.feasible != other.prediction.feasible:
            return self.prediction.feasible
        return self.prediction.feasible and self.loss < other.loss

    @property
    def training(self) -> dict[str, Any]:
        """How to train it, in a trainer's words; nothing of one that makes no step."""
        n_steps, n_tokens = self.prediction.n_steps, self.prediction.n_tokens
        if n_steps < 1:
            return {}
        return settings_for(self.arch, recipe_for(self.arch, n_tokens), n_steps)._asdict()

    def as_dict(self) -> dict[str, Any]:
        """Every quantity on the way from shape to loss, by the names of tables and JSON."""
        execution = self.prediction.execution
        active = (
            {"n_active_params": self.prediction.n_active_params} if is_sparse(self.arch) else {}
        )
        return self.arch.as_dict() | {
            "n_params": self.prediction.n_params,
            **active,
            "n_params_non_embedding": self.prediction.n_params_non_embedding,
            "step_time_s": self.prediction.step_time_s,
            "n_steps": self.prediction.n_steps,
            "n_tokens": self.prediction.n_tokens,
            "tokens_per_param": self.prediction.n_tokens / self.prediction.n_params,
            "memory_bytes": self.prediction.memory_bytes,
            "remat": str(execution.remat),
            "sharding": str(execution.sharding),
            "n_replicas": execution.n_replicas,
            "tensor_parallel": execution.tensor_parallel,
            "pipeline_parallel": execution.pipeline_parallel,
            "virtual_stages": execution.virtual_stages,
            "n_accumulation": execution.n_accumulation,
            "micro_batch_size": execution.micro_batch_size(self.arch),
            "predicted_loss": self.loss,
        }


def to_rows(candidates: Sequence[Candidate]) -> list[dict[str, Any]]:
    """Candidates as rows of a table, best first, with their loss behind the best."""
    best = min((candidate.loss for candidate in candidates), default=0.0)
    return [
        candidate.as_dict() | {"loss_behind_best": candidate.loss - best}
        for candidate in candidates
    ]
