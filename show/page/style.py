"""What the report's figures share: colours, a bare figure, and a candidate in words."""

from __future__ import annotations

import plotly.graph_objects as go

from ...objectives.budget import format_budget
from ...search.candidate import Candidate
from ..terminal.found import short_count

ACCENT, SECOND, INK, SOFT, LINE = "#c2410c", "#1d4ed8", "#1c2430", "#5b6675", "#e3e7ec"
FONT = "-apple-system, Segoe UI, Roboto, Helvetica Neue, Liberation Sans, Arial, sans-serif"


def base_figure(x: str, y: str) -> go.Figure:
    """An empty figure with named axes, thin lines and no legend."""
    axis = {
        "gridcolor": LINE,
        "linecolor": "#aeb6c1",
        "showline": True,
        "zeroline": False,
        "ticks": "outside",
        "tickcolor": "#aeb6c1",
        "automargin": True,
    }
    return go.Figure(
        layout={
            "template": "none",
            "font": {"family": FONT, "size": 12, "color": INK},
            "paper_bgcolor": "white",
            "plot_bgcolor": "white",
            "margin": {"l": 10, "r": 10, "t": 16, "b": 10},
            "showlegend": False,
            "hoverlabel": {"bgcolor": "white", "bordercolor": LINE, "align": "left"},
            "xaxis": axis | {"title": {"text": x, "standoff": 8}},
            "yaxis": axis | {"title": {"text": y, "standoff": 8}},
        }
    )


def time_text(seconds: float) -> str:
    """A time budget, of three digits where it is less than a minute."""
    return format_budget(float(f"{seconds:.3g}") if seconds < 60 else seconds)


def shape_of(candidate: Candidate) -> str:
    """Width × depth."""
    return "{}×{}".format(*candidate.shape)


def describe(candidate: Candidate, best_loss: float | None = None) -> str:
    """All that a label on a point says of a candidate, in lines.

    Args:
        candidate: the point.
        best_loss: of the winner, where the loss behind it is to be said.
    """
    arch, predicted = candidate.arch, candidate.prediction
    behind = "" if best_loss is None else f", {candidate.loss - best_loss:.4f} behind the best"
    return "<br>".join(
        [
            f"<b>d_model {arch.d_model} × {arch.n_layers} layers</b>",
            f"{arch.n_heads} heads of {arch.d_head}, {arch.n_kv_heads} key-value",
            ", ".join([f"d_ff {arch.d_ff:,}", *arch.words]),
            f"{short_count(predicted.n_params)} parameters",
            f"{short_count(predicted.n_tokens)} tokens in {predicted.n_steps:,} steps",
            f"{1e3 * predicted.step_time_s:,.3g} ms a step",
            f"{predicted.memory_bytes / 1e9:,.3g} GB",
            f"predicted loss {candidate.loss:.4f} nats per token{behind}",
        ]
    )
