"""What every feature says of its units over a box, on boxes and members at random."""

import dataclasses
import functools
from typing import Any

import numpy as np
import pytest

from anybudget.objectives.bounds.losses import least_losses
from anybudget.objectives.bounds.step_time import (
    least_per_active,
    least_per_param,
    that_may_fall,
    widened,
)
from anybudget.objectives.cost.counts import n_active_params, n_params, total
from anybudget.objectives.cost.execution import Execution
from anybudget.objectives.cost.features import FEATURES, Feature, OverABox, units_by_part
from anybudget.objectives.loss_at_time import LossAtTime
from anybudget.presets.devices import load_device
from anybudget.presets.laws import load_law
from anybudget.space.architecture import Architecture
from anybudget.space.sparse import model_of

# Each feature in so many boxes, in each of so many executions.
N_BOXES, N_EXECUTIONS = 1000, 8
ROUNDING = 1e-9


@pytest.mark.parametrize("experts", [False, True], ids=["dense", "experts"])
@pytest.mark.parametrize("name", FEATURES)
def test_a_feature_keeps_over_a_box_what_it_says(name, experts):
    for seed in range(N_EXECUTIONS):
        keeps(name, np.random.default_rng(seed), experts=experts)


def keeps(name, rng, *, experts):
    """Check a feature on random boxes in a random execution."""
    execution = random_execution(rng)
    first, member = random_boxes(rng, execution, experts=experts)
    needs = {"ridge": float(10 ** rng.uniform(0, 3)), "kind": "tpu"}
    counted = functools.partial(units_by_part, name, execution=execution, **needs)

    def at_least(least, units):
        assert np.all(least <= units * (1 + ROUNDING))

    larger = arch_like(member, batch_size=3 * member.batch_size)
    at_least(total(counted(larger)), 3 * total(counted(member)))
    parts, growth = counted(first), FEATURES[name].over_a_box
    if growth == OverABox.NOTHING:
        return
    alike = arch_like(first, d_ff=member.d_ff, n_kv_heads=member.n_kv_heads)
    at_least(total(counted(alike)), total(counted(member)))
    per_param: Any = 0
    if growth == OverABox.PER_LAYER:
        per_param = least_per_param(first, member, parts, counted(widened(first)))
        larger = n_active_params(member) > n_active_params(first)
        assert not FEATURES[name].of_matmuls or np.all((per_param > 0) == larger)
    elif growth == OverABox.PER_PARAM:
        per_param = total(parts) / n_params(first) * least_per_active(first, member)
    may_fall = that_may_fall(parts, first, member) if growth == OverABox.UNSTEADY else {}
    more = per_param * (n_active_params(member) - n_active_params(first))
    at_least(total(parts) - total(may_fall) + more, total(counted(member)))


def test_a_feature_must_say_it():
    with pytest.raises(TypeError, match="over_a_box"):
        Feature(lambda arch, execution: {"overhead": 1})


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


def random_boxes(rng, execution, *, experts):
    """The first models of some boxes, and a member of each; small and large alike."""

    def counts(low, high):
        return np.floor(np.exp(rng.uniform(np.log(low), np.log(high + 1), N_BOXES)))

    least_kv_heads, more_kv_heads = counts(1, 8), counts(1, 4)
    n_kv_heads = least_kv_heads * np.where(rng.random(N_BOXES) < 0.5, more_kv_heads, 1)
    of_family = {
        "d_model": 8 * counts(4, 1024),
        "n_heads": n_kv_heads * counts(1, 8),
        "d_head": 8 * counts(1, 32),
        "gated_mlp": rng.random(N_BOXES) < 0.5,
        "vocab_size": counts(100, 200_000),
        "tied_embeddings": rng.random(N_BOXES) < 0.5,
        "seq_len": counts(32, 8192),
        **({"n_experts": counts(2, 64)} if experts else {}),
    }
    first = {"n_layers": counts(1, 60), "d_ff": counts(8, 20_000)}
    first["batch_size"] = execution.n_split * execution.n_accumulation * counts(1, 64)
    more = {name: counts(1, 40) - 1 for name in first}
    more["batch_size"] *= execution.n_split * execution.n_accumulation
    more = {name: n * (rng.random(N_BOXES) < 0.7) for name, n in more.items()}
    member = {name: value + more[name] for name, value in first.items()}
    return (
        model_of(of_family | first | {"n_kv_heads": least_kv_heads}),
        model_of(of_family | member | {"n_kv_heads": n_kv_heads}),
    )


def test_no_model_of_a_box_beats_the_bound_in_a_pipeline_or_with_layers_split():
    rng = np.random.default_rng(0)
    pinned = [{"tensor_parallel": 8, "pipeline_parallel": n, "virtual_stages": pieces}
              for n, pieces in ((4, 1), (3, 2), (7, 1))]  # fmt: skip
    cases = [("a100-80gb", 8 * pins["pipeline_parallel"], pins) for pins in pinned]
    for name, n_chips, pins in [*cases, ("tpu-v4", 16, {})]:
        objective = LossAtTime(
            device=load_device(name), law=load_law("besiroglu-2024"), time_budget_s=1e6,
            n_chips=n_chips, **pins,
        )  # fmt: skip
        heads = rng.choice([8, 16], 200)
        first = Architecture(
            d_model=64 * heads, n_layers=rng.integers(7, 20, 200), n_heads=heads, n_kv_heads=heads,
            d_head=np.full(200, 64), d_ff=64 * heads * 2, gated_mlp=rng.random(200) < 0.5,
            vocab_size=np.full(200, 32_000), tied_embeddings=np.full(200, True),
            seq_len=np.full(200, 1024), batch_size=rng.choice([48, 96], 200),
        )  # fmt: skip
        member = arch_like(
            first,
            n_layers=first.n_layers + rng.integers(0, 9, 200),
            d_ff=first.d_ff * rng.integers(1, 3, 200),
            batch_size=first.batch_size * rng.integers(1, 3, 200),
        )
        predicted = objective.predict(member)
        bounds = least_losses(objective, first, member, np.array([48, 96, 192]))
        feasible = predicted.feasible
        assert feasible.sum() > 50
        assert np.all(bounds[feasible] <= predicted.predicted_loss[feasible])
