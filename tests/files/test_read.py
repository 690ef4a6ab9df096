"""Files of a user's: read as data, and refused in one line."""

import dataclasses

import pytest
from pydantic import ConfigDict

from anybudget.files.read import build, did_you_mean, read_text, read_toml


@dataclasses.dataclass(frozen=True, kw_only=True)
class Bolt:
    __pydantic_config__ = ConfigDict(extra="forbid")

    length_mm: float
    threads: int = 1
    span: tuple[float, float] | None = None

    def __post_init__(self):
        if self.length_mm <= 0:
            raise ValueError("`length_mm` must be > 0")


def test_build_takes_what_fits():
    assert build(Bolt, {"length_mm": 3, "span": [1, 2.5]}, "x") == Bolt(
        length_mm=3.0, span=(1.0, 2.5)
    )


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({}, "here: `length_mm` is missing"),
        ({"length_mm": 1, "thread": 2}, "here: unknown key `thread`; did you mean threads"),
        ({"lenght_mm": 1}, "here: unknown key `lenght_mm`; did you mean length_mm"),
        ({"length_mm": 1, "zzz": 2}, "here: unknown key `zzz`; known: length_mm, span, threads"),
        ({"length_mm": "long"}, r"here: `length_mm`: .*valid number \(got 'long'\)"),
        ({"length_mm": "3"}, r"here: `length_mm`: .*valid number \(got '3'\)"),
        ({"length_mm": True}, r"here: `length_mm`: .*valid number \(got True\)"),
        ({"length_mm": 1, "threads": 1.5}, r"here: `threads`: .*valid integer \(got 1.5\)"),
        ({"length_mm": 1, "span": [1]}, "here: `span.1` is missing"),
        ({"length_mm": 1, "span": [1, "a"]}, r"here: `span.1`: .*valid number \(got 'a'\)"),
        ({"length_mm": -1}, "here: `length_mm` must be > 0$"),
    ],
)
def test_build_names_the_key_and_its_value(data, message):
    with pytest.raises(ValueError, match=message) as caught:
        build(Bolt, data, "here")
    assert "\n" not in str(caught.value)


def test_a_missing_file_a_folder_and_bytes(tmp_path):
    with pytest.raises(ValueError, match=r"cannot read .*none.toml: No such file"):
        read_text(tmp_path / "none.toml")
    with pytest.raises(ValueError, match=r"cannot read .*: Is a directory"):
        read_text(tmp_path)
    (tmp_path / "bytes.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match=r"cannot read .*bytes.toml: it is not UTF-8 text"):
        read_text(tmp_path / "bytes.toml")


def test_read_toml(tmp_path):
    path = tmp_path / "a.toml"
    path.write_text("a = 1\n[b]\nc = 'd'\n")
    assert read_toml(path) == {"a": 1, "b": {"c": "d"}}
    path.write_text("a = = 1")
    with pytest.raises(ValueError, match=r"a.toml is not valid TOML: .*line 1"):
        read_toml(path)


def test_did_you_mean_lists_the_near_or_all():
    assert did_you_mean("tpu-v5", ["tpu-v5e", "h100"]) == "; did you mean tpu-v5e?"
    assert did_you_mean("qqq", ["b", "a"]) == "; known: a, b"
