"""Each kind of block learns to copy eight random tokens: two minutes, with ANYBUDGET_SLOW=1."""

import os

import pytest

from anybudget.experiments.blocks.copy_task import LEARNED, MODELS, train

SLOW = bool(os.environ.get("ANYBUDGET_SLOW"))


@pytest.mark.skipif(not SLOW, reason="slow: seven models are trained, ANYBUDGET_SLOW=1")
@pytest.mark.parametrize("name", MODELS)
def test_it_learns_to_copy(name):
    _, loss_of_copies = train(MODELS[name])
    assert loss_of_copies < LEARNED
