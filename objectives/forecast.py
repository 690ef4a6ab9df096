"""The final loss and the end of a run from the part of its curve that has been seen.

The logarithm of the loss at D tokens of a run that ends at D_end is taken as

    log L(N, D) + level + tilt log(D / D_end) + gain (rate(D) - rate_of_law) + noise,

L the law, whose draws say how sure its shape is; level and tilt how the run differs from it; and
gain what a learning rate at its peak costs beside one that has fallen to zero: a law of finished
runs whose rate falls has rate_of_law = 0, one of a constant rate 1. All are normal beforehand, so
what is known afterwards is a normal distribution conditioned on the curve, in closed form. With no
point of a curve it is the law's own interval.

Constants are from 22 shapes at constant rate, 20 at half of it and 20 cooled down, each beside a
law of the other shapes (experiments/forecast).

References:
    Rasmussen and Williams 2006, 'Gaussian Processes for Machine Learning', equations 2.22 to 2.24.
    Hägele et al. 2024, arXiv:2405.18392: a cooldown from a constant rate reaches what a cosine
    does.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Literal, get_args

import numpy as np

from .curve import Curve

Schedule = Literal["constant", "linear", "cosine", "cooldown"]
SCHEDULES = get_args(Schedule)
# Share of a run in which its rate rises, and, for `cooldown`, in which it falls at the end.
WARMUP, COOLDOWN = 0.1, 1 / 11
# Of tilt, per natural logarithm of tokens: runs at half the law's rate have .010, at its own .002.
TILT_STD = 0.01
# Of gain, over 20 shapes at 10^11 tokens: .033 in the smallest, .015 in the largest.
GAIN, GAIN_STD = 0.027, 0.005
# Of the level where the law's is not the run's, as on another corpus; and of the law where it has
# no draws.
FREE_LEVEL_STD, UNKNOWN_LAW_STD = 0.3, 0.03
# Of one logged loss where a curve is too short to tell; measured on evaluations of 10^9 tokens.
USUAL_NOISE = 0.0015
# A curve is read in so many bins, even in log tokens, of points as late as any that was judged.
MAX_BINS, EARLIEST = 48, 0.025
NORMAL_95 = 1.959964
# How many in a row must lie beyond their interval for a run to have left its course.
N_BEYOND = 3


@dataclasses.dataclass(frozen=True, kw_only=True)
class Interval:
    """A median and what holds 95%."""

    value: float
    low: float
    high: float


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Seen:
    """A curve in bins: tokens, log loss, and the standard deviation of each log loss."""

    n_tokens: np.ndarray
    log_loss: np.ndarray
    std: np.ndarray


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Course:
    """What is expected of a run before it starts, at points and, last, at its end.

    Attributes:
        n_tokens: of the points, the last the end's.
        log_loss: under the law, (points,).
        log_draws: the same under each of its draws, (draws, points); None: it has none.
        residual_std: of runs about the law.
        rate: the learning rate over its peak at each point, less the rate that the law knows.
        gain: mean of the gain.
        gain_std: its standard deviation.
    """

    n_tokens: np.ndarray
    log_loss: np.ndarray
    log_draws: np.ndarray | None
    residual_std: float
    rate: np.ndarray
    gain: float = GAIN
    gain_std: float = GAIN_STD

    @property
    def mean(self) -> np.ndarray:
        """Of the log loss."""
        return self.log_loss + self.gain * self.rate

    def covariance(self, *, free_level: bool) -> np.ndarray:
        """Of the log losses without noise, (points, points); see the module."""
        tilt = np.log(self.n_tokens / self.n_tokens[-1])
        total = TILT_STD**2 * np.outer(tilt, tilt)
        total = total + self.gain_std**2 * np.outer(self.rate, self.rate)
        if self.log_draws is None:
            total = total + UNKNOWN_LAW_STD**2
        else:
            total = total + np.cov(self.log_draws, rowvar=False)
        return total + (FREE_LEVEL_STD if free_level else self.residual_std) ** 2


def rate_share(schedule: Schedule, progress: Any, warmup: float = WARMUP) -> Any:
    """The learning rate over its peak at a share of a run.

    Examples:
        Half of the way down a line, and of the last eleventh.

        >>> float(rate_share("linear", 0.55)), float(rate_share("cooldown", 1 - 1 / 22))
        (0.5, 0.5)

    Raises:
        ValueError: there is no such schedule.
    """
    down = np.clip((1 - progress) / (1 - warmup), 0, 1)
    match schedule:
        case "constant":
            return np.ones_like(progress, dtype=float)
        case "linear":
            return np.round(down, 12)
        case "cosine":
            return (1 - np.cos(np.pi * down)) / 2
        case "cooldown":
            return np.round(np.clip((1 - progress) / COOLDOWN, 0, 1), 12)
    raise ValueError(f"`schedule` must be one of {', '.join(SCHEDULES)}, but got {schedule!r}")


def seen(curve: Curve, end_tokens: float, warmup: float = 0.0) -> Seen:
    """A curve in bins, without its warmup.

    The noise of a point is told by how neighbours differ, where there are eight or more.
    """
    at = (curve.n_tokens >= max(warmup, EARLIEST) * end_tokens) & (curve.n_tokens <= end_tokens)
    tokens, log_loss = curve.n_tokens[at], np.log(curve.loss[at])
    if not len(tokens):
        empty = np.empty(0)
        return Seen(n_tokens=empty, log_loss=empty, std=empty)
    noise = USUAL_NOISE
    if len(tokens) >= 8:
        noise = max(float(np.sqrt(np.mean(np.diff(log_loss, 2) ** 2) / 6)), USUAL_NOISE / 3)
    edges = np.geomspace(tokens[0], tokens[-1], MAX_BINS + 1)[1:-1]
    bins = np.searchsorted(edges, tokens, side="right")
    _, bins, counts = np.unique(bins, return_inverse=True, return_counts=True)

    def averaged(values: np.ndarray) -> np.ndarray:
        return np.bincount(bins, values) / counts

    return Seen(
        n_tokens=np.exp(averaged(np.log(tokens))),
        log_loss=averaged(log_loss),
        std=noise / np.sqrt(counts),
    )


def on_level(points: Seen, course: Course) -> bool:
    """Whether the first of the points lies where the law has it, within three deviations."""
    if not len(points.log_loss):
        return True
    variance = course.covariance(free_level=False)[0, 0] + points.std[0] ** 2
    return bool(abs(points.log_loss[0] - course.mean[0]) < 3 * np.sqrt(variance))


def final_loss(points: Seen, course: Course) -> Interval:
    """The loss that a run will end at, nats per token, as the log would show it.

    Args:
        points: seen so far, none or more.
        course: at those points and at the end.
    """
    covariance = course.covariance(free_level=not on_level(points, course))
    mean, variance = _conditioned(points, course, covariance, len(points.log_loss))
    noise = points.std[-1] if len(points.std) else USUAL_NOISE
    return _interval(mean[-1], np.sqrt(variance[-1] + noise**2))


def left_course(points: Seen, course: Course) -> float | None:
    """Tokens since which a run is not where it was expected to be; None: it is.

    First by the law alone. A run that is elsewhere from its first point on, as on another corpus,
    is then held to the course at its own level: from some point on, all lie on one side of what
    those before it foretold.
    """
    if on_level(points, course):
        return _beyond(points, course, 0)
    for known in range(1, len(points.log_loss) - N_BEYOND + 1):
        if (at := _beyond(points, course, known)) == points.n_tokens[known]:
            return at
    return None


def end_time(curve: Curve, end_tokens: float) -> Interval | None:
    """Seconds of the log's clock at the end; None where it has no times or too few.

    By the median pace of up to 20 stretches, so that a pause does not count on; the interval from
    how the stretches differ.
    """
    if curve.elapsed_s is None or len(curve.n_tokens) < 2:
        return None
    known = np.linspace(0, len(curve.n_tokens) - 1, min(len(curve.n_tokens), 21)).astype(int)
    tokens, seconds = curve.n_tokens[known], curve.elapsed_s[known]
    pace = np.diff(seconds) / np.diff(tokens)
    usual = float(np.median(pace))
    spread = 1.4826 * float(np.median(np.abs(pace - usual)))
    left = max(end_tokens - tokens[-1], 0)
    # Of the usual pace, and of the mean over the stretches that are left.
    n_left = max(left / np.mean(np.diff(tokens)), 1)
    half = NORMAL_95 * spread * np.sqrt(np.pi / 2 / len(pace) + 1 / n_left) * left
    end = float(seconds[-1] + usual * left)
    return Interval(value=end, low=float(end - min(half, usual * left)), high=float(end + half))


def _beyond(points: Seen, course: Course, n_known: int) -> float | None:
    """Where the last points begin to lie beyond, on one side, what the first ones foretold."""
    covariance = course.covariance(free_level=n_known > 0)
    mean, variance = _conditioned(points, course, covariance, n_known)
    own = slice(n_known, len(points.log_loss))
    deviation = np.sqrt(variance[:-1][own] + points.std[own] ** 2)
    beyond = (points.log_loss[own] - mean[:-1][own]) / deviation
    if not len(beyond) or abs(beyond[-1]) < NORMAL_95:
        return None
    inside = np.flatnonzero(beyond * np.sign(beyond[-1]) < NORMAL_95)
    first = int(inside[-1]) + 1 if len(inside) else 0
    return float(points.n_tokens[own][first]) if len(beyond) - first >= N_BEYOND else None


def _conditioned(
    points: Seen, course: Course, covariance: np.ndarray, n_known: int
) -> tuple[np.ndarray, np.ndarray]:
    """Mean and variance of the log loss at all points of a course, given its first ones."""
    known = slice(0, n_known)
    noisy = covariance[known, known] + np.diag(points.std[known] ** 2)
    weights = (
        np.linalg.solve(noisy, covariance[known]).T if n_known else np.empty((len(covariance), 0))
    )
    mean = course.mean + weights @ (points.log_loss[known] - course.mean[known])
    variance = np.diag(covariance) - np.sum(weights * covariance[:, known], axis=1)
    return mean, np.maximum(variance, 0)


def _interval(log_value: float, std: float) -> Interval:
    low, value, high = np.exp(log_value + std * NORMAL_95 * np.array([-1.0, 0.0, 1.0]))
    return Interval(value=float(value), low=float(low), high=float(high))
