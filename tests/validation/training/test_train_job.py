"""Training on an engine gives the rows that training here gives."""

import dataclasses
import os
import shutil
from unittest import mock

import pytest

from anybudget.machines.engines import Engine
from anybudget.machines.machine import count_cores
from anybudget.search.explore.study import Exploring
from anybudget.search.find import find
from anybudget.search.question import Question
from anybudget.validation.confirm.choose import Choice
from anybudget.validation.confirm.confirm import confirm
from anybudget.validation.confirm.train_all import Training
from anybudget.validation.runs import Run, read_rows
from anybudget.validation.training.corpus import load_corpus
from anybudget.validation.training.tokens import prepare_tokens
from anybudget.validation.training.train import train
from anybudget.validation.training.train_job import open_text, training

TIMINGS = {"step_time_s", "step_time_spread", "tokens_per_s", "mfu", "started"}
LOSSES = {"measured_loss", "bits_per_byte"}


def twelve_steps(arch, tokens, *, time_budget_s, upkeep, **settings):
    """As `train`, but for so many steps, in float32 on any processor, so that runs are equal."""
    upkeep = dataclasses.replace(upkeep, n_heldout_tokens=2048)
    with mock.patch("anybudget.validation.backend.has_amx", return_value=False):
        run = train(arch, tokens, n_steps=12, upkeep=upkeep, **settings)
    return run.model_copy(update={"time_budget_s": time_budget_s})


def rows_by_model(folder):
    """What is the same however it was compiled and in how many threads, and the losses."""
    rows = read_rows(folder / "runs.csv", Run)
    assert len({row.architecture for row in rows}) == len(rows)
    rows.sort(key=lambda row: row.n_params)
    losses = [row.measured_loss for row in rows]
    return [row.model_dump(exclude=TIMINGS | LOSSES) for row in rows], losses


@pytest.mark.skipif(count_cores() < 2, reason="two workers need two cores")
def test_two_workers_confirm_what_one_does(small_space, objective, text, tmp_path, monkeypatch):
    """With ANYBUDGET_SLOW=1, what the tests' quick compilation trains, the slow one does too."""
    small = {"d_model": (64,), "n_layers": (1, 2), "vocab_size": (512,), "batch_size": (4,)}
    space = dataclasses.replace(small_space, **small)
    found = find(
        Question(space=space, objective=dataclasses.replace(objective, time_budget_s=4.0)),
        top=2,
        exploring=Exploring(n_trials=1),
    )
    choice = Choice(top=2, contrast=0)
    alone = Training(corpus=str(text), cache_dir=tmp_path, train_one=twelve_steps)
    confirm(found, tmp_path / "one", choice=choice, training=alone)
    if os.environ.get("ANYBUDGET_SLOW"):
        monkeypatch.delenv("XLA_FLAGS")
    lines = []
    together = dataclasses.replace(alone, engine=Engine(n_workers=2, n_cores=1))
    confirmation = confirm(
        found, tmp_path / "two", choice=choice, training=together, on_progress=lines.append
    )
    (one, loss_of_one), (two, loss_of_two) = (
        rows_by_model(tmp_path / name) for name in ("one", "two")
    )
    assert two == one
    assert loss_of_two == pytest.approx(loss_of_one, 1e-5)
    assert [line[:5] for line in lines[-2:]] == ["[1/2]", "[2/2]"]
    assert len(confirmation.machines) == 1
    # Neither jobs nor checkpoints are left, and nothing is trained again.
    left = {path.name for path in (tmp_path / "two").iterdir()}
    assert left == {"runs.csv"}
    again = confirm(found, tmp_path / "two", choice=choice, training=together)
    assert again.comparison.as_dict() == confirmation.comparison.as_dict()
    assert again.machines == frozenset()


def test_a_text_is_the_drivers_or_the_same_made_anew(text, tmp_path, small_space, objective):
    tokens = prepare_tokens(load_corpus(text), vocab_size=512, cache_dir=tmp_path / "driver")
    arguments = training(
        train,
        next(
            iter(
                find(
                    Question(space=small_space, objective=objective),
                    top=1,
                    exploring=Exploring(n_trials=1),
                ).candidates
            )
        ).arch,
        tokens,
        read={"name_or_path": str(text)},
        device=objective.device,
        checkpoint=tmp_path / "checkpoint",
    )
    assert arguments["train"] == "anybudget.validation.training.train:train"
    mapped = open_text(**arguments["text"])
    assert (mapped.train == tokens.train).all()
    assert mapped.fingerprint == tokens.fingerprint
    shutil.rmtree(tmp_path / "driver")
    text.write_text(text.read_text() + "\n<|doc|>\nOne more.")
    with pytest.raises(ValueError, match=r"the text of words\.txt must be the same on every"):
        open_text(**arguments["text"])
