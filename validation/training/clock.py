"""A run's clock and its budget, which together say how far the schedule is.

The schedule of a timed run counts no steps: each step is told what share of the budget will have
passed when it is halfway. So clock and schedule end together however the machine's speed wanders,
and since a step that would be halfway after the end is not begun, a run is off its budget by half
a step. The price is that two timed runs differ. Where that matters, a run is given a number of
steps instead of a time, and is deterministic.
"""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Iterator

MIN_STEPS = 10


class Clock:
    """Seconds of training so far."""

    def __init__(self, train_time_s: float = 0.0) -> None:
        self._zero = time.perf_counter() - train_time_s

    def read(self) -> float:
        """Seconds since it began, without pauses."""
        return time.perf_counter() - self._zero

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """What is done inside does not count."""
        began = time.perf_counter()
        yield
        self._zero += time.perf_counter() - began


@dataclasses.dataclass(frozen=True, kw_only=True)
class Budget:
    """When a run ends: after a time or after a number of steps.

    Raises:
        ValueError: not exactly one of the two is given, or it is not positive.
    """

    time_s: float | None = None
    n_steps: int | None = None

    def __post_init__(self) -> None:
        given = [value for value in (self.time_s, self.n_steps) if value is not None]
        if len(given) != 1 or not given[0] > 0:
            raise ValueError(
                "a run needs either a time or a number of steps, positive, "
                f"but got time_budget_s={self.time_s}, n_steps={self.n_steps}"
            )

    def progress(self, n_begun: int, begin_s: float, step_time_s: float) -> float | None:
        """How far the schedule is halfway through the next step; None when there is none.

        Args:
            n_begun: steps before it.
            begin_s: when it will begin.
            step_time_s: what it will take.
        """
        if self.time_s is not None:
            share = (begin_s + step_time_s / 2) / self.time_s
        else:
            share = (n_begun + 0.5) / (self.n_steps or 1)
        return share if share <= 1 else None

    def expected_steps(self, step_time_s: float, n_begun: int, begin_s: float) -> float:
        """Steps of the whole run, of which `n_begun` have taken `begin_s`."""
        if self.time_s is None:
            return float(self.n_steps or 1)
        return n_begun + (self.time_s - begin_s) / step_time_s

    def check(self, step_time_s: float) -> None:
        """Raise ValueError when the time is that of fewer than `MIN_STEPS` steps."""
        if self.time_s is not None and self.time_s < MIN_STEPS * step_time_s:
            raise ValueError(
                f"a time budget must fit {MIN_STEPS} steps, but {self.time_s:g} s fit "
                f"{self.time_s / step_time_s:.1f} of {step_time_s:.3g} s each; "
                f"give {MIN_STEPS * step_time_s:.3g} s or more, or a smaller model or batch"
            )
