"""What every feature says of its units over a box, on boxes and members at random."""

import dataclasses
import functools

import numpy as np
import pytest

from anybudget.objectives.bounds import least_per_param
from anybudget.objectives.cost.counts import n_params, total
from anybudget.objectives.cost.execution import Execution
from anybudget.objectives.cost.features import FEATURES, Feature, OverABox, units_by_part
from anybudget.objectives.cost.passes import MLP
from anybudget.space.architecture import Architecture

# Each feature in so many boxes, in each of so many executions.
N_BOXES, N_EXECUTIONS = 1000, 8
ROUNDING = 1e-9


@pytest.mark.parametrize("seed", range(N_EXECUTIONS))
@pytest.mark.parametrize("name", FEATURES)
def test_a_feature_keeps_over_a_box_what_it_says(name, seed):
    rng = np.random.default_rng(seed)
    execution = random_execution(rng)
    first, member = random_boxes(rng, execution)
    needs = {"ridge": float(10 ** rng.uniform(0, 3)), "kind": "tpu"}
    counted = functools.partial(units_by_part, name, execution=execution, **needs)

    def at_least(least, units):
        assert np.all(least <= units * (1 + ROUNDING))

    at_least(total(counted(arch_like(first, d_ff=member.d_ff))), total(counted(member)))
    larger = arch_like(member, batch_size=3 * member.batch_size)
    at_least(total(counted(larger)), 3 * total(counted(member)))
    if FEATURES[name].over_a_box == OverABox.BUT_FOR_MLP:
        at_least(total(but_for_mlp(counted(first))), total(counted(member)))
        return
    least = total(counted(first))
    if FEATURES[name].over_a_box == OverABox.PER_LAYER:
        per_param = least_per_param(first, lambda arch: total(counted(arch)))
        assert not FEATURES[name].of_matmuls or np.all(per_param > 0)
        least = least + per_param * (n_params(member) - n_params(first))
    at_least(least, total(counted(member)))


def test_a_feature_must_say_it():
    with pytest.raises(TypeError, match="over_a_box"):
        Feature(lambda arch, execution: {"overhead": 1})


def but_for_mlp(parts):
    return {part: units for part, units in parts.items() if part not in MLP}


def arch_like(arch, **fields):
    return dataclasses.replace(arch, **fields)


def random_execution(rng):
    """One chip or several, in one pass or several."""
    return Execution(
        attention=rng.choice(["plain", "fused"]),
        remat=rng.choice(["none", "dots", "layer"]),
        sharding=rng.choice(["data", "full"]),
        n_chips=int(rng.choice([1, 8])),
        n_accumulation=int(rng.choice([1, 4])),
    )


def random_boxes(rng, execution):
    """The first models of some boxes, and a member of each; small and large alike."""

    def counts(low, high):
        return np.floor(np.exp(rng.uniform(np.log(low), np.log(high + 1), N_BOXES)))

    n_kv_heads = counts(1, 8)
    of_family = {
        "d_model": 8 * counts(4, 1024),
        "n_heads": n_kv_heads * counts(1, 16),
        "n_kv_heads": n_kv_heads,
        "d_head": 8 * counts(1, 32),
        "gated_mlp": rng.random(N_BOXES) < 0.5,
        "vocab_size": counts(100, 200_000),
        "tied_embeddings": rng.random(N_BOXES) < 0.5,
        "seq_len": counts(32, 8192),
    }
    first = {"n_layers": counts(1, 60), "d_ff": counts(8, 20_000)}
    first["batch_size"] = execution.n_split * execution.n_accumulation * counts(1, 64)
    more = {name: counts(1, 40) - 1 for name in first}
    more["batch_size"] *= execution.n_split * execution.n_accumulation
    more = {name: n * (rng.random(N_BOXES) < 0.7) for name, n in more.items()}
    member = {name: value + more[name] for name, value in first.items()}
    return Architecture(**of_family, **first), Architecture(**of_family, **member)
