"""The steps of a run, with the host at most one step ahead of the device.

The host loads a batch while the device computes the one before, and reads each loss one step
late, so that neither waits for the other and the clock still sees every step end.
"""

from __future__ import annotations

import collections
import math
import statistics
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import jax
import numpy as np

from ...objectives.recipe import Recipe
from .clock import Budget, Clock
from .hosts import agreed
from .step import CompiledTraining, State

if TYPE_CHECKING:
    from .checkpoint import Checkpoints


class StepReport(NamedTuple):
    """What is known once a step has ended; `progress` was its place in the schedule."""

    n_steps: int
    train_time_s: float
    progress: float
    loss: float


class Loop:
    """One run's steps, until its budget is spent or its loss is no longer finite.

    Args:
        compiled: what is compiled.
        budget: when to end.
        load: from a step's number to its batch, on the host.
        step_time_s: a first estimate of it.
        recipe: how a step changes the weights.
        on_step: called after each step, on the clock.

    Attributes:
        recipe: as given.
        state: the weights and moments, set by `run`.
        n_steps: ended since the run's beginning.
        train_time_s: when the last of them ended.
        step_times_s: of the steps that this process ran.
        has_diverged: whether a loss was not finite.
    """

    def __init__(
        self,
        compiled: CompiledTraining,
        budget: Budget,
        load: Callable[[int], np.ndarray],
        step_time_s: float,
        recipe: Recipe,
        on_step: Callable[[StepReport], None] | None = None,
    ) -> None:
        self._compiled, self._budget, self._load = compiled, budget, load
        self.recipe = recipe
        self._on_step = on_step or (lambda report: None)
        self._recent_s = collections.deque([step_time_s], maxlen=9)
        self._in_flight: collections.deque[tuple[float, jax.Array]] = collections.deque()
        self.step_times_s: list[float] = []
        self.has_diverged = False

    def run(
        self,
        state: State,
        n_steps: int,
        train_time_s: float,
        checkpoints: Checkpoints | None = None,
        checkpoint_every_s: float = math.inf,
    ) -> None:
        """Train from where a run stands to its end.

        Args:
            state: to begin with; consumed.
            n_steps: that led to it.
            train_time_s: that they took.
            checkpoints: where to keep what it reaches; nowhere when left out.
            checkpoint_every_s: training time between two checkpoints; the last is at the end.
        """
        self.state, self.n_steps, self.train_time_s = state, n_steps, train_time_s
        self._clock = Clock(train_time_s)
        next_checkpoint_s = train_time_s + checkpoint_every_s
        while (progress := self._next_progress()) is not None and not self.has_diverged:
            tokens = self._compiled.place(self._load(self.n_steps + len(self._in_flight)))
            self.state, loss = self._compiled.step(self.state, tokens, progress, self.recipe)
            self._in_flight.append((progress, loss))
            self._wait(n_left=1)
            if self.train_time_s >= next_checkpoint_s:
                self._wait(n_left=0)
                self._save(checkpoints)
                next_checkpoint_s = self.train_time_s + checkpoint_every_s
        self._wait(n_left=0)
        self._save(checkpoints)

    def _save(self, checkpoints: Checkpoints | None) -> None:
        if checkpoints and not self.has_diverged:
            with self._clock.paused():
                checkpoints.save(self.state, n_steps=self.n_steps, train_time_s=self.train_time_s)

    def _next_progress(self) -> float | None:
        typical_s = statistics.median(self._recent_s)
        ahead = len(self._in_flight)
        begin_s = max(agreed(self._clock.read()), self.train_time_s + ahead * typical_s)
        return self._budget.progress(self.n_steps + ahead, begin_s, typical_s)

    def _wait(self, n_left: int) -> None:
        """Wait for the steps in flight until no more than `n_left` are."""
        while len(self._in_flight) > n_left:
            progress, loss = self._in_flight.popleft()
            value, now_s = float(loss), agreed(self._clock.read())
            self._recent_s.append(now_s - self.train_time_s)
            self.step_times_s.append(now_s - self.train_time_s)
            self.n_steps, self.train_time_s = self.n_steps + 1, now_s
            self.has_diverged |= not math.isfinite(value)
            self._on_step(StepReport(self.n_steps, now_s, progress, value))
