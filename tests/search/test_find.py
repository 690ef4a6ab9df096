"""The main job: what it returns, what it certifies, what it warns of."""

import dataclasses
import json

import pytest

from anybudget.objectives.flags import flags
from anybudget.search import find as find_module
from anybudget.search.answer import AT_THE_EDGE
from anybudget.search.certify import bounds
from anybudget.search.certify.scan import scan
from anybudget.search.explore import proposer, study
from anybudget.search.explore.study import Exploring
from anybudget.search.find import find
from anybudget.search.question import Question
from anybudget.space.architecture import FIELDS


def test_a_certified_answer_is_the_scan(small_space, objective):
    found = find(Question(space=small_space, objective=objective), top=5, distinct="architecture")
    scanned = scan(small_space, objective, top=5)
    assert found.certified
    assert [c.key for c in found.candidates] == [c.key for c in scanned.candidates]
    assert found.best.key == scanned.candidates[0].key
    assert found.n_valid == scanned.n_valid
    assert found.optuna_regret == 0


def test_distinct_shapes_are_the_best_of_each_width_and_depth(small_space, objective):
    every = scan(small_space, objective, top=10_000).candidates
    best = {}
    for candidate in every:
        best.setdefault((candidate.arch.d_model, candidate.arch.n_layers), candidate)
    expected = sorted(best.values(), key=lambda candidate: candidate.loss)
    found = find(Question(space=small_space, objective=objective), top=6)
    assert [c.key for c in found.candidates] == [c.key for c in expected[:6]]
    assert [c.key for c in found.shapes] == [c.key for c in expected]


def test_the_regret_is_optunas_best_above_the_optimum(small_space, objective, monkeypatch):
    monkeypatch.setattr(proposer, "polish", lambda candidate, space, objective: candidate)
    question = Question(space=small_space, objective=objective, seed=1)
    exploring = Exploring(n_trials=5, sampler="random")
    explored = study.explore(question, exploring)
    optimum = scan(small_space, objective, top=1).candidates[0].loss
    found = find(question, exploring=exploring)
    assert found.optuna_regret == pytest.approx(explored.best.loss - optimum, abs=1e-11)
    assert explored.best.loss - optimum > 0.01
    assert found.n_trials == 5


@pytest.mark.parametrize("why", ["not asked for", "too large"])
def test_without_a_certificate_it_says_so(small_space, objective, monkeypatch, why):
    if why == "too large":
        monkeypatch.setattr(find_module, "MAX_SCANNED", 5)
        monkeypatch.setattr(find_module, "MAX_SCANNED_AT_LAST", 5)
        monkeypatch.setattr(bounds, "MAX_FAMILIES", 5)
    found = find(
        Question(space=small_space, objective=objective),
        exploring=Exploring(n_trials=50),
        certify=why == "too large",
    )
    assert (found.certified, found.n_valid, found.optuna_regret) == (False, None, None)
    assert found.warnings[-1].startswith("not certified: ")
    assert found.candidates[0].arch in small_space


@pytest.mark.parametrize("distinct", ["shape", "architecture"])
def test_a_large_space_is_certified_by_bounds(small_space, objective, monkeypatch, distinct):
    question = Question(space=small_space, objective=objective)
    asked = {"distinct": distinct, "exploring": Exploring(n_trials=50)}
    by_scan = find(question, **asked)
    monkeypatch.setattr(find_module, "MAX_SCANNED", 5)
    found = find(question, **asked)
    assert (found.certified, found.n_valid) == (True, None)
    assert found.covered == "768 architectures, by bounds on what they reach"
    for name in ("candidates", "standings", "tied_shapes", "optuna_regret", "warnings"):
        assert getattr(found, name) == getattr(by_scan, name)


def test_where_bounds_give_up_all_are_evaluated(small_space, objective, monkeypatch):
    monkeypatch.setattr(find_module, "MAX_SCANNED", 5)
    monkeypatch.setattr(bounds, "MAX_BOXES", 5)
    found = find(Question(space=small_space, objective=objective), exploring=Exploring(n_trials=5))
    assert found.certified
    assert found.enumerated


@pytest.mark.parametrize("by", ["scan", "bounds"])
def test_beyond_the_law_s_reach_lies_a_guess_and_no_answer(small_space, objective, monkeypatch, by):
    if by == "bounds":
        monkeypatch.setattr(find_module, "MAX_SCANNED", 5)
    free = find(Question(space=small_space, objective=objective), exploring=Exploring(n_trials=9))
    largest = 0.25 * free.best.prediction.n_params
    law = dataclasses.replace(objective.law, n_params_range=(largest / 100, largest))
    limited = dataclasses.replace(objective, law=law, reach=3.0)
    every = scan(small_space, objective, top=10_000).candidates
    within = [one for one in every if one.prediction.n_params <= 3 * largest]
    found = find(
        Question(space=small_space, objective=limited),
        distinct="architecture",
        exploring=Exploring(n_trials=9),
    )
    assert [one.key for one in found.candidates] == [one.key for one in within[:5]]
    width, depth = free.best.shape
    guess = f"largest run the law would choose {width}×{depth} (4 times)"
    assert any(guess in warning for warning in found.warnings)
    # Asked for by name, it is the answer and marked.
    told = flags(dataclasses.replace(limited, reach=None), free.best.arch, free.best.prediction)
    assert not any(warning.startswith("a guess") for warning in told)
    smaller = dataclasses.replace(law, n_params_range=(largest / 100, largest / 4))
    told = flags(dataclasses.replace(objective, law=smaller), free.best.arch, free.best.prediction)
    assert any(warning.startswith("a guess") for warning in told)


def test_a_certified_search_answers_where_optuna_tried_nothing_that_fits(small_space, objective):
    seeds = [
        seed
        for seed in range(20)
        if not study.explore(
            Question(space=small_space, objective=objective, seed=seed), study.Exploring(n_trials=1)
        ).candidates
    ]
    found = find(
        Question(space=small_space, objective=objective, seed=seeds[0]),
        exploring=Exploring(n_trials=1),
    )
    assert found.best.key == scan(small_space, objective, top=1).candidates[0].key
    assert found.optuna_regret is None
    with pytest.raises(ValueError, match="none of 1 architectures tried fits toy"):
        find(
            Question(space=small_space, objective=objective, seed=seeds[0]),
            exploring=Exploring(n_trials=1),
            certify=False,
        )


def test_nothing_fits(small_space, objective):
    hopeless = dataclasses.replace(objective, time_budget_s=1e-6)
    with pytest.raises(ValueError, match="none of 768 architectures in the space fits toy and mak"):
        find(Question(space=small_space, objective=hopeless))


def test_the_warnings_are_flags_and_bounds_of_the_winner(small_space, objective):
    found = find(Question(space=small_space, objective=objective))
    told = flags(objective, found.best.arch, found.best.prediction)
    bounds = small_space.bounds(found.best.arch)
    assert bounds
    assert found.warnings[: len(told)] == told
    [at_bounds] = found.warnings[len(told) :]
    assert at_bounds.startswith(f"{AT_THE_EDGE}: {'; '.join(bounds)}. toy-law sees only parameters")


def test_the_frame_has_every_quantity_on_the_way(small_space, objective):
    frame = find(Question(space=small_space, objective=objective), top=8).frame
    assert list(frame.columns) == [
        *FIELDS,
        "n_params",
        "n_params_non_embedding",
        "step_time_s",
        "n_steps",
        "n_tokens",
        "tokens_per_param",
        "memory_bytes",
        "remat",
        "sharding",
        "n_replicas",
        "tensor_parallel",
        "pipeline_parallel",
        "virtual_stages",
        "n_accumulation",
        "micro_batch_size",
        "predicted_loss",
        "loss_behind_best",
    ]
    assert len(frame) == 8
    best = frame.to_dict(orient="records")[0]
    for row in frame.to_dict(orient="records"):
        assert row["n_tokens"] == row["n_steps"] * row["batch_size"] * row["seq_len"]
        assert row["tokens_per_param"] == row["n_tokens"] / row["n_params"]
        assert row["loss_behind_best"] == row["predicted_loss"] - best["predicted_loss"]


def test_as_dict_is_one_json_object(small_space, objective):
    answer = json.loads(
        json.dumps(
            find(Question(space=small_space, objective=objective), top=3).as_dict(), allow_nan=False
        )
    )
    assert set(answer) >= {
        "time_budget_s",
        "device",
        "law",
        "n_valid",
        "certified",
        "optuna_regret",
        "warnings",
        "candidates",
    }
    assert answer["time_budget_s"] == 600
    assert answer["device"]["name"] == "toy"
    assert len(answer["candidates"]) == 3
    assert type(answer["candidates"][0]["n_params"]) is int
    assert type(answer["candidates"][0]["gated_mlp"]) is bool


def test_progress_reaches_its_totals(small_space, objective):
    done, totals = {"Optuna": 0, "certify": 0}, {}

    def report(stage, n, total):
        done[stage] += n
        totals[stage] = total

    find(
        Question(space=small_space, objective=objective),
        exploring=Exploring(n_trials=70),
        on_progress=report,
    )
    assert done == totals == {"Optuna": 70, "certify": 768}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"top": 0}, "`top` must be at least 1, but got 0"),
        ({"exploring": Exploring(n_trials=0)}, "`n_trials` must be at least 1, but got 0"),
        ({"distinct": "width"}, "`distinct` must be shape or architecture, but got 'width'"),
        (
            {"exploring": Exploring(sampler="annealing")},
            "a sampler is one of auto, .* but got 'annealing'",
        ),
    ],
)
def test_refused(small_space, objective, change, message):
    with pytest.raises(ValueError, match=message):
        find(Question(space=small_space, objective=objective), **change)
