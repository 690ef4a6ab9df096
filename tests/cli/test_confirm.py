"""`confirm` as it is typed: two models trained for real, and mistakes in one line each."""

import dataclasses
import json
import random
import shutil
import sys

import pytest

from anybudget.search.explore.study import Exploring
from anybudget.search.find import find
from anybudget.search.question import Question
from anybudget.show.save import save
from anybudget.validation.runs import Run, read_rows

WORDS = 400


@pytest.fixture(autouse=True)
def _own_cache_and_whole_machine(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    # The process of the tests stays as it is.
    monkeypatch.setattr("anybudget.machines.machine.pin_cores", lambda n_cores: None)
    monkeypatch.setattr("anybudget.machines.host.keep_freed_memory", lambda: True)


@pytest.fixture(scope="module")
def _found(small_space, objective, tmp_path_factory):
    space = dataclasses.replace(small_space, d_model=(64, 96), vocab_size=(512,), batch_size=(4,))
    objective = dataclasses.replace(objective, time_budget_s=2.0)
    folder = tmp_path_factory.mktemp("found")
    save(
        find(Question(space=space, objective=objective), top=3, exploring=Exploring(n_trials=1)),
        folder,
        command="find 2s",
    )
    return folder


@pytest.fixture
def result(_found, tmp_path):
    """The folder of a search for two seconds, to be changed at will."""
    return shutil.copytree(_found, tmp_path / "result")


def write_text(path, n_documents=400):
    rng = random.Random(0)
    words = ["".join(rng.choices("etaoinshrdlu", k=rng.randint(2, 7))) for _ in range(WORDS)]
    texts = (" ".join(rng.choices(words, k=80)) for _ in range(n_documents))
    path.write_text("\n<|doc|>\n".join(texts))
    return path


def edit(folder, **changes):
    document = json.loads((folder / "result.json").read_text())
    (folder / "result.json").write_text(json.dumps(document | changes))


def test_two_models_for_two_seconds(run, result, tmp_path):
    device = json.loads((result / "result.json").read_text())["device"]
    edit(result, device=device | {"calibration": {"machine": "an abacus"}})
    text = write_text(tmp_path / "words.txt")
    command = ("confirm", result, "--top", 1, "--contrast", 1, "--corpus", text)
    code, out, err = run(*command)
    assert code == 0
    assert "the predicted winner" in out.lower()
    assert "law toy-law" in out
    assert "! device toy was calibrated on an abacus, but this machine is" in out
    assert err.startswith("warning: device toy was calibrated on an abacus")
    assert "[1/2]" in err
    assert "[2/2]" in err
    rows = read_rows(result / "confirm/runs.csv", Run)
    assert len(rows) == 2
    assert all(row.status == "ok" and row.time_budget_s == 2 for row in rows)
    # Guessing each of 512 tokens alike costs ln 512 = 6.24 nats.
    assert all(row.measured_loss is not None and row.measured_loss < 6.24 for row in rows)

    code, out, err = run(*command, "--json")
    assert code == 0
    assert json.loads(out)["loss"]["n"] == 2
    assert "[1/2]" not in err
    assert read_rows(result / "confirm/runs.csv", Run) == rows


def mistake(answer, *fragments):
    code, out, err = answer
    assert (code, out) == (2, "")
    last = err.splitlines()[-1]
    assert last.startswith("anybudget: ")
    for fragment in fragments:
        assert fragment in last
    # Before the mistake there is progress, and nothing else.
    assert all(line.startswith(("preparing ", "training with ")) for line in err.splitlines()[:-1])


def test_no_result(run, tmp_path):
    mistake(run("confirm"), "confirm takes a result: `find BUDGET --out DIR`, then `confirm DIR`")
    mistake(run("confirm", tmp_path / "none"), "there is no", "`anybudget find BUDGET --out DIR`")


def test_a_result_edited_into_nonsense(run, result):
    edit(result, time_budget_s="soon")
    mistake(run("confirm", result), "result.json: `time_budget_s`", "'soon'")
    edit(result, time_budget_s=1e9)
    mistake(run("confirm", result), "candidates[0]: `predicted_loss` must be what the file's own")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "a corpus must hold text, but"),
        (b" \n\n", "a corpus must hold text, but"),
        (b"text\0text", "has NUL bytes: it is binary data"),
        (b"\xff\xd8\xff\xe0", "a corpus must be UTF-8 text, but"),
        (b"one document and no other", "a corpus must have documents to train on"),
    ],
)
def test_a_corpus_that_is_none(run, result, tmp_path, content, message):
    path = tmp_path / "corpus.txt"
    path.write_bytes(content)
    mistake(run("confirm", result, "--corpus", path), message)


def test_no_such_corpus(run, result):
    mistake(run("confirm", result, "--corpus", "pyhton"), "a corpus must be `python`, `c4` or a")


def test_a_vocabulary_that_the_text_does_not_support(run, result, tmp_path):
    text = write_text(tmp_path / "words.txt", n_documents=3)
    mistake(run("confirm", result, "--corpus", text), "supports", "vocab_size=512", "use more text")


def test_a_text_shorter_than_a_batch(run, result, tmp_path):
    text = write_text(tmp_path / "words.txt", n_documents=40)
    answer = run("confirm", result, "--corpus", text)
    mistake(answer, "must fill one batch of batch_size * seq_len", "use a longer text or smaller")


def test_a_budget_shorter_than_ten_steps(run, result):
    answer = run("confirm", result, "--scale", 1e-4)
    mistake(answer, "a time budget must hold at least 10 steps", "take more time")


def test_a_missing_extra(run, result, monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    answer = run("confirm", result, "--corpus", "c4")
    mistake(answer, "`c4` needs the package datasets: pip install 'anybudget[c4]'")


def test_a_device_of_another_kind(run, result):
    mistake(
        run("confirm", result, "--device", "h100-sxm-datasheet"),
        "h100-sxm-datasheet is a gpu, but JAX finds a cpu",
    )
    mistake(run("confirm", result, "--device", "tpu-v5f"), "no device is called 'tpu-v5f'")


def test_a_folder_that_cannot_be_written(run, result):
    answer = run("confirm", result, "--out", result / "result.json")
    mistake(answer, "cannot be written", "name another place")


def test_runs_of_something_else(run, result, tmp_path):
    (result / "confirm").mkdir()
    (result / "confirm/runs.csv").write_text("a,b\n1,2\n")
    answer = run("confirm", result, "--corpus", write_text(tmp_path / "words.txt"))
    mistake(answer, "runs.csv must have the columns d_model,n_layers")


def test_an_engine_starts_no_part_of_a_distributed_training(run, result):
    code, _, err = run("confirm", result, "--distributed", "--engine", "local")
    assert code == 2
    assert "--distributed trains in these processes; leave out --engine" in err


def test_an_engine_that_cannot_be(run, result, monkeypatch):
    mistake(run("confirm", result, "--engine", "rya"), "`engine` must be local, ray or slurm")
    mistake(
        run("confirm", result, "--workers", 2), "--workers, --address and --request need --engi"
    )
    mistake(run("refine", result, "--engine", "ray", "--request", "TPU"), "takes NAME=VALUE")
    mistake(run("calibrate", "--engine", "local", "--address", "a:1"), "is of a Ray cluster")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    mistake(run("confirm", result, "--engine", "ray"), "pip install 'anybudget[ray]'")
