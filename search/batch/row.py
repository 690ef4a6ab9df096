"""The row that a batch keeps of an answer: its winner, how sure that is, how far it moves."""

from __future__ import annotations

import datetime
import re
from typing import Any, Literal

import numpy as np
import pydantic
from pydantic import AwareDatetime

from ...files.rows import Row
from ...objectives.loss_at_time import Prediction
from ...objectives.step_cost import take
from ...objectives.uncertainty import BEATS_AT_LEAST, draw_losses, stand, tied
from ...space.architecture import ABOUT, Architecture
from ..answer import answer_warnings
from ..candidate import Candidate
from ..certify.frontier import Shapes
from ..find import MAX_RANKED
from ..question import Question
from ..ranking import N_FINALISTS, order
from ..valley import valley

# What the sensitivity of a winner is told of.
MOVES = ("n_params", "n_tokens", "d_model", "n_layers")
SHAPE = r"[1-9]\d{0,8}x[1-9]\d{0,8}=\d{1,4}\.\d{4}"


class _Asked(Row):
    fingerprint: str
    status: Literal["certified", "infeasible"]
    n_architectures: int


WINNER: dict[str, Any] = {
    name: (bool | None if about.is_flag else int | None, None) for name, about in ABOUT.items()
}
_Winner = pydantic.create_model("_Winner", __base__=_Asked, **WINNER)


class AnswerRow(_Winner):
    """What a batch keeps of one search; empty where nothing is feasible, or no draws are known.

    Attributes:
        fingerprint: of the question.
        status: `certified`, the lowest predicted loss of the whole space is known and the winner is
            as good, or `infeasible`, for no model of the space fits the device and makes a step in
            the budget.
        n_architectures: in the space, all of which the certificate covers.
        remat: what the winner does, `none`, `dots` or `layer`.
        loss_low, loss_high: 95% interval of the winner's loss on the law's own text.
        p_best: its chance to be the best of the best shapes.
        n_tied: shapes that are statistically tied with it, itself included.
        n_params_low, ...: 95% range of the models that win in the draws of law and step time.
        memory_share: of the device's memory that the winner needs.
        sharding: what its chips share, `data`, or what of the state too, see `Sharding`.
        n_replicas, tensor_parallel, pipeline_parallel, virtual_stages: how else they split it, see
            `Execution`.
        n_accumulation, micro_batch_size: its passes, and the sequences of one on one chip.
        cost_usd: of the budget on all chips, where the device's price is known.
        valley: the depths and widths that lose little, and the depths that lose much, in words.
        warnings: what a reader must know before believing the answer, separated by `; `.
        searched_at: when it was found.
    """

    n_params: int | None = None
    n_params_non_embedding: int | None = None
    step_time_s: float | None = None
    n_steps: int | None = None
    n_tokens: int | None = None
    tokens_per_param: float | None = None
    memory_bytes: int | None = None
    memory_share: float | None = None
    remat: Literal["none", "dots", "layer"] | None = None
    predicted_loss: float | None = None
    loss_low: float | None = None
    loss_high: float | None = None
    p_best: float | None = None
    n_tied: int | None = None
    n_params_low: int | None = None
    n_params_high: int | None = None
    n_tokens_low: int | None = None
    n_tokens_high: int | None = None
    d_model_low: int | None = None
    d_model_high: int | None = None
    n_layers_low: int | None = None
    n_layers_high: int | None = None
    sharding: Literal["data", "full", "optimizer"] | None = None
    n_replicas: int | None = None
    tensor_parallel: int | None = None
    pipeline_parallel: int | None = None
    virtual_stages: int | None = None
    n_accumulation: int | None = None
    micro_batch_size: int | None = None
    cost_usd: float | None = None
    valley: str | None = None
    warnings: str | None = None
    searched_at: AwareDatetime


class KeptRow(AnswerRow):
    """An answer, and the map that a page draws of it.

    Attributes:
        shapes: the best shapes with their losses, `384x12=3.7380 384x11=3.7414`, best first.
    """

    shapes: str | None = pydantic.Field(None, pattern=rf"^{SHAPE}( {SHAPE})*$")

    @property
    def losses(self) -> list[tuple[int, int, float]]:
        """Width, depth and predicted loss of each of the best shapes, best first."""
        parts = (re.split("[x=]", shape) for shape in (self.shapes or "").split())
        return [(int(width), int(depth), float(loss)) for width, depth, loss in parts]


def row_of(question: Question, shapes: Shapes | None) -> KeptRow:
    """The row of a question.

    Args:
        question: what was asked.
        shapes: the best architecture of each of the `MAX_RANKED` best shapes, best first; None
            where nothing is feasible.
    """
    shared: dict[str, Any] = {
        "fingerprint": question.fingerprint,
        "n_architectures": question.space.n_architectures,
        "searched_at": datetime.datetime.now(datetime.UTC),
    }
    if shapes is None:
        return KeptRow(status="infeasible", **shared)
    objective = question.objective
    n_shapes = np.size(shapes[1].predicted_loss)
    known = Candidate.each(*shapes, (np.arange(n_shapes),))
    finalists = known[:N_FINALISTS]
    places = order(question, finalists)
    best = finalists[places[0]]
    warnings = answer_warnings(question, best, certified=True)
    return KeptRow(
        status="certified",
        **shared,
        **best.as_dict(),
        **_sureness(question, *shapes, places),
        memory_share=best.prediction.memory_bytes / objective.device.memory_bytes,
        cost_usd=objective.device.cost_usd(objective.n_chips, objective.time_budget_s),
        valley=valley(known, () if n_shapes < MAX_RANKED else question.space.n_layers) or None,
        warnings="; ".join(warnings) or None,
        shapes=" ".join(f"{one.shape[0]}x{one.shape[1]}={one.loss:.4f}" for one in known),
    )


def _sureness(
    question: Question, arch: Architecture, prediction: Prediction, places: np.ndarray
) -> dict[str, Any]:
    """How sure the winner is, and the range of those that win in the draws."""
    if question.draws is None:
        return {}
    n_shapes = np.size(prediction.predicted_loss)
    places = np.concatenate([places, np.arange(len(places), n_shapes)])
    arch, prediction = take(arch, places), take(prediction, places)
    losses = draw_losses(question.objective, arch, prediction, question.draws, seed=question.seed)
    [best] = stand(losses, first=1, seed=question.seed)
    sureness: dict[str, Any] = {
        "loss_low": best.loss_low,
        "loss_high": best.loss_high,
        "p_best": best.p_best,
        "n_tied": int(tied(losses).sum()),
    }
    winners = np.argmin(losses, axis=1)
    for name in MOVES:
        values = getattr(arch if hasattr(arch, name) else prediction, name)
        values = np.broadcast_to(values, losses.shape[1])
        # Of models that there are, not between two of them.
        low, high = np.quantile(
            values[winners], (BEATS_AT_LEAST, 1 - BEATS_AT_LEAST), method="closest_observation"
        )
        sureness |= {f"{name}_low": int(low), f"{name}_high": int(high)}
    return sureness
