"""The edges of every number that a user's file or option can hold: an answer, or one clear line.

The fields are those that the readers' types and the commands' parsers have, whichever they are.
A sixth of the edges of each; with ANYBUDGET_SLOW=1 all.
"""

import contextlib
import csv
import dataclasses
import io
import json
import os
import shlex
import shutil
import tomllib
import types
import typing
from pathlib import Path

import pytest
import tomli_w

import anybudget
from anybudget.cli.main import COMMANDS, build
from anybudget.files.table import read_runs
from anybudget.files.write import json_text
from anybudget.objectives.device import Device
from anybudget.objectives.fit.runs import law_runs
from anybudget.objectives.law.loss_law import LossLaw
from anybudget.presets.spaces import KEYS
from anybudget.search.batch import plan
from anybudget.space.architecture import BOOL_FIELDS
from anybudget.tests.files import typed
from anybudget.validation.runs import Run
from anybudget.validation.timing.step_table import TimedStep

SLOW = bool(os.environ.get("ANYBUDGET_SLOW"))
VALID = Path(__file__).parent.parent / "valid"
EDGES = (
    "0", "-1", "-0.0", "nan", "inf", "1e-320", str(2**31), str(2**53 + 1), str(2**63), str(2**64),
    str(10**30), "9" * 5000,
)  # fmt: skip
# What stands in a document for the number that is put there as text.
STANDS = 987654321987
IN_JSON = {"nan": "NaN", "inf": "Infinity"}
ONE = {"d_model": 256, "n_layers": 4, "vocab_size": 1024, "seq_len": 128, "batch_size": 64}
CARD = "h100-sxm-datasheet"
READERS = {
    "device.toml": lambda path: anybudget.predict("3h", device=path, chips=16, **ONE),
    "timed.toml": lambda path: anybudget.predict("3h", device=path, **ONE),
    "law.toml": lambda path: anybudget.predict("3h", device=CARD, law=path, **ONE),
    "space.toml": lambda path: anybudget.find("2m", device="cpu-core", space=path, trials=1),
    "plan.toml": lambda path: anybudget.batch(path, out="batch"),
    "config.json": lambda path: anybudget.predict("3h", device=CARD, config=path),
    "steps.csv": lambda path: anybudget.calibrate(steps=path, device=CARD, out="its.toml"),
    "runs.csv": lambda path: law_runs(read_runs(Path(path))),
    "some.csv": lambda path: anybudget.fit(path, method="linear", form="none"),
}
# Commands without what comes of them, those that are quick first.
TYPED = {
    "predict": f"predict 3h --device {CARD} --d-model 256 --n-layers 4 --json",
    "compile": f"{typed.COMMANDS['compile']['words']} --json",
    "export": "export found --to hf --json",
    "forecast": "forecast log.csv --result found --json",
    "fit": "fit some.csv --method linear --form none --json",
    "batch": "batch plan.toml --json",
    "explore": "explore --device cpu-core --budget 15m --json",
    "calibrate": f"calibrate --steps steps.csv --device {CARD} --out its.toml --json",
    "find": typed.COMMANDS["find"]["words"].replace("--out found", "--json"),
    "front": typed.COMMANDS["front"]["words"].replace("--out front", "--json"),
    "confirm": f"{typed.COMMANDS['confirm']['words']} --json",
    "refine": f"{typed.COMMANDS['refine']['words']} --json",
    "proxy": "proxy postgresql://localhost/studies",
}
WITHOUT_NUMBERS = {"devices", "laws", "report", "completion"}


def numbers_in(hint, value):
    """Where a type has a number, each as the keys that lead there; `value` is a valid one."""
    inner = typing.get_args(hint)
    if hint in (int, float):
        yield ()
    elif typing.get_origin(hint) is typing.Annotated:
        yield from numbers_in(inner[0], value)
    elif typing.get_origin(hint) in (typing.Union, types.UnionType):
        for one in inner:
            yield from numbers_in(one, value)
    elif typing.get_origin(hint) is tuple and {*inner} & {int, float}:
        yield from ((0,), (len(inner) - 1,))
    elif typing.get_origin(hint) is dict:
        yield from (
            (key, *rest) for key in value or () for rest in numbers_in(inner[1], value[key])
        )
    elif dataclasses.is_dataclass(hint) and value is not None:
        for name, of in typing.get_type_hints(hint).items():
            yield from ((name, *rest) for rest in numbers_in(of, value.get(name)))


def leaves(data):
    """Where a document has a number."""
    for key, value in data.items() if isinstance(data, dict) else enumerate(data):
        if isinstance(value, dict | list):
            yield from ((key, *rest) for rest in leaves(value))
        elif type(value) in (int, float):
            yield (key,)


def parsed(name):
    text = (VALID / name).read_text()
    return tomllib.loads(text) if name.endswith(".toml") else json.loads(text)


def columns(row_type):
    fields = row_type.model_fields.items()
    return [(name,) for name, about in fields if [*numbers_in(about.annotation, None)]]


SEARCH = tuple(("search", 0, key) for key, (_, may_be) in plan.KINDS.items() if may_be(1))
PLACES = {
    "device.toml": [*numbers_in(Device, parsed("device.toml"))],
    "timed.toml": [path for path in numbers_in(Device, parsed("timed.toml")) if len(path) > 1],
    "law.toml": [*numbers_in(LossLaw, parsed("law.toml"))],
    "space.toml": [(key,) for key in KEYS if key not in (*BOOL_FIELDS, "heads_fill_width")],
    "plan.toml": [*SEARCH, ("search", 0, "set", "d_model")],
    "config.json": [*leaves(parsed("config.json"))],
    "steps.csv": columns(TimedStep),
    "runs.csv": [("run",), *columns(Run)],
    "some.csv": [("n_params",), ("n_tokens",), ("measured_loss",)],
}


def edges(at):
    """Some for the field of this number, others for the next."""
    return EDGES if SLOW else EDGES[at % 6 :: 6]


def with_number(name, text, path, edge):
    """A file's text with a number put at a place, in every row of a table."""
    if name.endswith(".csv"):
        rows = list(csv.reader(io.StringIO(text)))
        at = rows[0].index(path[0]) if path[0] in rows[0] else len(rows[0])
        for row in rows:
            row[at : at + 1] = [path[0] if row is rows[0] else edge]
        return "".join(",".join(row) + "\n" for row in rows)
    is_toml = name.endswith(".toml")
    data = inner = tomllib.loads(text) if is_toml else json.loads(text)
    *keys, last = path
    for key in keys:
        if isinstance(inner, dict) and inner.get(key) is None:  # a list of numbers, left out
            inner[key] = [1.0] * (path[-1] + 1 or 2)
        inner = inner[key]
    inner[last] = STANDS
    written = tomli_w.dumps(data) if is_toml else json.dumps(data)
    return written.replace(str(STANDS), edge if is_toml else IN_JSON.get(edge, edge))


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("inputs")
    shutil.copytree(VALID, folder, dirs_exist_ok=True)
    typed.write_inputs(folder)
    shutil.copy(folder / "runs.csv", folder / "some.csv")
    return folder


@pytest.fixture(autouse=True)
def _here(inputs, tmp_path, monkeypatch):
    typed.quicken(monkeypatch.setattr)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(shutil.copytree(inputs, tmp_path / "here"))


@pytest.mark.parametrize("name", PLACES)
def test_in_a_file(name):
    text = Path(name).read_text()
    assert READERS[name](name)
    for at, path in enumerate(PLACES[name]):
        for edge in edges(at):
            Path(name).write_text(with_number(name, text, path, edge))
            # What is refused the command line tells in a line.
            with contextlib.suppress(ValueError, OverflowError):
                found = READERS[name](name)
                if hasattr(found, "as_dict"):
                    json.loads(json_text(found.as_dict()), parse_constant=pytest.fail)


def test_in_an_option(run):
    app, seen = build(described=True), set()
    every = {name for group in COMMANDS.values() for name in group}
    assert every == {*TYPED} | WITHOUT_NUMBERS
    assert run(*typed.words_of("small"))[0] == 0
    for command, words in TYPED.items():
        assert command == "proxy" or run(*shlex.split(words))[0] == 0
        for one in app[command].assemble_argument_collection():
            shared = (one.names, str(one.hint), one.parameter.help)
            if shared in seen or not [*numbers_in(one.hint, None)]:
                continue
            seen.add(shared)
            for edge in edges(len(seen)):
                code, out, err = run(*shlex.split(words), f"{one.names[0]}={edge}")
                told = [line for line in err.splitlines() if line.startswith("anybudget: ")]
                if code == 0:
                    assert json.loads(out, parse_constant=pytest.fail)
                    assert told == [], (shared, edge)
                else:
                    assert (code, out, err.splitlines()[-1:]) == (2, "", told), (shared, edge, err)
    assert len(seen) > 30
