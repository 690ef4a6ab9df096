"""A loss curve as a log has it, and what is to be known of it before it is read on.

A log may have been cut, its run taken up again or begun anew, its loss may have leapt and come
back, or left for good. Each is told, and what remains is one curve whose tokens rise.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np

# A leap: above its surroundings by this share, and by so many of their robust deviations.
LEAP, LEAP_DEVIATIONS = 0.05, 6.0
# Points on either side that are a point's surroundings.
N_AROUND = 5
# Left for good: the last points stand above the lowest stretch by this share.
DIVERGED, N_LAST = 0.2, 3
# A run that goes back to before this share of what it had reached has begun anew.
BEGINNING = 0.05
MAD_TO_STD = 1.4826


@dataclasses.dataclass(frozen=True, kw_only=True)
class Event:
    """What befell a run or its log.

    Attributes:
        kind: truncated, resumed, restarted, spike or diverged.
        n_tokens: where.
    """

    kind: str
    n_tokens: float


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Curve:
    """Losses in order of tokens.

    Attributes:
        n_tokens: trained on at each point, rising.
        loss: nats per token.
        elapsed_s: of training at each point, pauses and what was thrown away included where the log
            counts them; None where it has no times.
        events: in order of tokens.
    """

    n_tokens: np.ndarray
    loss: np.ndarray
    elapsed_s: np.ndarray | None
    events: tuple[Event, ...] = ()

    @property
    def diverged(self) -> Event | None:
        """Where the loss left for good."""
        return next((event for event in self.events if event.kind == "diverged"), None)

    def where(self, keep: np.ndarray) -> Curve:
        """Those points alone."""
        elapsed_s = None if self.elapsed_s is None else self.elapsed_s[keep]
        return dataclasses.replace(
            self, n_tokens=self.n_tokens[keep], loss=self.loss[keep], elapsed_s=elapsed_s
        )


def told(curve: Curve, *, truncated: bool = False) -> Curve:
    """One rising curve of a log's points in their order, with what befell it.

    Examples:
        A run that was taken up at 2 after it had reached 3: the later loss counts.

        >>> tokens, loss = np.array([1.0, 2, 3, 2, 3, 4]), np.array([5.0, 4, 3.5, 4, 3.4, 3])
        >>> curve = told(Curve(n_tokens=tokens, loss=loss, elapsed_s=None))
        >>> curve.loss.tolist(), [event.kind for event in curve.events]
        ([5.0, 4.0, 3.4, 3.0], ['resumed'])

    Args:
        curve: the points as they were logged.
        truncated: whether the log ends within a line.
    """
    curve, events = _one_pass(curve)
    finite = np.isfinite(curve.loss)
    if not finite.all():
        events.append(Event(kind="diverged", n_tokens=float(curve.n_tokens[~finite][0])))
        curve = curve.where(finite & (curve.n_tokens < curve.n_tokens[~finite][0]))
    elif (at := _left_at(curve.loss)) is not None:
        events.append(Event(kind="diverged", n_tokens=float(curve.n_tokens[at])))
        curve = curve.where(np.arange(len(curve.loss)) < at)
    leaps = _leaps(curve.loss)
    events += [Event(kind="spike", n_tokens=float(curve.n_tokens[at])) for at in _starts(leaps)]
    if truncated and len(curve.n_tokens):
        events.append(Event(kind="truncated", n_tokens=float(curve.n_tokens[-1])))
    ordered = tuple(sorted(events, key=lambda event: event.n_tokens))
    return dataclasses.replace(curve.where(~leaps), events=ordered)


def _one_pass(curve: Curve) -> tuple[Curve, list[Event]]:
    """What of the points was not gone over again, its clock made to run on over restarts."""
    events: list[Event] = []
    tokens = curve.n_tokens
    first = 0
    for at in np.flatnonzero(np.diff(tokens) < 0) + 1:
        anew = tokens[at] <= max(tokens[first], BEGINNING * tokens[first:at].max())
        first = at if anew else first
        kind = "restarted" if anew else "resumed"
        events.append(Event(kind=kind, n_tokens=float(tokens[at])))
    elapsed_s = curve.elapsed_s
    if elapsed_s is not None:
        # A clock that begins anew falls far; what falls less is noise.
        back = np.flatnonzero(elapsed_s[1:] < elapsed_s[:-1] / 2) + 1
        known = {event.n_tokens for event in events}
        for at in back:
            elapsed_s = np.concatenate([elapsed_s[:at], elapsed_s[at:] + elapsed_s[at - 1]])
            if at >= first and float(tokens[at]) not in known:
                events.append(Event(kind="resumed", n_tokens=float(tokens[at])))
        elapsed_s = np.maximum.accumulate(elapsed_s)
    # From the end, a point stands if nothing after it goes back to it.
    later = np.minimum.accumulate(np.append(tokens[1:], np.inf)[::-1])[::-1]
    keep = (tokens < later) & (np.arange(len(tokens)) >= first)
    return dataclasses.replace(curve, elapsed_s=elapsed_s).where(keep), events


def _around(loss: np.ndarray) -> np.ndarray:
    """Median of each point's surroundings."""
    padded = np.pad(loss, N_AROUND, mode="edge")
    return np.median(np.lib.stride_tricks.sliding_window_view(padded, 2 * N_AROUND + 1), axis=-1)


def _leaps(loss: np.ndarray) -> np.ndarray:
    """Which points stand far above their surroundings, at most as many as half of those."""
    if len(loss) < 2 * N_AROUND + 1:
        return np.zeros(len(loss), bool)
    ratio = np.log(loss / _around(loss))
    spread = MAD_TO_STD * np.median(np.abs(ratio))
    above = ratio > max(np.log1p(LEAP), LEAP_DEVIATIONS * spread)
    # A curve's own steep beginning is no leap.
    steep = np.arange(len(loss)) < N_AROUND
    return above & ~steep


def _left_at(loss: np.ndarray) -> int | None:
    """The first point after the lowest stretch where the last points stand far above it."""
    if len(loss) < 2 * N_LAST + 1:
        return None
    smooth = np.median(np.lib.stride_tricks.sliding_window_view(loss, N_LAST), axis=-1)
    lowest = int(np.argmin(smooth))
    limit = smooth[lowest] * (1 + DIVERGED)
    if loss[-N_LAST:].min() <= limit:
        return None
    return int(np.flatnonzero(loss <= limit)[-1]) + 1


def _starts(marked: np.ndarray) -> Iterator[int]:
    """Where each stretch of marked points begins."""
    edges = np.diff(np.concatenate([[False], marked]).astype(int))
    yield from map(int, np.flatnonzero(edges == 1))
