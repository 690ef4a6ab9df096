"""The command that every engine runs."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from anybudget.machines.job import Job, find_function, perform, reference
from anybudget.validation.training.train_job import train_job

FUNCTIONS = Path(__file__).with_name("engine_jobs.py")
square = find_function(f"{FUNCTIONS}:square")


def job(tmp_path, **changes):
    arguments = {"x": 3, "trace": str(tmp_path / "trace")}
    fields = {"label": "square", "function": reference(square), "arguments": arguments}
    return Job(**fields | changes)


def test_the_command_as_it_is_typed(tmp_path):
    (tmp_path / "job.json").write_text(job(tmp_path).text)
    files = [str(tmp_path / name) for name in ("job.json", "result.json")]
    command = [sys.executable, "-m", "anybudget.machines.job", *files]
    for _ in range(2):  # the second finds the result of the first
        subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
        result = json.loads((tmp_path / "result.json").read_text())
        assert result["value"]["square"] == 9
    assert (tmp_path / "trace").read_text() == "3\n"


def test_its_scratch_goes_and_its_environment_is_there(tmp_path):
    (tmp_path / "checkpoint").mkdir()
    echo = job(
        tmp_path,
        function="os:getenv",
        arguments={"key": "XLA_FLAGS"},
        scratch=str(tmp_path / "checkpoint"),
        environment={"XLA_FLAGS": "--a"},
    )
    assert perform(echo, tmp_path) == {"value": "--a"} == echo.result(tmp_path)
    assert not (tmp_path / "checkpoint").exists()


def test_what_it_is_told_of_its_driver(tmp_path, monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", "--b")
    monkeypatch.setenv("SECRET", "c")
    environment = job(tmp_path).environment
    assert environment["XLA_FLAGS"] == "--b"
    assert "SECRET" not in environment


def test_a_digest_is_of_what_is_done(tmp_path):
    plain = job(tmp_path)
    assert job(tmp_path, n_cores=2, environment={"A": "b"}).digest == plain.digest
    assert job(tmp_path, label="other").digest != plain.digest
    assert job(tmp_path, arguments={"x": 4}).digest != plain.digest


def test_a_function_is_found_by_its_reference():
    assert reference(train_job) == "anybudget.validation.training.train_job:train_job"
    assert find_function(reference(train_job)) is train_job
    assert reference(square) == f"{os.path.abspath(FUNCTIONS)}:square"
    with pytest.raises(ValueError, match=r"must be at the top level of a file, but got .*lambda"):
        reference(lambda: None)
