"""Two processes of one command in one folder leave what one leaves: the second waits, or is told.

With ANYBUDGET_SLOW=1 each command ten times; else two threads, which a lock tells apart as well.
"""

import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

import anybudget
from anybudget.tests.files import typed

SLOW = bool(os.environ.get("ANYBUDGET_SLOW"))
TIMES = 10


def start(name, folder):
    # Of JAX's threads there are as many as cores, however many processes.
    environment = {
        **os.environ,
        "XDG_CACHE_HOME": str(folder / "cache"),
        # Its list of fonts is no two times the same.
        "MPLCONFIGDIR": str(folder / ".matplotlib"),
        "XDG_CONFIG_HOME": str(folder / "config"),
        "OMP_NUM_THREADS": "1",
    }
    return subprocess.Popen(
        [sys.executable, typed.__file__, name],
        cwd=folder,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def ended(process):
    """Its exit code; its streams are closed."""
    process.communicate()
    return process.returncode


def test_two_threads_at_once_are_as_one(tmp_path, monkeypatch):
    typed.quicken(monkeypatch.setattr)
    typed.write_inputs(tmp_path)

    def batch(folder):
        try:
            anybudget.batch(tmp_path / "plan.toml", out=tmp_path / folder)
        except ValueError as error:
            return str(error)

    with ThreadPoolExecutor(2) as threads:
        said = [*threads.map(batch, ["both", "both"])]
    assert batch("alone") is None
    assert None in said
    assert all("is being written by process" in one for one in said if one)
    assert typed.contents(tmp_path / "both") == typed.contents(tmp_path / "alone")


@pytest.mark.skipif(not SLOW, reason="slow: two processes of every command, ANYBUDGET_SLOW=1")
@pytest.mark.parametrize("name", typed.WRITING)
def test_two_at_once_are_as_one(name, tmp_path):
    begin = tmp_path / "start"
    begin.mkdir()
    typed.write_inputs(begin)
    for one in typed.earlier(name):
        assert ended(start(one, begin)) == 0
    alone = shutil.copytree(begin, tmp_path / "alone")
    assert ended(start(name, alone)) == 0
    for number in range(TIMES):
        both = shutil.copytree(begin, tmp_path / str(number))
        processes = [start(name, both) for _ in range(2)]
        errors = [process.communicate()[1] for process in processes]
        codes = sorted(process.returncode for process in processes)
        assert codes in ([0, 0], [0, 2]), errors
        if codes == [0, 2]:
            [refused] = [err for err in errors if "anybudget: " in err]
            assert "is being written by process" in refused.splitlines()[-1]
            assert "Traceback" not in refused
        assert typed.contents(both) == typed.contents(alone)
        assert not list(both.rglob("*.lock"))
