"""The answer to a question: the best architectures, how sure that is, and what to beware of."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from .. import __version__
from ..objectives.budget import format_budget
from ..objectives.flags import flags
from ..objectives.loss_at_time import LossAtTime
from ..objectives.shown import Shown
from ..objectives.uncertainty import Standing
from ..presets.devices import KnownDevice
from ..presets.known import Known
from ..presets.laws import KnownLaw
from ..space.search_space import SearchSpace
from .candidate import Candidate, to_rows
from .experts import experts_warnings
from .explore.polish import polish
from .question import Question

if TYPE_CHECKING:
    import pandas as pd

# A winner within this factor of the law's reach may be there for want of a larger one.
NEAR = 2.0
AT_THE_EDGE = "the winner lies at an edge of the space, beyond which nothing was tried"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Made:
    """Where an answer comes from.

    Attributes:
        command: the command line that made it; empty where a program did.
        anybudget: the version that ran.
        date: when it was kept, in ISO 8601.
    """

    command: str = ""
    anybudget: str = __version__
    date: str = ""


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class Answer(Shown):
    """The answer to one question, fresh or read back.

    Attributes:
        question: what was asked.
        candidates: the best distinct architectures, the one to train first and then by expected
            loss (`search.ranking`); distinct in width and depth unless `find` was asked for every
            architecture.
        shapes: the best of each width and depth found, by predicted loss, the lowest first; of an
            answer that is certified and not `enumerated`, none that is left out is below the last.
        standings: of each candidate, among the `MAX_RANKED` best of its kind; None where nothing
            is known of the law's uncertainty.
        tied_shapes: width and depth of those of the ranked that are statistically tied with the
            best, itself included.
        certified: whether the first of the shapes is proved to be the optimum: every architecture
            of the space was evaluated, or its loss was bounded from below.
        n_valid: valid architectures in the space; None where they were not enumerated.
        optuna_regret: loss of Optuna's best, after its polish, above the certified optimum, nats
            per token; None where nothing was certified, or nothing that Optuna tried was feasible.
        n_trials: distinct architectures that Optuna evaluated.
        warnings: what a reader must know before believing the answer.
        made: where it comes from.
    """

    question: Question
    candidates: list[Candidate]
    shapes: list[Candidate]
    standings: list[Standing] | None
    tied_shapes: list[tuple[int, int]]
    certified: bool
    n_valid: int | None
    optuna_regret: float | None
    n_trials: int
    warnings: list[str]
    made: Made = Made()

    @property
    def space(self) -> SearchSpace:
        """What was searched."""
        return self.question.space

    @property
    def objective(self) -> LossAtTime:
        """What was minimised."""
        return self.question.objective

    @property
    def known(self) -> Known:
        """The law and the device that the answer rests on, with their draws where they are kept."""
        law, device = self.objective.law, self.objective.device
        kept = self.question.known
        return kept or Known(law=KnownLaw(law=law), device=KnownDevice(device=device))

    @property
    def best(self) -> Candidate:
        """The winner."""
        return self.candidates[0]

    @property
    def optimum(self) -> Candidate:
        """The lowest predicted loss: certain where it is certified, and hardly below the winner's.

        Of an answer that was read back it is the lowest of those kept.
        """
        return self.shapes[0]

    @property
    def above_optimum(self) -> float:
        """Predicted loss of the winner above the lowest, nats per token."""
        return max(self.best.loss - self.optimum.loss, 0.0)

    @property
    def enumerated(self) -> bool:
        """Whether every architecture was evaluated, so that `shapes` are all that there are."""
        return self.n_valid is not None

    @property
    def covered(self) -> str:
        """What the certificate speaks of, for a sentence."""
        if not self.enumerated:
            return f"{self.space.n_architectures:,} architectures, by bounds on what they reach"
        return f"{self.n_valid:,} valid architectures"

    @property
    def standing(self) -> Standing | None:
        """How the winner stands; None where nothing is known of the law's uncertainty."""
        return self.standings[0] if self.standings else None

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The candidates, with the loss of each behind the best and their standing."""
        rows = to_rows(self.candidates)
        for row, standing in zip(rows, self.standings or [], strict=False):
            row |= dataclasses.asdict(standing)
        return rows

    @property
    def headline(self) -> str:
        """What to train, where and for how long, and the loss it will reach."""
        objective, (d_model, n_layers) = self.objective, self.best.shape
        return (
            f"in {format_budget(objective.time_budget_s)} on {objective.machine} train "
            f"{d_model}×{n_layers}, predicted loss {self.best.loss:.4f}, "
            f"{'certified' if self.certified else 'not certified'}"
        )

    @property
    def frame(self) -> pd.DataFrame:
        """`rows` as a table."""
        import pandas as pd  # takes a third of what `find` takes, which needs no table

        return pd.DataFrame(self.rows)

    def as_dict(self) -> dict[str, Any]:
        """The answer as one JSON object."""
        return {
            "time_budget_s": self.objective.time_budget_s,
            "device": dataclasses.asdict(self.objective.device),
            "law": dataclasses.asdict(self.objective.law),
            "remat": self.objective.remat,
            "data_limit_tokens": self.objective.data_limit_tokens,
            "critical_batch": self.objective.critical_batch,
            "n_chips": self.objective.n_chips,
            "reach": self.objective.reach,
            "attention": self.objective.attention,
            "sharding": self.objective.sharding,
            "tensor_parallel": self.objective.tensor_parallel,
            "pipeline_parallel": self.objective.pipeline_parallel,
            "virtual_stages": self.objective.virtual_stages,
            "micro_batch_size": self.objective.micro_batch_size,
            "cost_usd": self.question.cost_usd,
            "n_valid": self.n_valid,
            "certified": self.certified,
            "optuna_regret": self.optuna_regret,
            "above_optimum": self.above_optimum,
            "n_trials": self.n_trials,
            "warnings": self.warnings,
            "tied_shapes": [list(shape) for shape in self.tied_shapes],
            "space": dataclasses.asdict(self.space),
            "training": self.best.training,
            "candidates": self.rows,
        }


def answer_warnings(question: Question, best: Candidate, *, certified: bool) -> list[str]:
    """Flags of the winner, and each bound it sits on."""
    space, objective = question.space, question.objective
    warnings = flags(objective, best.arch, best.prediction)
    bounds = space.bounds(best.arch)
    if bounds:
        warnings.append(
            f"{AT_THE_EDGE}: {'; '.join(bounds)}. {objective.law.name} sees only "
            f"{_seen(objective)}: train to confirm"
        )
    pure = dataclasses.replace(objective, law=objective.law.without_terms())
    if pure.law != objective.law and not objective.law.has_best_shape:
        other = polish(Candidate.of(best.arch, pure), space, pure)
        if other.shape != best.shape:
            warnings.append(
                f"{objective.law.name} has further terms ({', '.join(objective.law.terms)}); the "
                f"pure law of the same runs would choose {other.shape[0]}×{other.shape[1]}"
            )
    warnings += [*_guess(question, best), *experts_warnings(question, best)]
    if not certified:
        warnings.append("not certified: the best that Optuna found, not proved to be the optimum")
    return warnings


def _guess(question: Question, best: Candidate) -> list[str]:
    """What the law would choose beyond its reach, where the answer is close to that limit."""
    asked = question.objective
    if asked.counted_params(best.prediction) * NEAR < asked.most_params:
        return []
    free = dataclasses.replace(asked, reach=None)
    other = polish(Candidate.of(best.arch, free), question.space, free)
    n_params = asked.counted_params(other.prediction)
    if n_params <= asked.most_params:
        return []
    times = n_params / asked.law.n_params_range[1]
    return [
        f"beyond {asked.reach:g} times the parameters of its largest run the law would choose "
        f"{other.shape[0]}×{other.shape[1]} ({times:.3g} times): a guess, for --extrapolate"
    ]


def _seen(objective: LossAtTime) -> str:
    law = objective.law
    seen = [name.replace("_", " ") for name in law.terms] + ["copying"] * bool(law.copying)
    if not seen:
        return "parameters and tokens, not shape"
    return f"{', '.join(['parameters', 'tokens', *seen[:-1]])} and {seen[-1]}"
