"""What `find` and `predict` say alike: device, attention, chips, price."""

import json

import pytest

from anybudget.space.architecture import FIELDS

KEYS = (*FIELDS, "n_params", "step_time_s", "n_tokens", "memory_bytes", "predicted_loss")
PURE = ("--law", "besiroglu-2024")
SMALL = (*PURE, "--set", "d_model=256:512:64", "--set", "d_ff=1024,2048", "--trials", "20")
PREDICT = ("predict", "1h", *PURE, "--d-model", "256", "--n-layers", "4")


@pytest.mark.parametrize("command", [("find", "1h", *SMALL), PREDICT])
def test_a_device_that_nobody_named_is_told_of(run, command):
    default = "tpu-v5e is the default, whatever this machine is"
    for named, told in (((), True), (("--device", "tpu-v5e-datasheet"), False)):
        _, out, _ = run(*command, *named, "--json")
        assert [default in one for one in json.loads(out)["warnings"][:1]] == [told]


def test_fused_attention_in_find_and_predict(run):
    found = json.loads(run("find", "1h", "--attention", "fused", *SMALL, "--json")[1])
    best = found["candidates"][0]
    assert found["attention"] == "fused"
    shape = ("d_model", "n_layers", "n_heads", "n_kv_heads", "d_head", "d_ff")
    options = [word for name in shape for word in (f"--{name.replace('_', '-')}", best[name])]
    options += ["--gated-mlp"] if best["gated_mlp"] else []
    options += ["--batch-size", best["batch_size"]]
    plain, fused = (
        json.loads(run("predict", "1h", *PURE, *options, "--attention", attention, "--json")[1])
        for attention in ("plain", "fused")
    )
    assert fused["step_time_s"] == pytest.approx(best["step_time_s"])
    assert fused["step_time_s"] < plain["step_time_s"]
    _, out, _ = run("find", "1h", "--attention", "fused", *SMALL)
    assert out.startswith("Device tpu-v5e (compiled), fused attention")


def test_a_candidate_found_is_predicted_the_same(run):
    (best, *_) = json.loads(run("find", "1h", *SMALL, "--json")[1])["candidates"]
    options = []
    for name in FIELDS:
        option = "--" + name.replace("_", "-")
        if isinstance(best[name], bool):
            options.append(option if best[name] else option.replace("--", "--no-"))
        else:
            options += [option, best[name]]
    answer = json.loads(run("predict", "1h", *PURE, *options, "--json")[1])
    # Powers of arrays and of scalars may differ in the last place.
    assert {name: answer[name] for name in KEYS} == pytest.approx({n: best[n] for n in KEYS})


def test_chips_in_find_and_predict(run):
    found = json.loads(run("find", "1h", "--chips", "4", *SMALL, "--json")[1])
    best = found["candidates"][0]
    assert (found["n_chips"], best["sharding"]) == (4, "full")
    shape = ("d_model", "n_layers", "n_heads", "n_kv_heads", "d_head", "d_ff")
    options = [word for name in shape for word in (f"--{name.replace('_', '-')}", best[name])]
    gated = "--gated-mlp" if best["gated_mlp"] else "--no-gated-mlp"
    answer = json.loads(run("predict", "1h", *PURE, "--chips", "4", gated, *options, "--json")[1])
    assert {name: answer[name] for name in KEYS} == pytest.approx({n: best[n] for n in KEYS})
    out = run("find", "1h", "--chips", "4", *SMALL)[1]
    assert "Device 4 × tpu-v5e (compiled)" in out
    assert "fused attention, fully sharded over 4 chips" in " ".join(out.split())


@pytest.mark.parametrize("command", [("find", "90m", *SMALL), ("predict", "90m", *PREDICT[2:])])
def test_a_price_gives_what_the_budget_costs(run, command):
    priced = (*command, "--chips", "4", "--price", "2.5")
    assert json.loads(run(*priced, "--json")[1])["cost_usd"] == 1.5 * 4 * 2.5
    assert "It costs $15.00 at 4 × $2.50 an hour." in run(*priced)[1]
    assert json.loads(run(*command, "--json")[1])["cost_usd"] is None
    code, _, complaint = run(*command, "--price", "0")
    assert (code, "`price_per_hour_usd` must be > 0" in complaint) == (2, True)


def test_little_memory_is_told(run):
    small = ("--set", "d_model=16", "--set", "batch_size=1", "--space", "cpu")
    out = run("find", "1m", "--device", "cpu-core", *small)[1]
    (row,) = [line for line in out.splitlines() if line.startswith("16×1 ")]
    assert 0 < float(row.split()[7]) < 0.05
