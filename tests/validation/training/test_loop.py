import math
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from anybudget.objectives.recipe import Recipe
from anybudget.validation.training import clock
from anybudget.validation.training.clock import Budget
from anybudget.validation.training.loop import Loop


class Machine:
    """A device that computes one step after the other, and a host that waits; time is made up."""

    def __init__(self, step_times_s, loss=4.0):
        self.step_times_s, self.first_s, self.loss = iter(step_times_s), step_times_s[0], loss
        self.now_s = self.free_s = 0.0
        self.seen = []

    def step(self, state, tokens, progress, recipe):
        self.free_s = max(self.free_s, self.now_s) + next(self.step_times_s)
        self.seen.append(tokens)
        return state + 1, Loss(self, self.free_s, self.loss)

    def load(self, step):
        self.now_s += 0.001
        return step

    def train(self, budget, *start, **options):
        recipe = Recipe()
        program = SimpleNamespace(step=self.step, place=lambda tokens: tokens)
        reports = []
        loop: Any = Loop(
            cast(Any, program), budget, self.load, self.first_s, recipe, reports.append
        )
        loop.run(*(start or (0, 0, 0.0)), **options)
        return loop, reports


class Loss:
    """What a step will return when the device is there."""

    def __init__(self, machine, ready_s, value):
        self.machine, self.ready_s, self.value = machine, ready_s, value

    def __float__(self):
        self.machine.now_s = max(self.machine.now_s, self.ready_s)
        return self.value


@pytest.fixture
def make_machine(monkeypatch):
    def make(*args):
        machine = Machine(*args)
        monkeypatch.setattr(clock.time, "perf_counter", lambda: machine.now_s)
        return machine

    return make


@pytest.mark.parametrize("typical_s", [0.01, 0.1, 1.0])
@pytest.mark.parametrize("noise", [0.0, 0.5])
def test_time_and_schedule_end_together(make_machine, typical_s, noise):
    step_times_s = typical_s * np.random.default_rng(0).lognormal(0, noise, 20_000)
    # The machine slows down to half its speed on the way, for good.
    step_times_s[int(20 / typical_s) :] *= 2
    loop, reports = make_machine(step_times_s).train(Budget(time_s=60.0))
    # Off by half a step of then 2 * typical_s; under noise, by what the last ones take beyond it.
    assert abs(loop.train_time_s - 60) <= 2 * typical_s * (0.51 if not noise else 2)
    places = np.array([report.progress for report in reports])
    assert 0.98 < places[-1] <= 1
    # Each step's place is a forecast, so under noise one may come before the last.
    assert np.diff(places).min() > (0 if not noise else -2 * typical_s / 60)
    assert places[0] < 2 * typical_s / 60
    assert loop.n_steps == len(reports) == loop.state
    assert math.isclose(sum(loop.step_times_s), loop.train_time_s)


def test_the_host_loads_while_the_device_computes(make_machine):
    loop, _ = make_machine([0.5] * 200).train(Budget(n_steps=100))
    # One load of 1 ms comes before the first step, the other 99 behind the steps.
    assert loop.train_time_s == pytest.approx(100 * 0.5 + 0.001)


def test_a_number_of_steps_is_that_number_in_order(make_machine):
    machine = make_machine([0.5] * 7)
    loop, reports = machine.train(Budget(n_steps=7))
    assert machine.seen == list(range(7))
    assert [report.n_steps for report in reports] == list(range(1, 8))
    assert loop.n_steps == 7


def test_an_infinite_loss_ends_the_run(make_machine):
    loop, reports = make_machine([0.5] * 100, math.inf).train(Budget(n_steps=100))
    assert loop.has_diverged
    assert len(reports) == 2


def test_checkpoints_are_off_the_clock_and_a_run_goes_on_from_them(make_machine):
    machine = make_machine([0.5] * 200)
    saved = []

    def save(state, **clock):
        machine.now_s += 1000.0
        saved.append((state, clock["n_steps"], clock["train_time_s"]))

    checkpoints = SimpleNamespace(save=save)
    budget = Budget(time_s=60.0)
    loop, _ = machine.train(budget, 0, 0, 0.0, checkpoints=checkpoints, checkpoint_every_s=25.0)
    assert abs(loop.train_time_s - 60) <= 0.26
    # Two on the way and one at the end, all steps begun before them included.
    assert len(saved) == 3
    assert all(state == n_steps for state, n_steps, _ in saved)
    assert saved[0][2] == pytest.approx(25.5, abs=0.6)
    machine.seen.clear()
    again, _ = machine.train(budget, *saved[1])
    assert machine.seen[0] == saved[1][1]
    assert again.n_steps == loop.n_steps
    assert abs(again.train_time_s - 60) <= 0.26
