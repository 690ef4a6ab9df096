import json

import pytest

from anybudget.validation.compiler import cache as compile_cache
from anybudget.validation.compiler.cache import cached


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


@pytest.fixture
def made():
    """Folders that were made, by `make`."""
    return []


@pytest.fixture
def make(made):
    def write(folder):
        made.append(folder)
        (folder / "answer.json").write_text("{}")

    return write


def test_an_answer_is_made_once_and_says_what_was_asked(make, made):
    first = cached({"topology": "v5e:1x1"}, make)
    assert cached({"topology": "v5e:1x1"}, make) == first
    assert len(made) == 1
    assert {path.name for path in first.iterdir()} == {"answer.json", "request.json"}
    kept = json.loads((first / "request.json").read_text())
    assert kept["request"] == {"topology": "v5e:1x1"}
    assert set(kept["versions"]) == set(compile_cache.PACKAGES)


def test_another_request_another_version_or_another_step_is_made_anew(make, monkeypatch):
    folders = {cached({"topology": "v5e:1x1"}, make), cached({"topology": "v6e:1x1"}, make)}
    monkeypatch.setattr(compile_cache, "versions", lambda: {"libtpu": "9.9"})
    folders.add(cached({"topology": "v5e:1x1"}, make))
    monkeypatch.setattr(compile_cache, "SOURCES", ("model.py",))
    folders.add(cached({"topology": "v5e:1x1"}, make))
    assert len(folders) == 4


def test_a_failure_leaves_nothing(make, tmp_path):
    def fail(folder):
        make(folder)
        raise ValueError("the compiler failed")

    with pytest.raises(ValueError, match="the compiler failed"):
        cached({}, fail)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
    assert (cached({}, make) / "answer.json").exists()
