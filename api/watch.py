"""Where a run that is under way will end: forecast, once or whenever its log grows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from .words import answer_of

if TYPE_CHECKING:
    from ..search.answer import Answer
    from ..search.forecast import Forecast


def forecast(
    log: Path | str,
    result: Answer | Path | str,
    *,
    candidate: int = 1,
    schedule: str = "linear",
    tokens: float | None = None,
) -> Forecast:
    """Foretell the final loss and the end of a run from its log so far.

    Args:
        log: CSV or JSONL of step or tokens, loss, seconds, or a trainer_state.json.
        result: what `find` answered, or the folder that it was written to.
        candidate: which of the result is trained; the best is 1.
        schedule: of its learning rate: `constant`, `linear`, `cosine` or `cooldown`.
        tokens: at its end; None: the result's.

    Raises:
        ValueError: the log or a word makes no sense.

    >>> answer = find("3h", device="tpu-v5e", set={"n_layers": 8}, trials=30, certify=False)
    >>> forecast("log.csv", answer).n_tokens
    1507328000.0
    """
    return next(forecasts(log, result, candidate=candidate, schedule=schedule, tokens=tokens))


def forecasts(
    log: Path | str,
    result: Answer | Path | str,
    *,
    every_s: float = 30.0,
    candidate: int = 1,
    schedule: str = "linear",
    tokens: float | None = None,
) -> Iterator[Forecast]:
    """The same now and whenever the log has grown, without an end.

    Args:
        log: as for `forecast`.
        result: as for `forecast`.
        every_s: seconds between looks.
        candidate: as for `forecast`.
        schedule: as for `forecast`.
        tokens: as for `forecast`.

    >>> for now in forecasts("log.csv", "runs/3h"):  # doctest: +SKIP
    ...     print(now)
    """
    from ..files.log import follow
    from ..search.forecast import forecast

    answer = answer_of(result)
    for read in follow(Path(log), every_s):
        yield forecast(answer, read, candidate=candidate, schedule=schedule, tokens=tokens)
