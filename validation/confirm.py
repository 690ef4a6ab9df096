"""Train what `find` found, and contrast, for the time that it was found for."""

from __future__ import annotations

import dataclasses
import datetime
import gc
import hashlib
import json
import math
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax

from .. import __version__
from ..objectives.budget import format_budget
from ..objectives.device import Device
from ..objectives.loss_at_time import LossAtTime
from ..objectives.uncertainty import Draws, rank
from ..search.result_file import Result
from ..search.save import write_whole
from ..space.architecture import FIELDS
from .batches import batch, heldout_batches
from .choose import Entry, choose
from .compare import Comparison, Trained, compare
from .corpus import load_corpus
from .figures import save_comparison
from .loop import StepReport
from .machine import machine_warning
from .runs import Run, append_row, read_rows
from .tokens import Tokens, prepare_tokens
from .train import default_execution, train
from .verdict import verdict

# Trains one architecture and returns its row, as `train` does.
Train = Callable[..., Run]

RUNS_FILE = "runs.csv"
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
    before; empty where nothing was known of the law's uncertainty.
    """

    comparison: Comparison
    objective: LossAtTime
    tokens: Tokens
    max_bytes: int
    p_best: dict[str, float] = dataclasses.field(default_factory=dict)

    @property
    def verdict(self) -> str:
        """One honest sentence."""
        law_corpus = self.objective.law.corpus
        return verdict(self.comparison, corpus=self.tokens.corpus, law_corpus=law_corpus)

    @property
    def warnings(self) -> list[str]:
        """What a reader must know besides."""
        warnings = [machine_warning(self.objective.device)]
        runs = [run for model in self.comparison.models for run in model.runs]
        for name in ("recipe", "device", "versions"):
            values = sorted({getattr(run, name) for run in runs})
            if len(values) > 1:
                warnings.append(
                    f"runs of more than one {name} are compared: {' and '.join(values)}"
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
            "device": self.objective.device.name,
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
        """Write `confirm.json`, `models.csv` and `confirm.png` beside `runs.csv`."""
        provenance = {
            "command": command,
            "anybudget": __version__,
            "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        }
        document = json.dumps(provenance | self.as_dict(), indent=2)
        write_whole(folder / "confirm.json", document + "\n")
        write_whole(folder / "models.csv", self.comparison.frame.to_csv(index=False))
        save_comparison(self.comparison, folder / "confirm.png")


def confirm(
    result: Result,
    folder: Path,
    *,
    n_seeds: int = 1,
    corpus: str = "python",
    cache_dir: Path | None = None,
    train_one: Train = train,
    draws: Draws | None = None,
    on_progress: Callable[[str], None] = lambda line: None,
    **choice: Any,
) -> Confirmation:
    """Choose what to train, train it, and compare.

    Args:
        result: what `find` answered.
        folder: where `runs.csv` is, or will be; what it holds already is not trained again.
        n_seeds: runs of each model, with seeds from 0 on.
        corpus: see `load_corpus`.
        cache_dir: where tokens are kept.
        train_one: what trains.
        draws: of the objective's law and device, for the chances before training.
        on_progress: called with a line before anything that takes time.
        **choice: see `choose`.

    Raises:
        ValueError: see `choose` and `prepare`; or the device is of another kind than this machine.
    """
    if n_seeds < 1:
        raise ValueError(f"`seeds` must be at least 1, but got {n_seeds}")
    objective, entries = choose(result, **choice)
    check_machine(objective.device)
    if warning := machine_warning(objective.device):
        on_progress(f"warning: {warning}")
    max_bytes = bytes_to_read(entries)
    on_progress(f"preparing {corpus}, at most {max_bytes / 1e6:,.0f} MB of it")
    tokens = prepare(corpus, entries, max_bytes=max_bytes, cache_dir=cache_dir)
    models = train_all(
        entries,
        tokens,
        folder,
        objective=objective,
        n_seeds=n_seeds,
        train_one=train_one,
        on_progress=on_progress,
    )
    return Confirmation(
        comparison=compare(models),
        objective=objective,
        tokens=tokens,
        max_bytes=max_bytes,
        p_best=_chances(entries, objective, draws) if draws else {},
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


def check_machine(device: Device) -> None:
    """Refuse to confirm a prediction for another kind of machine than JAX finds.

    Raises:
        ValueError: the device's kind is not JAX's backend.
    """
    here = jax.default_backend()
    if device.kind != here:
        raise ValueError(
            f"{device.name} is a {device.kind}, but JAX finds a {here} on this machine; run "
            "`anybudget calibrate` here and give the file that it writes to --device"
        )


def train_all(
    entries: list[Entry],
    tokens: Tokens,
    folder: Path,
    *,
    objective: LossAtTime,
    n_seeds: int = 1,
    train_one: Train = train,
    on_progress: Callable[[str], None] = lambda line: None,
) -> list[Trained]:
    """Train every entry with every seed, a row of `runs.csv` each; what is there is not redone.

    Seeds are the outer loop, so that an interrupted confirmation has run every model.
    """
    path, time_budget_s = folder / RUNS_FILE, objective.time_budget_s
    rows = {_key(row): row for row in (read_rows(path, Run) if path.exists() else [])}
    jobs = [(entry, seed) for seed in range(n_seeds) for entry in entries]
    fixed = (time_budget_s, tokens.corpus_fingerprint)
    keys = [(*entry.candidate.key, seed, *fixed) for entry, seed in jobs]
    todo = [at for at, key in enumerate(keys) if key not in rows]
    began = time.monotonic()
    for n_trained, at in enumerate(todo):
        (entry, seed), key = jobs[at], keys[at]
        each_s = (time.monotonic() - began) / n_trained if n_trained else time_budget_s
        left = format_budget(round(each_s * (len(todo) - n_trained)))
        on_progress(
            f"[{at + 1}/{len(jobs)}] {entry.label} ({entry.role}), seed {seed}, "
            f"{format_budget(time_budget_s)}; about {left} left in all"
        )
        remat = "layer" if entry.candidate.prediction.remat else "none"
        checkpoint = folder / "checkpoints" / _digest(key)
        rows[key] = train_one(
            entry.candidate.arch,
            tokens,
            time_budget_s=time_budget_s,
            seed=seed,
            execution=dataclasses.replace(default_execution(), remat=remat),
            device_name=objective.device.name,
            checkpoint_dir=checkpoint,
            on_step=_heartbeat(time_budget_s, on_progress),
        )
        append_row(path, rows[key])
        shutil.rmtree(checkpoint, ignore_errors=True)
        jax.clear_caches()
        gc.collect()
    shutil.rmtree(folder / "checkpoints", ignore_errors=True)
    return [
        Trained(
            label=entry.label,
            role=entry.role,
            candidate=entry.candidate,
            runs=[rows[key] for job, key in zip(jobs, keys, strict=True) if job[0] is entry],
        )
        for entry in entries
    ]


def _heartbeat(
    time_budget_s: float, on_progress: Callable[[str], None]
) -> Callable[[StepReport], None]:
    """A line every half minute, or every twentieth of a long run."""
    every_s = max(30.0, time_budget_s / 20)
    next_s = every_s

    def report(step: StepReport) -> None:
        nonlocal next_s
        if step.train_time_s >= next_s:
            at = format_budget(round(step.train_time_s))
            on_progress(f"    {at}: step {step.n_steps:,}, training loss {step.loss:.3f}")
            next_s = step.train_time_s + every_s

    return report


def _key(run: Run) -> tuple:
    """What makes two runs the same one."""
    fields = (getattr(run, name) for name in FIELDS)
    return (*fields, run.seed, run.time_budget_s, run.corpus_fingerprint)


def _digest(key: tuple) -> str:
    return hashlib.blake2b(repr(key).encode(), digest_size=8).hexdigest()
