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
import numpy as np

from .. import __version__
from ..objectives.budget import format_budget
from ..objectives.device import Device
from ..objectives.loss_at_time import LossAtTime
from ..search.candidate import Candidate
from ..search.polish import polish
from ..search.result_file import Result
from ..search.save import write_whole
from ..space.architecture import FIELDS
from ..space.search_space import COORDINATES, SearchSpace
from .batches import batch, heldout_batches
from .compare import Comparison, Trained, compare, labels, verdict
from .corpus import load_corpus
from .figures import save_comparison
from .loop import StepReport
from .machine import machine_warning
from .runs import Run, append_row, read_rows
from .tokens import Tokens, prepare_tokens
from .train import default_execution, train

# Trains one architecture and returns its row, as `train` does.
Train = Callable[..., Run]

RUNS_FILE = "runs.csv"
# Fewer steps than this are no training: the schedule alone needs them.
MIN_STEPS = 10
# Contrast makes more, for a prediction may be several times off where nothing is calibrated.
MIN_CONTRAST_STEPS = 100
# Shapes drawn from the space for contrast to be chosen from.
N_DRAWN = 500
# More than a token stands for (2.9 with a vocabulary of 2,048 on `python`, measured), so that no
# model reads its text twice.
BYTES_PER_TOKEN = 6
LEAST_BYTES = 10_000_000


@dataclasses.dataclass(frozen=True, kw_only=True)
class Entry:
    """A model to train, and why."""

    label: str
    role: str
    candidate: Candidate


@dataclasses.dataclass(frozen=True, kw_only=True)
class Confirmation:
    """What was predicted, on what it was trained, and how the two compare."""

    comparison: Comparison
    objective: LossAtTime
    tokens: Tokens
    max_bytes: int

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


def choose(
    result: Result,
    *,
    top: int = 3,
    contrast: int = 5,
    scale: float = 1.0,
    device: Device | None = None,
    seed: int = 0,
) -> tuple[LossAtTime, list[Entry]]:
    """What to train: the best of a result, and models of its space spread over predicted loss.

    All have the winner's vocabulary, length and batch, for losses of others do not compare. When
    the time or the device is another than the result's, every prediction is made anew and the
    result's winner, moved to the best near it for that time, is trained too.

    Args:
        result: what `find` answered.
        top: how many of its candidates to train.
        contrast: how many others, at equal quantiles of predicted loss, no two of one shape.
        scale: share of the result's time budget to train for.
        device: the device to predict for; the result's when left out.
        seed: decides which shapes the contrast is chosen from.

    Returns:
        The objective at that time, and the entries, the result's candidates first.

    Raises:
        ValueError: a number is out of range, or a model would make fewer than `MIN_STEPS` steps.
    """
    for name, value, least in (("top", top, 1), ("contrast", contrast, 0)):
        if value < least:
            raise ValueError(f"`{name}` must be at least {least}, but got {value}")
    if not 0 < scale <= 1:
        raise ValueError(f"`scale` must be above 0 and at most 1, but got {scale}")
    objective = dataclasses.replace(
        result.objective,
        time_budget_s=result.objective.time_budget_s * scale,
        device=device or result.objective.device,
    )
    arches = list(dict.fromkeys(candidate.arch for candidate in result.candidates[:top]))
    chosen = {arch: ("top", Candidate.of(arch, objective)) for arch in arches}
    space = _same_text(result.space, [candidate for _, candidate in chosen.values()])
    if objective != result.objective:
        winner = polish(chosen[arches[0]][1], space, objective)
        chosen.setdefault(winner.arch, ("best now", winner))
    for _, candidate in chosen.values():
        _check_steps(candidate, objective)
    taken = {(arch.d_model, arch.n_layers) for arch in chosen}
    for candidate in _spread(space, objective, contrast, taken, seed):
        chosen[candidate.arch] = ("contrast", candidate)
    names = labels(list(chosen))
    return objective, [
        Entry(label=label, role=role, candidate=candidate)
        for label, (role, candidate) in zip(names, chosen.values(), strict=True)
    ]


def confirm(
    result: Result,
    folder: Path,
    *,
    n_seeds: int = 1,
    corpus: str = "python",
    cache_dir: Path | None = None,
    train_one: Train = train,
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
        on_progress: called with a line before anything that takes time.
        **choice: see `choose`.

    Raises:
        ValueError: see `choose` and `prepare`; or the device is of another kind than this machine.
    """
    if n_seeds < 1:
        raise ValueError(f"`seeds` must be at least 1, but got {n_seeds}")
    objective, entries = choose(result, **choice)
    check_machine(objective.device)
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
        comparison=compare(models), objective=objective, tokens=tokens, max_bytes=max_bytes
    )


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


def _same_text(space: SearchSpace, candidates: list[Candidate]) -> SearchSpace:
    """The part of a space whose losses compare with those of the candidates."""
    fixed = {}
    for name in ("vocab_size", "seq_len", "batch_size"):
        values = sorted({getattr(candidate.arch, name) for candidate in candidates})
        if len(values) > 1:
            raise ValueError(
                f"models to compare must have one `{name}`, but the result's best have {values}; "
                f"confirm with --top 1, or fix it with `find --set {name}={values[0]}`"
            )
        fixed[name] = tuple(values)
    return dataclasses.replace(space, **fixed)


def _check_steps(candidate: Candidate, objective: LossAtTime) -> None:
    if candidate.prediction.n_steps < MIN_STEPS:
        arch, step_time_s = candidate.arch, candidate.prediction.step_time_s
        raise ValueError(
            f"a time budget must hold at least {MIN_STEPS} steps, but "
            f"{format_budget(objective.time_budget_s)} hold {candidate.prediction.n_steps:.0f} of "
            f"{arch.d_model}×{arch.n_layers} at {step_time_s:.3g} s each; take more time"
        )


def _spread(
    space: SearchSpace,
    objective: LossAtTime,
    count: int,
    taken: set[tuple[int, int]],
    seed: int,
) -> list[Candidate]:
    """Feasible models at the middles of `count` equal shares of the shapes, by predicted loss."""
    positions = np.random.default_rng(seed).random((N_DRAWN if count else 0, len(COORDINATES)))
    of_shape: dict[tuple[int, int], Candidate] = {}
    for position in positions:
        arch = space.decode(dict(zip(COORDINATES, position, strict=True)))
        candidate, shape = Candidate.of(arch, objective), (arch.d_model, arch.n_layers)
        enough = candidate.prediction.n_steps >= MIN_CONTRAST_STEPS
        if (
            enough
            and candidate.prediction.feasible
            and shape not in taken
            and shape not in of_shape
        ):
            of_shape[shape] = candidate
    ordered = sorted(of_shape.values(), key=lambda candidate: candidate.loss)
    if len(ordered) <= count:
        return ordered
    return [ordered[int((i + 0.5) / count * len(ordered))] for i in range(count)]


def _key(run: Run) -> tuple:
    """What makes two runs the same one."""
    fields = (getattr(run, name) for name in FIELDS)
    return (*fields, run.seed, run.time_budget_s, run.corpus_fingerprint)


def _digest(key: tuple) -> str:
    return hashlib.blake2b(repr(key).encode(), digest_size=8).hexdigest()
