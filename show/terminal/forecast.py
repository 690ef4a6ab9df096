"""A forecast as text for a terminal."""

from __future__ import annotations

from collections.abc import Iterator

from ...search.forecast import Forecast
from ..words import shape_of, short_count, time_text
from .parts import prose

TOLD = {
    "truncated": "the log ends within a line, at {}: that line was left out",
    "resumed": "resumed at {}: the later losses count",
    "restarted": "restarted at {}: only what came after counts",
    "spike": "the loss leapt at {} and came back: left out",
    "diverged": "diverged at {}: the loss left for good; go back to a checkpoint before",
}


def show_forecast(one: Forecast) -> Iterator[str]:
    """Where it is, where and when it ends, and whether it is on its course."""
    share = one.n_tokens / one.end_tokens
    yield (
        f"{shape_of(one.candidate)}: {short_count(one.n_tokens)} of "
        f"{short_count(one.end_tokens)} tokens ({share:.0%}), loss {one.loss:.4f}"
    )
    for kind in dict.fromkeys(event.kind for event in one.events):
        places = [short_count(event.n_tokens) for event in one.events if event.kind == kind]
        more = f" and {len(places) - 1} times more" if len(places) > 1 else ""
        yield prose(TOLD[kind].format(f"{places[0]} tokens{more}"), "! ")
    if (final := one.final_loss) is None:
        yield "[bold]No final loss[/]: the run diverged"
        return
    yield (
        f"[bold]Final loss {final.value:.4f}[/] ({final.low:.4f} to {final.high:.4f}, 95%), rate "
        f"{one.schedule};\n{one.law} predicted {one.predicted_loss:.4f}"
    )
    if one.end_s is None or one.elapsed_s is None:
        yield "End: the log has no seconds"
    else:
        left, low, high = (
            time_text(max(seconds - one.elapsed_s, 0))
            for seconds in (one.end_s.value, one.end_s.low, one.end_s.high)
        )
        yield f"[bold]Ends in {left}[/] ({low} to {high}, 95%)"
    if one.off_level:
        yield prose(
            f"From the first {one.off_level:.3g} times the predicted loss: another corpus or "
            "vocabulary, or another recipe; held to its course at its own level"
        )
    if one.on_course:
        yield "On its course"
    else:
        yield f"[bold]Off its course[/] since {short_count(one.off_course_since or 0)} tokens"
