"""The face: one clear line for every mistake, one JSON document for `--json`."""

import csv
import itertools
import json
import os
import re
import subprocess
import sys

import pytest

from anybudget.files.places import calibrated_device_path
from anybudget.space.architecture import FIELDS

DEVICE = """
name = "mine"
kind = "gpu"
peak_flops_per_s = 1e13
bandwidth_bytes_per_s = 1e11
memory_bytes = 8e9
dtype = "float32"
source = "its box"
"""
LAW = """
name = "mine"
E = 1.7
A = 400
B = 410
alpha = 0.34
beta = 0.28
n_convention = "total"
corpus = "C4"
source = "my runs"
n_params_range = [1e6, 1e9]
n_tokens_range = [1e8, 1e11]
"""
CONFIG = {
    "model_type": "llama",
    "hidden_size": 256,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "intermediate_size": 512,
    "vocab_size": 1000,
}
# What a candidate of `--json` has at least.
KEYS = {
    *FIELDS,
    "n_params",
    "n_params_non_embedding",
    "step_time_s",
    "n_steps",
    "n_tokens",
    "memory_bytes",
    "predicted_loss",
}
PURE = ("--law", "besiroglu-2024")
SETS = ("d_model=256:512:64", "d_ff=1024,2048", "batch_size=256")
SMALL = (*PURE, *(word for one in SETS for word in ("--set", one)), "--trials", "20")
PREDICT = ("predict", "1h", *PURE, "--d-model", "256", "--n-layers", "4")


@pytest.fixture
def files(tmp_path, monkeypatch):
    """A folder with files right and wrong, to be named relative to it."""
    contents = {
        "device.toml": DEVICE,
        "typo.toml": DEVICE.replace("memory_bytes", "memmory_bytes"),
        "negative.toml": DEVICE.replace("1e13", "-1e13"),
        "not.toml": "this is no TOML",
        "law.toml": LAW,
        "law-short.toml": LAW.replace("beta = 0.28\n", ""),
        "law-text.toml": LAW.replace("400", '"many"'),
        "law-range.toml": LAW.replace("[1e6, 1e9]", "[1e9, 1e6]"),
        "space.toml": "d_modle = 256\n",
        "config.json": json.dumps(CONFIG),
        "cut.json": json.dumps(CONFIG)[:50],
        "bert.json": json.dumps(CONFIG | {"model_type": "bert"}),
        "short.json": json.dumps(CONFIG | {"hidden_size": None}),
        "notes.txt": "my notes",
    }
    for name, text in contents.items():
        (tmp_path / name).write_text(text)
    monkeypatch.chdir(tmp_path)
    return tmp_path


MISTAKES = [
    (("find", "3 parsecs"), "positive time such as 90s, 15m, 3h, 1h30m or 2d, but got '3 parsecs'"),
    (("find", "3"), "a positive time with a unit such as 90s, 15m, 3h, 1h30m or 2d, but got '3'"),
    (("find", "0s"), "a time budget must be more than 0 seconds, but got '0s'"),
    (("find", "--", "-1h"), "a positive time such as 90s, 15m, 3h, 1h30m or 2d, but got '-1h'"),
    (("find", "-1h"), "Unknown option: -1h"),
    (("find", "nan"), "a positive time such as 90s, 15m, 3h, 1h30m or 2d, but got 'nan'"),
    (("find",), "parameter BUDGET requires an argument"),
    (("find", "3h", "4h"), "Unused Tokens: ['4h']"),
    (("fnd", "3h"), 'Unknown command "fnd". Did you mean "find"?'),
    (("find", "3h", "--devise", "x"), "Unknown option: --devise. Did you mean --device?"),
    (("find", "3h", "--device", "tpu-v5"), "no device is called 'tpu-v5'; did you mean tpu-v5"),
    (("find", "3h", "--device", "none.toml"), "cannot read none.toml: No such file or directory"),
    (("find", "3h", "--device", "typo.toml"), "unknown key `memmory_bytes`; did you mean memory"),
    (("find", "3h", "--device", "negative.toml"), "`peak_flops_per_s` must be > 0, but got -1"),
    (("find", "3h", "--device", "not.toml"), "not.toml is not valid TOML: Expected '='"),
    (("find", "3h", "--law", "hofmann"), "no law is called 'hofmann'; did you mean hoffmann-2022"),
    (("find", "3h", "--law", "law-short.toml"), "law-short.toml: `beta` is missing"),
    (("find", "3h", "--law", "law-text.toml"), "`A`: Input should be a valid number (got 'many')"),
    (("find", "3h", "--law", "law-range.toml"), "`n_params_range` must be 0 < low <= high, but"),
    (("find", "3h", "--space", "space.toml"), "unknown key `d_modle`; did you mean d_model"),
    (("find", "3h", "--set", "d_model"), "--set must be field=values, but got 'd_model'"),
    (("find", "3h", "--set", "width=3"), "--set: unknown key `width`"),
    (("find", "3h", "--set", "d_model=wide"), "--set: `d_model`: it must be whole numbers, or low"),
    (("find", "3h", "--set", "d_model=9:3"), "--set: `d_model`: a range must be low:high:step"),
    (("find", "3h", "--set", "d_model=100"), "space: no architecture is valid: no attention"),
    (("find", "3h", "--set", "n_heads=7", "--set", "d_model=512"), "heads_fill_width=true"),
    (("find", "3h", "--set", "n_layers=9999"), "no n_layers in the space satisfies aspect_ratio="),
    (("find", "3h", "--set", "vocab_size=0"), "`vocab_size` must be from 1 to 2,147,483,647"),
    (("find", "3h", "--top", "0"), "`top` must be at least 1, but got 0"),
    (("find", "3h", "--top", "1.5"), "--top: it must be a whole number, but got '1.5'"),
    (("find", "3h", "--top", "many"), "--top: it must be a whole number, but got 'many'"),
    (("find", "3h", "--trials", "0"), "`n_trials` must be at least 1, but got 0"),
    (("find", "3h", "--seed", "-1"), 'Invalid value "-1" for --seed. Must be >= 0'),
    (("find", "3h", "--sampler", "annealing"), "a sampler is one of auto, tpe, cma, nsga2,"),
    (("find", "3h", "--distinct", "width"), "`distinct` must be shape or architecture, but"),
    (("find", "3h", "--remat", "block"), "`remat` must be none, dots, layer or auto, but got"),
    (("find", "3h", "--attention", "flash"), "`attention` must be plain, fused or auto, but"),
    (("find", "3h", "--data-limit-tokens", "0"), "`data_limit_tokens` must be from 1"),
    (("find", "3h", "--out", "notes.txt/out"), "notes.txt/out cannot be written: Not a dir"),
    (("find", "3h", "--storage", "parsecs://x"), "cannot open the storage 'parsecs://x': Can't"),
    (("find", "3h", "--storage", "none/x"), "a journal is a file in an existing folder"),
    (("find", "3h", "--storage", "notes.txt"), "notes.txt is not a study's journal; choose"),
    (("find", "3h", "--chips", "3", "--set", "batch_size=8"), "3 chips, but got 8; take"),
    (("find", "3h", "--chips", "0"), 'Invalid value "0" for --chips. Must be >= 1'),
    (("predict", "1h", "--chips", "2", "--device", "device.toml", "--d-model", "256",
      "--n-layers", "4"), "several chips need a device with `interconnect_bytes_per_s`, but mine"),
    (("find", "1s", "--set", "batch_size=4096"), "architectures in the space fits tpu-v5e, fused"),
    (("front", "3h", "luck"), "a front is against time, memory or money, but got 'luck'"),
    (("predict", "1h"), "`d_model` is missing; give --d-model, or --config config.json"),
    (("predict", "1h", "--d-model", "256"), "`n_layers` is missing; give --n-layers"),
    ((*PREDICT, "--vocab-size", "0"), "`vocab_size` must be a whole number >= 1, but got 0"),
    ((*PREDICT, "--n-heads", "3"), "`n_heads` must divide `d_model`, but got n_heads=3, d_model"),
    ((*PREDICT, "--n-kv-heads", "3"), "`n_kv_heads` must divide `n_heads`, but got n_heads=4"),
    ((*PREDICT, "--config", "config.json"), "--config already says `d_model`; leave one of them"),
    (("predict", "1h", "--config", "cut.json"), "cut.json is not valid JSON"),
    (("predict", "1h", "--config", "bert.json"), "its blocks are not known, nor what they cost"),
    (("predict", "1h", "--config", "short.json"), "`hidden_size` must be a whole number >= 1, but"),
    (("predict", "1h", "--config", "none.json"), "cannot read none.json: No such file"),
]  # fmt: skip


@pytest.mark.parametrize(("args", "text"), MISTAKES, ids=[" ".join(args) for args, _ in MISTAKES])
def test_a_mistake_is_one_clear_line_and_exit_code_2(run, files, args, text):
    code, out, err = run(*args)
    assert (code, out) == (2, "")
    assert err.startswith("anybudget: ")
    assert err.count("\n") == 1
    assert text in err
    assert (files / "notes.txt").read_text() == "my notes"


def test_find_names_the_device_and_the_winner(run):
    code, out, err = run("find", "1h", *SMALL)
    assert (code, err) == (0, "")
    assert "Device tpu-v5e (compiled)" in out
    assert "In 1h train d_model 512" in out
    assert re.search(r"Certified: .*lowest loss of all 552 valid", " ".join(out.split()))


def test_find_json_is_one_document_with_every_key(run):
    code, out, err = run("find", "1h", *SMALL, "--json", "--top", "3")
    assert (code, err) == (0, "")
    answer = json.loads(out)
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
    assert (answer["time_budget_s"], answer["certified"]) == (3600, True)
    assert len(answer["candidates"]) == 3
    assert all(set(candidate) >= KEYS for candidate in answer["candidates"])
    losses = [candidate["predicted_loss"] for candidate in answer["candidates"]]
    # The first is the smallest of those that no one could tell apart.
    assert losses[1:] == sorted(losses[1:])
    assert losses[0] - min(losses) < 0.001


def test_predict_json_has_the_keys_of_a_candidate(run, files):
    keys = KEYS | {"device", "law", "time_budget_s", "warnings", "parts"}
    for args in (PREDICT, ("predict", "1h", "--config", "config.json")):
        code, out, err = run(*args, "--json")
        assert (code, err) == (0, "")
        assert set(json.loads(out)) >= keys


@pytest.mark.parametrize("command", ["devices", "laws"])
def test_lists_name_every_source(run, command):
    code, out, err = run(command, "--json")
    rows = json.loads(out)
    assert (code, err) == (0, "")
    assert len(rows) >= 3
    text, sources = run(command)[1], run(command, "--sources")[1]
    assert sources.startswith(text)
    assert all(row["name"] in text and row["source"][:40] in sources for row in rows)


def test_front_json_is_a_front(run):
    code, out, err = run("front", "1h", "memory", *SMALL, "--trials", "200", "--json")
    assert (code, err) == (0, "")
    rows = json.loads(out)
    assert len(rows) > 1
    for cheaper, dearer in itertools.pairwise(rows):
        assert cheaper["memory_bytes"] <= dearer["memory_bytes"]
        assert cheaper["predicted_loss"] >= dearer["predicted_loss"]


def test_a_front_takes_the_options_of_find(run, files):
    how = ("--attention", "fused", "--chips", "4", "--remat", "layer", "--out", "new")
    code, out, err = run("front", "1h", "memory", *SMALL, *how)
    assert (code, err) == (0, "")
    assert out.startswith("Device 4 × tpu-v5e (compiled), fused")
    assert "Written to new: front.csv" in out
    with (files / "new/front.csv").open() as file:
        assert {row["sharding"] for row in csv.DictReader(file)} <= {"data", "full"}


def test_the_calibrated_device_is_the_default(run):
    calibrated_device_path().parent.mkdir(parents=True)
    calibrated_device_path().write_text(DEVICE)
    assert "Device mine (" in run("find", "1h", *SMALL)[1]
    assert "Device tpu-v5e (" in run("find", "1h", *SMALL, "--device", "tpu-v5e")[1]


def test_a_name_is_printed_as_it_is_written(run, files):
    (files / "odd.toml").write_text(DEVICE.replace("mine", "[/] [red]"))
    (files / "odd-law.toml").write_text(LAW.replace("mine", "[bold]law[/]"))
    odd = ("--device", "odd.toml", "--law", "odd-law.toml")
    for args in (PREDICT, ("find", "1h", *SMALL)):
        code, out, _ = run(*args, *odd)
        assert code == 0
        assert "Device [/] [red] (datasheet" in out
        assert re.search(r"law \[bold]law\[/][.;]", out)


def test_out_holds_what_reproduces_the_answer(run, files):
    code, out, _ = run("find", "1h", *SMALL, "--out", "new/folder", "--seed", "7")
    assert code == 0
    assert "Written to new/folder" in out
    result = json.loads((files / "new/folder/result.json").read_text())
    assert result["command"].startswith("anybudget find 1h --law besiroglu-2024 --set d_m")
    assert result["seed"] == 7
    again = json.loads(run("find", "1h", *SMALL, "--json", "--seed", "7")[1])
    assert result["candidates"] == again["candidates"]
    assert (files / "new/folder/candidates.csv").read_text().count("\n") == 6
    assert list((files / "new/folder").glob("*.png"))


def test_a_kept_search_goes_on(run, files):
    for trials in (20, 40):
        code, out, _ = run("find", "1h", *SMALL, "--storage", "kept", "--trials", trials, "--json")
        assert (code, json.loads(out)["n_trials"]) == (0, trials)


def test_interrupted(run, monkeypatch):
    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr("anybudget.search.find.find", interrupted)
    code, out, err = run("find", "1h")
    assert (code, out) == (130, "")
    assert err == "anybudget: interrupted; finished work is kept\n"


def test_whoever_reads_may_have_enough():
    program = (
        "import sys; from anybudget.cli import main; sys.argv[1:] = ['laws', '--json']; main()"
    )
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run([sys.executable, "-c", program], stdout=writer, stderr=subprocess.PIPE)
    os.close(writer)
    assert (done.returncode, done.stderr) == (1, b"")


def test_find_does_not_import_jax():
    program = (
        "import sys; from anybudget.cli import main; "
        f"sys.argv = ['anybudget', 'find', '1h', *{SMALL!r}]\n"
        "try:\n    main()\n"
        "finally:\n    print('jax:', 'jax' in sys.modules, 'optuna' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "jax: False True"
