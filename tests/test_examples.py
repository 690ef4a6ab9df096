"""The examples in docstrings: each runs, and shows what it says."""

import doctest
import importlib
import shutil
from pathlib import Path

import pytest

from anybudget import PUBLIC, api
from anybudget.space.architecture import Architecture

ROOT = Path(__file__).parent.parent
ROOMS = ("space", "objectives", "api")
PATHS = [path for room in ROOMS for path in sorted((ROOT / room).rglob("*.py"))]
PATHS.append(ROOT / "search/question.py")
MODULES = [
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    for path in PATHS
]
AT_LEAST = 30


def examples(module):
    """The examples of a module that are not those of another that it imports.

    Those of the public functions may call each other, and all may make an architecture.
    """
    public = {"Architecture": Architecture}
    if ".api" in module.__name__:
        public |= {name: getattr(api, name) for name in api.__all__}
    finder = doctest.DocTestFinder(exclude_empty=True)
    found = finder.find(module, module.__name__, extraglobs=public)
    return [test for test in found if test.examples]


@pytest.mark.parametrize("name", MODULES)
def test_every_example_shows_what_it_says(name, tmp_path, monkeypatch):
    monkeypatch.chdir(shutil.copytree(ROOT / "tests/users", tmp_path / "here"))
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE)
    for test in examples(importlib.import_module(f"anybudget.{name}")):
        complaints = []
        runner.run(test, out=complaints.append)
        assert not complaints, "".join(complaints)


def test_there_are_enough_to_learn_from():
    tests = [
        test for name in MODULES for test in examples(importlib.import_module(f"anybudget.{name}"))
    ]
    assert sum(1 for test in tests for example in test.examples if example.want) >= AT_LEAST


def test_every_public_function_has_one():
    assert [name for name in PUBLIC if ">>> " not in (getattr(api, name).__doc__ or "")] == []
