"""Where a run that is under way will end: its log beside what a result promised of it."""

from __future__ import annotations

import dataclasses
from typing import Any, cast

import numpy as np

from ..files.log import Log
from ..objectives import forecast as formulas
from ..objectives.curve import Curve, Event, told
from ..objectives.forecast import Course, Interval, Schedule, Seen
from ..objectives.step_cost import run_columns
from .answer import Answer
from .candidate import Candidate


@dataclasses.dataclass(frozen=True, kw_only=True)
class Forecast:
    """What is to be known of a run under way.

    Attributes:
        candidate: that is trained.
        law: whose course it is held to, by name.
        schedule: of the learning rate.
        n_tokens: seen so far.
        end_tokens: at its end.
        loss: the last that was logged, mean of the last stretch, nats per token.
        predicted_loss: at its end, before it began.
        final_loss: at its end, by all that is known; None where it diverged.
        elapsed_s: of the log's clock so far; None where the log has none.
        end_s: the log's clock at the end.
        off_level: the loss of the first stretch over the predicted one, where the run was
            elsewhere from the first.
        off_course_since: tokens since which it is not where its course has it; None: it is.
        events: what befell run and log.
    """

    candidate: Candidate
    law: str
    schedule: str
    n_tokens: float
    end_tokens: float
    loss: float
    predicted_loss: float
    final_loss: Interval | None
    elapsed_s: float | None
    end_s: Interval | None
    off_level: float | None
    off_course_since: float | None
    events: tuple[Event, ...]

    @property
    def on_course(self) -> bool:
        """Whether it is where the law and its own beginning have it."""
        return self.off_course_since is None and self.final_loss is not None

    def as_dict(self) -> dict[str, Any]:
        """As one JSON object."""
        return (
            {"architecture": self.candidate.arch.as_dict()}
            | {f: v for f, v in dataclasses.asdict(self).items() if f != "candidate"}
            | {"on_course": self.on_course}
        )


def forecast(
    answer: Answer,
    log: Log,
    *,
    candidate: int = 1,
    schedule: str = "linear",
    tokens: float | None = None,
) -> Forecast:
    """Forecast a run of a result's candidate from its log.

    Args:
        answer: that promised it.
        log: of the run so far.
        candidate: which of the answer; the best is 1.
        schedule: of its learning rate, see `SCHEDULES`.
        tokens: at its end; None: as the answer has them.

    Raises:
        ValueError: there is no such candidate or schedule, or the log goes beyond the end.
    """
    if not 1 <= candidate <= len(answer.candidates):
        raise ValueError(f"`candidate` must be 1 to {len(answer.candidates)}, but got {candidate}")
    if schedule not in formulas.SCHEDULES:
        raise ValueError(
            f"`schedule` must be one of {', '.join(formulas.SCHEDULES)}, but got {schedule!r}"
        )
    one = answer.candidates[candidate - 1]
    end_tokens = float(tokens or one.prediction.n_tokens)
    curve = told(_in_tokens(log, one.arch.tokens_per_step), truncated=log.truncated)
    if not len(curve.n_tokens):
        raise ValueError("the log must have a finite loss before the run diverged, but has none")
    if (last := float(curve.n_tokens[-1])) > 1.001 * end_tokens:
        raise ValueError(
            f"the log must end by the run's {end_tokens:,.0f} tokens, but reaches {last:,.0f}: is "
            "this its result? Else say --tokens"
        )
    how = cast(Schedule, schedule)
    warmup = 0.0 if how == "constant" else formulas.WARMUP
    points = formulas.seen(curve, end_tokens, warmup)
    course = _course(answer, one, points, end_tokens, how)
    on_level = formulas.on_level(points, course)
    recent = curve.loss[-max(len(curve.loss) // formulas.MAX_BINS, 1) :]
    return Forecast(
        candidate=one,
        law=answer.objective.law.name,
        schedule=schedule,
        n_tokens=last,
        end_tokens=end_tokens,
        loss=float(np.mean(recent)),
        predicted_loss=float(np.exp(course.mean[-1])),
        final_loss=None if curve.diverged else formulas.final_loss(points, course),
        elapsed_s=None if curve.elapsed_s is None else float(curve.elapsed_s[-1]),
        end_s=None if curve.diverged else formulas.end_time(curve, end_tokens),
        off_level=None if on_level else float(np.exp(points.log_loss[0] - course.mean[0])),
        off_course_since=(
            curve.diverged.n_tokens if curve.diverged else formulas.left_course(points, course)
        ),
        events=curve.events,
    )


def _in_tokens(log: Log, tokens_per_step: int) -> Curve:
    return Curve(
        n_tokens=np.array(log.at) * (1 if log.unit == "tokens" else tokens_per_step),
        loss=np.array(log.loss),
        elapsed_s=None if log.seconds is None else np.array(log.seconds),
    )


def _course(
    answer: Answer, one: Candidate, points: Seen, end_tokens: float, schedule: Schedule
) -> Course:
    """What the answer's law expects at the points and at the end."""
    objective, law, arch = answer.objective, answer.objective.law, one.arch
    tokens = np.append(points.n_tokens, end_tokens)
    n_params = float(objective.counted_params(one.prediction))
    effective = objective.effective_tokens(tokens, arch.tokens_per_step, one.prediction.n_params)
    run = run_columns(arch, one.prediction, tokens / arch.tokens_per_step)
    draws = answer.known.law.draws
    return Course(
        n_tokens=tokens,
        log_loss=np.log(law.loss(n_params, effective, run)),
        log_draws=(
            None
            if draws is None
            else np.log(law.loss_under(draws.T[:, :, None], n_params, effective, run))
        ),
        residual_std=law.residual_std,
        rate=formulas.rate_share(schedule, tokens / end_tokens) - (law.schedule == "constant"),
    )
