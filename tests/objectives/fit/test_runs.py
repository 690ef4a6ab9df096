from typing import Any

import numpy as np
import pytest

from anybudget.objectives.fit.runs import law_runs

Table = dict[str, Any]


def make_table(n_sizes: int = 5, n_amounts: int = 4) -> Table:
    n_params, n_tokens = np.meshgrid(np.geomspace(1e6, 1e8, n_sizes), np.geomspace(1e8, 1e9, 4))
    n_params, n_tokens = n_params[:n_amounts].ravel(), n_tokens[:n_amounts].ravel()
    loss = 1.8 + 480 / n_params**0.35 + 2000 / n_tokens**0.37
    return {"n_params": n_params, "n_tokens": n_tokens, "measured_loss": loss}


def changed(name: str, row: int, value: Any) -> Table:
    table = make_table()
    column = table[name].astype(type(value) if isinstance(value, str) else float).copy()
    column[row] = value
    return table | {name: column}


def without(name: str) -> Table:
    return {key: column for key, column in make_table().items() if key != name}


REFUSED = {
    "3 runs": ({n: c[:3] for n, c in make_table().items()}, "at least 6 runs, but got 3"),
    "one N": (make_table() | {"n_params": np.full(20, 1e7)}, "at least 3 model sizes.*1e[+]07"),
    "constant D": (make_table() | {"n_tokens": np.full(20, 1e9)}, "at least 3 amounts of tokens"),
    "two D": (make_table(n_amounts=2), "at least 3 amounts of tokens, but all have 1e[+]08 or"),
    "NaN loss": (
        changed("measured_loss", 4, np.nan),
        "`measured_loss` must be.*1 of 20.*row 5: nan",
    ),
    "zero tokens": (changed("n_tokens", 2, 0), "`n_tokens` must be a positive number.*row 3: 0"),
    "negative loss": (changed("measured_loss", 0, -2.5), "`measured_loss` must be.*row 1: -2.5"),
    "words for N": (changed("n_params", 1, "70M"), "`n_params` must be.*1 of 20 rows.*row 2: 70M"),
    "no loss": (without("measured_loss"), "measured_loss is missing from n_params, n_tokens"),
    "no N": (without("n_params"), "`n_params` or `n_params_non_embedding`.* n_params is missing"),
    "vocabularies": (
        make_table() | {"vocab_size": [8000] * 19 + [32000]},
        "one `vocab_size`.*8000",
    ),
    "texts": (make_table() | {"corpus": ["c4"] * 10 + ["pile"] * 10}, "one `corpus`.*c4, pile"),
    "one long run": (make_table() | {"run": ["a"] * 20}, "at least 6 runs, but got 1"),
    "empty": ({n: c[:0] for n, c in make_table().items()}, "at least 6 runs, but got 0"),
}


@pytest.mark.parametrize(("table", "message"), REFUSED.values(), ids=REFUSED)
def test_runs_that_hold_no_law_are_refused_in_one_line(table: Table, message: str):
    with pytest.raises(ValueError, match=message) as caught:
        law_runs(table)
    assert "\n" not in str(caught.value)


def test_good_runs_are_kept_as_they_are():
    table = make_table()
    others = {"vocab_size": [8000] * 20, "device": ["cpu"] * 20, "mfu": [0.3, np.nan] * 10}
    runs = law_runs(table | others)
    assert runs.n_params.tolist() == table["n_params"].tolist()
    assert runs.n_convention == "total"
    assert runs.n_runs == 20
    assert set(runs.columns) == {*table, "vocab_size"}
    assert runs.columns["vocab_size"].tolist() == [8000.0] * 20
    assert runs.warnings == ()


def test_the_convention_is_the_column_that_is_there_or_the_one_asked_for():
    both = make_table() | {"n_params_non_embedding": make_table()["n_params"] / 2}
    assert law_runs(both).n_convention == "total"
    assert law_runs(both, n_convention="non_embedding").n_params[0] == both["n_params"][0] / 2
    del both["n_params"]
    assert law_runs(both).n_convention == "non_embedding"
    with pytest.raises(ValueError, match="n_params is missing"):
        law_runs(both, n_convention="total")


def test_runs_that_did_not_end_well_are_left_out_with_a_warning():
    table = changed("measured_loss", 3, np.nan) | {"status": np.array(["ok"] * 20, dtype=object)}
    table["status"][3] = "diverged"
    runs = law_runs(table)
    assert len(runs.n_params) == 19
    assert runs.warnings == ("left out 1 rows with status diverged",)


def test_few_or_collinear_runs_are_warned_about():
    table = {name: column[::2] for name, column in make_table().items()}
    assert "only 10 runs for 5 unknowns" in law_runs(table).warnings[0]
    tied = make_table() | {"n_tokens": 20 * make_table()["n_params"]}
    assert "size and tokens move together" in law_runs(tied).warnings[0]


def test_rows_of_a_run_and_of_a_shape_share_a_number():
    table = make_table()
    assert len(np.unique(law_runs(table).shape)) == 5
    table |= {"run": np.repeat([f"r{i}" for i in range(10)], 2)}
    table |= {"d_model": np.repeat([64, 128], 10), "n_layers": np.tile([2, 2, 4, 4, 6], 4)}
    runs = law_runs(table)
    assert runs.run.tolist() == np.repeat(np.arange(10), 2).tolist()
    assert len(np.unique(runs.shape)) == 6
    assert runs.shape[0] == runs.shape[1] != runs.shape[2]
