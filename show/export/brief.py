"""What any trainer has to be told to train one candidate as the recipe would, and what it gets.

The recipe gives every matrix its own learning rate (`recipe.scales`); trainers take one
(`recipe.single_rate`), and the weight decay is set so that matrices shrink as fast as under the
recipe.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ...objectives.budget import format_budget
from ...objectives.cost.execution import Execution
from ...objectives.cost.kernel import ACCELERATORS
from ...objectives.loss_at_time import LossAtTime
from ...objectives.recipe import Recipe, Settings, named_scales, recipe_for, settings_for
from ...search.candidate import Candidate
from ...space.architecture import Architecture

# So few digits that a file is pleasant to read, and more than a learning rate is known to.
N_DIGITS = 4
ONE_RATE = (
    "one learning rate for all parameters, the recipe's for matrices that read the residual "
    "stream, less in deep models, whose blocks add to the stream at full strength"
)
# All trainers do, where the accelerator and its libraries allow it.
FUSES = (
    "the trainer fuses attention on an accelerator where it can, but the prediction is of plain "
    "attention: `find --attention fused` predicts that"
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Brief:
    """One candidate, the objective that it was found for, and the recipe to train it by.

    Attributes:
        candidate: the architecture and its prediction.
        objective: the device, law and time budget of the prediction.
        seed: of the initial weights and of the order of the text.
    """

    candidate: Candidate
    objective: LossAtTime
    seed: int = 0

    @property
    def arch(self) -> Architecture:
        """What to train."""
        return self.candidate.arch

    @functools.cached_property
    def recipe(self) -> Recipe:
        """How it is trained."""
        return recipe_for(self.arch, self.candidate.prediction.n_tokens)

    @functools.cached_property
    def settings(self) -> Settings:
        """The same for a trainer that has one learning rate."""
        return settings_for(self.arch, self.recipe, self.n_steps)

    @property
    def n_steps(self) -> int:
        """Optimizer steps in the time budget."""
        return self.candidate.prediction.n_steps

    @property
    def n_tokens(self) -> int:
        """Tokens in those steps."""
        return self.candidate.prediction.n_tokens

    @property
    def n_warmup_steps(self) -> int:
        """Steps in which the learning rate rises, at least one."""
        return self.settings.n_warmup_steps

    @property
    def learning_rate(self) -> float:
        """The highest, where all parameters have one."""
        return _short(self.settings.learning_rate)

    @property
    def weight_decay(self) -> float:
        """AdamW's, which a trainer multiplies by its learning rate, and the recipe by its own."""
        return _short(self.settings.weight_decay)

    @property
    def beta2(self) -> float:
        """Adam's, of the second moment."""
        return _short(self.recipe.beta2)

    @property
    def is_bfloat16(self) -> bool:
        """Whether matmuls run in bfloat16; else in float32. Weights are float32 in any case."""
        return self.objective.device.dtype == "bfloat16"

    @property
    def execution(self) -> Execution:
        """How a step is run."""
        return self.candidate.prediction.execution

    @property
    def device_batch_size(self) -> int:
        """Sequences in a pass on each of the objective's chips."""
        return self.execution.micro_batch_size(self.arch)

    def devices_note(self, file: str, name: str) -> str:
        """For how many devices a file is, and which setting changes with their number."""
        n_chips = self.execution.n_chips
        if n_chips == 1:
            return f"{file} is for one device; for n, divide {name} by n, or what accumulates"
        kind = self.execution.sharding.phrase
        note = f"{file} is for {n_chips} devices, {kind}; {name} is of each"
        if self.execution.n_replicas > 1:
            note += f"; {self.execution.n_shares} devices share a state (hybrid sharding)"
        if (n := self.execution.tensor_parallel) > 1:
            note += f"; {n} tensor parallel: for a trainer without, --tensor-parallel 1"
        return note

    @property
    def tokenizer_note(self) -> str:
        """What the user's own tokenizer has to be."""
        return f"TOKENIZER must have {self.arch.vocab_size} tokens or fewer"

    @property
    def attention_notes(self) -> list[str]:
        """That the trainer's attention is another than the prediction's, where it is."""
        objective = self.objective
        return [FUSES] if objective.device.kind in ACCELERATORS and not self.execution.fused else []

    def heading(self) -> Iterator[str]:
        """What the exported file is, in a few lines."""
        arch, predicted = self.arch, self.candidate.prediction
        yield f"{arch.d_model} x {arch.n_layers}, {predicted.n_params:,} parameters,"
        yield (
            f"for {format_budget(self.objective.time_budget_s)} on {self.objective.machine}: "
            f"{self.n_steps:,} steps, {predicted.n_tokens:,} tokens,"
        )
        yield f"predicted loss {self.candidate.loss:.4f} (law {self.objective.law.name})."

    def rows(self) -> Iterator[tuple[str, dict[str, float]]]:
        """What the recipe gives each kind of parameter: its own AdamW settings and beginning."""
        recipe = self.recipe
        for name, scale in named_scales(self.arch, recipe).items():
            decay = recipe.weight_decay / scale.rate if scale.std else 0.0
            settings = {"learning_rate": recipe.learning_rate * scale.rate, "weight_decay": decay}
            settings |= {"mean": scale.mean, "std": scale.std}
            yield name, {key: _short(value) for key, value in settings.items()}

    def per_matrix(self) -> Iterator[str]:
        """The same as a table."""
        yield f"{'':18}{'learning rate':>14}  begins"
        for name, row in self.rows():
            begins = f"normal, spread {row['std']}" if row["std"] else f"all {row['mean']}"
            yield f"{name:18}{row['learning_rate']:>14}  {begins}"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Export:
    """What a trainer takes.

    Attributes:
        files: text by file name.
        config: the settings, as the trainer reads them.
        notes: what the trainer does otherwise than the recipe or the model of the prediction.
        command: starts training, where the files are; words in capitals are the user's.
    """

    files: dict[str, str]
    config: dict[str, Any]
    notes: list[str]
    command: str

    def command_in(self, folder: Path) -> str:
        """The command with its files in a folder."""
        command = self.command.replace("FOLDER", str(folder))
        for name in self.files:
            command = command.replace(name, str(folder / name))
        return command


def commented(brief: Brief, trainer: str, notes: list[str], command: str, body: str) -> str:
    """A config under a heading of `#` comments that say all that `body` cannot."""
    lines = ["Written by anybudget export.", *brief.heading(), "", f"Start: {command}", ""]
    lines += [f"What {trainer} does otherwise, or wants:", *(f"- {note}" for note in notes), ""]
    lines += ["The recipe's own, matrix by matrix:", *brief.per_matrix()]
    return "".join(f"# {line}".rstrip() + "\n" for line in lines) + "\n" + body


def refuse(trainer: str, clashes: dict[str, str]) -> None:
    """Say what a trainer's model cannot have, and how to search for one that it can.

    Args:
        trainer: its name.
        clashes: by what clashes, the settings of `find --set` that avoid it; empty where none does.

    Raises:
        ValueError: there is a clash.
    """
    if clashes:
        settings = dict.fromkeys(" ".join(clashes.values()).split())
        raise ValueError(
            f"{trainer} cannot have {', '.join(clashes)}; take another --candidate, or search "
            f"with {' '.join(f'--set {setting}' for setting in settings)}"
        )


def _short(value: float) -> float:
    return float(f"{value:.{N_DIGITS}g}")
