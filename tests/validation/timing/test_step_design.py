"""The architectures to time: within the limits, unlike each other, the same for a seed."""

import numpy as np
import pytest

from anybudget.objectives.cost.counts import flops_per_step, memcpys_per_step
from anybudget.objectives.cost.memory import memory_bytes
from anybudget.validation.timing.step_design import (
    DEFAULT,
    QUICK,
    Limits,
    _pool,
    choose_architectures,
    spread_counts,
)

LIMITS = Limits(
    peak_flops_per_s=1e11, bandwidth_bytes_per_s=1e10, memory_bytes=8e8, bytes_per_element=4
)


def nearest(archs):
    """Distance between the two architectures that are most alike, in logarithms of counts."""
    places = np.log([spread_counts(arch) for arch in archs])
    distances = np.linalg.norm(places[:, None] - places, axis=2)
    return distances[np.triu_indices(len(archs), 1)].min()


def test_a_design_is_the_same_for_a_seed():
    design = choose_architectures(QUICK, LIMITS, seed=1)
    assert design == choose_architectures(QUICK, LIMITS, seed=1)
    assert design != choose_architectures(QUICK, LIMITS, seed=2)
    assert len(set(design)) == QUICK.n_architectures


def test_a_design_is_more_spread_than_random_ones():
    n = QUICK.n_architectures
    pool = list(_pool(QUICK, LIMITS, np.random.default_rng(2), 1))
    at_random = [nearest(pool[start : start + n]) for start in range(0, len(pool) - n, n)]
    assert nearest(choose_architectures(QUICK, LIMITS, seed=1)) > max(at_random)


@pytest.mark.parametrize("effort", [QUICK, DEFAULT])
def test_every_architecture_is_within_the_limits(effort):
    for arch in choose_architectures(effort, LIMITS, seed=0):
        at_best_s = flops_per_step(arch) / 1e11 + 4 * memcpys_per_step(arch) / 1e10
        assert 1e-3 < at_best_s < effort.max_step_s
        assert memory_bytes(arch, bytes_per_element=4) < 2e8
        assert arch.n_layers <= effort.max_layers


def test_a_default_design_tells_memory_copies_from_flops():
    design = choose_architectures(DEFAULT, LIMITS, seed=0)
    counts = np.log([(memcpys_per_step(arch), flops_per_step(arch)) for arch in design])
    intensity = counts[:, 1] - counts[:, 0]
    # The most intensive does eight times as much work on an element as the least intensive.
    assert np.ptp(intensity) > np.log(8)
    assert {arch.tied_embeddings for arch in design} == {arch.gated_mlp for arch in design}
