"""The objective: time to steps, steps to tokens, tokens to loss."""

import dataclasses
import math

import numpy as np
import pytest

from anybudget.objectives.cost.counts import flops_per_step, memcpys_per_step, n_params
from anybudget.objectives.cost.execution import PLAIN, Execution, Remat
from anybudget.objectives.cost.memory import memory_bytes
from anybudget.objectives.law.repetition import A_TOKEN, MOST_OF_SHORT, fresh_worth
from anybudget.space.architecture import Architecture

ARCH = Architecture.from_shape(d_model=128, n_layers=4, vocab_size=1000, seq_len=64, batch_size=4)


def step_time_s(execution=PLAIN):
    """On the toy device: float32 at 1e10 bytes/s, then 1e12 FLOP/s."""
    moving = 4 * memcpys_per_step(ARCH, execution) / 1e10
    return moving + flops_per_step(ARCH, execution) / 1e12


def test_the_chain_from_time_to_loss(roomy):
    predicted = roomy.predict(ARCH)
    steps = math.floor(600 / step_time_s())
    assert predicted.step_time_s == pytest.approx(step_time_s(), rel=1e-12)
    assert predicted.n_steps == steps
    assert predicted.n_tokens == steps * 4 * 64
    assert predicted.n_params == n_params(ARCH)
    expected = 1.8 + 480 / n_params(ARCH) ** 0.35 + 2000 / (steps * 256) ** 0.37
    assert predicted.predicted_loss == pytest.approx(expected, rel=1e-12)
    assert predicted.feasible


@pytest.mark.parametrize(("share", "steps"), [(0.99, 0), (1.01, 1), (1.99, 1), (7.5, 7)])
def test_only_whole_steps_count(roomy, share, steps):
    budget = dataclasses.replace(roomy, time_budget_s=share * step_time_s())
    predicted = budget.predict(ARCH)
    assert (predicted.n_steps, predicted.n_tokens) == (steps, steps * 256)
    assert bool(predicted.feasible) == (steps > 0)


def test_without_a_whole_step_the_loss_is_that_of_one(roomy):
    none, one = (
        dataclasses.replace(roomy, time_budget_s=share * step_time_s()).predict(ARCH)
        for share in (0.5, 1.5)
    )
    assert none.predicted_loss == one.predicted_loss
    assert not none.feasible


def test_the_law_counts_parameters_its_own_way(roomy):
    law = dataclasses.replace(roomy.law, n_convention="non_embedding")
    predicted = dataclasses.replace(roomy, law=law).predict(ARCH)
    without = n_params(ARCH) - 1000 * 128
    assert predicted.n_params_non_embedding == without
    assert predicted.predicted_loss == pytest.approx(
        1.8 + 480 / without**0.35 + 2000 / predicted.n_tokens**0.37, rel=1e-12
    )


@pytest.mark.parametrize(
    ("epochs", "worth"),
    [
        (0.5, 0.5),
        (1, 1),
        # Muennighoff et al. 2023, equation 5: U + U R* (1 - exp(-R / R*)); a billion parameters and
        # as many tokens have R* = 1.81 + 0.57.
        (2, 1 + 2.38 * (1 - math.exp(-1 / 2.38))),
        (3.38, 1 + 2.38 * (1 - 1 / math.e)),
        (1e6, 3.38),
    ],
)
def test_repeated_tokens_are_worth_less(roomy, epochs, worth):
    limited = dataclasses.replace(roomy, data_limit_tokens=1e9)
    assert limited.effective_tokens(epochs * 1e9, 1, 1e9) == pytest.approx(worth * 1e9, rel=1e-12)


def test_repeated_tokens_are_worth_less_to_a_larger_model_and_more_of_a_longer_text():
    sizes, texts = np.array([1e8, 1e9, 1e10]), (1e8, 1e9, 1e10, 1e11, 1e12)
    worth = np.array([fresh_worth(20 * text, text, sizes) / text for text in texts])
    assert (np.diff(worth, axis=1) < 0).all()
    assert (np.diff(worth, axis=0) > -1e-9).all()
    assert (worth > 1).all()
    assert (worth < 20).all()


def test_a_data_limit_raises_the_loss_and_leaves_the_tokens(roomy):
    free = roomy.predict(ARCH)
    enough = dataclasses.replace(roomy, data_limit_tokens=float(free.n_tokens)).predict(ARCH)
    scarce = dataclasses.replace(roomy, data_limit_tokens=free.n_tokens / 10).predict(ARCH)
    assert enough.predicted_loss == pytest.approx(free.predicted_loss, rel=1e-12)
    assert scarce.n_tokens == free.n_tokens
    scale = MOST_OF_SHORT + A_TOKEN * free.n_tokens / 10
    worth = free.n_tokens / 10 * (1 + scale * (1 - math.exp(-9 / scale)))
    expected = 1.8 + 480 / n_params(ARCH) ** 0.35 + 2000 / worth**0.37
    assert scarce.predicted_loss == pytest.approx(expected, rel=1e-12)


def test_auto_takes_the_fastest_rematerialisation_that_fits(roomy):
    ways = [Execution(remat=remat) for remat in Remat]
    needed = [memory_bytes(ARCH, way, bytes_per_element=4) for way in ways]
    assert needed[0] > needed[1] > needed[2]
    assert step_time_s(ways[0]) < step_time_s(ways[1]) < step_time_s(ways[2])
    cases = [
        (needed[0], 0, True),
        (needed[0] - 1, 1, True),
        (needed[1] - 1, 2, True),
        (needed[2] - 1, 2, False),
    ]
    for room, place, feasible in cases:
        device = dataclasses.replace(roomy.device, memory_bytes=float(room))
        one_pass = dataclasses.replace(roomy, device=device, micro_batch_size=ARCH.batch_size)
        predicted = one_pass.predict(ARCH)
        # A sequence so short runs plainly on a CPU.
        fused = dataclasses.replace(ways[place], attention="fused")
        assert (predicted.execution, bool(predicted.feasible)) == (fused, feasible)
        assert predicted.memory_bytes == needed[place]
        assert predicted.step_time_s == pytest.approx(step_time_s(ways[place]), rel=1e-12)


@pytest.mark.parametrize("remat", Remat)
def test_remat_as_asked(objective, remat):
    one_pass = dataclasses.replace(objective, micro_batch_size=ARCH.batch_size)
    predicted = dataclasses.replace(one_pass, remat=str(remat)).predict(ARCH)
    assert predicted.execution == Execution(attention="fused", remat=remat)
    expected = memory_bytes(ARCH, Execution(remat=remat), bytes_per_element=4)
    assert predicted.memory_bytes == expected


def test_a_mesh_holds_the_scalars(objective):
    depths, gates, batches = (1, 2, 4, 40), (False, True), (1, 64)
    limited = dataclasses.replace(objective, data_limit_tokens=1e6, time_budget_s=5.0)
    mesh = Architecture(
        **ARCH.as_dict()
        | {
            "n_layers": np.array(depths, dtype=float).reshape(4, 1, 1),
            "gated_mlp": np.array(gates).reshape(1, 2, 1),
            "batch_size": np.array(batches, dtype=float),
        }
    )
    predicted = limited.predict(mesh)
    assert 0 < np.count_nonzero(predicted.feasible) < predicted.feasible.size
    remat = predicted.execution.remat
    assert 0 < np.count_nonzero(remat) < remat.size
    for i, j, k in np.ndindex(4, 2, 2):
        changed = {"n_layers": depths[i], "gated_mlp": gates[j], "batch_size": batches[k]}
        one = limited.predict(Architecture(**(ARCH.as_dict() | changed)))
        many = predicted.columns()
        for name, value in one.columns().items():
            # Powers of arrays and of scalars may differ in the last place.
            found = np.broadcast_to(many[name], (4, 2, 2))[i, j, k]
            np.testing.assert_allclose(found, value, rtol=1e-14)


def test_under_the_critical_batch_rule_the_largest_batch_is_not_the_best(roomy):
    sizes = 2.0 ** np.arange(0, 14)
    mesh = dataclasses.replace(ARCH, batch_size=sizes)
    # A step's overhead makes small batches slow; for the pure law alone, larger is always better.
    slow = dataclasses.replace(roomy.device.step_time_model, seconds_per_unit={
        "memcpys": 0.0, "flops": 1e-13, "steps": 1e-3})  # fmt: skip
    chip = dataclasses.replace(roomy.device, memory_bytes=1e15, basis="measured", step_time=slow)
    pure = dataclasses.replace(roomy, device=chip, remat="none")
    ruled = dataclasses.replace(pure, critical_batch=True)
    assert np.argmin(pure.predict(mesh).predicted_loss) > np.argmin(
        ruled.predict(mesh).predicted_loss
    )
    assert np.all(ruled.predict(mesh).predicted_loss > pure.predict(mesh).predicted_loss)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"time_budget_s": 0.0}, "`time_budget_s` must be > 0, but got 0"),
        ({"time_budget_s": math.inf}, "`time_budget_s` must be from 1e-30 to 1e.15, but got inf"),
        ({"data_limit_tokens": -5.0}, "`data_limit_tokens` must be from 1"),
        ({"data_limit_tokens": math.nan}, "`data_limit_tokens` must be from 1"),
        ({"remat": "block"}, "`remat` must be none, dots, layer or auto, but got 'block'"),
        ({"attention": "flash"}, "`attention` must be plain, fused or auto, but got 'flash'"),
    ],
)
def test_refused(objective, change, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(objective, **change)


def test_chips_must_divide_the_batch_and_have_links(chips, objective):
    with pytest.raises(ValueError, match=r"multiple of the 4 chips, but got 6; take batch_size=8"):
        chips.predict(dataclasses.replace(ARCH, batch_size=6))
    with pytest.raises(ValueError, match="but got 2; take batch_size=4"):
        chips.check_batch((4, 2, 8))
    with pytest.raises(ValueError, match="`interconnect_bytes_per_s`, but toy has none"):
        dataclasses.replace(objective, n_chips=2)
    with pytest.raises(ValueError, match="`n_chips` must be from 1 to 2,147,483,647, but got 0"):
        dataclasses.replace(objective, n_chips=0)
