"""Every change to the disk fails once, and a kill comes at every one; a rerun makes it good.

The layer under test is `files.disk`, through which all commands write: that none writes past it is
checked too. Two faults each of a few commands are tried; with ANYBUDGET_SLOW=1 all of all commands,
`ANYBUDGET_SLOW=1 pytest -n0 -s tests/files/test_faults.py` (a quarter of an hour of one core).
"""

import contextlib
import errno
import json
import os
import re
import shutil
import sys

import pytest
from optuna.storages.journal import JournalFileBackend

from anybudget.files import disk
from anybudget.files.lock import IN_USE
from anybudget.tests.files.typed import WRITING, contents, earlier, quicken, words_of, write_inputs

CHANGES = ("put", "extend", "reserve", "sync", "name", "remove", "make_folder")
SLOW = bool(os.environ.get("ANYBUDGET_SLOW"))
# Without it: some faults of commands that take little time.
FEW, QUICK = 2, ("refit", "export-hf", "calibrate-steps", "front")
# Files that a row is added to: what is there of them is right as far as it goes.
GROWING = ("runs.csv", "searches.csv", "here.csv")
# What others write: the lock's file, and Optuna's journal with a lock of its own.
OTHERS = (f"{IN_USE}.lock", ".journal", ".journal.lock")
# What an answer says that could not be added to the study.
LACKING = re.compile(rb',\s*"the study lacks this answer: [^\n]*')
CHANGING = ("os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.truncate", "os.link")


class Killed(BaseException):
    """What a kill leaves: nothing of the process runs on."""


class FailingDisk:
    """The disk, which counts changes and fails at one of them.

    Attributes:
        past: changes in `folder` that were made past `files.disk`.
    """

    def __init__(self, set_attribute):
        self.n_changes, self.fails_at, self.kills = 0, None, False
        self.folder, self.past, self.is_inside = None, [], False
        for name in CHANGES:
            set_attribute(disk, name, self._failing(name, getattr(disk, name)))
        set_attribute(JournalFileBackend, "append_logs", self._appending())
        sys.addaudithook(self._see)  # for as long as the process lives, so that it ends with None

    def fail(self, at=None, *, kills=False):
        """From now on: at which change, and whether by a kill."""
        self.n_changes, self.fails_at, self.kills = 0, at, kills

    def _failing(self, name, change):
        def changed(path, *more):
            if name == "remove" and not path.exists():
                return None  # nothing is changed

            def half():
                if name in ("put", "extend"):  # in the middle of it
                    at = 0 if name == "put" else 1
                    part = more[at][: len(more[at]) // 2]
                    change(path, *more[:at], part, *more[at + 1 :])

            return self._at_change(lambda: change(path, *more), half)

        return changed

    def _appending(self):
        append = JournalFileBackend.append_logs

        def appended(backend, logs):
            def half():
                line = json.dumps(logs[0], separators=(",", ":")).encode()
                with open(backend._file_path, "ab") as file:
                    file.write(line[: len(line) // 2])

            return self._at_change(lambda: append(backend, logs), half)

        return appended

    def _at_change(self, change, half):
        self.n_changes += 1
        if self.kills and self.fails_at and self.n_changes > self.fails_at:
            raise Killed  # whatever would clean up does not run either
        self.is_inside = True
        try:
            if self.n_changes != self.fails_at:
                return change()
            half()
        finally:
            self.is_inside = False
        if self.kills:
            raise Killed
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def _see(self, event, args):
        if self.folder is None or self.is_inside:
            return
        if event == "open":
            path, mode, flags = args
            if not (set(mode or "") & set("wax+") or flags & (os.O_WRONLY | os.O_RDWR)):
                return
        elif event not in CHANGING:
            return
        else:
            path = args[0]
        if isinstance(path, int):
            return
        path = os.path.abspath(os.fsdecode(path))
        if os.path.isdir(path) and event in ("open", "os.mkdir"):  # the lock tries the folder
            return
        if path.startswith(f"{self.folder}{os.sep}") and not path.endswith(OTHERS):
            self.past.append((event, path))


@pytest.fixture(scope="module")
def failing():
    with pytest.MonkeyPatch.context() as patch:
        one = FailingDisk(patch.setattr)
        yield one
        one.folder = None


@pytest.fixture
def here(monkeypatch, tmp_path):
    """Go to a copy of a folder, with a cache of its own."""
    quicken(monkeypatch.setattr)

    def here(start, name):
        folder = tmp_path / name
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(start, folder)
        monkeypatch.chdir(folder)
        monkeypatch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        return folder

    return here


@pytest.fixture(scope="module")
def tally():
    """Faults by command; told at the end."""
    n_faults = {}
    yield n_faults
    if SLOW:
        with contextlib.suppress(ValueError):
            print("\nfaults injected:", *(f"{name} {n}" for name, n in n_faults.items()))
            print(f"{sum(n_faults.values())} in all, of {len(n_faults)} commands")


def is_right(path, content, before, expected):
    """Whether a file is as it was, or as it is to be, or on its way there."""
    content = LACKING.sub(b"", content)
    if path.endswith(GROWING):
        whole = content[: content.rfind(b"\n") + 1]
        return expected[path].startswith(whole)
    return path.endswith(".journal") or content in (before.get(path), expected.get(path))


@pytest.mark.parametrize("name", WRITING if SLOW else QUICK)
def test_a_rerun_makes_good_what_a_fault_left(name, failing, here, run, tmp_path, tally):
    (tmp_path / "inputs").mkdir()
    write_inputs(tmp_path / "inputs")
    failing.fail()
    start = here(tmp_path / "inputs", "start")
    for one in earlier(name):
        assert run(*words_of(one))[0] == 0
    before = contents(start)
    failing.folder = whole = here(start, "undisturbed")
    failing.fail()
    code, _, err = run(*words_of(name))
    assert code == 0, err
    assert failing.past == []
    failing.folder = None
    n_changes, expected = failing.n_changes, contents(whole)
    assert n_changes >= 3
    tally[name] = 0
    for at in range(1, n_changes + 1, 1 if SLOW else max(1, n_changes // FEW)):
        for kills in (False, True):
            disturbed = here(start, "disturbed")
            failing.fail(at, kills=kills)
            _run_into(run, name, kills)
            failing.fail()
            for path, content in contents(disturbed).items():
                assert is_right(path, content, before, expected), (at, kills, path)
            code, _, err = run(*words_of(name))
            assert code == 0, (at, kills, err)
            assert contents(disturbed) == expected, (at, kills)
            hidden = {path.relative_to(disturbed) for path in disturbed.rglob(".*")}
            # What a kill left in a cache goes when the next writer comes, which this is not.
            assert {path for path in hidden if path.parts[0] != "cache"} == set(), (at, kills)
            tally[name] += 1


def _run_into(run, name, kills):
    if kills:
        with pytest.raises(Killed):
            run(*words_of(name))
        return
    code, _, err = run(*words_of(name))
    # What fails while it cleans up has done its work.
    assert code in (0, 2), err
    assert "Traceback" not in err
    if code:
        assert err.count("anybudget: ") == 1
        assert "No space left on device" in err
        assert "; free some space" in err or "the storage 'study.journal'" in err


@pytest.mark.skipif(not SLOW, reason="slow: all faults of all commands, ANYBUDGET_SLOW=1")
def test_they_were_many(tally):
    assert sum(tally.values()) >= 300
    assert len(tally) >= 12
