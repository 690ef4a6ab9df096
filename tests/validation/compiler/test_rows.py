import datetime

import pytest

from anybudget.objectives.cost.execution import Execution, Remat
from anybudget.space.architecture import Architecture
from anybudget.validation.compiler.compiled import Compiled
from anybudget.validation.compiler.hlo.time import ProgramTime
from anybudget.validation.compiler.rows import CompileRow, row_of, steps_of
from anybudget.validation.compiler.topology import parse_topology
from anybudget.validation.runs import append_row, read_rows

NOW = datetime.datetime(2026, 11, 1, tzinfo=datetime.UTC)
SECONDS = {"compute": 0.5, "copies": 0.25, "collectives": 0.0, "gathers": 0.125, "others": 0.0}


def step(d_model=64, topology="v5e:1x1", **known):
    return Compiled(
        arch=Architecture.from_shape(d_model=d_model, n_layers=2, vocab_size=256, batch_size=4),
        execution=Execution(remat="layer", n_chips=parse_topology(topology).n_chips),
        topology=parse_topology(topology),
        fits=True,
        memory_bytes=1000,
        versions={"jax": "1", "libtpu": "2"},
        **known,
    )


def timed(d_model=64, topology="v5e:1x1", seconds=SECONDS):
    return row_of(step(d_model, topology, time=ProgramTime(seconds=seconds)), NOW)


def test_rows_read_back(tmp_path):
    path = tmp_path / "rows.csv"
    sharded = step(topology="v5e:2x2", collective_bytes={"all-reduce": 40})
    for row in (written := [timed(), row_of(sharded, NOW)]):
        append_row(path, row)
    rows = read_rows(path, CompileRow)
    assert rows == written
    assert rows[0].step_time_s == 0.875
    assert rows[1].step_time_s is None
    assert (rows[1].all_reduce_bytes, rows[1].all_gather_bytes) == (40, 0)
    assert rows[0].key != rows[1].key
    assert rows[0].versions == "jax 1;libtpu 2"
    assert rows[0].execution == step().execution


def test_steps_of_one_chip_go_to_a_fit():
    longer = {name: 2 * seconds for name, seconds in SECONDS.items()}
    steps = steps_of([timed(64), timed(128), timed(192, seconds=longer)])
    assert steps.measured_s.tolist() == [0.875, 0.875, 1.75]
    assert steps.arch.d_model.tolist() == [64, 128, 192]
    assert (steps.execution.remat == Remat.LAYER).all()


@pytest.mark.parametrize("row", [row_of(step(), NOW), timed(topology="v5e:2x2")])
def test_what_has_no_time_or_several_chips_does_not(row):
    with pytest.raises(ValueError, match="a fit takes steps with a time, of one chip"):
        steps_of([row])
