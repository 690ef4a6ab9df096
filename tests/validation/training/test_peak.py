import pytest

from anybudget.validation.training import peak


def test_the_best_rate_of_all_sizes_counts(monkeypatch):
    # A machine that does 1e9 FLOP/s up to 1024, and half of that beyond.
    monkeypatch.setattr(
        peak, "_best_time_s", lambda size, dtype: 2 * size**3 / (1e9 if size <= 1024 else 5e8)
    )
    peak.peak_matmul_flops_per_s.cache_clear()
    assert peak.peak_matmul_flops_per_s("float32") == pytest.approx(1e9)
    peak.peak_matmul_flops_per_s.cache_clear()


def test_the_best_time_is_that_of_the_fastest_repeat(monkeypatch):
    ticks = iter([0.0, 5.0, 10.0, 12.0, 20.0, 23.0, 30.0, 39.0, 40.0, 44.0])
    monkeypatch.setattr(peak, "step_clock", lambda: lambda: next(ticks))
    assert peak._best_time_s(8, "float32") == 2.0
