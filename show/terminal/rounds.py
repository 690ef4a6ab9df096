"""The rounds of `refine` as text for a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from rich.table import Table

from ...objectives.law.loss_law import PARAMETERS, LossLaw
from .parts import plain_table

if TYPE_CHECKING:  # it trains
    from ...validation.confirm.refine import Round


def show_rounds(rounds: list[Round]) -> Iterator[str | Table]:
    """What each round trained, found and changed, and why the loop ended."""
    table = plain_table("round", "predicted", "measured best", "regret", "new best", "tied")
    for one in rounds:
        comparison = one.confirmation.comparison
        regret = comparison.regret_nats
        table.add_row(
            str(one.number),
            _shape(comparison.winner.candidate.shape),
            _shape(comparison.best.candidate.shape),
            "-" if regret is None else f"{regret:.4f}",
            _shape(one.found.best.shape),
            str(len(one.found.tied_shapes)),
        )
    yield table
    yield ""
    laws = plain_table("law", *PARAMETERS, "kappa", "copying")
    _add_law(laws, "before", rounds[0].law_before)
    for one in rounds:
        _add_law(laws, f"round {one.number}", one.law_after)
    yield laws
    last = rounds[-1]
    if last.settled:
        yield (
            "\n[bold]Settled[/]: the best measured shape is tied with the predicted best, and that "
            "has been trained; another round would change nothing."
        )
    else:
        yield "\n[bold]Not settled[/] when the rounds were over; `--rounds` allows more."


def _add_law(table: Table, name: str, law: LossLaw) -> None:
    numbers = (f"{getattr(law, number):.4g}" for number in (*PARAMETERS, "kappa"))
    table.add_row(name, *numbers, f"{law.copying.gain:.1%}" if law.copying else "no")


def _shape(shape: tuple[int, int]) -> str:
    return f"{shape[0]}×{shape[1]}"
