"""What the command line says of itself."""

import importlib
import re
import shlex
import subprocess

import pytest

from anybudget import __version__
from anybudget.cli.main import COMMANDS, build

ALL = [(name, module) for commands in COMMANDS.values() for name, module in commands.items()]


def described(name, module):
    return getattr(importlib.import_module(f"anybudget.cli.{module}"), name).__doc__


@pytest.fixture(autouse=True)
def _narrow(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")


def test_help_lists_every_command_with_all_that_it_says(run):
    for words in ((), ("--help",)):
        code, out, err = run(*words)
        assert (code, err) == (0, "")
        said = " ".join(out.replace("│", " ").split())
        for name, module in ALL:
            summary = described(name, module).splitlines()[0].replace("`", "")
            assert f"{name} {summary}" in said


def test_help_is_no_mistake(run):
    code, out, err = run("find", "--help")
    assert (code, err) == (0, "")
    assert "--data-limit-tokens" in out


@pytest.mark.parametrize(("name", "module"), ALL)
def test_each_command_has_an_example_that_is_right(run, name, module):
    (example,) = re.findall(r"Example: `anybudget (.*)`", described(name, module))
    words = shlex.split(example.partition(" >> ")[0])
    assert words[0] == name
    build().parse_args(words, exit_on_error=False, print_error=False)
    out = run(name, "--help")[1]
    assert f"Example: anybudget {example}" in out
    assert max(map(len, out.splitlines())) <= 80


def test_the_version_has_one_place(run):
    assert run("--version") == (0, f"{__version__}\n", "")


def test_a_shell_completes_commands_and_options(run):
    code, script, err = run("completion", "bash")
    assert (code, err) == (0, "")
    words = "COMP_WORDS=(anybudget find 3h --crit) COMP_CWORD=3; _anybudget; echo ${COMPREPLY[@]}"
    done = subprocess.run(["bash", "-c", f"{script}\n{words}"], capture_output=True, text=True)
    assert done.stdout.split() == ["--critical-batch"]
