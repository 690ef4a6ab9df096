"""Train what `find` found, and contrast, for the time that it was found for."""

from __future__ import annotations

import dataclasses
import datetime
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ... import __version__
from ...files.write import csv_text, json_text, write_together
from ...objectives.loss_at_time import LossAtTime
from ...objectives.uncertainty import Draws, rank
from ...search.answer import Answer
from ...space.sparse import is_sparse
from ...validation.backend import (
    check_chips,
    check_kind,
    compute_dtype,
    machine_name,
    machine_warning,
)
from ..training.batches import batch, heldout_batches
from ..training.corpus import load_corpus
from ..training.tokens import Tokens, prepare_tokens
from .choose import Choice, Entry, choose
from .compare import Comparison, compare
from .train_all import Training, TrainingList, fan_out, one_by_one, train_all
from .verdict import verdict

# The widest head that cuDNN's attention takes on every GPU that has it.
MOST_OF_CUDNN = 128
# Step times that are off by more than this, on average, are told of.
SLOWER = 1.3
# More than a token stands for (2.9 with a vocabulary of 2,048 on `python`, measured), so that no
# model reads its text twice.
BYTES_PER_TOKEN = 6
LEAST_BYTES = 10_000_000


@dataclasses.dataclass(frozen=True, kw_only=True)
class Confirmation:
    """What was predicted, on what it was trained, and how the two compare.

    `p_best` is each model's chance to be the best of those trained, by its label, as it was known
    before; empty where nothing was known of the law's uncertainty. `machines` are those that
    trained now.
    """

    comparison: Comparison
    objective: LossAtTime
    tokens: Tokens
    max_bytes: int
    p_best: dict[str, float] = dataclasses.field(default_factory=dict)
    machines: frozenset[str] = frozenset()

    @property
    def verdict(self) -> str:
        """One honest sentence."""
        law_corpus = self.objective.law.corpus
        return verdict(self.comparison, corpus=self.tokens.corpus, law_corpus=law_corpus)

    @property
    def warnings(self) -> list[str]:
        """What a reader must know besides."""
        device = self.objective.device
        warnings = [machine_warning(device, machine) for machine in sorted(self.machines)]
        if len(self.machines) > 1:
            warnings.append(f"machines unlike trained: {' and '.join(sorted(self.machines))}")
        runs = [run for model in self.comparison.models for run in model.runs]
        for name in ("recipe", "device", "dtype", "versions"):
            values = sorted({str(getattr(run, name)) for run in runs})
            if len(values) > 1:
                warnings.append(
                    f"runs of more than one {name} are compared: {' and '.join(values)}"
                )
        if others := sorted({run.dtype for run in runs if run.dtype} - {device.dtype}):
            warnings.append(
                f"{device.name} was timed in {device.dtype}, but this trained in {others[0]}: run "
                "`anybudget calibrate` for its steps"
            )
        epochs = max(run.n_tokens for run in runs) / len(self.tokens.train)
        if epochs > 1:
            warnings.append(
                f"the text was read up to {epochs:.1f} times over: it is shorter than the training"
            )
        error = self.comparison.log_step_time.mean_error or 0.0
        if abs(error) > math.log(SLOWER):
            warnings.append(
                f"steps took {math.exp(-error):.2g} times as long as predicted: the device is "
                "not calibrated, or other processes run on it"
            )
        return [warning for warning in warnings if warning]

    def as_dict(self) -> dict[str, Any]:
        """The confirmation as one JSON object."""
        return {
            "verdict": self.verdict,
            "warnings": self.warnings,
            "time_budget_s": self.objective.time_budget_s,
            "device": self.objective.machine,
            "law": self.objective.law.name,
            "law_corpus": self.objective.law.corpus,
            "corpus": self.tokens.corpus,
            "corpus_fingerprint": self.tokens.corpus_fingerprint,
            "max_bytes": self.max_bytes,
            "p_best": self.p_best,
            "n_corpus_tokens": len(self.tokens.train),
            **self.comparison.as_dict(),
        }

    def save(self, folder: Path, *, command: str) -> None:
        """Write `confirm.json` and `models.csv` beside `runs.csv`."""
        provenance = {
            "command": command,
            "anybudget": __version__,
            "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        }
        document = json_text(provenance | self.as_dict(), indent=2)
        table = csv_text(self.comparison.frame)
        write_together({folder / "models.csv": table, folder / "confirm.json": document + "\n"})


def confirm(
    answer: Answer,
    folder: Path,
    *,
    choice: Choice = Choice(),  # noqa: B008
    training: Training = Training(),  # noqa: B008
    on_progress: Callable[[str], None] = lambda line: None,
) -> Confirmation:
    """Choose what to train, train it, and compare.

    Args:
        answer: what `find` answered.
        folder: where `runs.csv` is, or will be; what it holds already is not trained again.
        choice: what to train.
        training: how.
        on_progress: called with a line before anything that takes time.

    Raises:
        ValueError: see `choose` and `prepare`; or the device is of another kind than this machine,
            or has fewer chips.
    """
    question, entries = choose(answer, choice)
    objective = question.objective
    if objective.fused:
        _check_kernel(objective, entries)
    machines = set()
    if training.engine is None:
        machines.add(_checked_machine(objective, on_progress))
    corpus, max_bytes = training.corpus, bytes_to_read(entries)
    on_progress(f"preparing {corpus}, at most {max_bytes / 1e6:,.0f} MB of it")
    tokens = prepare(corpus, entries, max_bytes=max_bytes, cache_dir=training.cache_dir)
    listed = TrainingList(
        entries=entries,
        tokens=tokens,
        folder=folder,
        objective=objective,
        n_seeds=training.n_seeds,
    )
    if training.engine is None:
        kind, dense = objective.device.kind, not is_sparse(question.space)
        dtype = compute_dtype(kind, objective.n_chips, dense=dense)
        on_progress(f"training with matmuls in {dtype}")
        trainer = one_by_one(listed, training.train_one, on_progress)
    else:
        read = {"name_or_path": _absolute(corpus), "max_bytes": max_bytes}
        trainer = fan_out(listed, training.train_one, training.engine, read, machines, on_progress)
    return Confirmation(
        comparison=compare(train_all(listed, trainer)),
        objective=objective,
        tokens=tokens,
        max_bytes=max_bytes,
        p_best=_chances(entries, objective, question.draws) if question.draws else {},
        machines=frozenset(machines),
    )


def _checked_machine(objective: LossAtTime, on_progress: Callable[[str], None]) -> str:
    """This machine, which must be of the device's kind and have its chips."""
    device = objective.device
    check_kind(device.name, device.kind)
    check_chips(objective.n_chips)
    if warning := machine_warning(device):
        on_progress(f"warning: {warning}")
    return machine_name(device.kind)


def _check_kernel(objective: LossAtTime, entries: list[Entry]) -> None:
    """Raise ValueError where the fused kernel of a device does not take a model."""
    from ..training.train import check_kernel

    check_kernel(objective.simplest)
    for entry in entries:
        arch = entry.candidate.arch
        if objective.device.kind == "tpu":
            from ..training.splash import part_of

            part_of(arch.seq_len)
        elif objective.device.kind == "gpu" and (arch.d_head % 8 or arch.d_head > MOST_OF_CUDNN):
            raise ValueError(
                f"a GPU's fused attention takes a `d_head` of up to {MOST_OF_CUDNN} that 8 "
                f"divides, but got {arch.d_head}"
            )


def _chances(entries: list[Entry], objective: LossAtTime, draws: Draws) -> dict[str, float]:
    """P(best) of each entry among all of them, the likeliest first."""
    ranked = sorted(entries, key=lambda entry: entry.candidate.loss)
    standings = rank(
        objective,
        [entry.candidate.arch for entry in ranked],
        [entry.candidate.prediction for entry in ranked],
        draws,
    )
    chances = [(entry.label, one.p_best) for entry, one in zip(ranked, standings, strict=True)]
    return dict(sorted(chances, key=lambda chance: -chance[1]))


def bytes_to_read(entries: list[Entry]) -> int:
    """Bytes of text for as many tokens as any entry is predicted to see, and more.

    A power of two times `LEAST_BYTES`, so that another choice of models seldom changes the text
    and with it the runs that are already there.
    """
    n_tokens = max(entry.candidate.prediction.n_tokens for entry in entries)
    doublings = max(math.ceil(math.log2(n_tokens * BYTES_PER_TOKEN / LEAST_BYTES)), 0)
    return LEAST_BYTES << doublings


def prepare(
    corpus: str, entries: list[Entry], *, max_bytes: int, cache_dir: Path | None = None
) -> Tokens:
    """Tokens of at most so much of a corpus, in whole documents.

    Raises:
        ValueError: the corpus is not one, or is too short for the vocabulary or a batch.
    """
    arch = entries[0].candidate.arch
    text = load_corpus(corpus, max_bytes=max_bytes, cache_dir=cache_dir)
    tokens = prepare_tokens(text, vocab_size=arch.vocab_size, cache_dir=cache_dir)
    shape = {"batch_size": arch.batch_size, "seq_len": arch.seq_len}
    batch(tokens.train, seed=0, step=0, **shape)
    heldout_batches(tokens.heldout, max_tokens=1, **shape)
    return tokens


def _absolute(corpus: str) -> str:
    return str(Path(corpus).absolute()) if Path(corpus).exists() else corpus
