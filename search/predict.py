"""One architecture's prediction with its breakdown, as `predict` prints it."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..objectives.budget import format_budget
from ..objectives.cost.counts import flops_by_part, memcpys_by_part, n_params_by_part
from ..objectives.cost.kernel import as_run
from ..objectives.flags import flags
from ..objectives.law.loss_law import LossLaw
from ..objectives.loss_at_time import LossAtTime
from ..objectives.shown import Shown
from ..objectives.step_cost import Cost
from ..objectives.uncertainty import Standing
from ..presets.spaces import evidence
from ..space.architecture import Architecture
from ..space.decoder import Model
from ..space.hf_config import architecture_from_hf
from .candidate import Candidate
from .certify.scan import best_of
from .question import Question
from .ranking import standings_of

if TYPE_CHECKING:
    import pandas as pd

# In the order in which a token meets them.
PARTS = (
    "embedding",
    *("qkv", "scores", "weighted_values", "attention_output"),
    *("scan_in", "convolution", "scan", "scan_out"),
    *("mlp_up", "mlp_down"),
    *("router", "dispatch", "experts_up", "experts_down", "shared_up", "shared_down"),
    "norms",
    "logits",
    "optimizer",
    "overhead",
    "communication",
)
# What a config of a model does not say.
TRAINING_SHAPE = ("seq_len", "batch_size")


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class Predicted(Shown):
    """One architecture's prediction.

    Attributes:
        question: what was asked, about one architecture.
        candidate: that, and what is predicted for it.
        standing: the interval of its loss; None where nothing is known of the law's uncertainty.
        warnings: what a reader must know before believing it.
    """

    question: Question
    candidate: Candidate
    standing: Standing | None
    warnings: list[str]

    @property
    def headline(self) -> str:
        """The shape, where and for how long it trains, and the loss it will reach."""
        objective, (d_model, n_layers) = self.question.objective, self.candidate.shape
        loss = f"predicted loss {self.candidate.loss:.4f}"
        return (
            f"{d_model}×{n_layers} in {format_budget(objective.time_budget_s)} on "
            f"{objective.machine}: "
            f"{loss if self.candidate.prediction.feasible else 'it does not fit'}"
        )

    @property
    def frame(self) -> pd.DataFrame:
        """`breakdown` as a table, a row a part of the model."""
        import pandas as pd

        return pd.DataFrame(
            breakdown(self.candidate.arch, self.candidate.prediction, self.question.objective)
        ).T

    def as_dict(self) -> dict[str, Any]:
        """The prediction as one JSON object: a candidate's keys, `warnings`, and `parts`."""
        objective, standing = self.question.objective, self.standing
        return self.candidate.as_dict() | {
            "loss_low": standing and standing.loss_low,
            "loss_high": standing and standing.loss_high,
            "elsewhere_low": standing and standing.elsewhere_low,
            "elsewhere_high": standing and standing.elsewhere_high,
            "feasible": self.candidate.prediction.feasible,
            "time_budget_s": objective.time_budget_s,
            "device": objective.device.name,
            "n_chips": objective.n_chips,
            "attention": objective.attention,
            "cost_usd": self.question.cost_usd,
            "law": objective.law.name,
            "training": self.candidate.training,
            "warnings": self.warnings,
            "parts": breakdown(self.candidate.arch, self.candidate.prediction, objective),
        }


def predict(question: Question, note: str = "") -> Predicted:
    """Predict the one architecture that a question is about.

    Args:
        question: about a space of one, or of one in several batches, of which the best is taken.
        note: what was noted when the architecture was read.
    """
    space, objective = question.space, question.objective
    best = best_of(space.blocks(), objective) if space.n_architectures > 1 else None
    candidate = best or Candidate.of(space.decode({}), objective)
    told = flags(question.objective, candidate.arch, candidate.prediction)
    standings = standings_of(question, [candidate]) if candidate.prediction.feasible else None
    return Predicted(
        question=question,
        candidate=candidate,
        standing=standings[0] if standings else None,
        warnings=[*question.warnings, *told, *([note] if note else [])],
    )


def read_architecture(
    fields: dict[str, Any], config: Path | None = None, *, law: LossLaw
) -> tuple[Model, str]:
    """The model that was given, and what to note of how it was read, if anything.

    Args:
        fields: the architecture's fields; what is left out is as the law's runs all had it, or
            else customary (`from_shape`).
        config: a Hugging Face `config.json` instead; then only the training shape may be given.
        law: what its loss is predicted by.

    Raises:
        ValueError: the architecture is incomplete, contradictory or not valid.
    """
    if config is None:
        held = {name: int(value) for name, value in evidence(law) if name == "seq_len"}
        held |= {"vocab_size": law.vocab_size} if law.vocab_size else {}
        held = {name: value for name, value in held.items() if name not in fields}
        named = ", ".join(f"{name}={value}" for name, value in held.items())
        note = f"as in the law's runs, for nothing else was said: {named}" if held else ""
        return architecture_of(held | fields, "--config config.json"), note
    if clash := sorted(set(fields) - set(TRAINING_SHAPE)):
        raise ValueError(f"--config already says `{clash[0]}`; leave one of them out")
    arch, note = architecture_from_hf(config, **fields)
    return arch, f"{config}: {note}" if note else ""


def architecture_of(fields: dict[str, Any], instead: str) -> Architecture:
    """The architecture of the fields that were given.

    Args:
        fields: by name; what is left out is customary.
        instead: the option that would spare them, for the complaint.

    Raises:
        ValueError: width or depth is missing, or the fields contradict each other.
    """
    for name in ("d_model", "n_layers"):
        if name not in fields:
            option = name.replace("_", "-")
            raise ValueError(f"`{name}` is missing; give --{option}, or {instead}")
    return Architecture.from_shape(**fields)


def breakdown(arch: Model, cost: Cost, objective: LossAtTime) -> dict[str, dict[str, Any]]:
    """Parameters, and memory copies, FLOPs and seconds of a step of each chip, by part.

    Seconds of `communication` are those for which the chips wait for each other.
    """
    execution = cost.execution
    times_s = objective.device.step_time_model.step_time_by_part(
        arch, execution, kind=objective.device.kind
    )
    if execution.n_chips > 1:
        times_s["communication"] = cost.step_time_s - sum(times_s.values())
    part, n_passes = execution.part(arch), execution.n_accumulation
    one = as_run(execution, part, objective.device.kind)
    quantities = {
        "n_params": n_params_by_part(arch),
        "memcpys": {k: n_passes * n for k, n in memcpys_by_part(part, one).items()},
        "flops": {k: n_passes * n for k, n in flops_by_part(part, one).items()},
        "step_time_s": times_s,
    }
    return {
        part: {name: values.get(part, 0) for name, values in quantities.items()}
        for part in PARTS
        if any(values.get(part, 0) for values in quantities.values())
    }
