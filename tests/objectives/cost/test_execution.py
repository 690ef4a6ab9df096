"""How a step is run: names for people, numbers for arithmetic, parts for one chip and pass."""

import dataclasses

import numpy as np
import pytest

from anybudget.objectives.cost.execution import (
    Attention,
    Execution,
    Remat,
    Sharding,
    by_choice,
)
from anybudget.space.architecture import Architecture

ARCH = Architecture.from_shape(d_model=64, n_layers=8, d_head=16, vocab_size=100, batch_size=48)


def test_choices_have_names_outside_and_numbers_inside():
    execution = Execution(attention="fused", remat="dots", sharding="full", n_chips=4)
    assert execution.attention is Attention.FUSED
    assert execution.remat is Remat.DOTS
    assert execution.sharding is Sharding.FULL
    assert execution == Execution(attention=1, remat=1, sharding=1, n_chips=4)
    named = execution.named()
    assert (named["attention"], named["remat"], named["sharding"]) == ("fused", "dots", "full")
    assert Execution(**named) == execution
    assert f"{execution.remat}" == "dots"


def test_an_array_of_executions_has_arrays():
    many = Execution(remat=np.array(Remat), sharding=np.array([[0], [1]]), n_chips=4)
    assert many.n_shares.tolist() == [[1], [4]]
    codes = by_choice(many, lambda one: {"remat": int(one.remat), "full": int(one.n_shares)})
    assert codes["remat"].tolist() == [[0, 1, 2], [0, 1, 2]]
    assert codes["full"].tolist() == [[1, 1, 1], [4, 4, 4]]


def test_an_array_of_choices_has_the_parts_of_each_in_its_order():
    """Else a sum of them would be rounded otherwise than for one choice alone."""
    of_remat = [["a", "b", "d"], ["a", "c", "d", "e"], ["c", "b"]]
    many = Execution(remat=np.array(Remat))
    merged = list(by_choice(many, lambda one: dict.fromkeys(of_remat[int(one.remat)], 1)))
    for names in of_remat:
        assert [name for name in merged if name in names] == names


def test_what_one_chip_computes_in_one_pass():
    execution = Execution(n_chips=24, tensor_parallel=2, pipeline_parallel=4, n_accumulation=8)
    assert (execution.n_split, execution.n_passes) == (3, 11)
    assert execution.part(ARCH) == dataclasses.replace(
        ARCH, batch_size=2, n_layers=2, n_heads=2, n_kv_heads=2, d_ff=128, vocab_size=50
    )
    assert Execution().part(ARCH) is ARCH
    assert execution.divides(48)
    assert not execution.divides(40)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"remat": "half"}, "`remat` must be none, dots or layer, but got 'half'"),
        ({"remat": True}, "`remat` must be none, dots or layer, but got True"),
        ({"attention": 2}, "`attention` must be plain or fused, but got 2"),
        ({"n_accumulation": 0}, "`n_accumulation` must be a whole number >= 1, but got 0"),
        ({"n_chips": 1.5}, r"`n_chips` must be a whole number >= 1, but got 1\.5"),
        ({"n_chips": True}, "`n_chips` must be a whole number >= 1, but got True"),
        ({"n_chips": 4, "tensor_parallel": 3}, "must divide `n_chips`, but got 3, 1 and 4"),
    ],
)
def test_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        Execution(**fields)


def test_a_longest_stage_has_the_layers_that_do_not_come_out_even():
    arch = Architecture.from_shape(d_model=64, n_layers=126, batch_size=64)
    stages = Execution(n_chips=8, pipeline_parallel=8, n_accumulation=64)
    assert stages.part(arch).n_layers == 16
    assert (stages.n_passes, stages.n_in_flight) == (71, 8)
    pieces = dataclasses.replace(stages, virtual_stages=7)
    # Seven pieces fill in a seventh of the time, and one pass more is on its way.
    assert (pieces.n_passes, pieces.n_in_flight) == (65, 9)
    assert pieces.share_full == pytest.approx(64 / 65)
    # One pass alone goes through all stages, one after the other, however they are cut.
    assert pieces.in_passes(1).n_passes == 8
    assert dataclasses.replace(pieces, n_accumulation=np.array([1, 4])).n_passes == pytest.approx(
        [8, 8 + 3 / 7]
    )


def test_the_optimizer_s_state_alone_may_be_shared():
    shared = Execution(n_chips=16, tensor_parallel=2, sharding="optimizer")
    assert (shared.n_shares, shared.n_optimizer_shares, shared.n_copies) == (1, 8, 8)
    full = Execution(n_chips=16, tensor_parallel=2, sharding="full", n_replicas=2)
    assert (full.n_shares, full.n_optimizer_shares, full.n_copies) == (4, 4, 2)
