"""The command `export`: files where they are said to be, and one clear line for each mistake."""

import dataclasses
import json

import pytest

from anybudget.search.explore.study import Exploring
from anybudget.search.find import find
from anybudget.search.question import Question
from anybudget.show.export.export import TRAINERS
from anybudget.show.save import save


@pytest.fixture
def result(small_space, objective, tmp_path):
    """The folder of a search among models with a gate."""
    space = dataclasses.replace(small_space, gated_mlp=(True,))
    folder = tmp_path / "result"
    folder.mkdir()
    save(
        find(Question(space=space, objective=objective), top=3, exploring=Exploring(n_trials=1)),
        folder,
        command="find 10m",
    )
    return folder


@pytest.mark.parametrize("trainer", ["hf", "levanter", "maxtext"])
def test_files_are_written_where_it_says(run, result, trainer):
    code, out, err = run("export", result, "--to", trainer)
    assert (code, err) == (0, "")
    folder = result / "export" / trainer
    assert f"Written to {folder}: " in out
    assert all(path.name in out.splitlines()[-1] for path in folder.iterdir())
    assert "What the trainer does otherwise, or wants:\n- " in out
    assert str(folder) in next(line for line in out.splitlines() if line.startswith("Start: "))


def test_json_is_one_document(run, result, tmp_path):
    folder = tmp_path / "elsewhere"
    code, out, err = run("export", result, "--to", "hf", "--json", "--out", folder)
    assert (code, err) == (0, "")
    answer = json.loads(out)
    assert sorted(answer["files"]) == sorted(str(path) for path in folder.iterdir())
    for path in folder.iterdir():
        assert json.loads(path.read_text()) == answer["config"][path.name]


@pytest.mark.parametrize(
    ("kind", "attention", "told"),
    [("gpu", "plain", True), ("gpu", "fused", False), ("cpu", "plain", False)],
)
def test_that_an_accelerator_s_trainer_fuses_attention_is_told(
    run, small_space, objective, tmp_path, kind, attention, told
):
    device = dataclasses.replace(objective.device, kind=kind)
    asked = dataclasses.replace(objective, device=device, attention=attention)
    space = dataclasses.replace(small_space, gated_mlp=(True,))
    save(
        find(Question(space=space, objective=asked), top=1, exploring=Exploring(n_trials=1)),
        tmp_path,
        command="find 10m",
    )
    _, out, _ = run("export", tmp_path, "--to", "maxtext")
    text = (tmp_path / "export/maxtext/maxtext.yml").read_text()
    for one in (out, text):
        assert ("`find --attention fused` predicts that" in one) == told
    assert f"on {asked.machine}" in text


def test_another_candidate_is_another_model(run, result):
    rows = json.loads((result / "result.json").read_text())["candidates"]
    widths = []
    for k in (1, 2, 3):
        _, out, _ = run("export", result, "--to", "hf", "--json", "--candidate", k)
        config = json.loads(out)["config"]["config.json"]
        widths.append((config["hidden_size"], config["num_hidden_layers"]))
    assert widths == [(row["d_model"], row["n_layers"]) for row in rows]
    assert len(set(widths)) == 3


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--to", "maxtxt"), "--to must be a trainer that is known, but got 'maxtxt'; did you m"),
        (("--to", "hf", "--candidate", "0"), "`candidate` must be from 1 to 3, the number in"),
        (("--to", "hf", "--candidate", "4"), "in the result, but got 4; `find --top` keeps more"),
        (("--to", "nanogpt"), "nanogpt cannot have gated_mlp=true"),
        (("--to", "hf", "--seed", "-1"), 'Invalid value "-1" for --seed'),
        (("--to", "hf", "--out", "/dev/null/x"), "cannot be written: Not a directory"),
        ((), "--to requires an argument"),
    ],
)
def test_a_mistake_is_one_clear_line_and_exit_code_2(run, result, words, message):
    code, out, err = run("export", result, *words)
    assert (code, out) == (2, "")
    assert err.startswith("anybudget: ")
    assert err.count("\n") == 1
    assert message in err
    assert not list(result.glob("export/*/*"))


def test_no_result(run, tmp_path):
    code, out, err = run("export", tmp_path / "none", "--to", "hf")
    assert (code, out) == (2, "")
    assert "there is no" in err


def test_every_trainer_is_in_the_help(run):
    _, out, _ = run("export", "--help")
    assert all(name in out for name in TRAINERS)
