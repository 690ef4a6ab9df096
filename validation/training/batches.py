"""Batches of token windows, each a pure function of (seed, step)."""

from __future__ import annotations

import functools

import numpy as np


def batch(tokens: np.ndarray, *, seed: int, step: int, batch_size: int, seq_len: int) -> np.ndarray:
    """The batch of one training step.

    An epoch cuts the text into `len(tokens) // seq_len` windows and visits each once, in an order
    drawn from (seed, epoch). The text is a ring, its end joined to its start as any two documents
    are, and every epoch's cuts begin at another place, so that later epochs see other windows.

    Args:
        tokens: the training text, one-dimensional.
        seed: decides the order; batches of different seeds are independent.
        step: counts from 0 and may pass any number of epochs.
        batch_size: windows in a batch.
        seq_len: tokens that a window predicts.

    Returns:
        int32 (batch_size, seq_len + 1): inputs are `[:, :-1]`, targets `[:, 1:]`.

    Raises:
        ValueError: the text is shorter than one batch.
    """
    n_windows = len(tokens) // seq_len
    if n_windows < batch_size:
        raise ValueError(
            f"a corpus must fill one batch of batch_size * seq_len = {batch_size * seq_len} "
            f"tokens, but its training text has {len(tokens)}; use a longer text or smaller batches"
        )
    epoch, position = np.divmod(step * batch_size + np.arange(batch_size), n_windows)
    starts = np.empty(batch_size, np.int64)
    for value in np.unique(epoch):
        order, first = _epoch_windows(seed, int(value), n_windows, seq_len)
        rows = epoch == value
        starts[rows] = first + seq_len * order[position[rows]]
    return tokens[(starts[:, None] + np.arange(seq_len + 1)) % len(tokens)].astype(np.int32)


# A batch touches two epochs at most. Four bytes for each window are little beside its tokens.
@functools.lru_cache(maxsize=2)
def _epoch_windows(seed: int, epoch: int, n_windows: int, seq_len: int) -> tuple[np.ndarray, int]:
    """The order of an epoch's windows, and where the first of them begins.

    Sorts raw Philox draws, whose stream NumPy promises to keep, where it does not for shuffles.
    """
    draws = np.random.Philox(np.random.SeedSequence((seed, epoch))).random_raw(n_windows + 1)
    return np.argsort(draws[1:], kind="stable").astype(np.int32), int(draws[0] % seq_len)


def heldout_batches(
    tokens: np.ndarray, *, batch_size: int, seq_len: int, max_tokens: int
) -> np.ndarray:
    """Batches of held-out text, the same ones at every call, spread evenly over the text.

    Args:
        tokens: the held-out text, one-dimensional.
        batch_size: windows in a batch.
        seq_len: tokens that a window predicts.
        max_tokens: the most tokens to predict in all; at least one batch is made.

    Returns:
        int32 (n_batches, batch_size, seq_len + 1): inputs are `[..., :-1]`, targets `[..., 1:]`.
        No token is predicted twice.

    Raises:
        ValueError: the text is shorter than one batch.
    """
    n_windows = (len(tokens) - 1) // seq_len
    if n_windows < batch_size:
        raise ValueError(
            f"held-out text must fill one batch of batch_size * seq_len + 1 = "
            f"{batch_size * seq_len + 1} tokens, but it has {len(tokens)}; "
            "use a longer text or smaller batches"
        )
    n_batches = min(max(max_tokens // (batch_size * seq_len), 1), n_windows // batch_size)
    windows = np.arange(n_batches * batch_size) * n_windows // (n_batches * batch_size)
    picked = tokens[windows[:, None] * seq_len + np.arange(seq_len + 1)].astype(np.int32)
    return picked.reshape(n_batches, batch_size, seq_len + 1)
