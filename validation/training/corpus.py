"""Corpora: named, deterministic sequences of documents with a fingerprint of what was read."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import gzip
import hashlib
import importlib.metadata
import io
import itertools
import json
import lzma
import re
import sysconfig
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, TextIO

import zstandard

from ...files.places import default_cache_dir
from ...files.write import written_whole

DOCUMENT_SEPARATOR = "<|doc|>"
TEXT_FIELD = "text"
# A Hugging Face dataset repository and its configuration, or a local copy of that repository.
C4_SOURCE = ("allenai/c4", "en")

# Of one line or document, which is read whole: more than any book.
MOST_CHARS = 1 << 26
# Of a compressed file at once: each 4 of its bytes may stand for 128 KiB.
ZSTD_CHUNK_BYTES = 1 << 11

# Folders inside the standard library's that are not installed everywhere or not part of it.
_NOT_LIBRARY = {"test", "tests", "idle_test", "site-packages", "dist-packages"}
_COMPRESSED = (".gz", ".xz", ".zst")
_JSON_LINES = (".json", ".jsonl")
_DAMAGED = (EOFError, gzip.BadGzipFile, zlib.error, lzma.LZMAError, zstandard.ZstdError)


class Document(NamedTuple):
    """What a corpus remembers of one document: a hash of its text and its length in UTF-8."""

    digest: bytes
    n_bytes: int

    @classmethod
    def of(cls, text: str) -> Document:
        """The record of a text."""
        data = text.encode()
        return cls(hashlib.blake2b(data, digest_size=16).digest(), len(data))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Corpus:
    """A deterministic sequence of documents, read anew from its source by every iteration.

    Attributes:
        name: what to call it: `python`, `c4`, or the last part of the path.
        documents: hash and size of each document, in order.

    Raises:
        ValueError: while iterating, a document is no longer what it was when first read.
    """

    name: str
    documents: tuple[Document, ...]
    read: Callable[[], Iterator[str]] = dataclasses.field(repr=False)

    def __iter__(self) -> Iterator[str]:
        texts = itertools.islice(self.read(), len(self.documents))
        for text, document in itertools.zip_longest(texts, self.documents):
            if text is None or Document.of(text) != document:
                raise ValueError(f"corpus {self.name} must not change while it is in use")
            yield text

    @functools.cached_property
    def fingerprint(self) -> str:
        """A hash of the documents and their order."""
        digests = b"".join(document.digest for document in self.documents)
        return hashlib.blake2b(digests, digest_size=8).hexdigest()

    @property
    def n_bytes(self) -> int:
        """Bytes of text, as UTF-8."""
        return sum(document.n_bytes for document in self.documents)


def load_corpus(
    name_or_path: str | Path, *, max_bytes: int | None = None, cache_dir: Path | None = None
) -> Corpus:
    """Read a corpus once, to check and fingerprint it.

    Documents without any text are left out. Files of a folder, and of `python`, come in the order
    of a hash of their relative path, so that the first `max_bytes` are a fair sample of them all.

    Args:
        name_or_path: `python` (source text of the standard library without its tests and of the
            packages that anybudget depends on), `c4` (English C4 from Hugging Face, downloaded
            once into the cache), or a file or folder. Files are plain text, one document each or
            several separated by lines that say `<|doc|>`; `.json` and `.jsonl` hold one document a
            line in the field `text`; `.gz`, `.xz` and `.zst` may follow.
        max_bytes: where to stop, at the end of a document; `c4` needs it.
        cache_dir: where `c4` is kept; `default_cache_dir()` when left out.

    Raises:
        ValueError: nothing there, no text in it, not text, JSON lines without the field, or the
            extra `c4` is not installed.
    """
    name, read = _source(str(name_or_path), max_bytes, cache_dir or default_cache_dir())
    documents = tuple(_up_to(map(Document.of, read()), max_bytes))
    if not documents:
        limit = "" if max_bytes is None else f" whose first document fits max_bytes={max_bytes}"
        raise ValueError(f"a corpus must hold text, but {name_or_path} has none{limit}")
    return Corpus(name=name, documents=documents, read=read)


def check_corpus(name_or_path: str | Path) -> None:
    """Refuse, before any work, what is no corpus.

    Raises:
        ValueError: it is neither a name nor a file or folder that exists.
    """
    if str(name_or_path) not in ("python", "c4") and not Path(name_or_path).exists():
        raise ValueError(
            "a corpus must be `python`, `c4` or a file or folder that exists, but got "
            f"{name_or_path}"
        )


def _source(
    name_or_path: str, max_bytes: int | None, cache_dir: Path
) -> tuple[str, Callable[[], Iterator[str]]]:
    check_corpus(name_or_path)
    path = Path(name_or_path)
    if name_or_path == "python":
        return "python", functools.partial(_python_documents, _python_files())
    if name_or_path == "c4":
        return "c4", functools.partial(_file_documents, _c4_file(max_bytes, cache_dir))
    if path.is_file():
        return path.name, functools.partial(_file_documents, path)
    return path.resolve().name, functools.partial(_folder_documents, path)


def _up_to(documents: Iterable[Document], max_bytes: int | None) -> Iterator[Document]:
    n_bytes = 0
    for document in documents:
        n_bytes += document.n_bytes
        if max_bytes is not None and n_bytes > max_bytes:
            return
        yield document


def _python_files() -> list[Path]:
    """Python files of the standard library and of our dependencies, in the order of a hash."""
    library = Path(sysconfig.get_path("stdlib"))
    files = {
        path.relative_to(library).as_posix(): path
        for path in library.rglob("*.py")
        if not _NOT_LIBRARY & set(path.relative_to(library).parts)
    }
    for requirement in importlib.metadata.requires("anybudget") or []:
        if "extra ==" in requirement:
            continue
        distribution = re.split(r"[^\w.-]", requirement, maxsplit=1)[0]
        for file in importlib.metadata.files(distribution) or []:
            if file.suffix == ".py":
                files[f"{distribution}/{file}"] = Path(str(file.locate()))
    return [files[name] for name in sorted(files, key=_path_hash) if files[name].is_file()]


def _python_documents(files: list[Path]) -> Iterator[str]:
    for path in files:
        with contextlib.suppress(UnicodeDecodeError):
            text = path.read_text(encoding="utf-8")
            if text.strip():
                yield text


def _folder_documents(folder: Path) -> Iterator[str]:
    relative = [path.relative_to(folder) for path in folder.rglob("*") if path.is_file()]
    visible = [path for path in relative if not any(part.startswith(".") for part in path.parts)]
    for path in sorted(visible, key=lambda path: _path_hash(path.as_posix())):
        yield from _file_documents(folder / path)


def _file_documents(path: Path) -> Iterator[str]:
    inner = path.with_suffix("") if path.suffix in _COMPRESSED else path
    documents = _json_documents if inner.suffix in _JSON_LINES else _text_documents
    try:
        with _open_text(path) as file:
            yield from documents(path, _lines(path, file))
    except UnicodeDecodeError as error:
        raise ValueError(f"a corpus must be UTF-8 text, but {path} is not") from error
    except _DAMAGED as error:
        raise ValueError(f"{path} is damaged, or not what its suffix says: {error}") from error


def _lines(path: Path, file: TextIO) -> Iterator[str]:
    """The lines of a file, none of which is read whole before its length is known."""
    while line := file.readline(MOST_CHARS):
        if len(line) == MOST_CHARS:
            raise ValueError(
                f"{path} has a line of {MOST_CHARS:,} characters or more: put documents apart, by "
                f"lines that say {DOCUMENT_SEPARATOR} or one JSON object a line"
            )
        yield line


def _open_text(path: Path) -> TextIO:
    if path.suffix == ".zst":
        _check_zstd_is_whole(path)
        raw = zstandard.ZstdDecompressor().stream_reader(path.open("rb"), read_across_frames=True)
        return io.TextIOWrapper(raw, encoding="utf-8-sig")
    opener: Any = {".gz": gzip.open, ".xz": lzma.open}.get(path.suffix, open)
    return opener(path, "rt", encoding="utf-8-sig")


def _check_zstd_is_whole(path: Path) -> None:
    """Raise EOFError where a file is cut off, which zstandard's reader takes for its end."""
    frame = zstandard.ZstdDecompressor().decompressobj()
    with path.open("rb") as file:
        while chunk := file.read(ZSTD_CHUNK_BYTES):
            while chunk:
                if frame.eof:
                    frame = zstandard.ZstdDecompressor().decompressobj()
                frame.decompress(chunk)
                chunk = frame.unused_data
    if not frame.eof:
        raise EOFError("it ends inside a frame")


def _text_documents(path: Path, lines: Iterable[str]) -> Iterator[str]:
    document: list[str] = []
    n_chars = 0
    for line in itertools.chain(lines, [DOCUMENT_SEPARATOR]):
        if "\0" in line:
            raise ValueError(f"a corpus must be text, but {path} has NUL bytes: it is binary data")
        if line.strip() != DOCUMENT_SEPARATOR:
            document.append(line)
            if (n_chars := n_chars + len(line)) > MOST_CHARS:
                raise ValueError(
                    f"{path} has a document of more than {MOST_CHARS:,} characters: put documents "
                    f"apart by lines that say {DOCUMENT_SEPARATOR}"
                )
            continue
        if text := "".join(document).strip():
            yield text
        document, n_chars = [], 0


def _json_documents(path: Path, lines: Iterable[str]) -> Iterator[str]:
    for number, line in enumerate(lines, start=1):
        try:
            text = json.loads(line)[TEXT_FIELD]
            text.encode()
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
            raise ValueError(
                f"{path} must hold a JSON object with a text in the field {TEXT_FIELD!r} on every "
                f"line, but line {number} is {line[:60]!r}"
            ) from error
        if text.strip():
            yield text


def _c4_file(max_bytes: int | None, cache_dir: Path) -> Path:
    """The first `max_bytes` of C4 as a file in the cache, downloaded when it is not there."""
    if max_bytes is None:
        raise ValueError("`c4` holds 300 GB: give max_bytes, the bytes of text to download")
    path = cache_dir / "corpora" / f"c4-{max_bytes}.jsonl.zst"
    if not path.exists():
        with written_whole(path) as partial, zstandard.open(partial, "wt", encoding="utf-8") as out:
            n_bytes = 0
            for text in _c4_documents():
                n_bytes += len(text.encode())
                if n_bytes > max_bytes:
                    break
                out.write(json.dumps({TEXT_FIELD: text}) + "\n")
    return path


def _c4_documents() -> Iterator[str]:
    try:
        from datasets import load_dataset
    except ImportError as error:
        raise ValueError("`c4` needs the package datasets: pip install 'anybudget[c4]'") from error
    try:
        for row in load_dataset(*C4_SOURCE, split="train", streaming=True):
            yield row[TEXT_FIELD]
    except OSError as error:
        raise ValueError(
            f"`c4` could not be downloaded: {error}; a folder of its .json.gz files will do instead"
        ) from error


def _path_hash(relative_path: str) -> bytes:
    return hashlib.blake2b(relative_path.encode(), digest_size=16).digest()
