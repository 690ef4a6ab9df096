"""Tokens of a corpus: a byte-level BPE trained on it, its training and its held-out text."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import json
import logging
import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tokenizers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from ...files import disk
from ...files.places import default_cache_dir
from ...files.write import check_writable, json_text, written_whole
from .corpus import DOCUMENT_SEPARATOR, Corpus

logger = logging.getLogger(__name__)

END_OF_DOCUMENT = "<|endoftext|>"
N_BASE_TOKENS = 256 + 1  # every byte, and the end of a document

# Enough for 50k merges, and a few seconds of one core.
TOKENIZER_SAMPLE_BYTES = 20_000_000
# Documents are cut into short pieces to encode them: a fifth faster than whole, in little memory
# however long they are, for 0.03% more tokens (measured on `python`).
PIECE_CHARS = 1 << 13
PIECES_AT_ONCE = 128
# The files of a folder of tokens; the last holds the others' checksums.
TOKENIZER, TRAIN, HELDOUT, CHECKSUMS = "tokenizer.json", "train.bin", "heldout.bin", "sums.json"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Tokens:
    """A corpus as tokens, on disk and memory-mapped.

    Attributes:
        corpus: the corpus's name.
        corpus_fingerprint: a hash of the corpus's documents and their order.
        fingerprint: a hash of everything that these tokens depend on.
        vocab_size: tokens in the vocabulary, the end of a document included.
        train: the training text, one-dimensional, uint16 where the vocabulary fits, else uint32.
        heldout: the held-out text, likewise.
        heldout_n_bytes: bytes of the held-out text.
        tokenizer_path: the tokenizer, as the library `tokenizers` loads it.
    """

    corpus: str
    corpus_fingerprint: str
    fingerprint: str
    vocab_size: int
    train: np.memmap
    heldout: np.memmap
    heldout_n_bytes: int
    tokenizer_path: Path

    def bits_per_byte(self, loss: float) -> float:
        """Bits per byte of text, from a held-out loss in nats per token."""
        return loss / math.log(2) * len(self.heldout) / self.heldout_n_bytes


def prepare_tokens(
    corpus: Corpus,
    *,
    vocab_size: int,
    cache_dir: Path | None = None,
    heldout_fraction: float = 0.02,
    seed: int = 0,
) -> Tokens:
    """Train a tokenizer on a corpus and encode it, or map what an earlier call has left.

    Documents are held out in the order of a hash of their text and the seed until they make up
    the fraction, so equal documents are on the same side. The tokenizer is trained on the next
    `TOKENIZER_SAMPLE_BYTES` in that order: it has seen nothing held out. Every document ends in
    the token `<|endoftext|>`.

    Args:
        corpus: what to encode.
        vocab_size: tokens in the vocabulary, at least the 256 bytes and the end of a document.
        cache_dir: where the tokens are kept; `default_cache_dir()` when left out.
        heldout_fraction: of the text's bytes, at least this much is held out.
        seed: decides which documents are held out.

    Raises:
        ValueError: the text does not support the vocabulary, or cannot be split; or the cache
            cannot be written.
    """
    if vocab_size < N_BASE_TOKENS:
        raise ValueError(f"`vocab_size` must be at least {N_BASE_TOKENS}, but got {vocab_size}")
    if not 0 < heldout_fraction < 1:
        raise ValueError(f"`heldout_fraction` must be in (0, 1), but got {heldout_fraction}")
    is_heldout, is_sample = _split(corpus, heldout_fraction, seed)
    settings = (tokenizers.__version__, TOKENIZER_SAMPLE_BYTES, PIECE_CHARS)
    key = (settings, corpus.fingerprint, vocab_size, heldout_fraction, seed)
    fingerprint = hashlib.blake2b(repr(key).encode(), digest_size=8).hexdigest()
    folder = (cache_dir or default_cache_dir()) / "tokens" / fingerprint
    if not is_whole(folder):
        check_writable(folder.parent)
        if folder.exists():
            logger.warning(
                "%s is damaged, or has no checksums yet: the text is encoded anew", folder
            )
            with disk.refusing(folder):
                disk.remove(folder)
        tokenizer = _train_tokenizer(corpus, is_sample, vocab_size)
        with written_whole(folder) as partial:
            disk.make_folder(partial)
            disk.put(partial / TOKENIZER, tokenizer.to_str(pretty=True).encode())
            for name, is_chosen in ((TRAIN, ~is_heldout), (HELDOUT, is_heldout)):
                _encode(tokenizer, corpus, is_chosen, token_type(vocab_size), partial / name)
            disk.put(partial / CHECKSUMS, json_text(_checksums(partial)).encode())
    return map_tokens(
        folder,
        corpus=corpus.name,
        corpus_fingerprint=corpus.fingerprint,
        fingerprint=fingerprint,
        vocab_size=vocab_size,
        heldout_n_bytes=sum(
            doc.n_bytes for doc in itertools.compress(corpus.documents, is_heldout)
        ),
    )


def token_type(vocab_size: int) -> type[np.unsignedinteger]:
    """The type of the tokens of a vocabulary."""
    return np.uint16 if vocab_size <= 1 << 16 else np.uint32


def map_tokens(folder: Path, *, vocab_size: int, **plain: Any) -> Tokens:
    """Tokens in a folder that is whole, memory-mapped."""
    train, heldout = (
        np.memmap(folder / name, token_type(vocab_size), "r") for name in (TRAIN, HELDOUT)
    )
    return Tokens(
        vocab_size=vocab_size,
        train=train,
        heldout=heldout,
        tokenizer_path=folder / TOKENIZER,
        **plain,
    )


def is_whole(folder: Path) -> bool:
    """Whether a folder holds tokens, all with the checksums that were noted."""
    try:
        return json.loads((folder / CHECKSUMS).read_bytes()) == _checksums(folder)
    except (OSError, ValueError, RecursionError):
        return False


def _checksums(folder: Path) -> dict[str, str]:
    """Of each file: as fast as the corpus is read, which is done every time too."""
    sums = {}
    for name in (TOKENIZER, TRAIN, HELDOUT):
        with (folder / name).open("rb") as file:
            sums[name] = hashlib.file_digest(file, "blake2b").hexdigest()
    return sums


def _split(corpus: Corpus, heldout_fraction: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Which documents are held out, and which the tokenizer is trained on."""
    key = str(seed).encode()
    hashes = [
        hashlib.blake2b(doc.digest, digest_size=16, key=key).hexdigest() for doc in corpus.documents
    ]
    _, rank = np.unique(hashes, return_inverse=True)
    sizes = [document.n_bytes for document in corpus.documents]
    n_bytes_up_to_rank = np.cumsum(np.bincount(rank, sizes))
    last_heldout = np.searchsorted(n_bytes_up_to_rank, heldout_fraction * corpus.n_bytes)
    last_sample = np.searchsorted(
        n_bytes_up_to_rank, n_bytes_up_to_rank[last_heldout] + TOKENIZER_SAMPLE_BYTES
    )
    if last_heldout == rank.max():
        raise ValueError(
            f"a corpus must have documents to train on beside those held out, but {corpus.name} "
            f"has {len(sizes)} in all; separate documents by lines that say {DOCUMENT_SEPARATOR}"
        )
    return rank <= last_heldout, (rank > last_heldout) & (rank <= last_sample)


def _train_tokenizer(corpus: Corpus, is_sample: np.ndarray, vocab_size: int) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        min_frequency=2,
        special_tokens=[END_OF_DOCUMENT],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    logger.info("training a tokenizer of %d tokens on %s", vocab_size, corpus.name)
    pieces = _pieces(itertools.compress(corpus, is_sample))
    tokenizer.train_from_iterator((piece for piece, _ in pieces), trainer)
    if tokenizer.get_vocab_size() < vocab_size:
        raise ValueError(
            f"a vocabulary must not be larger than its text supports, but {corpus.name} supports "
            f"{tokenizer.get_vocab_size()} tokens and vocab_size={vocab_size}; "
            "use more text or a smaller vocabulary"
        )
    # A text may mention the end of a document without being one.
    tokenizer.encode_special_tokens = True
    return tokenizer


def _encode(
    tokenizer: Tokenizer, corpus: Corpus, is_chosen: np.ndarray, dtype: type, path: Path
) -> None:
    """Write the tokens of the chosen documents, each with its end, to a new raw file."""
    end = [tokenizer.token_to_id(END_OF_DOCUMENT)]
    pieces = _pieces(itertools.compress(corpus, is_chosen))
    n_chars = n_bytes = 0
    while some := list(itertools.islice(pieces, PIECES_AT_ONCE)):
        texts, is_last = zip(*some, strict=True)
        encodings = zip(tokenizer.encode_batch_fast(texts), is_last, strict=True)
        raw = b"".join(np.array(one.ids + end * last, dtype).tobytes() for one, last in encodings)
        disk.extend(path, n_bytes, raw)
        n_bytes += len(raw)
        n_megabytes, n_chars = n_chars // 10**6, n_chars + sum(map(len, texts))
        if n_chars // 10**7 > n_megabytes // 10:
            logger.info("encoded %d of %d MB", n_chars // 10**6, corpus.n_bytes // 10**6)


def _pieces(texts: Iterable[str]) -> Iterator[tuple[str, bool]]:
    """Cut long texts; each piece comes with whether it is the last of its text."""
    for text in texts:
        for start in range(0, len(text), PIECE_CHARS):
            yield text[start : start + PIECE_CHARS], start + PIECE_CHARS >= len(text)
