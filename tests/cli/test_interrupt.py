"""Ctrl-C and SIGTERM while a model trains: one line, exit codes 130 and 143, what is done is kept.

The signal comes within a made-up training; with ANYBUDGET_SLOW=1 ten times each within a real one,
in a process of its own, where JAX's threads are at work.
"""

import os
import random
import shutil
import signal
import subprocess
import sys
import time

import pytest

from anybudget.cli.main import heed_sigterm
from anybudget.tests.files import typed

SLOW = bool(os.environ.get("ANYBUDGET_SLOW"))
ENDS = [
    (signal.SIGINT, 130, "anybudget: interrupted; finished work is kept"),
    (signal.SIGTERM, 143, "anybudget: ended by SIGTERM; finished work is kept"),
]
# What a shell starts in the background ignores Ctrl-C, and hands that on.
TYPED = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)
from anybudget.cli import main
main()
"""


@pytest.fixture(autouse=True)
def _in_a_folder_of_inputs(tmp_path, monkeypatch):
    typed.write_inputs(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.mark.parametrize(("number", "code", "line"), ENDS, ids=["Ctrl-C", "SIGTERM"])
def test_what_is_trained_is_kept(run, tmp_path, monkeypatch, number, code, line):
    typed.quicken(monkeypatch.setattr)
    train, n_trained = typed.train_one, []

    def interrupted(*args, **how):
        n_trained.append(1)
        if len(n_trained) == 2:
            os.kill(os.getpid(), number)
        return train(*args, **how)

    monkeypatch.setattr(typed, "train_one", interrupted)
    assert run(*typed.words_of("small"))[0] == 0
    before = {one: signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)}
    heed_sigterm()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # which a background job ignores
    try:
        ended, out, err = run(*typed.words_of("confirm"))
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)
    assert (ended, out, err.splitlines()[-1]) == (code, "", line)
    kept = (tmp_path / "found/confirm/runs.csv").read_text()
    assert kept.count("\n") == 2
    assert [path.name for path in (tmp_path / "found/confirm").iterdir()] == ["runs.csv"]
    assert run(*typed.words_of("confirm"))[0] == 0
    assert (tmp_path / "found/confirm/runs.csv").read_text().startswith(kept)
    assert len(n_trained) == 3


@pytest.mark.skipif(not SLOW, reason="slow: real trainings interrupted, ANYBUDGET_SLOW=1")
@pytest.mark.parametrize(("number", "code", "line"), ENDS, ids=["Ctrl-C", "SIGTERM"])
def test_while_jax_is_at_work(tmp_path, number, code, line):
    def start(name):
        command = [sys.executable, "-c", TYPED, *typed.words_of(name)]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    small = start("small")
    small.communicate()
    assert small.returncode == 0
    for attempt in range(10):
        shutil.rmtree(tmp_path / "found/confirm", ignore_errors=True)
        process = start("confirm")
        assert process.stderr
        while not process.stderr.readline().startswith("[2/2]"):
            assert process.poll() is None
        time.sleep(random.Random(attempt).uniform(0, 3))
        process.send_signal(number)
        out, err = process.communicate()
        assert (process.returncode, out, err) == (code, "", f"{line}\n")
        kept = (tmp_path / "found/confirm/runs.csv").read_text()
    again = start("confirm")
    again.communicate()
    rows = (tmp_path / "found/confirm/runs.csv").read_text()
    assert (again.returncode, rows.count("\n")) == (0, 3)
    assert rows.startswith(kept)
