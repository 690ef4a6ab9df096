"""A password in an address or in the environment is in no file that any command writes, nor said.

A few commands; with ANYBUDGET_SLOW=1 all that write, and the mistakes besides.
"""

import os
import stat

import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from anybudget.tests.files import typed

MARKER = "s3cr3t-M4rk3r"
SLOW = bool(os.environ.get("ANYBUDGET_SLOW"))
URL = f"postgresql://me:{MARKER}@db.example.org/studies?password={MARKER}&sslmode=require"
STORED = [*typed.words_of("find")[:-2], "--storage", URL, "--out", "found"]
QUICK = ("report", "export-hf", "front")
MISTAKES = [
    ("find", "3h", "--storage", f"parsecs://me:{MARKER}@host/db"),
    ("find", "3h", "--storage", f"postgresql://me:{MARKER}@127.0.0.1:1/db?token={MARKER}"),
    ("find", "3h", "--storage", f"grpc://me:{MARKER}@:x/{MARKER}?api_key={MARKER}"),
    ("find", "3h", "--device", f"http://me:{MARKER}@host/device.toml"),
    ("find", "3h", "--out", f"http://me:{MARKER}@host/"),
    ("confirm", "found", "--corpus", f"https://me:{MARKER}@host/text?token={MARKER}"),
    ("fit", f"https://me:{MARKER}@host/runs.csv", "--out", "mine.toml"),
    ("batch", f"s3://me:{MARKER}@host/plan.toml"),
    ("proxy", f"parsecs://me:{MARKER}@host/db"),
    ("report", f"https://me:{MARKER}@host/found"),
]


@pytest.fixture(autouse=True)
def _secrets_in_the_environment(monkeypatch, tmp_path):
    typed.quicken(monkeypatch.setattr)
    for name in ("PGPASSWORD", "WANDB_API_KEY", "HF_TOKEN"):
        monkeypatch.setenv(name, MARKER)
    for name in ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://me:{MARKER}@proxy.example.org:3128")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    typed.write_inputs(tmp_path)


def test_no_file_and_no_line_holds_it(run, tmp_path, monkeypatch):
    # What a database keeps is not ours to hide: the study itself is in another place.
    with monkeypatch.context() as patch:
        patch.setattr(
            "anybudget.search.explore.kept_study.open_storage",
            lambda url: JournalStorage(JournalFileBackend(str(tmp_path / "database.journal"))),
        )
        said = [run(*STORED)]
    assert said[0][0] == 0
    assert "postgresql://me:***@db" in (tmp_path / "found/result.json").read_text()
    for name in typed.WRITING if SLOW else QUICK:
        for one in (*(typed.earlier(name) if SLOW else ()), name):
            said.append(run(*typed.words_of(one)))
            assert said[-1][0] == 0, said[-1]
    assert MARKER not in repr(said)
    for path in tmp_path.rglob("*"):
        assert not (path.is_file() and MARKER.encode() in path.read_bytes()), path
        if path.name in ("result.json", "report.html") and b"db.example.org" in path.read_bytes():
            assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize("words", MISTAKES, ids=[f"{w[0]} {w[-1][:9]}" for w in MISTAKES])
def test_no_mistake_tells_it(run, words, tmp_path):
    code, out, err = run(*words)
    assert (code, out) == (2, "")
    assert MARKER not in err
    assert not [path for path in tmp_path.rglob("*") if MARKER in str(path)]
