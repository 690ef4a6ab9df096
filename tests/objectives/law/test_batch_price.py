import math
from typing import Any

import numpy as np
import pytest
from scipy.optimize import brentq

from anybudget.objectives.law.batch_price import critical_batch_tokens, small_batch_tokens


def test_the_critical_batch_is_the_published_power_law():
    # Power Lines (arXiv:2505.13738), figure 1: 0.0471 D^0.462 sequences of 2,048 tokens.
    sequences = math.exp(math.log(0.0471) + 0.462 * math.log(2e10))
    assert critical_batch_tokens(2e10) == pytest.approx(2048 * sequences)
    assert 2500 < sequences < 3000


def test_at_the_critical_batch_a_loss_takes_twice_the_tokens():
    batch = critical_batch_tokens(1e9)
    assert small_batch_tokens(2e9, batch) == pytest.approx(1e9, rel=1e-12)


@pytest.mark.parametrize("n_tokens", [1e5, 1e9, 1e14])
@pytest.mark.parametrize("batch", [1e2, 1e6, 1e9])
def test_the_tokens_solve_the_hyperbola(n_tokens: float, batch: float):
    def excess(log_found: float) -> float:
        found = math.exp(log_found)
        return math.log(found * (1 + batch / (2048 * 0.0471 * found**0.462)) / n_tokens)

    root: Any = brentq(excess, -60, math.log(n_tokens), xtol=1e-13)
    assert small_batch_tokens(n_tokens, batch) == pytest.approx(math.exp(root), rel=1e-9)


def test_arrays_broadcast_and_a_larger_batch_is_worth_less():
    tokens, batches = np.geomspace(1e7, 1e11, 5)[:, None], np.geomspace(1e3, 1e8, 7)
    worth = small_batch_tokens(tokens, batches)
    assert worth.shape == (5, 7)
    assert (np.diff(worth, axis=1) < 0).all()
    assert (np.diff(worth, axis=0) > 0).all()
    assert (worth < tokens).all()
