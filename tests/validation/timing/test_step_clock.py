"""The clock of a training step."""

import time

from anybudget.space.architecture import Architecture
from anybudget.validation.backend import clock_name
from anybudget.validation.timing.step_clock import (
    MIN_GROUPS,
    CompiledStep,
    copy_bytes_per_s,
)


def test_the_step_is_timed_many_times_and_its_compilation_never():
    arch = Architecture.from_shape(
        d_model=32, n_layers=1, d_head=16, vocab_size=64, seq_len=16, batch_size=2
    )
    step = CompiledStep(arch)
    start = time.perf_counter()
    timing = step.time(0.05)
    elapsed_s = time.perf_counter() - start
    assert timing.n_steps >= MIN_GROUPS
    # Half of the groups took at least the median.
    assert 0 < timing.step_time_s * timing.n_steps / 2 < elapsed_s
    assert 0 < timing.core_share <= 1
    assert timing.step_time_spread >= 0


def test_a_process_on_one_core_counts_its_own_time(monkeypatch):
    monkeypatch.setattr("anybudget.validation.backend.count_cores", lambda: 1)
    assert clock_name() == "processor"
    monkeypatch.setattr("anybudget.validation.backend.count_cores", lambda: 2)
    assert clock_name() == "wall"


def test_a_copy_has_a_rate():
    assert copy_bytes_per_s() > 1e8
