import gzip
import json
import lzma
import sys
import sysconfig
import tracemalloc
from importlib.metadata import requires
from pathlib import Path

import pytest
import zstandard

from anybudget.files.write import written_whole
from anybudget.validation.training import corpus as corpus_module
from anybudget.validation.training.corpus import load_corpus

TEXTS = ["first\ndocument", "zweites Dokument: äöü", "third"]
PLAIN = "\n<|doc|>\n".join(TEXTS)
JSON_LINES = "".join(json.dumps({"text": text, "url": "x"}) + "\n" for text in TEXTS)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.txt", PLAIN.encode()),
        ("a.txt", PLAIN.encode("utf-8-sig")),
        ("a.jsonl", JSON_LINES.encode("utf-8-sig")),
        ("a.txt", PLAIN.replace("\n", "\r\n").encode()),
        ("a", b"<|doc|>\n\n<|doc|>\n" + PLAIN.encode() + b"\n<|doc|>\n"),
        ("a.md.gz", gzip.compress(PLAIN.encode(), mtime=0)),
        ("a.txt.xz", lzma.compress(PLAIN.encode())),
        (
            "a.txt.zst",
            zstandard.compress(PLAIN[:9].encode()) + zstandard.compress(PLAIN[9:].encode()),
        ),
        ("a.v1.jsonl", JSON_LINES.encode()),
        ("a.json.gz", gzip.compress(JSON_LINES.encode(), mtime=0)),
        ("a.jsonl.zst", zstandard.compress(JSON_LINES.encode())),
    ],
)
def test_every_kind_of_file_holds_the_same_documents(tmp_path: Path, name: str, content: bytes):
    path = tmp_path / name
    path.write_bytes(content)
    corpus = load_corpus(path)
    assert list(corpus) == list(corpus) == TEXTS
    assert corpus.name == name
    assert corpus.n_bytes == sum(len(text.encode()) for text in TEXTS)


def test_a_folder_is_all_its_visible_files_in_an_order_of_its_own(tmp_path: Path):
    for folder in ("one", "two"):
        (tmp_path / folder / "sub").mkdir(parents=True)
        for number in range(20) if folder == "one" else reversed(range(20)):
            (tmp_path / folder / f"sub/{number:02}.txt").write_text(f"text {number:02}")
        (tmp_path / folder / ".hidden").write_bytes(b"\0")
    one, two = load_corpus(tmp_path / "one"), load_corpus(tmp_path / "two")
    assert list(one) == list(two)
    assert one.fingerprint == two.fingerprint
    assert sorted(one) == [f"text {number:02}" for number in range(20)]
    assert list(one) != sorted(one)


def test_the_fingerprint_knows_contents_boundaries_and_order(tmp_path: Path):
    fingerprints = set()
    for number, texts in enumerate([["ab", "c"], ["a", "bc"], ["abc"], ["c", "ab"], ["ab", "d"]]):
        path = tmp_path / f"{number}.txt"
        path.write_text("\n<|doc|>\n".join(texts))
        fingerprints.add(load_corpus(path).fingerprint)
    assert len(fingerprints) == 5


def test_max_bytes_stops_at_the_end_of_a_document(tmp_path: Path):
    path = tmp_path / "a.txt"
    path.write_text("\n<|doc|>\n".join(["1234", "5678", "9"]))
    assert list(load_corpus(path, max_bytes=8)) == ["1234", "5678"]
    assert list(load_corpus(path, max_bytes=7)) == ["1234"]
    with pytest.raises(ValueError, match="max_bytes=3"):
        load_corpus(path, max_bytes=3)


def test_a_corpus_that_changes_after_it_was_read_is_refused(tmp_path: Path):
    path = tmp_path / "a.txt"
    for later in ("one\n<|doc|>\nTWO", "one"):
        path.write_text("one\n<|doc|>\ntwo")
        corpus = load_corpus(path)
        path.write_text(later)
        with pytest.raises(ValueError, match=r"a\.txt must not change"):
            list(corpus)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", b" \n<|doc|>\n", "none"),
        ("a.txt", b"PNG\0\1", "NUL bytes"),
        ("a.txt", "größer".encode("latin-1"), "UTF-8"),
        ("a.jsonl", b'{"text": "x"}\n{"body": "x"}\n', "line 2 is"),
        ("a.jsonl", b'{"text": 1}\n', "field 'text'"),
        ("a.jsonl", b'{"text": "\\ud800"}\n', "line 1 is"),
        ("a.jsonl", b"[1]\n", "line 1 is"),
        ("a.jsonl", b"not json\n", "line 1 is"),
        ("a.txt.gz", gzip.compress(PLAIN.encode(), mtime=0)[:-9], "damaged"),
        ("a.txt.gz", PLAIN.encode(), "damaged"),
        ("a.txt.xz", lzma.compress(PLAIN.encode())[:-9], "damaged"),
        ("a.txt.zst", zstandard.compress(PLAIN.encode())[:-9], "damaged"),
        ("a.txt.zst", PLAIN.encode(), "damaged"),
    ],
)
def test_bad_input_is_one_line_that_names_the_file(
    tmp_path: Path, name: str, content: bytes, message: str
):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message) as caught:
        load_corpus(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_long_line_is_refused_before_it_is_read_whole(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(corpus_module, "MOST_CHARS", 1 << 20)
    path = tmp_path / "long.txt.zst"
    with zstandard.open(path, "wb") as file:
        for _ in range(256):
            file.write(b"a" * 2**20)
    tracemalloc.start()
    with pytest.raises(ValueError, match=r"long\.txt\.zst has a line of 1,048,576 char"):
        load_corpus(path)
    most_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert path.stat().st_size < 2**14
    assert most_bytes < 2**27


def test_a_missing_path_and_an_empty_folder_are_refused(tmp_path: Path):
    with pytest.raises(ValueError, match="exists, but got nowhere"):
        load_corpus("nowhere")
    with pytest.raises(ValueError, match="none"):
        load_corpus(tmp_path)


def test_python_is_the_source_of_the_library_and_of_what_we_depend_on():
    corpus = load_corpus("python", max_bytes=3_000_000)
    assert corpus.fingerprint == load_corpus("python", max_bytes=3_000_000).fingerprint
    assert 2_000_000 < corpus.n_bytes <= 3_000_000
    names = {path.as_posix() for path in corpus_module._python_files()}
    assert f"{sysconfig.get_path('stdlib')}/json/decoder.py" in names
    ours = [name for name in requires("anybudget") or [] if "extra" not in name]
    assert any("numpy" in name for name in ours)
    assert any(name.endswith("numpy/_core/numeric.py") for name in names)
    assert not any("/pytest/" in name or "/lib2to3/tests/" in name for name in names)


def write_folder(path: Path, text: str) -> None:
    with written_whole(path) as partial:
        partial.mkdir()
        (partial / "one").write_text(text)
        if text == "half":
            raise RuntimeError


def test_what_is_written_whole_is_whole_or_not_there(tmp_path: Path):
    with pytest.raises(RuntimeError):
        write_folder(tmp_path / "folder", "half")
    assert list(tmp_path.iterdir()) == []
    for text in ("first", "second"):
        write_folder(tmp_path / "folder", text)
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]
    assert (tmp_path / "folder/one").read_text() == "first"


def c4_copy(folder: Path, n_documents: int) -> tuple[str, str]:
    """A folder laid out as C4's repository: a README that names the files, and two shards."""
    (folder / "en").mkdir(parents=True)
    for shard in range(2):
        with gzip.open(folder / f"en/c4-train.{shard:05}-of-00002.json.gz", "wt") as file:
            for number in range(shard * n_documents, (shard + 1) * n_documents):
                row = {
                    "text": f"document {number:04}\nfrom the web",
                    "timestamp": "2019-04-25T12:57:54Z",
                    "url": f"https://example.org/{number}",
                }
                file.write(json.dumps(row) + "\n")
    (folder / "README.md").write_text(
        "---\nconfigs:\n- config_name: en\n  data_files:\n"
        "  - split: train\n    path: en/c4-train.*.json.gz\n---\n"
    )
    return str(folder), "en"


@pytest.mark.extra
def test_c4_is_streamed_once_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    pytest.importorskip("datasets", reason="needs the extra: pip install 'anybudget[c4]'")
    monkeypatch.setattr(corpus_module, "C4_SOURCE", c4_copy(tmp_path / "c4", n_documents=50))
    expected = [f"document {number:04}\nfrom the web" for number in range(60)]
    max_bytes = 60 * len(expected[0]) + 3
    first = load_corpus("c4", max_bytes=max_bytes, cache_dir=tmp_path)
    assert list(first) == expected
    monkeypatch.setattr(corpus_module, "C4_SOURCE", ("/nowhere", "en"))
    again = load_corpus("c4", max_bytes=max_bytes, cache_dir=tmp_path)
    assert (again.name, again.fingerprint) == ("c4", first.fingerprint)
    with pytest.raises(ValueError, match="could not be downloaded"):
        load_corpus("c4", max_bytes=max_bytes + 1, cache_dir=tmp_path)
    assert len(list((tmp_path / "corpora").iterdir())) == 1


def test_a_copy_of_c4_needs_no_extra(tmp_path: Path):
    folder, config = c4_copy(tmp_path / "c4", n_documents=5)
    assert len(list(load_corpus(Path(folder) / config))) == 10


def test_c4_says_what_it_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(ValueError, match="give max_bytes"):
        load_corpus("c4", cache_dir=tmp_path)
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(ValueError, match=r"pip install 'anybudget\[c4\]'"):
        load_corpus("c4", max_bytes=10, cache_dir=tmp_path)
    assert list(tmp_path.glob("corpora/*")) == []
