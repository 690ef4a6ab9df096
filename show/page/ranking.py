"""The report's table of candidates, each with its interval behind the best."""

from __future__ import annotations

from ...objectives.uncertainty import COVERAGE, Standing
from ...search.answer import Answer
from ...search.candidate import Candidate
from ...space.architecture import marks as field_marks
from ...space.architecture import marks_mean
from ..words import REMAT_MARKS, gigabytes, milliseconds, remat_means, shape_of, short_count
from .page import Cell, Column, Interval, Section, Table

BEHIND = Column(name="behind the best", unit="nats per token")
BEHIND_SURE = Column(name="behind the best", unit=f"nats per token, {COVERAGE:.0%} interval")
# A lead of less is not told in digits, nats per token.
LEAST_LEAD = 0.001
COLUMNS = (
    Column(name="parameters"),
    Column(name="tokens"),
    Column(name="tokens", unit="per parameter"),
    Column(name="step", unit="ms"),
    Column(name="memory", unit="GB"),
    Column(name="heads", unit="n × d_head", number=False),
    Column(name="kv", unit="heads"),
    Column(name="d_ff"),
)


def ranking(answer: Answer) -> Section:
    """The candidates, best first."""
    candidates, standings = answer.candidates, answer.standings
    best_loss = candidates[0].loss
    sure = [BEHIND_SURE, Column(name="P(best)", unit="%")] if standings else [BEHIND]
    executions = [c.prediction.execution for c in candidates]
    marks = [
        *(f"{text}." for text in marks_mean(c.arch.as_dict() for c in candidates)),
        *(f"{text}." for text in remat_means({str(one.remat) for one in executions})),
        "s: fully sharded." if any(one.fully_sharded for one in executions) else "",
    ]
    return Section(
        finding=_finding(candidates),
        text=" ".join(filter(None, ["A click on a column's name sorts by it.", *marks])),
        table=Table(
            columns=[
                Column(name="shape", unit="width × depth", number=False),
                Column(name="loss", unit="nats per token"),
                *sure,
                *COLUMNS,
            ],
            rows=[
                [
                    Cell(text=shape_of(candidate), sort=shape_of(candidate)),
                    Cell(text=f"{candidate.loss:.4f}", sort=candidate.loss),
                    *_behind(candidate.loss - best_loss, rank, standings),
                    *_quantities(candidate),
                ]
                for rank, candidate in enumerate(candidates)
            ],
        ),
    )


def _finding(candidates: list[Candidate]) -> str:
    best, *others = candidates
    if not others:
        return f"{shape_of(best)} is the one candidate kept"
    lead = others[0].loss - best.loss
    by = f"{lead:.3f}" if lead >= LEAST_LEAD else f"under {LEAST_LEAD}"
    return f"{shape_of(best)} is {by} nats per token ahead of {shape_of(others[0])}"


def _behind(behind: float, rank: int, standings: list[Standing] | None) -> list[Cell]:
    """Loss behind the best, with its interval and P(best) where they are known."""
    if not standings:
        return [Cell(text=f"{behind:.4f}", sort=behind)]
    one = standings[rank]
    low = min(standing.behind_low for standing in standings)
    width = max(standing.behind_high for standing in standings) - low

    def place(value: float) -> float:
        return round(100 * (value - low) / (width or 1), 1)

    text = f"{behind:.3f} ({one.behind_low:+.3f}..{one.behind_high:+.3f})" if rank else "0"
    places = [place(value) for value in (one.behind_low, behind, one.behind_high, 0.0)]
    strip = Interval(**dict(zip(("low", "value", "high", "zero"), places, strict=True)))
    return [
        Cell(text=text.replace("-", "−"), sort=behind, interval=strip),
        Cell(text=f"{100 * one.p_best:.1f}", sort=one.p_best),
    ]


def _quantities(candidate: Candidate) -> list[Cell]:
    arch, predicted = candidate.arch, candidate.prediction
    per_param = predicted.n_tokens / predicted.n_params
    execution = predicted.execution
    marks = REMAT_MARKS[str(execution.remat)] + ("s" if execution.fully_sharded else "")
    return [
        Cell(text=short_count(predicted.n_params), sort=predicted.n_params),
        Cell(text=short_count(predicted.n_tokens), sort=predicted.n_tokens),
        Cell(text=f"{per_param:,.1f}", sort=per_param),
        Cell(text=milliseconds(predicted.step_time_s), sort=predicted.step_time_s),
        Cell(text=f"{gigabytes(predicted.memory_bytes)}{marks}", sort=predicted.memory_bytes),
        Cell(text=f"{arch.n_heads}×{arch.d_head}", sort=f"{arch.n_heads}×{arch.d_head}"),
        Cell(text=str(arch.n_kv_heads), sort=arch.n_kv_heads),
        Cell(text=f"{arch.d_ff}{field_marks(arch.as_dict())}", sort=arch.d_ff),
    ]
