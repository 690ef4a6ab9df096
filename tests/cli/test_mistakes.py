"""A table of bad inputs: exit code 2, one line, nothing on standard output, nothing written.

In `mistakes.csv` are the command and what its line must hold, or one of several after a bar.
"""

import csv
import shlex
from pathlib import Path

import pytest

with Path(__file__).with_name("mistakes.csv").open(encoding="utf-8") as table:
    ROWS = [tuple(row.values()) for row in csv.DictReader(table, delimiter=";", quoting=3)]
NESTED = "[" * 5000 + "]" * 5000
FILES = {
    "runs.csv": b"n_params,n_tokens,measured_loss\n1000000,1000000,3\n",
    "escape.toml": b'name = "\\u001b[31mred"\n',
    "nested.toml": f"a = {NESTED}\n".encode(),
    "digits.toml": b"E = " + b"9" * 5000 + b"\n",
    "bom.toml": b'\xef\xbb\xbfname = "mine"\n',
    "torn.toml": b"name = ",
    "binary.toml": b"\xff\xfe\x00",
    "nested.json": NESTED.encode(),
    "digits.json": b'{"a": ' + b"9" * 5000 + b"}",
    "torn.json": b'{"a": ',
    "list.json": b"[1]",
    "empty.csv": b"",
    "torn/result.json": b'{"time_budget_s": 1',
    "folder.toml/file": b"",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mistakes")
    for name, content in FILES.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


@pytest.mark.parametrize(("command", "line"), ROWS)
def test_a_mistake_is_one_line_and_leaves_nothing(run, folder, monkeypatch, command, line):
    monkeypatch.chdir(folder)
    code, out, err = run(*shlex.split(command))
    assert (code, out) == (2, ""), err
    assert err.count("\n") == 1
    assert err.startswith("anybudget: ")
    assert any(part in err for part in line.split("|")), err
    # A folder that was asked for may have been made before the mistake was met.
    left = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert left == set(FILES)
