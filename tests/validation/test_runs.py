import datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pydantic
import pytest

from anybudget.objectives.cost.execution import FIELDS as EXECUTION_FIELDS
from anybudget.objectives.cost.execution import Execution
from anybudget.space.architecture import FIELDS, Architecture
from anybudget.validation.runs import (
    ArchitectureRow,
    ExecutedRow,
    Row,
    Run,
    append_row,
    finished,
    read_rows,
)

ARCH = Architecture.from_shape(d_model=64, n_layers=2, vocab_size=512, seq_len=32, batch_size=4)


class Timing(Row):
    """A row with other columns than a run, as calibration has them."""

    name: str
    repeat: int
    seconds: float | None = None


EXECUTION = Execution(remat="dots", sharding="full", n_chips=2)


def make_run(**changes: Any) -> Run:
    fields = {
        "corpus": "python",
        "corpus_fingerprint": "00ff",
        "seed": 0,
        "device": 'cpu, "one core"',
        "recipe": "adamw",
        "learning_rate": 1e-3,
        "time_budget_s": 60.0,
        "n_params": 100,
        "n_params_non_embedding": 60,
        "status": "ok",
        "n_steps": 1000,
        "n_tokens": 128_000,
        "step_time_s": 0.1 + 0.2,
        "measured_loss": 3.25,
        "started": datetime.datetime(2025, 1, 2, 3, 4, 5, 678, tzinfo=datetime.UTC),
        "versions": "jax 0.7.0; numpy 2.0.0",
    }
    return Run(**(ARCH.as_dict() | EXECUTION.columns(ARCH) | fields | changes))


def test_what_is_appended_is_read_back_equal(tmp_path: Path):
    path = tmp_path / "new/runs.csv"
    nothing = {"step_time_s": None, "measured_loss": None, "n_steps": 0, "n_tokens": 0}
    runs = [make_run(seed=0), make_run(seed=1, status="out_of_memory", **nothing)]
    for run in runs:
        append_row(path, run)
    assert read_rows(path, Run) == runs
    assert read_rows(path, Run)[0].architecture == ARCH
    frame = pd.read_csv(path)
    assert list(frame.columns) == list(Run.model_fields)
    assert frame["measured_loss"].isna().tolist() == [False, True]
    assert frame["gated_mlp"].dtype == bool


def test_how_a_step_was_run_is_read_back_and_must_fit_the_batch():
    run = make_run()
    assert run.execution == EXECUTION
    added = [name for name in ExecutedRow.model_fields if name not in FIELDS]
    assert set(added) == {*EXECUTION_FIELDS, "micro_batch_size"}
    with pytest.raises(ValueError, match="`micro_batch_size` must be the batch over passes"):
        make_run(micro_batch_size=7)
    with pytest.raises(ValueError, match="must divide `batch_size`"):
        make_run(n_chips=7)


def test_the_columns_of_an_architecture_are_its_fields():
    assert tuple(ArchitectureRow.model_fields) == FIELDS


class LaterTiming(Timing):
    """The same with a column that came later, and what it was before."""

    warm: bool = False


def test_a_column_that_came_later_means_its_default_in_older_files(tmp_path: Path):
    path = tmp_path / "timings.csv"
    append_row(path, Timing(name="a", repeat=0))
    assert read_rows(path, LaterTiming) == [LaterTiming(name="a", repeat=0, warm=False)]
    with pytest.raises(ValueError, match=r"missing: \['warm'\]"):
        append_row(path, LaterTiming(name="b", repeat=0))


def test_a_file_cut_at_any_byte_loses_the_torn_row_and_no_other(tmp_path: Path):
    path, whole = tmp_path / "cut.csv", tmp_path / "whole.csv"
    rows = [Timing(name=f"öl, {repeat}", repeat=repeat, seconds=1.5) for repeat in range(3)]
    for row in rows:
        append_row(whole, row)
    content = whole.read_bytes()
    for n_bytes in range(len(content) + 1):
        path.write_bytes(content[:n_bytes])
        survivors = rows[: max(content[:n_bytes].count(b"\n") - 1, 0)]
        assert read_rows(path, Timing) == survivors
        append_row(path, rows[0])
        assert read_rows(path, Timing) == [*survivors, rows[0]]


def test_a_torn_line_is_reported(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    path = tmp_path / "runs.csv"
    append_row(path, make_run())
    path.write_bytes(path.read_bytes()[:-1])
    assert read_rows(path, Run) == []
    assert "torn line" in caplog.text


def test_finished_holds_the_keys_of_the_rows(tmp_path: Path):
    path = tmp_path / "timings.csv"
    assert finished(path, Timing, ["name", "repeat"]) == set()
    for name, repeat in [("a", 0), ("a", 1), ("b", 0)]:
        append_row(path, Timing(name=name, repeat=repeat))
    assert finished(path, Timing, ["name", "repeat"]) == {("a", 0), ("a", 1), ("b", 0)}
    assert finished(path, Timing, ["name"]) == {("a",), ("b",)}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("name,repeat\na,0\n", r"missing: \['seconds'\], unknown: \[\]"),
        ("name,repeat,seconds,extra\n", r"missing: \[\], unknown: \['extra'\]"),
        ("repeat,name,seconds\n", "in this order"),
        ("name,repeat,seconds\na,0\n", "line 2 has 2"),
        ("name,repeat,seconds\na,0,1\na,many,1\n", "line 3: repeat: .* but got 'many'"),
        ("name,repeat,seconds\na,0,nan\n", "line 2: seconds: .*finite"),
        ("name,repeat,seconds\n,0,1\n", "line 2: name: Field required"),
        (b"\xff\xfe\n", "not UTF-8"),
        ("just text\n", "must have the columns name,repeat,seconds"),
        ("just text", "must have the columns name,repeat,seconds"),
    ],
)
def test_nonsense_is_one_line_that_names_the_file(
    tmp_path: Path, content: str | bytes, message: str
):
    path = tmp_path / "timings.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ValueError, match=message) as caught:
        read_rows(path, Timing)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_other_columns_are_not_appended_to(tmp_path: Path):
    path = tmp_path / "timings.csv"
    append_row(path, Timing(name="a", repeat=0))
    with pytest.raises(ValueError, match="must have the columns"):
        append_row(path, make_run())
    assert read_rows(path, Timing) == [Timing(name="a", repeat=0)]
    for others in ("one line", "two\nlines"):
        (tmp_path / "others.txt").write_text(others)
        with pytest.raises(ValueError, match="must have the columns"):
            append_row(tmp_path / "others.txt", Timing(name="a", repeat=0))
        assert (tmp_path / "others.txt").read_text() == others
    with pytest.raises(ValueError, match="line break"):
        append_row(path, Timing(name="a\nb", repeat=0))
    assert read_rows(tmp_path / "missing.csv", Timing) == []
    with pytest.raises(ValueError, match="must be a CSV file, but is a folder"):
        read_rows(tmp_path, Timing)


@pytest.mark.parametrize(
    "changes",
    [
        {"measured_loss": None},
        {"measured_loss": float("nan")},
        {"status": "fine"},
        {"d_model": 0},
        {"n_heads": 3, "n_kv_heads": 2},
        {"started": datetime.datetime(2025, 1, 2)},
        {"other": 1},
    ],
)
def test_a_run_that_cannot_be_is_not_made(changes: dict[str, Any]):
    with pytest.raises(pydantic.ValidationError):
        make_run(**changes)
