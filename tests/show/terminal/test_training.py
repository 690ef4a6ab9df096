"""What to do with an answer: what the lines say, and that they are 80 wide."""

import dataclasses
import io
from pathlib import Path

import pytest
from rich.console import Console

from anybudget.search.candidate import Candidate
from anybudget.show.export.brief import Brief
from anybudget.show.terminal.training import show_training
from anybudget.space.architecture import Architecture

SHAPE = {"d_model": 64, "n_layers": 2, "vocab_size": 300, "seq_len": 16}


@pytest.fixture
def told(objective):
    def told(folder=None, batch_size=2, **changes):
        asked = dataclasses.replace(objective, **changes)
        candidate = Candidate.of(Architecture.from_shape(**SHAPE, batch_size=batch_size), asked)
        console = Console(file=io.StringIO(), width=80)
        for line in show_training(candidate, asked, folder):
            console.print(line)
        return candidate, console.file.getvalue().splitlines()  # type: ignore[union-attr]

    return told


def test_batch_steps_rates_and_data(told, objective):
    candidate, lines = told(time_budget_s=3600.0)
    brief = Brief(candidate=candidate, objective=objective)
    assert max(map(len, lines)) <= 80
    text = "\n".join(line.strip() for line in lines)
    assert "batch 2 × 16 = 32 tokens, 2 at a time" in text
    assert f"steps {candidate.prediction.n_steps:,}, of which" in text
    assert f"rate  {brief.learning_rate:.2g} at the peak" in text
    assert "find … --out DIR, then anybudget" in text
    assert "unique" not in text


def test_the_folder_of_a_result_and_data_that_repeat(told):
    _, lines = told(Path("runs/x"), time_budget_s=3600.0, data_limit_tokens=1000)
    assert any("1k of them unique" in line for line in lines)
    assert lines[-1].split(maxsplit=1)[1].startswith(("anybudget confirm runs/x", "anybudget exp"))


def test_nothing_of_what_cannot_be_trained(told):
    assert told(time_budget_s=1e-9)[1] == []
