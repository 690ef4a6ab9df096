"""The face of a batch: what it prints and writes, and a plan refused before anything is written."""

import json

import pandas as pd
import pytest

from anybudget.tests.priced import priced_device

DEVICE = priced_device("[/] $my $ chip")
PLAN = """
[defaults]
space = "default"
critical_batch = false
set = {d_model = "256:768:128", d_ff = "512:6144:512"}
law = ["besiroglu-2024", "hoffmann-2022"]
[[search]]
device = ["tpu-v5e-datasheet", "mine.toml"]
budget = ["0.001s", "10m", "1h", "6h"]
"""


@pytest.fixture(autouse=True)
def _beside_a_plan(monkeypatch, tmp_path):
    (tmp_path / "mine.toml").write_text(DEVICE)
    (tmp_path / "plan.toml").write_text(PLAN)
    monkeypatch.chdir(tmp_path)


def test_it_prints_tables_in_80_columns_and_writes_all(run, tmp_path):
    code, out, err = run("batch", "plan.toml")
    assert (code, err) == (0, "")
    # A heading and the files are prose, which a terminal wraps.
    tables = [line for line in out.splitlines() if "default;" not in line and "json" not in line]
    assert max(map(len, tables)) <= 80
    assert "12 of 16 searches certified" in out
    assert [line.split() for line in tables].count(["0.001s", "none"]) == 4
    assert "[/] $my $ chip, hoffmann-2022, space default; d_model=256:768:128" in out
    assert "$15.00" in out
    written = {path.name for path in (tmp_path / "plan").iterdir()}
    assert written == {
        "batch.csv", "batch.json", "batch.parquet", "curves.csv", "money.png", "searches.csv",
        "scaling-besiroglu-2024.png", "scaling-hoffmann-2022.png",
    }  # fmt: skip


def test_the_tables_agree(run, tmp_path):
    code, out, _ = run("batch", "plan.toml", "--out", "there", "--json", "--seed", 3)
    assert code == 0
    told = json.loads(out)
    csv = pd.read_csv(tmp_path / "there/batch.csv")
    parquet = pd.read_parquet(tmp_path / "there/batch.parquet")
    assert list(csv.columns) == list(parquet.columns) == list(told["searches"][0])
    assert set(csv["seed"]) == {3}
    assert str(parquet["n_layers"].dtype) == "Int64"
    for name in ("d_model", "n_tokens", "predicted_loss", "loss_high", "cost_usd"):
        columns = (csv[name], parquet[name], pd.Series([row[name] for row in told["searches"]]))
        values = [column.astype("Float64").tolist() for column in columns]
        assert str(values[0]) == str(values[1]) == str(values[2])
    curves = pd.read_csv(tmp_path / "there/curves.csv")
    assert len(curves) == len(told["curves"]) == 4 * 6
    loss = curves[curves["quantity"] == "loss_above_E"]
    assert max(loss["exponent"]) < 0
    # A token's time grows nearly as its parameters, whatever the batch.
    assert curves["gamma"].between(0.6, 1.1).all()
    assert list(loss["exponent"]) == pytest.approx(list(loss["theory"]), abs=0.05)
    assert json.loads((tmp_path / "there/batch.json").read_text())["plan"] == PLAN


def test_a_plan_that_is_wrong_anywhere_is_one_line_and_nothing_written(run, tmp_path):
    (tmp_path / "plan.toml").write_text(PLAN.replace('"6h"', "6"))
    code, out, err = run("batch", "plan.toml")
    assert (code, out) == (2, "")
    assert err == (
        "anybudget: plan.toml, line 9: search[0]: `budget`: a time budget must be a positive time "
        "with a unit such as 90s, 15m, 3h, 1h30m or 2d, but got '6'\n"
    )
    assert not (tmp_path / "plan").exists()


def test_a_file_of_other_columns_is_refused(run, tmp_path):
    (tmp_path / "plan").mkdir()
    (tmp_path / "plan/searches.csv").write_text("a,b\n1,2\n")
    code, _, err = run("batch", "plan.toml")
    assert code == 2
    assert "plan/searches.csv must have the columns fingerprint," in err
