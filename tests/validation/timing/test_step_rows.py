"""Timings of one architecture together: the fastest counts, and repeats must agree."""

import datetime

import pytest

from anybudget.space.architecture import Architecture
from anybudget.validation.timing.step_rows import StepRow, steps_of, unsettled


def row(n_layers, pass_index, step_time_s):
    """One timing."""
    arch = Architecture.from_shape(d_model=64, n_layers=n_layers)
    return StepRow(
        **arch.as_dict(),
        pass_index=pass_index,
        step_time_s=step_time_s,
        step_time_spread=0.0,
        core_share=1.0,
        n_steps=5,
        peak_flops_per_s=1e11,
        bandwidth_bytes_per_s=1e10,
        machine="Abacus",
        n_cores=1,
        dtype="float32",
        clock="wall",
        versions="none",
        measured=datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC),
    )


def test_the_fastest_pass_counts():
    steps = steps_of([row(1, 0, 3.0), row(2, 0, 5.0), row(3, 0, 7.0), row(1, 1, 2.0)])
    assert steps.measured_s.tolist() == [2.0, 5.0, 7.0]
    assert steps.arch.n_layers.tolist() == [1, 2, 3]


@pytest.mark.parametrize(
    ("times", "is_unsettled"),
    [([1.0], False), ([1.0, 1.14], False), ([1.0, 1.16], True), ([1.0, 1.5, 1.1], False)],
)
def test_two_passes_must_agree(times, is_unsettled):
    rows = [row(1, i, step_time_s) for i, step_time_s in enumerate(times)]
    assert unsettled(rows) == ({rows[0].architecture} if is_unsettled else set())
