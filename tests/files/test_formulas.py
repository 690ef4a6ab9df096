"""No cell of a table that a command writes begins a formula, whatever a user calls his things."""

import csv
from pathlib import Path

import pytest

from anybudget.files.write import FORMULA
from anybudget.tests.files import typed

VALID = Path(__file__).parent.parent / "valid"
PLAN = """
[[search]]
name = "-2+3"
device = "device.toml"
law = "law.toml"
budget = "2m"
set = {d_model = "64:128:32", n_layers = 2, batch_size = 8}
"""


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    typed.quicken(monkeypatch.setattr)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    typed.write_inputs(tmp_path)
    (tmp_path / "plan.toml").write_text(PLAN)
    for name, called in (("device", "@SUM(1+1)*cmd"), ("law", "=1+1")):
        text = (VALID / f"{name}.toml").read_text().replace('"gpu"', '"cpu"')
        lines = [f'name = "{called}"' if line.startswith("name") else line
                 for line in text.splitlines()]  # fmt: skip
        (tmp_path / f"{name}.toml").write_text("\n".join(lines))
    (tmp_path / "+words.txt").write_bytes((tmp_path / "words.txt").read_bytes())


def test_what_a_user_calls_things_is_no_formula(run, tmp_path):
    basis = ("--device", "device.toml", "--law", "law.toml")
    small = [*typed.words_of("small"), *basis]
    for words in (
        small,
        [*typed.words_of("front"), *basis],
        ["batch", "plan.toml", "--out", "batch"],
        ["confirm", "found", "--top", "1", "--contrast", "1", "--corpus", "+words.txt"],
    ):
        code, _, err = run(*words)
        assert code == 0, err
    tables = [path for path in tmp_path.rglob("*.csv") if path.parent != tmp_path]
    cells = set()
    for path in tables:
        with path.open() as file:
            cells |= {cell for row in csv.reader(file) for cell in row}
    assert len(tables) >= 7
    assert {"'+words.txt", "'-2+3", "'@SUM(1+1)*cmd", "'=1+1"} <= cells
    for cell in cells:
        assert not cell.startswith(FORMULA) or isinstance(float(cell), float)
