"""A table of bad inputs: exit code 2, one line, nothing on standard output, nothing written.

In `mistakes.csv` stand a command, what is wrong with the files that it reads, and what its line
must hold, or one of several after a bar. A change is `FILE key=value`, `FILE key` (left out) or
`FILE !damage`, of one of the files in `tests/valid` or of what `find` wrote to `found`.
"""

import csv
import dataclasses
import io
import json
import shlex
import shutil
import tomllib
from pathlib import Path

import numpy as np
import pytest
import tomli_w

from anybudget.presets.laws import KnownLaw, load_law, save_law

ROOT = Path(__file__).parent.parent
with Path(__file__).with_name("mistakes.csv").open(encoding="utf-8") as table:
    ROWS = [tuple(row.values()) for row in csv.DictReader(table, delimiter=";", quoting=3)]
FIND = "find 2m --device=cpu-core --set=d_model=64:256:64 --set=gated_mlp=true --top=3"
# Deeper than any Python's JSON goes: 3.13 reads some thousands.
DEEP = "[" * 100_000 + "]" * 100_000
DAMAGE = {
    "empty": lambda old: b"",
    "blank": lambda old: b"\n \n",
    "torn": lambda old: old[: int(len(old) * 0.6)],
    "header": lambda old: old[: old.index(b"\n") + 1],
    "utf16": lambda old: old.decode().encode("utf-16"),
    "binary": lambda old: b"\xff\xfe\x00" + bytes(range(256)),
    "nul": lambda old: old + b"\0",
    "nested.toml": lambda old: f"a = {DEEP}\n".encode(),
    "nested": lambda old: DEEP.encode(),
    "nested.line": lambda old: old + b'{"text": ' + DEEP.encode() + b"}\n",
    "digits.toml": lambda old: old + b"E = " + b"9" * 5000 + b"\n",
    "digits": lambda old: b'{"a": ' + b"9" * 5000 + b"}",
    "list": lambda old: b"[1]",
    "half": lambda old: old.replace(old.splitlines()[2], old.splitlines()[2][:9], 1),
    "twice": lambda old: old.splitlines(keepends=True)[0] + old,
    "wide": lambda old: old + b"," * 20 + b"\n",
    "quote": lambda old: old + b'"',
    "unknown": lambda old: old + b'{"op_code": 99, "worker_id": "me"}\n',
}


def changed(name, old, change):
    """A file's content with one thing changed."""
    if change.startswith("!"):
        return DAMAGE[change[1:]](old)
    key, given, text = change.partition("=")
    if name.endswith(".csv"):
        rows = list(csv.reader(io.StringIO(old.decode())))
        at = rows[0].index(key) if key in rows[0] else len(rows[0])
        for row in rows:
            row[at : at + 1] = [key if row is rows[0] else text] if given else []
        return "".join(",".join(row) + "\n" for row in rows).encode()
    is_toml = name.endswith(".toml")
    data = inner = tomllib.loads(old.decode()) if is_toml else json.loads(old)
    *path, last = (int(part) if part.isdecimal() else part for part in key.split("."))
    for part in path:
        inner = inner[part]
    if not given:
        del inner[last]
    else:
        inner[last] = tomllib.loads(f"x = {text}")["x"] if is_toml else json.loads(text)
    return (tomli_w.dumps(data) if is_toml else json.dumps(data)).encode()


@pytest.fixture
def folder(run, tmp_path, monkeypatch):
    """A folder with a valid file of each kind, a search's, a journal, and laws with wrong draws."""
    monkeypatch.setattr("os.sched_setaffinity", lambda pid, cores: None)
    monkeypatch.setattr("anybudget.machines.host.keep_freed_memory", lambda: True)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = shutil.copytree(ROOT / "valid", tmp_path / "here")
    monkeypatch.chdir(folder)
    for kept in ("--trials=1 --out=found", "--trials=2 --storage=study.log"):
        assert run(*shlex.split(f"{FIND} {kept}"))[0] == 0
    # It was calibrated on another machine than the tests', which would be a second line.
    result = folder / "found/result.json"
    result.write_bytes(changed(result.name, result.read_bytes(), "device.calibration={}"))
    law = dataclasses.replace(load_law("besiroglu-2024"), name="drawn")
    numbers = np.array(list(law.numbers.values()))
    for name, number in (("below", -1.0), ("none", 0.0)):
        draws = np.stack([numbers, np.where(numbers == law.alpha, number, numbers)])
        save_law(folder / f"{name}.toml", KnownLaw(law=law, draws=draws))
    (folder / "empty").mkdir()
    return folder


def contents(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in folder.rglob("*")
    }


def test_a_mistake_is_one_line_and_leaves_nothing(run, folder):
    before, wrong = contents(folder), []
    for command, changes, line in ROWS:
        for change in filter(None, changes.split(" & ")):
            name, _, what = change.partition(" ")
            path = folder / name
            path.write_bytes(changed(name, path.read_bytes(), what))
        there = contents(folder)
        try:
            code, out, err = run(*shlex.split(command))
        except Exception as error:  # the rest of the table is worth a look too
            code, out, err = 1, "", f"{type(error).__name__}: {error}"
        says = any(part in err for part in line.split("|"))
        # What takes time is told before it, and some mistakes are met in its course.
        said = [line for line in err.splitlines() if not line.startswith(("preparing ", "... "))]
        one = len(said) == 1 and said[0].startswith("anybudget: ")
        # A folder that was asked for may have been made before the mistake was met.
        left = {name: text for name, text in contents(folder).items() if text is not None}
        same = left == {name: text for name, text in there.items() if text is not None}
        if not (code == 2 and not out and one and says and same):
            wrong.append((command, changes, line, code, out, err, same))
        for name in contents(folder).keys() - before.keys():
            path = folder / name
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        for name, text in before.items():
            if text is not None and (name not in there or there[name] != text or not same):
                (folder / name).write_bytes(text)
    assert not wrong, "\n".join(map(str, wrong))
    assert len(ROWS) == len(set(ROWS)) >= 200
