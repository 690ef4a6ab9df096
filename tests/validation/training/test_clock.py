import pytest

from anybudget.validation.training import clock
from anybudget.validation.training.clock import Budget, Clock


@pytest.fixture
def now(monkeypatch):
    """A time that the test sets, in a list of one."""
    times = [100.0]
    monkeypatch.setattr(clock.time, "perf_counter", lambda: times[0])
    return times


def test_clock_leaves_out_pauses_and_goes_on_where_it_stood(now):
    run = Clock(train_time_s=7.0)
    now[0] += 2.0
    with run.paused():
        now[0] += 50.0
    now[0] += 0.5
    assert run.read() == pytest.approx(9.5)


def test_steps_are_placed_at_their_middle():
    by_number = Budget(n_steps=4)
    assert [by_number.progress(n, 0.0, 9.9) for n in range(5)] == [0.125, 0.375, 0.625, 0.875, None]
    by_time = Budget(time_s=10.0)
    assert by_time.progress(1000, 4.0, 2.0) == 0.5
    assert by_time.progress(1000, 9.0, 2.0) == 1.0
    assert by_time.progress(0, 9.1, 2.0) is None


def test_a_time_of_nine_steps_is_refused_with_its_numbers():
    Budget(time_s=10.0).check(step_time_s=1.0)
    Budget(n_steps=1).check(step_time_s=1.0)
    with pytest.raises(ValueError, match=r"must fit 10 steps, but 9 s fit 9\.0 of 1 s .*give 10 s"):
        Budget(time_s=9.0).check(step_time_s=1.0)


@pytest.mark.parametrize("given", [{}, {"time_s": 1.0, "n_steps": 1}, {"time_s": 0.0}])
def test_a_budget_is_a_time_or_a_number(given):
    with pytest.raises(ValueError, match="either a time or a number of steps, positive"):
        Budget(**given)
