"""Every change to the disk fails once, and a kill comes before every one; a rerun makes it good.

The layer under test is `files.disk`, through which all commands write. A few of each command's
faults are tried; with ANYBUDGET_SLOW=1 all of them.
"""

import errno
import os
import re
import shutil

import pytest

from anybudget.files import disk

CHANGES = ("put", "extend", "sync", "name", "remove", "make_folder")
SLOW = bool(os.environ.get("ANYBUDGET_SLOW"))
# Without it: some faults of commands that take little time.
FEW, QUICK = 2, ("fit-linear", "export-hf", "report")
BASIS = ("--device", "cpu-core")
FOUND = ("find", "2m", *BASIS, "--trials", 1, "--top", 3)
PLAN = """
[[search]]
name = "small"
device = "cpu-core"
budget = ["2m", "5m"]
set = {d_model = "64:128:32", n_layers = "2:4"}
"""
# Each with the commands that must have run before it.
COMMANDS = {
    "find": (),
    "refound": ("find",),
    "batch": (),
    "front": (),
    "fit": (),
    "fit-linear": ("fit",),
    "report": ("find",),
    "export-hf": ("find",),
    "export-maxtext": ("find",),
    "export-levanter": ("find",),
    "export-nanogpt": ("plain",),
    "calibrate": (),
}
WORDS = {
    "find": (*FOUND, "--set", "gated_mlp=true", "--set", "ff_ratio=4:4", "--out", "found"),
    "refound": ("find", "5m", *FOUND[2:], "--out", "found"),
    "plain": (*FOUND, "--set", "gated_mlp=false", "--set", "ff_ratio=4:4", "--out", "found"),
    "batch": ("batch", "plan.toml", "--out", "batch"),
    "front": ("front", "2m", "time", *BASIS, "--trials", 30, "--out", "front"),
    "fit": ("fit", "runs.csv", "--draws", 100, "--form", "none", "--out", "law.toml"),
    "fit-linear": ("fit", "runs.csv", "--method", "linear", "--out", "law.toml"),
    "report": ("report", "found"),
    "calibrate": ("calibrate", "--steps", "steps.csv", "--device", "h100-sxm-datasheet",
                  "--out", "mine.toml"),
} | {f"export-{to}": ("export", "found", "--to", to)
     for to in ("hf", "maxtext", "levanter", "nanogpt")}  # fmt: skip
DATE = re.compile(rb"\d{4}-\d\d-\d\dT[0-9:.]+(\+00:00|Z)?")


class Killed(BaseException):
    """What a kill leaves: nothing of the process runs on."""


class FailingDisk:
    """The disk, which counts changes and fails at one of them."""

    def __init__(self, monkeypatch):
        self.n_changes, self.fails_at, self.kills = 0, None, False
        for name in CHANGES:
            monkeypatch.setattr(disk, name, self._failing(name, getattr(disk, name)))

    def _failing(self, name, change):
        def changed(path, *more):
            self.n_changes += 1
            if self.kills and self.fails_at and self.n_changes >= self.fails_at:
                raise Killed  # and whatever would clean up does not run either
            if self.n_changes == self.fails_at:
                if name in ("put", "extend"):  # the disk is full in the middle of it
                    content = more[-1]
                    change(path, *more[:-1], content[: len(content) // 2])
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return change(path, *more)

        return changed

    def fail(self, at=None, *, kills=False):
        """From now on: at which change, and whether by a kill."""
        self.n_changes, self.fails_at, self.kills = 0, at, kills


def contents(folder):
    """All that lies in a folder, but for dates, and hidden files that a kill may leave."""
    return {
        str(path.relative_to(folder)): DATE.sub(b"DATE", path.read_bytes())
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.startswith(".") and path.suffix != ".parquet"
    }


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("inputs")
    (folder / "plan.toml").write_text(PLAN)
    rows = ["n_params,n_tokens,measured_loss"]
    for n_params in (1e6, 3e6, 1e7, 3e7, 1e8):
        for n_tokens in (1e8, 3e8, 1e9):
            loss = 1.8 + 480 / n_params**0.35 + 2000 / n_tokens**0.37
            loss *= 1 + 0.002 * ((7 * len(rows)) % 5 - 2)
            rows.append(f"{n_params:.0f},{n_tokens:.0f},{loss:.5f}")
    (folder / "runs.csv").write_text("\n".join(rows) + "\n")
    steps = [
        "d_model,n_layers,n_heads,d_ff,vocab_size,seq_len,batch_size,attention,"
        "precision,step_time_s"
    ]
    for d_model in (256, 512, 1024, 2048):
        for n_layers in (2, 4, 8):
            n_params = 12 * n_layers * d_model**2 + 8192 * d_model
            step_time_s = 1e-3 + 6 * n_params * 4096 / 4e14 * (1 + 0.01 * (n_layers % 3))
            shape = f"{d_model},{n_layers},{d_model // 64},{4 * d_model},8192,256,16"
            steps.append(f"{shape},plain,bf16,{step_time_s:.6f}")
    (folder / "steps.csv").write_text("\n".join(steps) + "\n")
    return folder


@pytest.mark.parametrize("name", list(COMMANDS) if SLOW else QUICK)
def test_a_rerun_makes_good_what_a_fault_left(name, inputs, run, tmp_path, monkeypatch):
    failing = FailingDisk(monkeypatch)
    start = tmp_path / "start"
    shutil.copytree(inputs, start)
    monkeypatch.chdir(start)
    for earlier in COMMANDS[name]:
        assert run(*WORDS[earlier])[0] == 0

    def again(to):
        shutil.rmtree(tmp_path / to, ignore_errors=True)
        shutil.copytree(start, tmp_path / to)
        monkeypatch.chdir(tmp_path / to)
        return tmp_path / to

    whole = again("undisturbed")
    failing.fail()
    assert run(*WORDS[name])[0] == 0
    n_changes, expected, before = failing.n_changes, contents(whole), contents(start)
    assert n_changes >= 3
    step = 1 if SLOW else max(1, n_changes // FEW)
    for at in range(1, n_changes + 1, step):
        for kills in (False, True):
            here = again("disturbed")
            failing.fail(at, kills=kills)
            if kills:
                with pytest.raises(Killed):
                    run(*WORDS[name])
            else:
                code, _, err = run(*WORDS[name])
                # What fails while it cleans up has done its work.
                assert code in (0, 2), err
                assert "Traceback" not in err
                if code:
                    assert err.count("anybudget: ") == 1
                    assert "cannot be written: No space left on device; free some space" in err
            for path, content in contents(here).items():
                assert content in (before.get(path), expected.get(path)), path
            failing.fail()
            code, _, err = run(*WORDS[name])
            assert code == 0, err
            assert contents(here) == expected
