"""The loop from training back to search, with a trainer that obeys a law of its own."""

import dataclasses
import datetime
import json

import numpy as np
import pandas as pd
import pytest

from anybudget.objectives.cost.counts import n_params, n_params_non_embedding
from anybudget.search.candidate import Candidate
from anybudget.search.find import find
from anybudget.search.question import Question
from anybudget.validation.confirm.choose import Choice
from anybudget.validation.confirm.refine import merged, refine
from anybudget.validation.confirm.train_all import Training
from anybudget.validation.runs import Run


@pytest.fixture
def truth(objective):
    """What training here obeys: size matters half as much as `objective`'s law says."""
    return dataclasses.replace(
        objective.law, name="truth", A=objective.law.A / 2, B=objective.law.B / 10, E=1.0
    )


@pytest.fixture
def result(small_space, objective):
    space = dataclasses.replace(small_space, vocab_size=(512,), batch_size=(4,))
    quick = dataclasses.replace(objective, time_budget_s=4.0)
    return find(Question(space=space, objective=quick))


@pytest.fixture
def earlier(tmp_path, truth):
    """Runs over a wide range of N and D, with 0.1% of noise."""
    sizes, tokens = (
        axis.ravel() for axis in np.meshgrid(np.geomspace(1e4, 1e8, 5), np.geomspace(1e5, 1e9, 5))
    )
    noise = np.exp(0.001 * np.random.default_rng(0).standard_normal(25))
    path = tmp_path / "earlier.csv"
    table = {
        "n_params": sizes,
        "n_tokens": tokens,
        "measured_loss": truth.loss(sizes, tokens) * noise,
    }
    pd.DataFrame(table).to_csv(path, index=False)
    return path


def trainer(objective, truth):
    """A training that takes as long as predicted and obeys `truth` at once."""
    lawful = dataclasses.replace(objective, law=truth)
    calls = []

    def train_one(arch, tokens, *, time_budget_s, seed, upkeep, **settings):
        calls.append(arch)
        upkeep.checkpoint_dir.mkdir(parents=True, exist_ok=True)
        at_time = dataclasses.replace(lawful, time_budget_s=time_budget_s)
        predicted = Candidate.of(arch, at_time).prediction
        return Run(
            **arch.as_dict(),
            **settings["execution"].columns(arch),
            corpus=tokens.corpus,
            corpus_fingerprint=tokens.corpus_fingerprint,
            seed=seed,
            device="toy",
            recipe="none",
            learning_rate=1e-3,
            time_budget_s=time_budget_s,
            n_params=n_params(arch),
            n_params_non_embedding=n_params_non_embedding(arch),
            status="ok",
            n_steps=predicted.n_steps,
            n_tokens=predicted.n_tokens,
            step_time_s=predicted.step_time_s,
            measured_loss=predicted.predicted_loss,
            started=datetime.datetime.now(datetime.UTC),
            versions="none",
        )

    return train_one, calls


def test_the_loop_finds_the_true_optimum_and_stops(result, truth, text, earlier, tmp_path):
    train_one, calls = trainer(result.objective, truth)
    settings = {
        "runs": [earlier],
        "rounds": 4,
        "choice": Choice(top=2, contrast=3),
        "training": Training(corpus=str(text), cache_dir=tmp_path / "cache", train_one=train_one),
    }
    rounds = list(refine(result, tmp_path / "out", **settings))
    lawful = dataclasses.replace(result.objective, law=truth)
    assert rounds[-1].settled
    assert (
        rounds[-1].found.best.shape
        == find(Question(space=result.space, objective=lawful)).best.shape
    )
    assert pytest.approx(truth.A, rel=0.2) == rounds[-1].law_after.A
    for one in rounds:
        kept = json.loads((tmp_path / "out" / f"round-{one.number}" / "round.json").read_text())
        assert kept == json.loads(json.dumps(one.as_dict()))

    n_calls = len(calls)
    again = list(refine(result, tmp_path / "out", **settings))
    assert len(calls) == n_calls
    assert [one.as_dict() for one in again] == [one.as_dict() for one in rounds]


def test_a_merged_table_has_the_common_columns():
    both = merged([{"a": np.array([1]), "b": np.array([2])}, {"a": np.array([3])}])
    assert list(both) == ["a"]
    assert both["a"].tolist() == [1, 3]


def test_no_rounds_are_refused(result, tmp_path):
    with pytest.raises(ValueError, match="`rounds` must be at least 1, but got 0"):
        next(refine(result, tmp_path, rounds=0))
