"""Every reader, given any bytes or a valid file with something changed: a value or one clear line.

50 examples of each; with ANYBUDGET_SLOW=1 2,000, others at every run.
"""

import codecs
import csv
import gzip
import io
import json
import os
import shutil
import tomllib
from pathlib import Path

import numpy as np
import pytest
import tomli_w
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from anybudget.files.log import read_log
from anybudget.files.rows import Row, append_row, read_rows
from anybudget.files.table import read_runs
from anybudget.objectives.fit.runs import law_runs
from anybudget.presets.devices import known_device
from anybudget.presets.laws import KnownLaw, known_law, load_law, save_law
from anybudget.presets.spaces import load_space
from anybudget.search.batch.plan import load_plan
from anybudget.search.explore.kept_study import KeptStudy
from anybudget.search.explore.storage import storage_failures
from anybudget.search.explore.study import Exploring, explore
from anybudget.search.question import Question
from anybudget.search.record import read_record
from anybudget.space.hf_config import architecture_from_hf
from anybudget.validation.confirm.confirmed import load_confirmed
from anybudget.validation.timing.step_table import read_step_table
from anybudget.validation.training.corpus import load_corpus

VALID = Path(__file__).parent.parent / "valid"
SLOW = bool(os.environ.get("ANYBUDGET_SLOW"))
tried = settings(
    derandomize=not SLOW,
    deadline=None,
    database=None,
    max_examples=2000 if SLOW else 50,
    suppress_health_check=list(HealthCheck),
)


class Bolt(Row):
    """A row of a file of ours."""

    name: str
    length_mm: float
    n_threads: int | None = None


class Readers:
    """A file of each kind in a folder, and what reads it."""

    def __init__(self, folder, question, confirmed):
        shutil.copytree(VALID, folder, dirs_exist_ok=True)
        shutil.copytree(confirmed, folder / "found")
        self.folder, self.question = folder, question
        for name in ("=bolt", "nut"):
            append_row(folder / "rows.csv", Bolt(name=name, length_mm=2.5))
        explore(question, Exploring(n_trials=2, storage=str(folder / "study.log")))
        (folder / "corpus.txt.gz").write_bytes(gzip.compress(b"one\n<|doc|>\ntwo\n", mtime=0))
        law = load_law("besiroglu-2024")
        draws = np.array([list(law.numbers.values())] * 2)
        save_law(folder / "drawn.toml", KnownLaw(law=law, draws=draws))

    def read(self, name):
        """Read one of the files in this folder, as commands do."""
        path = self.folder / name
        match name:
            case "device.toml" | "timed.toml":
                return known_device(str(path))
            case "law.toml" | "drawn.toml":
                return known_law(str(path))
            case "drawn.draws.csv":
                return known_law(str(path.with_name("drawn.toml")))
            case "space.toml":
                return load_space(path)
            case "plan.toml":
                return load_plan(path)
            case "config.json":
                return architecture_from_hf(path)
            case "found/confirm/confirm.json":
                return load_confirmed(path.parents[1])
            case "found/result.json" | "found/shapes.csv":
                return read_record(path.parent, whole=True)
            case "runs.csv":
                return law_runs(read_runs(path))
            case "steps.csv":
                return read_step_table(path, known_device(str(VALID / "device.toml")).device).steps
            case "rows.csv":
                return read_rows(path, Bolt)
            case "study.log":
                with (
                    storage_failures(str(path)),
                    KeptStudy(str(path), "anybudget", self.question) as kept,
                ):
                    return kept.look()
        reader = read_log if name.startswith(("log", "trainer")) else load_corpus
        return reader(path)


NAMES = (
    "device.toml", "timed.toml", "law.toml", "drawn.toml", "drawn.draws.csv", "space.toml",
    "plan.toml", "config.json", "found/result.json", "found/shapes.csv",
    "found/confirm/confirm.json", "runs.csv", "steps.csv", "rows.csv", "log.csv", "log.jsonl",
    "trainer_state.json", "study.log", "corpus.txt", "corpus.jsonl", "corpus.txt.gz",
)  # fmt: skip
# What editors and spreadsheets write as well; the others begin with bytes of their own.
BY_HAND = [name for name in NAMES if name not in ("rows.csv", "study.log", "corpus.txt.gz")]


@pytest.fixture(scope="module")
def readers(tmp_path_factory, small_space, objective, _confirmed):
    folder = tmp_path_factory.mktemp("readers")
    return Readers(folder, Question(space=small_space, objective=objective), _confirmed)


@pytest.mark.parametrize("name", NAMES)
def test_each_file_is_read_as_it_is(readers, name):
    assert readers.read(name)


@pytest.mark.parametrize("name", BY_HAND)
def test_a_byte_order_mark_is_no_part_of_it(readers, name):
    path = readers.folder / name
    valid = path.read_bytes()
    read = [readers.read(name)]
    path.write_bytes(codecs.BOM_UTF8 + valid)
    try:
        read.append(readers.read(name))
        texts = [[*one] if name.startswith("corpus") else repr(one) for one in read]
    finally:
        path.write_bytes(valid)
    assert texts[0] == texts[1]


# What has hurt a reader before, or may.
ODD = (
    b"", b"\n", b"\0", b"\xff", b"\xef\xbb\xbf", b'"', b"'", b",", b"=", b"[", b"]", b"{", b"}",
    b"#", b"nan", b"inf", b"-inf", b"-1", b"-0", b"0", b"1e308", b"5e-324", b"1e400", b"1.5",
    b"9007199254740993", b"9223372036854775808", b"9" * 5000, b"true", b"null", b"\\u001b[31m",
    b"\xe2\x80\xae", b"[" * 3000, b"\r", b"  ", b"-", b"\x1b[2J", b"name = 3\n",
)  # fmt: skip
PIECES = st.sampled_from(ODD) | st.binary(max_size=6)
EDITS = st.lists(st.tuples(st.floats(0, 1), st.integers(0, 40), PIECES), min_size=1, max_size=3)
NUMBERS = (
    st.sampled_from([0, -1, 2**53 + 1, 2**63, 10**30, -0.0, 1e308, 5e-324, 1e-30, 0.5])
    | st.floats()
    | st.integers()
)
LEAVES = NUMBERS | st.booleans() | st.text(max_size=6) | st.sampled_from(["1:4", "3h", "a\nb"])
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=4,
)


def edited(content, edits):
    """A content with some bytes taken out at some places, and others put in."""
    for share, n_out, piece in edits:
        at = int(share * len(content))
        content = content[:at] + piece + content[at + n_out :]
    return content


def places(data):
    """Each key of a document, with what it is in."""
    items = data.items() if isinstance(data, dict) else enumerate(data)
    for key, value in items:
        yield data, key
        if isinstance(value, dict | list):
            yield from places(value)


def replaced(name, content, share, value):
    """A document or table with one value replaced."""
    if name.endswith(".csv"):
        rows = list(csv.reader(io.StringIO(content.decode())))
        row = rows[int(share * (len(rows) - 1))]
        row[int(share * 7919) % len(row)] = str(value)
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows(rows)
        return text.getvalue().encode(errors="surrogatepass")
    is_toml = name.endswith(".toml")
    data = tomllib.loads(content.decode()) if is_toml else json.loads(content)
    every = list(places(data))
    inside, key = every[int(share * (len(every) - 1))]
    inside[key] = value
    return (tomli_w.dumps(data) if is_toml else json.dumps(data)).encode(errors="surrogatepass")


def value_or_one_line(readers, name, content):
    path = readers.folder / name
    valid = path.read_bytes()
    path.write_bytes(content)
    said = "a value"
    try:
        readers.read(name)
    except ValueError as error:
        said = str(error)
    finally:
        path.write_bytes(valid)
    assert said.strip()


@pytest.mark.parametrize("name", NAMES)
@tried
@given(content=st.binary(max_size=300))
def test_any_bytes(readers, name, content):
    value_or_one_line(readers, name, content)


@pytest.mark.parametrize("name", NAMES)
@tried
@given(edits=EDITS)
def test_a_valid_file_with_some_bytes_changed(readers, name, edits):
    valid = (readers.folder / name).read_bytes()
    value_or_one_line(readers, name, edited(valid, edits))


@pytest.mark.parametrize(
    "name", [name for name in NAMES if name.endswith((".toml", ".json", ".csv"))]
)
@tried
@given(share=st.floats(0, 1), value=VALUES)
def test_a_valid_file_with_a_value_changed(readers, name, share, value):
    valid = (readers.folder / name).read_bytes()
    value_or_one_line(readers, name, replaced(name, valid, share, value))
