"""Which model: find, predict, front, batch."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Unpack

from .unranked import sizes
from .words import Asked, Fields, Line, Stage, keep, silent, writable

if TYPE_CHECKING:
    import pandas as pd

    from ..search.answer import Answer
    from ..search.batch.run import Batch
    from ..search.predict import Predicted
    from ..search.question import Question
    from ..search.unranked.costed import Costed
    from ..search.unranked.sizes import Sizes
    from ..search.words import Words
    from ..space.architecture import Architecture


def find(
    budget: str,
    *,
    top: int = 5,
    distinct: Literal["shape", "architecture"] = "shape",
    trials: int = 300,
    sampler: str = "auto",
    storage: str | None = None,
    study: str = "anybudget",
    certify: bool = True,
    out: Path | str | None = None,
    command: str = "anybudget.find",
    on_progress: Stage = silent,
    **asked: Unpack[Asked],
) -> Answer | Sizes:
    """Find the architecture with the lowest predicted loss for a time budget.

    Args:
        budget: training time: `90s`, `15m`, `3h`, `1h30m`, `2d`.
        top: candidates to return.
        distinct: candidates differ in `shape` (width, depth) or `architecture`.
        trials: distinct architectures for Optuna to try.
        sampler: `auto`, `tpe`, `cma`, `nsga2`, `qmc` or `random`.
        storage: keep the study, alone or with others: a journal file, or a URL.
        study: name of the kept study.
        certify: prove the optimum, by enumeration or by bounds.
        out: folder for results, tables and, with the extra `figures`, pictures.
        command: what made it, for the records.
        on_progress: called with the stage, what is newly done in it, and the stage's total.
        **asked: see `Asked`.

    Returns:
        The answer; of mixers that take turns, as in `hybrid`, what each size reads, not ranked.

    Raises:
        ValueError: a word makes no sense, or nothing in the space is feasible.

    >>> answer = find("2m", device="cpu-core", d_model="64:256:64", trials=1)
    >>> answer.best.arch.d_model in (64, 128, 192, 256)
    True
    """
    from ..search.explore.study import Exploring
    from ..search.find import find
    from ..search.unranked.sizes import is_mixed

    exploring = Exploring(n_trials=trials, sampler=sampler, storage=storage, study_name=study)
    if is_mixed(words := _words(budget, asked)):
        return sizes(words, top, out, on_progress, distinct, exploring)
    folder = writable(out) if out else None
    answer = find(
        ask(budget, **asked),
        top=top,
        distinct=distinct,
        exploring=exploring,
        certify=certify,
        on_progress=on_progress,
    )
    if folder:
        keep(answer, folder, command)
    return answer


def ask(
    budget: str,
    arch: Architecture | None = None,
    *,
    free_batch: bool = False,
    **asked: Unpack[Asked],
) -> Question:
    """The question that the words put, with what is to be known of this machine.

    Of one architecture, where `free_batch` and its price is known, in whatever batch is best.

    >>> ask("90m", device="tpu-v5e").objective.time_budget_s
    5400.0
    """
    from ..search.question import ask

    question = ask(_words(budget, asked), arch, free_batch=free_batch)
    return _warned(question)


def _words(budget: str, asked: Mapping[str, Any]) -> Words:
    """Words as a question takes them."""
    from ..search.words import Words, settings_of

    words = dict(asked)
    fields = {name: words.pop(name) for name in Fields.__annotations__ if name in words}
    settings, column = (settings_of(words.pop(name, ())) for name in ("set", "column"))
    settings += settings_of(fields)
    return Words(budget=budget, settings=settings, column=column, **words)


def front(
    budget: str | Question,
    against: Literal["time", "memory", "money"],
    *,
    certify: bool = True,
    trials: int = 2000,
    out: Path | str | None = None,
    on_progress: Stage = silent,
    **asked: Unpack[Asked],
) -> pd.DataFrame:
    """Trade predicted loss against training time, money or memory: a Pareto front.

    Args:
        budget: the longest training time; or what `ask` answered, and then no words.
        against: `time`, `money` or `memory`.
        certify: prove the lowest loss at each of several limits.
        trials: architectures to try where nothing is to be proved.
        out: folder for the table, `front.csv`.
        on_progress: as for `find`.
        **asked: see `Asked`.

    Returns:
        Candidates with their `time_budget_s`, ascending in the cost, none beaten in both.

    Raises:
        ValueError: a word makes no sense, or nothing that was tried is feasible.

    >>> few = {"d_model": "64:256:64"}
    >>> table = front("2m", "memory", device="cpu-core", set=few, certify=False, trials=20)
    >>> table["memory_bytes"].is_monotonic_increasing
    True
    """
    from ..search.front import front

    question = ask(budget, **asked) if isinstance(budget, str) else budget
    folder = writable(out) if out else None
    frame = front(
        question, against=against, certify=certify, n_trials=trials, on_progress=on_progress
    )
    if folder:
        from ..files.write import csv_text, write_whole

        write_whole(folder / "front.csv", csv_text(frame))
    return frame


def predict(
    budget: str,
    *,
    config: Path | str | None = None,
    **words: Any,
) -> Predicted | Costed:
    """Predict step time, tokens and loss of one architecture, part by part.

    Args:
        budget: training time, as for `find`.
        config: a Hugging Face `config.json`.
        **words: fields of `Architecture`, what is left out being as in the law's runs (vocabulary
            and length), the best (the batch, on accelerators) or customary; and of `Chain`.

    Returns:
        Step time, tokens and loss; of a config whose blocks no law has seen, such as experts, all
        but the loss.

    Raises:
        ValueError: a word makes no sense, or the architecture is not valid.

    >>> predict("3h", device="tpu-v5e", d_model=768, n_layers=12).candidate.prediction.n_params
    123587328
    """
    from ..presets.known import known
    from ..search.predict import predict, read_architecture
    from ..search.question import of_the_device
    from ..search.unranked.costed import costed
    from ..space.architecture import FIELDS
    from ..space.decoder import Decoder

    fields = {name: words.pop(name) for name in FIELDS if name in words}
    law = known(words.get("device"), words.get("law")).law.law
    arch, note = read_architecture(fields, Path(config) if config else None, law=law)
    if isinstance(arch, Decoder):
        question = ask(budget, **words)
        told = of_the_device(question.objective.device, words.get("device"))
        return costed(arch, question.objective, (*told, *([note] if note else [])))
    free_batch = "batch_size" not in fields
    return predict(ask(budget, arch, free_batch=free_batch, **words), note)


def batch(
    plan: Path | str,
    *,
    seed: int | None = None,
    out: Path | str | None = None,
    command: str = "anybudget.batch",
    on_progress: Stage = silent,
    on_warning: Line = silent,
) -> Batch:
    """Make many searches, those on one space at the price of a few; take up where stopped.

    Args:
        plan: a TOML file of searches.
        seed: of all randomness, where the plan says nothing.
        out: folder for results; default: the plan's name, beside it.
        command: what made it, for the records.
        on_progress: as for `find`.
        on_warning: called before the work with each sentence of what to beware of.

    Raises:
        ValueError: the plan has a mistake, or what was kept there cannot be read.

    >>> batch("plan.toml").table["status"].tolist()
    ['certified']
    """
    from ..files.lock import held
    from ..machines.extras import left_out
    from ..search.batch.plan import load_plan
    from ..search.batch.run import Batch, run_batch
    from ..show.save_batch import save_batch

    plan = Path(plan)
    questions = [
        _warned(question) for question in load_plan(plan, seed=seed or 0, on_progress=on_progress)
    ]
    folder = writable(out or plan.with_suffix(""))
    for warning in dict.fromkeys(warning for one in questions for warning in one.warnings):
        on_warning(warning)
    for note in (
        *left_out("batch.parquet", "parquet", "pyarrow"),
        *left_out("figures", "figures", "matplotlib"),
    ):
        on_warning(note)
    with held(folder):
        done = Batch.of(questions, run_batch(questions, folder, on_progress=on_progress), folder)
        files = save_batch(questions, done.table, done.curves, folder, plan=plan, command=command)
    return dataclasses.replace(done, files=files)


def _warned(question: Question) -> Question:
    """The question with a sentence where its device was calibrated on another machine."""
    from ..validation.backend import machine_warning

    device = question.objective.device
    if question.words.device is None and device.basis != "measured":
        return question  # that it is the default is told already
    if not (warning := machine_warning(device)):
        return question
    return dataclasses.replace(question, warnings=(warning, *question.warnings))
