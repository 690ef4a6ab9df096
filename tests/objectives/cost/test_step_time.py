"""Step-time models: the paper's of memory copies, FLOPs and a constant, and richer ones."""

import dataclasses
import itertools
import tomllib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tomli_w

from anybudget.files.read import build
from anybudget.objectives.cost.counts import (
    flops_by_part,
    flops_per_step,
    layer_matmuls,
    memcpys_by_part,
    memcpys_per_step,
    n_params,
    total,
)
from anybudget.objectives.cost.execution import (
    PLAIN,
    Attention,
    Execution,
    Remat,
    Sharding,
)
from anybudget.objectives.cost.features import (
    FEATURES,
    ROOFLINE,
    roofline_by_part,
    units_by_part,
)
from anybudget.objectives.cost.step_time import MODELS, StepTimeModel
from anybudget.search.predict import PARTS
from anybudget.space.architecture import COUNT_FIELDS, Architecture

ARCH = Architecture.from_shape(d_model=256, n_layers=4, seq_len=128, batch_size=2)
SECONDS = {"memcpys": 3e-11, "flops": 2e-14, "steps": 0.01}
MODEL = StepTimeModel(name="paper", seconds_per_unit=SECONDS)
AGAIN, FUSED = Execution(remat="layer"), Execution(attention="fused")


def model_of(name, ridge=16.0):
    """A named model in which every feature costs something."""
    seconds = {feature: 1e-12 * (i + 1) for i, feature in enumerate(MODELS[name])}
    return StepTimeModel(
        name=name, seconds_per_unit=seconds, ridge=ridge if ROOFLINE in MODELS[name] else 0.0
    )


@pytest.mark.parametrize("remat", Remat)
def test_time_is_c1_memcpys_plus_c2_flops_plus_c3(remat):
    execution = Execution(remat=remat)
    expected = (
        3e-11 * memcpys_per_step(ARCH, execution) + 2e-14 * flops_per_step(ARCH, execution) + 0.01
    )
    # Two orders of the same sum.
    assert MODEL.step_time_s(ARCH, execution) == pytest.approx(expected, rel=1e-12)


def test_parts_add_up_and_overhead_is_one_of_them():
    parts = MODEL.step_time_by_part(ARCH)
    assert parts["overhead"] == 0.01
    assert set(parts) >= {"qkv", "scores", "mlp_up", "logits"}
    assert total(parts) == MODEL.step_time_s(ARCH)


def test_a_feature_without_cost_has_no_part():
    free = StepTimeModel(name="paper", seconds_per_unit=SECONDS | {"steps": 0.0})
    assert "overhead" not in free.step_time_by_part(ARCH)


@pytest.mark.parametrize("name", MODELS)
def test_one_formula_for_scalars_meshes_and_jax_arrays(name):
    model, depths = model_of(name), [2, 4, 8]
    scalars = [
        model.step_time_s(Architecture(**(ARCH.as_dict() | {"n_layers": n}))) for n in depths
    ]
    mesh = Architecture(**(ARCH.as_dict() | {"n_layers": np.array(depths, dtype=float)}))
    np.testing.assert_allclose(model.step_time_s(mesh), scalars, rtol=1e-14)
    fields = {
        name: jnp.asarray(value, dtype=jnp.float32 if name in COUNT_FIELDS else bool)
        for name, value in mesh.as_dict().items()
    }
    on_jax = model.step_time_s(Architecture(**fields))
    assert isinstance(on_jax, jax.Array)
    np.testing.assert_allclose(np.asarray(on_jax), scalars, rtol=1e-5)  # float32


@pytest.mark.parametrize(
    ("name", "seconds", "message"),
    [
        ("papper", SECONDS, "a step-time model is one of .*'paper'.* but got 'papper'"),
        ("paper", {"flops": 1.0}, "has the coefficients .* but got .'flops'."),
        ("paper", SECONDS | {"luck": 1.0}, "has the coefficients"),
        ("paper", SECONDS | {"flops": -1e-15}, "of 'flops' must be from 0 to"),
        ("paper", SECONDS | {"flops": float("nan")}, "of 'flops' must be from 0 to"),
        ("paper", dict.fromkeys(SECONDS, 0.0), "a step must take time"),
    ],
)
def test_refused(name, seconds, message):
    with pytest.raises(ValueError, match=message):
        StepTimeModel(name=name, seconds_per_unit=seconds)


@pytest.mark.parametrize("name", MODELS)
def test_every_model_splits_by_known_parts(name):
    model = model_of(name)
    parts = model.step_time_by_part(ARCH, AGAIN)
    assert set(parts) <= set(PARTS)
    # In its order of summation: from Python 3.12 on `sum` compensates.
    assert total(parts) == model.step_time_s(ARCH, AGAIN)


def test_a_roofline_is_flops_below_every_ridge_and_memcpys_above():
    low = roofline_by_part(ARCH, PLAIN, ridge=1e-6)
    high = roofline_by_part(ARCH, PLAIN, ridge=1e6)
    assert low == flops_by_part(ARCH)
    assert high == {part: 1e6 * units for part, units in memcpys_by_part(ARCH).items()}


def test_a_roofline_takes_the_larger_of_both_for_each_matmul():
    flops, memcpys = flops_by_part(ARCH), memcpys_by_part(ARCH)
    ridge = flops["qkv"] / memcpys["qkv"]
    parts = roofline_by_part(ARCH, PLAIN, ridge=ridge)
    # 128 x 64 x 128 works less on each element than 256 x 256 x 768 does, 256 x 1024 x 256 more.
    assert parts["scores"] == ridge * memcpys["scores"] > flops["scores"]
    assert parts["mlp_down"] == flops["mlp_down"] > ridge * memcpys["mlp_down"]


def test_units_by_hand():
    arch = Architecture(
        d_model=8, n_layers=3, n_heads=2, n_kv_heads=1, d_head=4, d_ff=16, gated_mlp=True,
        vocab_size=50, seq_len=10, batch_size=2, tied_embeddings=False,
    )  # fmt: skip
    units = {
        feature: sum(units_by_part(feature, arch).values())
        for feature in ("activations", "softmax", "loss", "layers", "steps", "lookup")
    }
    assert units == {
        "activations": 3 * 3 * 20 * (6 * 8 + 2 * (2 + 1) * 4 + 3 * 16),
        "softmax": 3 * 3 * 2 * 2 * 10 * 10,
        "loss": 3 * 20 * 50,
        "layers": 3 * 3,
        "steps": 1,
        "lookup": 50 * 8,
    }


def test_only_parameters_beyond_the_caches_count():
    small = Architecture.from_shape(d_model=64, n_layers=2, vocab_size=1000)
    assert sum(units_by_part("params", small).values()) == 0
    counted = sum(units_by_part("params", ARCH).values())
    assert counted == pytest.approx(n_params(ARCH) - 2**18)


def test_only_scores_beyond_the_cache_spill():
    fields = {"d_model": 256, "n_layers": 3, "n_heads": 4, "n_kv_heads": 2, "batch_size": 5}
    for seq_len, spilled in ((256, 0), (512, 3 * 3 * 5 * 2 * (2 * 512 * 512 - 2**17))):
        arch = Architecture.from_shape(**fields, seq_len=seq_len)
        assert units_by_part("spilled_softmax", arch) == {"scores": spilled}


@pytest.mark.parametrize("feature", sorted({f for names in MODELS.values() for f in names}))
def test_remat_runs_the_blocks_once_more_and_nothing_else(feature):
    plain = units_by_part(feature, ARCH, ridge=16.0)
    again = units_by_part(feature, ARCH, AGAIN, ridge=16.0)
    for part, units in plain.items():
        once = ("params", "stacked", "lookup", "steps", "loss")
        in_blocks = feature not in once and part != "logits"
        is_again = in_blocks and part != "mlp_down"  # whose product no gradient needs
        assert 3 * again[part] == (4 if is_again else 3) * units


@pytest.mark.parametrize("name", ["paper", "traffic", "stacked"])
def test_fused_attention_takes_no_softmax_and_longer_with_narrow_heads(name):
    model = model_of(name)
    plain = dataclasses.replace(
        model,
        seconds_per_unit={
            feature: 0.0 if "softmax" in feature else seconds
            for feature, seconds in model.seconds_per_unit.items()
        },
    )
    fields = {"d_model": 1024, "n_layers": 2, "seq_len": 4096, "batch_size": 1}
    wide, half, narrow = (
        Architecture.from_shape(**fields, d_head=d_head) for d_head in (128, 64, 32)
    )
    times = [model.step_time_by_part(arch, FUSED, kind="tpu") for arch in (wide, half, narrow)]
    for part, seconds in plain.step_time_by_part(wide).items():
        ratio = {"scores": 4 / 6, "weighted_values": 3 / 6}.get(part, 1.0)
        # What a roofline or memory copies said of writing the scores falls away besides.
        assert times[0][part] <= ratio * seconds * (1 + 1e-12)
        if part not in ("scores", "weighted_values"):
            assert times[0][part] == pytest.approx(seconds)
    matmuls = [one["scores"] + one["weighted_values"] for one in times]
    # As many FLOPs in all three; as many heads more as they are narrower.
    assert matmuls[1] == pytest.approx(2 * matmuls[0], rel=0.05)
    assert matmuls[2] == pytest.approx(4 * matmuls[0], rel=0.05)


@pytest.mark.parametrize(("seq_len", "share"), [(128, 1), (np.array([256, 1024]), [3 / 4, 5 / 8])])
def test_a_cpu_computes_blocks_of_scores_where_there_are_several(seq_len, share):
    arch = dataclasses.replace(ARCH, seq_len=seq_len)
    how = {"arch": arch, "kind": "cpu", "times_attention": True}
    both = ({f: units_by_part(f, execution=e, **how) for f in FEATURES} for e in (PLAIN, FUSED))
    plain, fused = both
    assert fused["softmax"]["scores"] == pytest.approx(share * plain["softmax"]["scores"])
    if share == 1:
        assert fused == plain
        return
    # Scores are multiplied out once more.
    for part, passes in (("scores", 4), ("weighted_values", 3)):
        found = fused["attention"][part]
        assert found == pytest.approx(passes / 3 * np.array(share) * plain["flops"][part])


@pytest.mark.parametrize("name", MODELS)
def test_a_kernel_that_was_timed_has_a_rate_of_its_own_and_no_other(name):
    model = model_of(name)
    seconds = dict.fromkeys(model.seconds_per_unit, 0.0) | {"attention": 1e-14}
    alone = dataclasses.replace(model, seconds_per_unit=seconds)
    arch = Architecture.from_shape(d_model=512, n_layers=3, d_head=32, seq_len=2048, batch_size=2)
    # Heads of 32 take as long as of 64; scores and values are half masked, in 4 and 3 passes.
    flops = 3 * 2 * 16 * 2 * 2048 * 2048 * 64
    parts = alone.step_time_by_part(arch, FUSED, kind="gpu")
    assert parts == pytest.approx(
        {"scores": 1e-14 * 2 * flops, "weighted_values": 1e-14 * 1.5 * flops}
    )
    assert total(alone.step_time_by_part(arch)) == 0  # plain attention has none of it
    assert alone.features == (*MODELS[name], "attention")
    whole = dataclasses.replace(
        model, seconds_per_unit=model.seconds_per_unit | {"attention": 1e-14}
    ).step_time_by_part(arch, FUSED, kind="gpu")
    untimed = model.step_time_by_part(arch, FUSED, kind="gpu")
    assert {part: whole[part] for part in parts} == pytest.approx(parts)
    rest = untimed.keys() - parts.keys()
    assert {part: whole[part] for part in rest} == {part: untimed[part] for part in rest}


@pytest.mark.parametrize("name", MODELS)
def test_a_model_is_the_same_after_a_file(name):
    model = model_of(name)
    text = tomli_w.dumps(dataclasses.asdict(model))
    assert build(StepTimeModel, tomllib.loads(text), "a file") == model


@pytest.mark.parametrize(("name", "ridge"), [("paper", 3.0), ("roofline", 0.0)])
def test_only_a_roofline_has_a_ridge(name, ridge):
    seconds = dict.fromkeys(MODELS[name], 1.0)
    with pytest.raises(ValueError, match="`ridge` must be > 0 in a model with a roofline"):
        StepTimeModel(name=name, seconds_per_unit=seconds, ridge=ridge)


def test_a_single_layer_is_not_stacked():
    several = dataclasses.replace(ARCH, n_layers=np.array([1, 2, 3]))
    stacked = total(units_by_part("stacked", several))
    block = sum(mm.n_params for mm in layer_matmuls(ARCH) if mm.has_weights)
    assert stacked.tolist() == [0, 2 * block, 3 * block]


def test_chips_that_share_the_state_share_its_work():
    seconds = {name: 1.0 if name in ("params", "steps") else 0.0 for name in MODELS["stacked"]}
    model = StepTimeModel(name="stacked", seconds_per_unit=seconds, ridge=16.0)
    updated = sum(units_by_part("params", ARCH).values())
    assert model.step_time_s(ARCH) == updated + 1
    large = dataclasses.replace(ARCH, batch_size=4 * ARCH.batch_size)
    shared = Execution(sharding=np.array([0, 1]), n_chips=4)
    times_s = model.step_time_s(large, shared)
    assert times_s.tolist() == [updated + 1, updated / 4 + 1]
    full = Execution(sharding="full", n_chips=4)
    units = dict(zip(MODELS["stacked"], model.units(large, full), strict=True))
    assert (units["params"], units["steps"]) == (updated / 4, 1)


@pytest.mark.parametrize("name", MODELS)
def test_an_array_of_executions_holds_the_scalars(name):
    seconds = dict(model_of(name).seconds_per_unit) | {"attention": 3e-12}
    model = dataclasses.replace(model_of(name), seconds_per_unit=seconds)
    large = dataclasses.replace(ARCH, batch_size=32)
    ways = list(itertools.product(Attention, Remat, Sharding, (1, 4), (1, 2)))
    columns = ("attention", "remat", "sharding", "n_accumulation", "n_chips")
    many = Execution(**dict(zip(columns, np.array(ways).T, strict=True)))
    each = [Execution(**dict(zip(columns, way, strict=True))) for way in ways]
    alone = [model.step_time_s(large, execution, kind="tpu") for execution in each]
    np.testing.assert_allclose(model.step_time_s(large, many, kind="tpu"), alone, rtol=1e-14)


@pytest.mark.parametrize("name", MODELS)
def test_passes_repeat_all_but_what_a_step_does_once(name):
    model, n = model_of(name), 4
    large = dataclasses.replace(ARCH, batch_size=n * ARCH.batch_size)
    once = model.units(ARCH)
    for feature, units, all_units in zip(
        model.features, once, model.units(large, Execution(n_accumulation=n)), strict=True
    ):
        assert all_units == (1 if FEATURES[feature].once_a_step else n) * units
