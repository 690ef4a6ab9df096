"""A batch against `find`, row by row; what it keeps, and what a kill leaves of it."""

import dataclasses
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest

from anybudget.files.rows import read_rows
from anybudget.objectives.uncertainty import Draws
from anybudget.search import ranking
from anybudget.search.batch import run as batch
from anybudget.search.batch.plan import load_plan
from anybudget.search.batch.row import KeptRow
from anybudget.search.batch.run import KEPT, run_batch
from anybudget.search.certify.frontier import serves
from anybudget.search.explore.study import Exploring
from anybudget.search.find import find
from anybudget.search.question import Question
from anybudget.tests.priced import priced_device

PLAN = """
[defaults]
set = {d_model = "256:768:128", d_ff = "512:5632:1024"}
law = ["besiroglu-2024", "hoffmann-2022"]

[[search]]
device = ["tpu-v5e-datasheet", "a100-80gb-datasheet"]
budget = ["10m", "3h"]

[[search]]
name = "little data"
device = "dear.toml"
budget = "1d"
data_limit_tokens = 1e9
remat = "layer"
"""
DEAR = priced_device("dear")


@pytest.fixture
def plan(tmp_path):
    """The path of a plan, with the device that it names beside it."""
    (tmp_path / "dear.toml").write_text(DEAR)
    path = tmp_path / "plan.toml"
    path.write_text(PLAN)
    return path


def test_every_row_is_what_find_says(plan, tmp_path):
    questions = load_plan(plan)
    table = run_batch(questions, tmp_path)
    assert len(table) == len(questions) == 10
    for question, row in zip(questions, table.to_dict(orient="records"), strict=True):
        found = find(
            Question(space=question.space, objective=question.objective, draws=question.draws),
            exploring=Exploring(n_trials=1),
        )
        assert found.certified
        assert row["status"] == "certified"
        assert row | found.best.as_dict() == row
        assert row["warnings"] == "; ".join(found.warnings)
        if question.draws:
            assert found.standings is not None
            standing = dataclasses.asdict(found.standings[0])
            for name in ("loss_low", "loss_high", "p_best"):
                assert row[name] == pytest.approx(standing[name], rel=1e-12)
            assert row["n_tied"] == len(found.tied_shapes)
        else:
            assert pd.isna(row["loss_low"])


def test_a_law_s_reach_leaves_the_same_out_as_in_find(plan, tmp_path):
    question = next(one for one in load_plan(plan) if serves(one.objective))
    best = find(question, exploring=Exploring(n_trials=1)).best
    largest = best.prediction.n_params / 8
    law = dataclasses.replace(question.objective.law, n_params_range=(largest / 100, largest))
    near = dataclasses.replace(
        question, objective=dataclasses.replace(question.objective, law=law, reach=4.0)
    )
    [row] = run_batch([near], tmp_path).to_dict(orient="records")
    found = find(near, exploring=Exploring(n_trials=1))
    assert row | found.best.as_dict() == row
    assert row["n_params"] <= 4 * largest
    assert row["warnings"] == "; ".join(found.warnings[len(near.warnings) :])


def test_cost_is_price_times_time(plan, tmp_path):
    for row in run_batch(load_plan(plan), tmp_path).to_dict(orient="records"):
        if row["device"] == "dear":
            assert row["cost_usd"] == 60.0
        else:
            assert pd.isna(row["cost_usd"])


def test_several_chips_are_searched_apart_and_all_paid_for(plan, tmp_path):
    text = DEAR + "interconnect_bytes_per_s = 1e10\n"
    (tmp_path / "dear.toml").write_text(text)
    search = '[[search]]\ndevice = "dear.toml"\nbudget = "1h"\nchips = [1, 4]\n'
    space = 'd_model = "256:768:128", d_ff = "512:6144:512", batch_size = [128, 256]'
    plan.write_text(f"{search}set = {{{space}}}\n")
    questions = load_plan(plan)
    rows = run_batch(questions, tmp_path).to_dict(orient="records")
    for question, row in zip(questions, rows, strict=True):
        found = find(
            Question(space=question.space, objective=question.objective, draws=question.draws),
            exploring=Exploring(n_trials=1),
        )
        assert row | found.best.as_dict() == row
    assert [row["cost_usd"] for row in rows] == [2.5, 10.0]
    assert [row["device"] for row in rows] == ["dear", "4 × dear"]
    plan.write_text(search.replace("[1, 4]", "3") + "set = {batch_size = 8}\n")
    with pytest.raises(
        ValueError, match=r"line 4: search\[0\]: `chips`: .* multiple of the 3 chips"
    ):
        load_plan(plan)


def test_the_winner_moves_as_far_as_the_draws_say(plan, tmp_path, monkeypatch):
    monkeypatch.setattr(ranking, "AS_GOOD", 0.0)
    question = load_plan(plan)[0]
    # A kernel that was not timed is never certain.
    plain = dataclasses.replace(question.objective, attention="plain")
    question = dataclasses.replace(question, objective=plain)
    law, model = question.objective.law, question.objective.device.step_time_model
    laws = np.array([[law.E, law.A, law.B, law.alpha, law.beta]] * 40)
    seconds = np.array([list(model.seconds_per_unit.values())])
    certain = Draws(laws=laws, law_residual=0.0, seconds_per_unit=seconds, time_residual=0.0)
    spread = np.geomspace(0.05, 20, 41)[:, None] * seconds
    unsure = dataclasses.replace(certain, seconds_per_unit=spread)
    questions = [dataclasses.replace(question, draws=draws) for draws in (certain, unsure)]
    still, moved = run_batch(questions, tmp_path).to_dict(orient="records")
    for name in ("n_params", "n_tokens", "d_model", "n_layers"):
        assert still[f"{name}_low"] == still[name] == still[f"{name}_high"]
    assert still["p_best"] == 1
    assert moved["n_params_low"] <= moved["n_params"] < moved["n_params_high"]
    assert moved["loss_low"] < moved["predicted_loss"] < moved["loss_high"]


def test_what_cannot_be_is_a_row_of_its_own(plan, tmp_path):
    plan.write_text('[[search]]\nbudget = ["1s", "0.001s"]\nset = {d_model = 1024}\n')
    table = run_batch(load_plan(plan), tmp_path)
    assert list(table["status"]) == ["certified", "infeasible"]
    assert table["predicted_loss"].isna().tolist() == [False, True]


def test_a_law_that_steps_harm_is_scanned(plan, tmp_path):
    question = load_plan(plan)[0]
    law = dataclasses.replace(question.objective.law, terms={"inverse_steps": -50.0})
    objective = dataclasses.replace(question.objective, law=law)
    asked = dataclasses.replace(question, objective=objective, draws=None)
    [row] = run_batch([asked], tmp_path).to_dict(orient="records")
    found = find(Question(space=asked.space, objective=objective), exploring=Exploring(n_trials=1))
    assert row | found.best.as_dict() == row


def test_a_rerun_does_what_is_missing_and_an_edit_what_is_new(plan, tmp_path, monkeypatch):
    searched = []
    search_all = batch.search_all

    def spy(questions, on_progress):
        searched.append([question.title for question in questions])
        return search_all(questions, on_progress)

    monkeypatch.setattr(batch, "search_all", spy)
    first = run_batch(load_plan(plan), tmp_path)
    again = run_batch(load_plan(plan), tmp_path)
    plan.write_text(PLAN.replace('"3h"', '"4h"').replace("little data", "renamed"))
    edited = run_batch(load_plan(plan), tmp_path)
    assert [len(titles) for titles in searched] == [10, 0, 4]
    assert all(title.startswith("4h") for title in searched[2])
    pd.testing.assert_frame_equal(first, again)
    before, after = (table.drop(columns="search").to_dict("records") for table in (first, edited))
    kept = [at for at, row in enumerate(after) if row["budget"] != "4h"]
    assert str([after[at] for at in kept]) == str([before[at] for at in kept])
    assert len(kept) == 6
    assert set(edited["search"]) == {"search[0]", "renamed"}


def test_a_change_of_a_device_s_file_is_searched_again(plan, tmp_path):
    before = run_batch(load_plan(plan), tmp_path).to_dict("records")
    (tmp_path / "dear.toml").write_text(DEAR.replace("1e14", "2e14"))
    after = run_batch(load_plan(plan), tmp_path).to_dict("records")
    for old, new in zip(before, after, strict=True):
        changed = old["device"] == "dear"
        assert (old["fingerprint"] != new["fingerprint"]) == changed
        assert (new["predicted_loss"] < old["predicted_loss"]) == changed


def start(plan, folder):
    command = [
        sys.executable,
        "-m",
        "anybudget",
        "batch",
        str(plan),
        "--out",
        str(folder),
        "--json",
    ]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def test_killed_and_run_again_it_ends_as_if_undisturbed(plan, tmp_path):
    text = PLAN.replace('["10m", "3h"]', str([f"{m}m" for m in range(10, 28)]))
    plan.write_text(text.replace(', "hoffmann-2022"', ""))
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    process = start(plan, killed)
    undisturbed = start(plan, whole)
    deadline = time.monotonic() + 60
    while not (killed / KEPT).exists() or not read_rows(killed / KEPT, KeptRow):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    with (killed / KEPT).open("a") as file:
        file.write("torn,cert")
    n_kept = (killed / KEPT).read_text().count("\n") - 1
    assert 0 < n_kept < 37
    for again in (start(plan, killed), undisturbed):
        _, complaints = again.communicate()
        assert again.returncode == 0, complaints
    tables = [
        pd.read_csv(folder / "batch.csv", dtype=str, keep_default_na=False)
        for folder in (whole, killed)
    ]
    assert len(tables[0]) == 37
    first, second = (one.drop(columns="searched_at").to_csv() for one in tables)
    assert first == second
    assert len((killed / KEPT).read_text().splitlines()) == 38
