"""Where a study is kept: files, databases and proxies, and what is none of them."""

import contextlib
import re
import sqlite3

import optuna
import pytest

from anybudget.experiments.shared import postgres_server
from anybudget.search.explore import storage as storage_module
from anybudget.search.explore.storage import close_storage, open_storage, serve
from anybudget.search.explore.study import Exploring, explore
from anybudget.search.question import Question


@pytest.fixture
def journal(tmp_path):
    return tmp_path / "study.journal"


@pytest.mark.parametrize(
    "content",
    [
        b"my notes",
        b"my notes\n",
        b'{"a": 1}',
        b'{"a": 1}\n',
        b"5\n6\n",
        b"[1, 2]\n",
        b"\x00\xff\xfe binary",
        b'{"op_code":0,"worker_id":"x"\nnot json\n{}\n',
    ],
)
def test_a_file_that_is_no_journal_is_refused_and_left_as_it_was(
    small_space, objective, journal, content
):
    journal.write_bytes(content)
    with pytest.raises(ValueError, match="is not a study's journal; choose another file"):
        explore(
            Question(space=small_space, objective=objective),
            Exploring(n_trials=5, storage=str(journal)),
        )
    assert journal.read_bytes() == content


def test_a_journal_with_a_number_beyond_all_is_one_line(small_space, objective, tmp_path):
    path = tmp_path / "study.journal"
    question = Question(space=small_space, objective=objective)
    explore(question, Exploring(n_trials=1, storage=str(path)))
    text = re.sub(r'"d_head": ?[0-9.]+', '"d_head": 1e999', path.read_text())
    path.write_text(text)
    with pytest.raises(ValueError, match="its trials do not fit together; choose another"):
        open_storage(str(path))


def test_a_folder_that_is_missing_or_no_folder(tmp_path):
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "none" / "study", tmp_path, tmp_path / "file" / "study"):
        with pytest.raises(ValueError, match="a journal is a file in an existing folder, but got"):
            open_storage(str(path))


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("parsecs://study", "Can't load plugin: sqlalchemy.dialects:parsecs"),
        ("://", "Could not parse SQLAlchemy URL"),
        ("sqlite://host:port/", "invalid literal"),
        ("sqlite:////no/such/folder/study.db", "unable to open database file"),
    ],
)
def test_a_url_that_is_none(url, reason):
    with pytest.raises(ValueError, match=f"cannot open the storage '{url}': .*{reason}") as caught:
        open_storage(url)
    assert "\n" not in str(caught.value)


def test_a_database_that_is_none(tmp_path):
    path = tmp_path / "notes.db"
    path.write_text("my notes, which are long enough to have a header" * 10)
    with pytest.raises(ValueError, match=r"cannot open the storage .*file is not a database"):
        open_storage(f"sqlite:///{path}")


def test_a_driver_that_is_missing(monkeypatch):
    monkeypatch.setattr(storage_module.importlib.util, "find_spec", lambda name: None)
    for url, extra in (("postgres://db/x", "postgres"), ("grpc://db:1", "grpc")):
        with pytest.raises(ValueError, match=rf"pip install 'anybudget\[{extra}\]'"):
            open_storage(url)


def test_a_proxy_that_does_not_answer(monkeypatch):
    monkeypatch.setattr(storage_module, "CONNECT_TIMEOUT_S", 0.2)
    with pytest.raises(ValueError, match=r"no proxy answered within 0\.2 s; start one"):
        open_storage("grpc://127.0.0.1:1")
    with pytest.raises(ValueError, match="a proxy is given as grpc://host:port"):
        open_storage("grpc://")


def test_a_database_that_does_not_answer_and_a_wrong_password(postgres):
    with pytest.raises(ValueError, match=r"x:\*\*\*@127.0.0.1:1/x': .*refused") as caught:
        open_storage("postgresql://x:secret@127.0.0.1:1/x")
    wrong = postgres.url().replace(postgres_server.PASSWORD, "secret")
    with pytest.raises(ValueError, match="password authentication failed") as caught_too:
        open_storage(wrong)
    for one in (caught, caught_too):
        assert "\n" not in str(one.value)
        assert "secret" not in str(one.value)


def test_a_database_lost_on_the_way(small_space, objective, tmp_path):
    def lose(n):
        (tmp_path / "study.db").write_bytes(b"")

    with pytest.raises(ValueError, match=r"lost the storage .*study\.db"):
        explore(
            Question(space=small_space, objective=objective),
            Exploring(n_trials=500, storage=f"sqlite:///{tmp_path / 'study.db'}"),
            on_progress=lose,
        )


def test_sqlite_keeps_a_write_ahead_log(tmp_path):
    storage = open_storage(f"sqlite:///{tmp_path / 'study.db'}")
    assert isinstance(storage, optuna.storages.RDBStorage)
    with storage.engine.connect() as connection:
        for pragma, value in (("journal_mode", "wal"), ("synchronous", 1)):
            assert connection.exec_driver_sql(f"PRAGMA {pragma}").scalar() == value
    storage.engine.dispose()
    with pytest.raises(ValueError, match="it has no file to keep a study in"):
        open_storage("sqlite://")


def test_sqlite_that_another_process_writes_to_is_opened_as_it_is(tmp_path):
    url = f"sqlite:///{tmp_path / 'study.db'}"
    optuna.storages.RDBStorage(url).engine.dispose()
    with contextlib.closing(sqlite3.connect(tmp_path / "study.db")) as other:
        other.execute("BEGIN IMMEDIATE")
        storage = open_storage(url)
        assert storage.get_all_studies() == []
        close_storage(storage)


@pytest.mark.parametrize("url", ["study.journal", "grpc://127.0.0.1:1"])
def test_a_proxy_serves_databases_alone(url):
    with pytest.raises(ValueError, match="a proxy serves a database by its URL"):
        serve(url, "127.0.0.1", 0, print)
