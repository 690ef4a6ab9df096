"""The step-time model: a linear model of memory copies, FLOPs and a constant."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from anybudget.objectives.counts import flops_per_step, memcpys_per_step
from anybudget.objectives.step_time import StepTimeModel
from anybudget.space.architecture import COUNT_FIELDS, Architecture

ARCH = Architecture.from_shape(d_model=256, n_layers=4, seq_len=128, batch_size=2)
SECONDS = {"memcpys": 3e-11, "flops": 2e-14, "steps": 0.01}
MODEL = StepTimeModel(name="paper", seconds_per_unit=SECONDS)


@pytest.mark.parametrize("remat", [False, True])
def test_time_is_c1_memcpys_plus_c2_flops_plus_c3(remat):
    expected = (
        3e-11 * memcpys_per_step(ARCH, remat=remat)
        + 2e-14 * flops_per_step(ARCH, remat=remat)
        + 0.01
    )
    # Two orders of the same sum.
    assert MODEL.step_time_s(ARCH, remat=remat) == pytest.approx(expected, rel=1e-12)


def test_parts_add_up_and_overhead_is_one_of_them():
    parts = MODEL.step_time_by_part(ARCH)
    assert parts["overhead"] == 0.01
    assert set(parts) >= {"qkv", "scores", "mlp_up", "logits"}
    assert sum(parts.values()) == MODEL.step_time_s(ARCH)


def test_a_feature_without_cost_has_no_part():
    free = StepTimeModel(name="paper", seconds_per_unit=SECONDS | {"steps": 0.0})
    assert "overhead" not in free.step_time_by_part(ARCH)


def test_one_formula_for_scalars_meshes_and_jax_arrays():
    depths = [2, 4, 8]
    scalars = [
        MODEL.step_time_s(Architecture(**(ARCH.as_dict() | {"n_layers": n}))) for n in depths
    ]
    mesh = Architecture(**(ARCH.as_dict() | {"n_layers": np.array(depths, dtype=float)}))
    np.testing.assert_allclose(MODEL.step_time_s(mesh), scalars, rtol=1e-14)
    fields = {
        name: jnp.asarray(value, dtype=jnp.float32 if name in COUNT_FIELDS else bool)
        for name, value in mesh.as_dict().items()
    }
    on_jax = MODEL.step_time_s(Architecture(**fields))
    assert isinstance(on_jax, jax.Array)
    np.testing.assert_allclose(np.asarray(on_jax), scalars, rtol=1e-5)  # float32


@pytest.mark.parametrize(
    ("name", "seconds", "message"),
    [
        ("papper", SECONDS, "a step-time model is one of .*'paper'.* but got 'papper'"),
        ("paper", {"flops": 1.0}, "has the coefficients .* but got .'flops'."),
        ("paper", SECONDS | {"luck": 1.0}, "has the coefficients"),
        ("paper", SECONDS | {"flops": -1e-15}, "seconds per unit of 'flops' must be >= 0"),
        ("paper", SECONDS | {"flops": float("nan")}, "seconds per unit of 'flops' must be >= 0"),
        ("paper", dict.fromkeys(SECONDS, 0.0), "a step must take time"),
    ],
)
def test_refused(name, seconds, message):
    with pytest.raises(ValueError, match=message):
        StepTimeModel(name=name, seconds_per_unit=seconds)
