"""What befell a run, told from its points."""

import numpy as np
import pytest

from anybudget.objectives.curve import Curve, told

TOKENS = np.arange(1.0, 101.0)
LOSS = 2 + 3 * TOKENS**-0.4 + 0.01 * np.random.default_rng(0).standard_normal(100)


def curve(tokens=TOKENS, loss=LOSS, elapsed_s=None):
    return Curve(n_tokens=tokens, loss=loss, elapsed_s=elapsed_s)


def events(found):
    return [(event.kind, event.n_tokens) for event in found.events]


def test_nothing_is_told_of_a_run_that_nothing_befell():
    found = told(curve(elapsed_s=2 * TOKENS))
    assert events(found) == []
    np.testing.assert_array_equal(found.loss, LOSS)


def test_a_spike_is_left_out():
    loss = LOSS.copy()
    loss[60:63] *= 1.4
    found = told(curve(loss=loss))
    assert events(found) == [("spike", 61)]
    np.testing.assert_array_equal(found.n_tokens, np.delete(TOKENS, [60, 61, 62]))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_loss_that_is_no_number_has_diverged(value):
    loss = LOSS.copy()
    loss[80:] = value
    found = told(curve(loss=loss))
    assert events(found) == [("diverged", 81)]
    assert len(found.loss) == 80
    assert found.diverged


def test_a_loss_that_does_not_come_back_has_diverged():
    loss = LOSS.copy()
    loss[80:] = 4
    assert events(told(curve(loss=loss))) == [("diverged", 81)]


def test_what_was_gone_over_again_counts_once():
    tokens = np.concatenate([TOKENS[:60], TOKENS[50:]])
    loss = np.concatenate([LOSS[:50], np.full(10, 9.0), LOSS[50:]])
    found = told(curve(tokens, loss))
    assert events(found) == [("resumed", 51)]
    np.testing.assert_array_equal(found.loss, LOSS)


def test_a_clock_that_begins_anew_runs_on():
    seconds = np.concatenate([TOKENS[:60], TOKENS[:40]])
    found = told(curve(elapsed_s=seconds))
    assert events(found) == [("resumed", 61)]
    np.testing.assert_array_equal(found.elapsed_s, TOKENS)


def test_of_a_run_begun_anew_the_last_begin_counts():
    tokens = np.concatenate([TOKENS[:60], TOKENS])
    loss = np.concatenate([np.full(60, 9.0), LOSS])
    found = told(curve(tokens, loss))
    assert events(found) == [("restarted", 1)]
    np.testing.assert_array_equal(found.loss, LOSS)


def test_a_torn_log_says_so():
    assert events(told(curve(), truncated=True)) == [("truncated", 100)]


def test_a_clock_that_trembles_is_no_resumption():
    seconds = 20 + TOKENS + np.where(np.arange(100) % 3, 0, 5)
    found = told(curve(elapsed_s=seconds))
    assert events(found) == []
    assert found.elapsed_s is not None
    assert np.all(np.diff(found.elapsed_s) >= 0)
