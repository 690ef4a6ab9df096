"""Tokens of a corpus: a byte-level BPE trained on it, its training and its held-out text."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import numpy as np

from .corpus import Corpus


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

    Raises:
        ValueError: the text does not support the vocabulary, or cannot be split.
    """
    raise NotImplementedError
