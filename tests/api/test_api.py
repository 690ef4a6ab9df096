"""The commands as functions: the words of the command line, and its answers."""

import dataclasses
import json
import subprocess
import sys

import pandas as pd
import pytest

import anybudget
from anybudget import PUBLIC, api
from anybudget.api.words import Asked, Fields
from anybudget.cli.options import Chain, Space
from anybudget.objectives.cost.counts import n_params, n_params_non_embedding
from anybudget.presets.laws import load_law
from anybudget.presets.spaces import KEYS
from anybudget.search.words import Words
from anybudget.space.architecture import Architecture

FEW = {"device": "cpu-core", "set": {"d_model": "64:256:64", "batch_size": [4, 8]}, "trials": 1}
TYPED = ("--device", "cpu-core", "--set", "d_model=64:256:64", "--set", "batch_size=4,8",
         "--trials", 1)  # fmt: skip


def test_the_package_hands_on_every_function():
    for name in PUBLIC:
        assert getattr(anybudget, name) is getattr(api, name)
        assert name in dir(anybudget)
    with pytest.raises(AttributeError, match="has no attribute 'fnid'"):
        _ = anybudget.fnid


def test_reading_the_package_reads_no_room():
    code = "import sys, anybudget; print([m for m in sys.modules if m.startswith('anybudget.')])"
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "[]\n"


def test_find_answers_what_the_command_prints(run):
    code, out, _ = run("find", "2m", *TYPED, "--json")
    assert code == 0
    answer = anybudget.find("2m", **FEW)
    by_field = {"device": FEW["device"], "trials": 1} | FEW["set"]
    assert anybudget.find("2m", **by_field).as_dict() == answer.as_dict()
    assert json.loads(json.dumps(answer.as_dict())) == json.loads(out)


def test_predict_answers_what_the_command_prints(run):
    code, out, _ = run("predict", "3h", "--d-model", 768, "--n-layers", 12, "--json")
    assert code == 0
    predicted = anybudget.predict("3h", d_model=768, n_layers=12)
    assert json.loads(json.dumps(predicted.as_dict())) == json.loads(out)
    assert "is the default, whatever this machine is" in predicted.warnings[0]


def test_a_front_of_words_or_of_a_question():
    words = {name: FEW[name] for name in ("device", "set")}
    frame = anybudget.front("2m", "memory", trials=20, **words)
    again = anybudget.front(anybudget.ask("2m", **words), "memory", trials=20)
    assert len(frame)
    assert frame.equals(again)


def test_what_find_wrote_is_what_others_read(tmp_path):
    found = anybudget.find("2m", out=tmp_path, command="made here", **FEW)
    exported = anybudget.export(tmp_path, to="hf")
    assert (tmp_path / "export/hf" / next(iter(exported.files))).exists()
    assert anybudget.export(found, to="hf").files == exported.files
    page = anybudget.report(tmp_path)
    assert "made here" in page.read_text(encoding="utf-8")
    with pytest.raises(ValueError, match="`out` must name a folder where the result is no folder"):
        anybudget.confirm(found)


def test_words_and_their_defaults_are_the_same_everywhere():
    words = {field.name for field in dataclasses.fields(Words)}
    asked = set(Asked.__annotations__)
    assert {*Fields.__annotations__} == {*KEYS}
    assert asked - {"set", *KEYS} == words - {"budget", "name", "settings"}
    typed = dataclasses.asdict(Chain()) | dataclasses.asdict(Space())
    assert typed == {name: getattr(Words(), name) for name in typed}


def test_a_word_that_there_is_not():
    with pytest.raises(TypeError, match="devise"):
        anybudget.find("3h", devise="tpu-v5e")


def test_results_are_short_in_a_line_and_tables_in_a_notebook(tmp_path):
    answer = anybudget.find("2m", **FEW)
    predicted = anybudget.predict("2m", device="cpu-core", d_model=64, n_layers=2)
    rows = [
        f"{n:.0f},{d:.0f},{1.8 + 480 / n**0.35 + 2000 / d**0.37:.5f}"
        for n in (1e6, 1e7, 1e8)
        for d in (1e8, 3e8, 1e9)
    ]
    (tmp_path / "runs.csv").write_text("n_params,n_tokens,measured_loss\n" + "\n".join(rows))
    law = anybudget.fit(tmp_path / "runs.csv", form="none", draws=100)
    shape = "×".join(map(str, answer.best.shape))
    for result, told in ((answer, f"train {shape}"), (predicted, "64×2 in 2m"), (law, "9 runs")):
        assert told in repr(result)
        assert len(repr(result)) < 200
        html = result._repr_html_()
        assert html.startswith("<p>")
        assert html.count("<tr") == 1 + len(result.frame)
    assert law.frame.loc["alpha", "value"] == pytest.approx(0.35, abs=0.05)


def test_four_runs_move_the_nearest_default_law_and_say_what_they_tell(tmp_path, run):
    rows = []
    for d_model, n_layers, n_tokens in ((64, 2, 1e6), (128, 2, 2e6), (128, 3, 3e6), (192, 3, 5e6)):
        arch = Architecture.from_shape(d_model=d_model, n_layers=n_layers, vocab_size=1024)
        row = {"n_params": n_params(arch), "n_tokens": n_tokens, **dataclasses.asdict(arch)}
        row["n_params_non_embedding"] = n_params_non_embedding(arch)
        loss = 1.1 * load_law("python-source").loss(row["n_params"], n_tokens, row)
        rows.append(row | {"measured_loss": loss})
    path, out = tmp_path / "four.csv", tmp_path / "near.toml"
    pd.DataFrame(rows).to_csv(path, index=False)
    theirs = tmp_path / "theirs.csv"
    pd.DataFrame(rows).rename(columns={"n_params": "size"}).to_csv(theirs, index=False)
    near = {"device": "cpu-core", "d_model": 64, "n_layers": 2}
    ours, other = (
        anybudget.predict("2m", anchor=str(path), **near),
        anybudget.predict("2m", anchor=str(theirs), column={"n_params": "size"}, **near),
    )
    assert ours.candidate == other.candidate

    moved = anybudget.fit(path, out=out)
    assert (moved.prior.name, moved.n_runs, load_law(str(out)).name) == ("python-source", 4, "near")
    assert "needs at least 6 runs, but got 4: they move python-source" in moved.warnings[0]
    told = moved.told
    assert told.nearby < told.further < 0.1 < told.nearby_before
    assert told.held_out < 0.01 < 0.09 < told.held_out_before
    assert "4 runs of yours" in repr(moved)
    assert moved._repr_html_().count("<tr") == 1 + len(moved.frame)
    assert anybudget.fit(path, prior="python-source").warnings == moved.warnings[1:]
    with pytest.raises(ValueError, match="at least 6 runs, but got 4; fit --prior LAW"):
        anybudget.fit(path, form="none")

    code, text, _ = run("fit", path)
    assert code == 0
    assert "What 4 runs tell: the loss in their midst to" in text
    assert json.loads(run("fit", path, "--json")[1])["told"] == dataclasses.asdict(told)


def test_an_answer_is_drawn_and_kept(tmp_path):
    answer = anybudget.find("2m", **FEW)
    assert anybudget.plot(answer).axes[0].get_xlabel() == "width, d_model"
    folder = anybudget.save(answer, tmp_path / "kept")
    assert anybudget.plot(folder).axes[0].get_xlabel() == "width, d_model"
    with pytest.raises(ValueError, match="not certified"):
        anybudget.plot(anybudget.find("2m", certify=False, **FEW))
    with pytest.raises(ValueError, match="what `find` answered, or its folder, but got 3"):
        anybudget.plot(3)


def test_an_older_picture_does_not_stay_beside_a_newer_answer(tmp_path):
    anybudget.find("2m", out=tmp_path, **FEW)
    assert (tmp_path / "landscape.png").exists()
    anybudget.find("2m", out=tmp_path, certify=False, **FEW)
    assert not list(tmp_path.glob("*.png"))


def test_each_device_of_a_page_has_its_own_price(tmp_path):
    at = {"device": ["cpu-core"], "budget": ["2m"], "out": tmp_path}
    [row] = anybudget.explore(price=[30.0], **at).table.to_dict("records")
    assert row["cost_usd"] == 1.0
    with pytest.raises(ValueError, match=r"`price` .* in their order, but got 2 for 1"):
        anybudget.explore(price=[30.0, 1.0], **at)


@pytest.mark.parametrize(
    ("avx512", "amx", "name"),
    [
        (False, False, "cpu-core"),
        (True, False, "cpu-core-avx512"),
        (True, True, "cpu-core-amx"),
    ],
)
def test_cpu_is_a_core_of_this_machines_kind(avx512, amx, name, monkeypatch):
    monkeypatch.setattr("anybudget.machines.machine.has_avx512", lambda: avx512)
    monkeypatch.setattr("anybudget.machines.machine.has_amx", lambda: amx)
    assert anybudget.ask("2m", device="cpu").objective.device.name == name
    near = anybudget.predict("2m", device="cpu", d_model=64, n_layers=2)
    assert near.question.objective.device.name == name
