"""A space of models that no law ranks: at each size the one that reads most tokens in the time."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from ...objectives.budget import format_budget
from ...objectives.loss_at_time import LossAtTime
from ...objectives.shown import Shown
from ...presets.spaces import DEFAULT, PATTERN, default_space, load_mixed_space, says
from ...space.block_spaces import MixedSpace
from ...space.blocks import Attention, LatentAttention, Mlp
from ...space.decoder import Decoder
from ..question import ask, batches_of, of_the_device
from ..words import Words
from .costed import Costed, costed

if TYPE_CHECKING:
    import pandas as pd

# Some 700 of them are tried in a second.
MOST_MODELS = 50_000
# Between the sizes that are shown.
STEP = 2.0
AT_AN_END = (
    "the one that is marked is the {} of those that read most: beyond what the space has, or what "
    "fits, nothing was tried"
)


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class Sizes(Shown):
    """What a space of mixed blocks can train in a time, by size; nothing is ranked by loss.

    Attributes:
        space_name: as it was named, or by the device's kind.
        space: all that were tried.
        objective: where and for how long they train; its law has no say in `front`.
        n_fitting: how many fit in memory and make a step.
        front: those of them that read more tokens than any that is at least as large, repetitions
            and batches off the best counted for less as of dense models; the smallest first.
        at: which of the front the law of dense models would put first.
        top: how many are to be shown.
        warnings: what a reader must know before believing it.
    """

    space_name: str
    space: MixedSpace
    objective: LossAtTime
    n_fitting: int
    front: list[Costed]
    at: int
    top: int
    warnings: list[str]

    @property
    def marked(self) -> Costed:
        """The one that the law of dense models would put first."""
        return self.front[self.at]

    @property
    def shown(self) -> list[Costed]:
        """About `top` of the front, each some `STEP` times as large as the one before."""
        middle = math.log(self.marked.cost.n_params)
        found = []
        for i in range(-(self.top // 2), (self.top + 1) // 2):
            size = middle + i * math.log(STEP)
            found.append(min(self.front, key=lambda one: abs(math.log(one.cost.n_params) - size)))
        return list({id(one): one for one in found}.values())

    @property
    def headline(self) -> str:
        """How many sizes, where and for how long, and that they are not ranked."""
        first, last = (one.cost.n_params for one in (self.front[0], self.front[-1]))
        return (
            f"{len(self.front)} sizes from {first:,} to {last:,} parameters in "
            f"{format_budget(self.objective.time_budget_s)} on {self.objective.machine}: no law "
            "ranks them"
        )

    def row(self, one: Costed) -> dict[str, Any]:
        """One of the front as plain values; of heads those of softmax attention."""
        told = one.as_dict() | _fields(one.arch) | {PATTERN: " ".join(self.space.pattern)}
        return {key: told[key] for key in COLUMNS}

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The front, a row each."""
        return [self.row(one) for one in self.front]

    @property
    def frame(self) -> pd.DataFrame:
        """The front, the smallest first."""
        import pandas as pd

        return pd.DataFrame(self.rows)

    def as_dict(self) -> dict[str, Any]:
        """One JSON object: what was tried, and the front as `Costed` has it."""
        return {
            "pattern": list(self.space.pattern),
            "n_models": self.space.n_models,
            "n_fitting": self.n_fitting,
            "law": None,
            "marked": self.at,
            "marked_by": self.objective.law.name,
            "front": [one.as_dict() for one in self.front],
            "warnings": self.warnings,
        }


COLUMNS = (
    *("d_model", "n_layers", PATTERN, "n_heads", "n_kv_heads", "d_head", "d_ff", "gated_mlp"),
    *("vocab_size", "tied_embeddings", "seq_len", "batch_size"),
    *("n_params", "n_params_non_embedding", "step_time_s", "n_steps"),
    *("n_tokens", "memory_bytes", "remat", "sharding", "n_accumulation", "micro_batch_size"),
)


def is_mixed(words: Words) -> bool:
    """Whether words ask for models in which mixers take turns."""
    return says(PATTERN, words.space or DEFAULT, words.settings)


def sizes(
    words: Words,
    *,
    top: int = 5,
    on_progress: Callable[[str, int, int], None] = lambda stage, done, total: None,
) -> Sizes:
    """Try every model of a mixed space, and keep those that no law without shape can pass over.

    Args:
        words: a question of which `is_mixed` holds.
        top: how many are to be shown.
        on_progress: called with the stage, what is newly done in it, and the stage's total.

    Raises:
        ValueError: a word makes no sense, the space is larger than `MOST_MODELS`, or none fits.
    """
    if top < 1:
        raise ValueError(f"`top` must be at least 1, but got {top}")
    objective = ask(dataclasses.replace(words, space=None, settings=())).objective
    objective = dataclasses.replace(objective, reach=None)
    batch_sizes = batches_of(objective) if objective.critical_batch else None
    name = words.space or default_space(objective.device.kind)
    space = load_mixed_space(name, settings=words.settings, batch_sizes=batch_sizes)
    if space.n_models > MOST_MODELS:
        raise ValueError(
            f"space: models in which mixers take turns are tried one by one, at most "
            f"{MOST_MODELS:,}, but there are {space.n_models:,}; --set narrows them"
        )
    objective.check_batch(space.dense.batch_size)
    tried = []
    for arch in space.models():
        one = Costed(arch=arch, objective=objective, cost=objective.cost(arch), warnings=[])
        tried += [one] * one.fits
        on_progress("try", 1, space.n_models)
    if not tried:
        raise ValueError(
            f"none of {space.n_models:,} architectures in the space fits {objective.machine} and "
            "makes a step in the budget; allow smaller models, a smaller batch, or more time"
        )
    front = list(_front(tried))[::-1]
    at = min(range(len(front)), key=lambda i: _loss_as_dense(front[i]))
    marked = costed(front[at].arch, objective, of_the_device(objective.device, words.device))
    ends = {0: "smallest", len(front) - 1: "largest"}
    edge = [AT_AN_END.format(ends[at])] if at in ends else []
    return Sizes(
        space_name=name,
        space=space,
        objective=objective,
        n_fitting=len(tried),
        front=front,
        at=at,
        top=top,
        warnings=marked.warnings + edge,
    )


def _front(tried: list[Costed]) -> Iterator[Costed]:
    """Those that read more than any that is at least as large, the largest first."""
    most = 0.0
    each = [(_size_and_tokens(one), one) for one in tried]
    for (_, tokens), one in sorted(each, key=lambda pair: pair[0], reverse=True):
        if tokens > most:
            most = tokens
            yield one


def _size_and_tokens(one: Costed) -> tuple[int, float]:
    """N and D as laws count them."""
    objective, arch, cost = one.objective, one.arch, one.cost
    n_tokens = one.n_steps * arch.tokens_per_step
    worth = objective.effective_tokens(n_tokens, arch.tokens_per_step, cost.n_params)
    return objective.counted_params(cost), float(worth)


def _fields(arch: Decoder) -> dict[str, Any]:
    """Sizes of the MLP and of softmax attention by an architecture's names, None without."""
    fed = arch.pattern[0].feed_forward
    softmax = [mixer for _, block in arch.kinds
               if isinstance(mixer := block.mixer, Attention | LatentAttention)]  # fmt: skip
    of_heads = {name: getattr(softmax[0], name, None) if softmax else None
                for name in ("n_heads", "n_kv_heads")}  # fmt: skip
    of_heads["d_head"] = arch.d_head if softmax else None
    of_mlp = {"d_ff": fed.d_ff, "gated_mlp": fed.gated} if isinstance(fed, Mlp) else {}
    return of_heads | of_mlp


def _loss_as_dense(one: Costed) -> float:
    return float(one.objective.predict(one.arch, one.cost).predicted_loss)
