import math
import random
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tokenizers import Tokenizer

from anybudget.validation.training import tokens as tokens_module
from anybudget.validation.training.corpus import Corpus, load_corpus
from anybudget.validation.training.tokens import END_OF_DOCUMENT, Tokens, prepare_tokens

VOCAB_SIZE = 512
# A byte, two and three bytes to a character, tabs, and what looks like the end of a document.
ODDITIES = ["naïve", "語", "\t\t", "_x1", "...", END_OF_DOCUMENT]


def make_texts(n_texts: int) -> list[str]:
    rng = random.Random(0)
    letters = "etaoinshrdlu"
    words = ["".join(rng.choices(letters, k=rng.randint(2, 7))) for _ in range(300)] + ODDITIES
    return [f"{number} " + " ".join(rng.choices(words, k=80)) + " end" for number in range(n_texts)]


def make_corpus(tmp_path: Path, texts: list[str]) -> Corpus:
    path = tmp_path / "words.txt"
    path.write_text("\n<|doc|>\n".join(texts), encoding="utf-8")
    return load_corpus(path)


def decode(tokens: Tokens, ids: np.ndarray) -> list[str]:
    """The documents that a sequence of tokens stands for."""
    tokenizer = Tokenizer.from_file(str(tokens.tokenizer_path))
    end = tokenizer.token_to_id(END_OF_DOCUMENT)
    assert ids[-1] == end
    cuts = np.flatnonzero(ids == end)
    return [
        tokenizer.decode(part[part != end].tolist())
        for part in np.split(ids, cuts + 1)
        if len(part)
    ]


def test_train_and_heldout_are_the_whole_corpus_split_by_document(tmp_path: Path):
    texts = make_texts(200)
    corpus = make_corpus(tmp_path, texts)
    tokens = prepare_tokens(corpus, vocab_size=VOCAB_SIZE, cache_dir=tmp_path, heldout_fraction=0.1)
    train, heldout = decode(tokens, tokens.train), decode(tokens, tokens.heldout)
    assert sorted(train + heldout) == sorted(texts)
    assert train == [text for text in texts if text in set(train)]
    n_bytes = sum(len(text.encode()) for text in heldout)
    assert tokens.heldout_n_bytes == n_bytes
    longest = max(len(text.encode()) for text in texts)
    assert 0.1 * corpus.n_bytes <= n_bytes < 0.1 * corpus.n_bytes + longest
    assert tokens.train.dtype == np.uint16
    assert max(tokens.train) < VOCAB_SIZE


def test_the_split_follows_the_text_and_the_seed_and_keeps_twins_together(tmp_path: Path):
    texts = make_texts(60)

    def heldout(order: list[str], seed: int) -> set[str]:
        corpus = make_corpus(tmp_path, order)
        tokens = prepare_tokens(
            corpus, vocab_size=300, cache_dir=tmp_path, heldout_fraction=0.3, seed=seed
        )
        train, held = decode(tokens, tokens.train), decode(tokens, tokens.heldout)
        assert not set(train) & set(held)
        return set(held)

    assert heldout(texts, seed=0) == heldout(texts[::-1], seed=0)
    assert heldout(texts, seed=0) != heldout(texts, seed=1)
    assert len(heldout(texts + texts, seed=0)) == len(heldout(texts, seed=0))


def test_the_second_call_maps_what_the_first_has_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    corpus = make_corpus(tmp_path, make_texts(60))
    first = prepare_tokens(corpus, vocab_size=300, cache_dir=tmp_path)
    elsewhere = prepare_tokens(corpus, vocab_size=300, cache_dir=tmp_path / "elsewhere")
    np.testing.assert_array_equal(first.train, elsewhere.train)
    monkeypatch.setattr(tokens_module, "_train_tokenizer", None)
    second = prepare_tokens(corpus, vocab_size=300, cache_dir=tmp_path)
    assert second.fingerprint == first.fingerprint
    np.testing.assert_array_equal(second.heldout, first.heldout)
    changes: list[dict[str, Any]] = [{"vocab_size": 301}, {"seed": 1}, {"heldout_fraction": 0.03}]
    for change in changes:
        with pytest.raises(TypeError, match="NoneType"):
            prepare_tokens(corpus, **({"vocab_size": 300, "cache_dir": tmp_path} | change))


def test_a_kill_leaves_nothing_that_is_taken_for_a_cache(tmp_path: Path):
    corpus = make_corpus(tmp_path, make_texts(60))
    dies = """
import os, signal, sys
from pathlib import Path
from anybudget.validation.training import corpus
from anybudget.validation.training import tokens
encode, calls = tokens._encode, []
def encode_then_die(*args):
    if calls: os.kill(os.getpid(), signal.SIGKILL)
    calls.append(encode(*args))
tokens._encode = encode_then_die
tokens.prepare_tokens(
    corpus.load_corpus(sys.argv[1]), vocab_size=300, cache_dir=Path(sys.argv[2])
)
"""
    command = [sys.executable, "-c", dies, str(tmp_path / "words.txt"), str(tmp_path)]
    assert subprocess.run(command).returncode == -signal.SIGKILL
    assert list(tmp_path.glob("tokens/.*.partial/train.bin"))
    after = prepare_tokens(corpus, vocab_size=300, cache_dir=tmp_path)
    fresh = prepare_tokens(corpus, vocab_size=300, cache_dir=tmp_path / "fresh")
    np.testing.assert_array_equal(after.train, fresh.train)
    np.testing.assert_array_equal(after.heldout, fresh.heldout)


def test_long_documents_are_encoded_in_pieces_without_losing_any(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(tokens_module, "PIECE_CHARS", 50)
    texts = [*make_texts(40), "x" * 50, "y" * 100, "z" * 101]
    tokens = prepare_tokens(make_corpus(tmp_path, texts), vocab_size=300, cache_dir=tmp_path)
    assert sorted(decode(tokens, tokens.train) + decode(tokens, tokens.heldout)) == sorted(texts)


def test_the_tokenizer_has_seen_nothing_held_out(tmp_path: Path):
    # "qq" fills half of the text, but all of it in documents held out together, being equal.
    for seed in range(20):
        texts = make_texts(40) + ["qq" * 400] * 20
        corpus = make_corpus(tmp_path, texts)
        tokens = prepare_tokens(
            corpus, vocab_size=400, cache_dir=tmp_path, heldout_fraction=0.3, seed=seed
        )
        if "qq" * 400 in decode(tokens, tokens.heldout):
            break
    else:
        pytest.fail("in none of 20 seeds was the odd document held out")
    assert "qq" not in Tokenizer.from_file(str(tokens.tokenizer_path)).get_vocab()


def test_bits_per_byte_of_a_uniform_guess(tmp_path: Path):
    tokens = prepare_tokens(
        make_corpus(tmp_path, make_texts(40)), vocab_size=512, cache_dir=tmp_path
    )
    # 9 bits for each token, held-out bytes counted from the text itself.
    n_bytes = sum(len(text.encode()) for text in decode(tokens, tokens.heldout))
    assert math.isclose(
        tokens.bits_per_byte(math.log(512)), 9 * len(tokens.heldout) / n_bytes, rel_tol=1e-12
    )


def test_bad_settings_and_texts_are_refused_in_one_line(tmp_path: Path):
    corpus = make_corpus(tmp_path, make_texts(40))
    with pytest.raises(ValueError, match=r"words\.txt supports \d+ tokens and vocab_size=50000"):
        prepare_tokens(corpus, vocab_size=50_000, cache_dir=tmp_path)
    with pytest.raises(ValueError, match="at least 257, but got 256"):
        prepare_tokens(corpus, vocab_size=256, cache_dir=tmp_path)
    with pytest.raises(ValueError, match="heldout_fraction"):
        prepare_tokens(corpus, vocab_size=300, cache_dir=tmp_path, heldout_fraction=1)
    for texts in (["one long document"], ["twin", "twin"]):
        with pytest.raises(ValueError, match="separate documents by lines"):
            prepare_tokens(make_corpus(tmp_path, texts), vocab_size=300, cache_dir=tmp_path)
    assert not list(tmp_path.glob("tokens/*"))


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: np.full(900, 60_000, np.uint16).tofile(folder / "train.bin"),
        lambda folder: (folder / "train.bin").write_bytes(b"odd"),
        lambda folder: (folder / "train.bin").write_bytes(b""),
        lambda folder: (folder / "heldout.bin").unlink(),
        lambda folder: (folder / "tokenizer.json").write_text("{}"),
        lambda folder: (folder / "sums.json").write_text("[" * 9_999),
        lambda folder: (folder / "sums.json").unlink(),
        lambda folder: (shutil.rmtree(folder), folder.write_text("another's file")),
    ],
    ids=["beyond the vocabulary", "odd", "empty", "no half", "foreign", "nested", "old", "a file"],
)
def test_a_damaged_cache_is_told_of_and_made_anew(tmp_path: Path, damage, caplog):
    corpus = make_corpus(tmp_path, make_texts(40))
    whole = prepare_tokens(corpus, vocab_size=300, cache_dir=tmp_path)
    expected = np.array(whole.train), np.array(whole.heldout)
    damage(whole.tokenizer_path.parent)
    again = prepare_tokens(corpus, vocab_size=300, cache_dir=tmp_path)
    np.testing.assert_array_equal(again.train, expected[0])
    np.testing.assert_array_equal(again.heldout, expected[1])
    assert "is damaged, or has no checksums yet: the text is encoded anew" in caplog.text


def test_a_cache_that_cannot_be_written_is_refused_before_the_work(tmp_path: Path, monkeypatch):
    corpus = make_corpus(tmp_path, make_texts(40))
    monkeypatch.setattr(tokens_module, "_train_tokenizer", None)
    (tmp_path / "tokens").write_text("a file in its place")
    with pytest.raises(ValueError, match=r"tokens cannot be written: .*; name another place"):
        prepare_tokens(corpus, vocab_size=300, cache_dir=tmp_path)
