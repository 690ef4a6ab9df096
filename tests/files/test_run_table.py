"""Tables that would mislead a fit: each gets the right word, or the right number."""

from pathlib import Path

import numpy as np
import pytest

from anybudget.files.table import read_runs
from anybudget.objectives.fit.law import fit_varpro
from anybudget.objectives.fit.runs import law_runs
from anybudget.objectives.fit.scores import residual_trends

CASES = Path(__file__).with_name("cases")


def make_table(n_rows: int = 20) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    n_params = np.exp(rng.uniform(np.log(1e7), np.log(1e9), n_rows))
    n_tokens = np.exp(rng.uniform(np.log(1e9), np.log(1e11), n_rows))
    loss = 1.8 + 480 / n_params**0.35 + 2000 / n_tokens**0.37
    return {"n_params": n_params, "n_tokens": n_tokens, "measured_loss": loss}


def test_a_hash_in_a_cell_is_no_comment(tmp_path):
    assert law_runs(read_runs(CASES / "hash.csv")).n_runs == 40
    path = tmp_path / "runs.csv"
    path.write_text("# by me\n" + (CASES / "hash.csv").read_text())
    assert len(read_runs(path)["n_params"]) == 40


def test_crashed_runs_are_left_out_and_counted():
    table = read_runs(CASES / "crash_state.csv")
    n_crashed = (table["State"] == "crashed").sum()
    runs = law_runs(table)
    assert runs.n_runs == 40 - n_crashed
    assert f"left out {n_crashed} rows with State crashed" in runs.warnings


def test_of_a_sweep_each_pair_s_best_is_kept_and_told():
    table = read_runs(CASES / "sweep_small.csv")
    runs = law_runs(table)
    assert runs.n_runs == 16
    assert "80 rows share 16 pairs of size and tokens and differ in lr" in runs.warnings[0]
    for n_params, n_tokens, loss in zip(
        runs.n_params, runs.n_tokens, runs.measured_loss, strict=True
    ):
        pair = (table["n_params"] == n_params) & (table["n_tokens"] == n_tokens)
        assert loss == table["measured_loss"][pair].min()


def test_seeds_are_no_sweep():
    table = {name: np.repeat(column, 3) for name, column in make_table().items()}
    table["measured_loss"] = table["measured_loss"] * np.tile([0.99, 1, 1.01], 20)
    runs = law_runs(table | {"seed": np.tile([0, 1, 2], 20), "lr": np.full(60, 3e-4)})
    assert len(runs.n_params) == 60
    assert not any("share" in warning for warning in runs.warnings)


def test_a_row_that_stands_twice_counts_once():
    runs = law_runs(read_runs(CASES / "dups.csv"))
    assert runs.n_runs == 40
    assert "40 rows stand twice: each is counted once" in runs.warnings


def test_billions_are_refused_by_name_and_unit():
    with pytest.raises(ValueError, match=r"`n_params` must be a count, .* in billions, it seems"):
        law_runs(read_runs(CASES / "billions.csv"))
    table = make_table()
    with pytest.raises(ValueError, match=r"`n_tokens` must be a count, .* in billions, it seems"):
        law_runs(table | {"n_tokens": table["n_tokens"] / 1e9})


@pytest.mark.parametrize("n_params", [1e7, 5e8])
def test_perplexities_are_refused(n_params):
    table = make_table() | {"n_params": n_params * np.geomspace(1, 4, 20)}
    with pytest.raises(ValueError, match="perplexities, it seems; take their natural logarithm"):
        law_runs(table | {"measured_loss": np.exp(table["measured_loss"])})


@pytest.mark.parametrize("name", ["run", "Name", "run_name", "id"])
def test_steps_of_one_run_are_one_run(name):
    runs = law_runs(make_table(60) | {name: np.repeat([f"run {i}" for i in range(6)], 10)})
    assert runs.n_runs == 6


@pytest.mark.parametrize("name", ["dataset", "schedule", "tokenizer", "corpus"])
def test_what_makes_losses_incomparable_is_named(name):
    with pytest.raises(ValueError, match=f"all runs must have one `{name}`.* but got a, b"):
        law_runs(make_table() | {name: np.array(["a", "b"] * 10)})


def test_a_mark_and_spaces_in_the_header_are_no_part_of_a_name(tmp_path):
    path = tmp_path / "runs.csv"
    path.write_text("\ufeffn_params, n_tokens ,measured_loss\n1e7, 1e9,3.1\n")
    table = read_runs(path)
    assert list(table) == ["n_params", "n_tokens", "measured_loss"]
    assert table["n_tokens"][0] == 1e9


def test_a_column_that_stands_twice_is_refused(tmp_path):
    path = tmp_path / "runs.csv"
    path.write_text("n_params,n_tokens,n_params\n1,2,3\n")
    with pytest.raises(ValueError, match="must have each column once, but has 'n_params' twice"):
        read_runs(path)


def test_a_column_may_have_another_name(tmp_path):
    path = tmp_path / "runs.csv"
    path.write_text("params,n_tokens,loss\n1e7,1e9,3.1\n")
    table = read_runs(path, {"n_params": "params", "measured_loss": "loss"})
    assert set(table) == {"n_params", "n_tokens", "measured_loss"}
    with pytest.raises(ValueError, match="has no column 'parms'; did you mean"):
        read_runs(path, {"n_params": "parms"})


def test_a_trend_is_as_sure_as_there_are_runs():
    rng = np.random.default_rng(1)
    table = make_table(60)
    rate = np.repeat(rng.uniform(1e-4, 1e-2, 12), 5)
    table["measured_loss"] = table["measured_loss"] * (1 - 3 * rate)
    table |= {"learning_rate": rate}
    alone = law_runs(table)
    together = law_runs(table | {"run": np.repeat(np.arange(12), 5)})
    fit = fit_varpro(alone)
    trends = [residual_trends(runs, fit)[0] for runs in (alone, together)]
    assert trends[0].rho == trends[1].rho
    assert trends[0].p < 0.01 * trends[1].p


def test_a_number_at_its_bound_has_no_error():
    table = make_table(40)
    table["measured_loss"] = 60 / table["n_params"] ** 0.2 + 900 / table["n_tokens"] ** 0.3
    fit = fit_varpro(law_runs(table))
    assert fit.at_bound == (("E",) if fit.values["E"] < 1e-3 else ())


def test_a_run_that_was_trained_twice_counts_once(tmp_path, caplog):
    header = "seed,time_budget_s,corpus_fingerprint,d_model,measured_loss,started"
    rows = ["0,60,ab,64,3.1,10:00", "1,60,ab,64,3.2,10:01", "0,60,ab,64,3.3,10:02"]
    path = tmp_path / "runs.csv"
    path.write_text("\n".join([header, *rows]) + "\n")
    assert read_runs(path)["measured_loss"].tolist() == [3.1, 3.2]
    assert "holds 1 runs twice, which count once" in caplog.text
    # Another's table may well have the same numbers twice.
    path.write_text("\n".join(row.rpartition(",")[0] for row in [header, *rows, rows[0]]) + "\n")
    assert len(read_runs(path)["measured_loss"]) == 4
