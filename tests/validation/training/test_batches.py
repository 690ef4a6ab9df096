import numpy as np
import pytest

from anybudget.validation.training.batches import batch, heldout_batches

N, BATCH, SEQ = 1003, 7, 10
TOKENS = np.arange(N, dtype=np.uint16)


def starts_of(step: int, seed: int = 0, tokens: np.ndarray = TOKENS) -> np.ndarray:
    """Where the windows of a batch begin, in a text whose tokens are their own positions."""
    return batch(tokens, seed=seed, step=step, batch_size=BATCH, seq_len=SEQ)[:, 0]


def test_a_batch_holds_windows_of_the_text_taken_as_a_ring():
    for step in range(100):
        windows = batch(TOKENS, seed=3, step=step, batch_size=BATCH, seq_len=SEQ)
        assert windows.dtype == np.int32
        assert windows.shape == (BATCH, SEQ + 1)
        np.testing.assert_array_equal(np.diff(windows, axis=1) % N, 1)


def test_a_batch_depends_on_seed_and_step_alone():
    forwards = [starts_of(step) for step in range(40)]
    backwards = [starts_of(step) for step in reversed(range(40))][::-1]
    np.testing.assert_array_equal(forwards, backwards)
    assert not np.array_equal(starts_of(0, seed=0), starts_of(0, seed=1))
    # As first computed: it must stay, for a run that is resumed later sees the same data.
    assert starts_of(5).tolist() == [597, 487, 407, 437, 567, 277, 217]


def test_every_epoch_visits_each_window_once_in_another_order_and_other_cuts():
    n_windows = N // SEQ
    starts = np.concatenate([starts_of(step) for step in range(5 * n_windows // BATCH + 1)])
    epochs = starts[: 5 * n_windows].reshape(5, n_windows)
    for epoch in epochs:
        inputs = (epoch[:, None] + np.arange(SEQ)) % N
        assert len(np.unique(inputs)) == n_windows * SEQ
    assert len({tuple(epoch) for epoch in epochs}) == 5
    assert len({epoch.min() for epoch in epochs}) > 1


def test_the_order_is_not_the_order_of_the_text():
    steps = np.diff(np.concatenate([starts_of(step) for step in range(14)]))
    assert np.mean(steps == SEQ) < 0.1


def test_a_text_of_exactly_one_batch_is_enough_and_less_is_refused():
    tokens = TOKENS[: BATCH * SEQ]
    assert len(np.unique(starts_of(0, tokens=tokens))) == BATCH
    with pytest.raises(ValueError, match="= 70 tokens, but its training text has 69"):
        starts_of(0, tokens=tokens[:-1])


def test_heldout_batches_are_fixed_disjoint_and_spread_over_the_text():
    batches = heldout_batches(TOKENS, batch_size=BATCH, seq_len=SEQ, max_tokens=300)
    assert batches.shape == (300 // (BATCH * SEQ), BATCH, SEQ + 1)
    assert batches.dtype == np.int32
    targets = batches[..., 1:].ravel()
    assert len(np.unique(targets)) == len(targets)
    np.testing.assert_array_equal(np.diff(batches, axis=2), 1)
    assert batches.min() < 100
    assert batches.max() > N - 100
    again = heldout_batches(TOKENS, batch_size=BATCH, seq_len=SEQ, max_tokens=300)
    np.testing.assert_array_equal(batches, again)


def test_heldout_batches_use_what_there_is_and_at_least_one_batch():
    everything = heldout_batches(TOKENS, batch_size=BATCH, seq_len=SEQ, max_tokens=10**9)
    assert everything.shape[0] == 100 // BATCH
    assert len(heldout_batches(TOKENS, batch_size=BATCH, seq_len=SEQ, max_tokens=1)) == 1
    with pytest.raises(ValueError, match="= 71 tokens, but it has 70"):
        heldout_batches(TOKENS[:70], batch_size=BATCH, seq_len=SEQ, max_tokens=100)
