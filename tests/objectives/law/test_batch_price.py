import math

import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from anybudget.objectives.law.batch_price import (
    best_batch_tokens,
    best_batch_worth,
    tokens_needed,
)


@pytest.mark.parametrize("n_tokens", [1e6, 1e9, 1e13])
def test_the_best_batch_is_the_one_that_needs_the_fewest_tokens(n_tokens: float):
    least = minimize_scalar(
        lambda log: tokens_needed(n_tokens, math.exp(log)), bounds=(0, 25), method="bounded"
    )
    assert math.exp(least.x) == pytest.approx(best_batch_tokens(n_tokens), rel=1e-3)
    assert tokens_needed(n_tokens, best_batch_tokens(n_tokens)) == pytest.approx(1, rel=1e-12)


def test_the_best_batch_is_near_those_of_published_rules():
    # Step Law (arXiv:2503.04715): 0.58 D^0.571 tokens. Power Lines (arXiv:2505.13738): 0.0306
    # D^0.383 sequences of 2,048. They meet at 20 billion tokens.
    assert best_batch_tokens(2e10) == pytest.approx(0.58 * 2e10**0.571, rel=0.1)
    assert best_batch_tokens(2e10) == pytest.approx(2048 * 0.0306 * 2e10**0.383, rel=0.3)


def test_runs_have_a_thousand_steps_and_more():
    n_tokens = np.geomspace(1e5, 1e13, 30)
    n_steps = n_tokens / best_batch_tokens(n_tokens)
    assert (n_steps > 1000).all()
    assert (np.diff(n_steps) > 0).all()
    assert n_steps[-1] < 2e6


def test_the_worth_grows_with_tokens_and_falls_on_either_side_of_the_best_batch():
    tokens, batches = np.geomspace(1e4, 1e14, 60)[:, None], np.geomspace(1, 1e9, 70)
    worth = best_batch_worth(tokens, batches)
    assert worth.shape == (60, 70)
    assert (np.diff(worth, axis=0) > 0).all()
    assert (worth <= tokens).all()
    below = batches < best_batch_tokens(tokens)
    rising = np.diff(worth, axis=1) > 0
    both_below, both_above = below[:, 1:], ~below[:, :-1]
    assert rising[both_below].all()
    assert not rising[both_above].any()


def test_nearest_to_the_best_is_worth_the_most_of_a_range_of_batches_and_tokens():
    rng = np.random.default_rng(0)
    for _ in range(200):
        most, low = 10 ** rng.uniform(6, 13), 10 ** rng.uniform(2, 8)
        high = low * 10 ** rng.uniform(0, 3)
        bound = best_batch_worth(most, np.clip(best_batch_tokens(most), low, high))
        batches = np.exp(rng.uniform(math.log(low), math.log(high), 100))
        assert (best_batch_worth(most * rng.uniform(0.01, 1, 100), batches) <= bound).all()


def test_far_from_the_best_the_tokens_grow_in_proportion():
    best = best_batch_tokens(1e9)
    for far in (1e6, 1e-6):
        ratio = tokens_needed(1e9, best * far) / tokens_needed(1e9, best * far**0.5)
        assert ratio == pytest.approx(1e3, rel=0.01)
