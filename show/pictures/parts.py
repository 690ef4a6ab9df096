"""Where the time of a step goes, by part of the model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..words import short_count
from .picture import Axis, Bars, Label, Picture

NAMES = {
    "qkv": "query, key, value",
    "scores": "attention scores",
    "weighted_values": "weighted values",
    "attention_output": "attention output",
    "mlp_up": "MLP up",
    "mlp_down": "MLP down",
}
# Room to the right of the longest bar for what it says.
ROOM = 1.25


def step_parts(parts: Mapping[str, Mapping[str, Any]]) -> Picture:
    """Time of a step by part of the model, as bars, in the order in which a token meets them."""
    times_ms = [1e3 * part["step_time_s"] for part in parts.values()]
    total_ms, names = sum(times_ms), [NAMES.get(name, name) for name in parts]
    hover = [
        (
            name,
            f"{time_ms:.4g} ms, {time_ms / total_ms:.1%} of a step",
            f"{short_count(part['flops'])} FLOPs",
            f"{short_count(part['memcpys'])} memory copies (elements)",
            f"{short_count(part['n_params'])} parameters",
        )
        for name, time_ms, part in zip(names, times_ms, parts.values(), strict=True)
    ]
    return Picture(
        title="Where the time of a step goes",
        x=Axis(title="ms of a step", span=(0, ROOM * max(times_ms))),
        y=Axis(span=(len(parts) - 0.5, -0.5), ticks=[*enumerate(names)], bare=True),
        layers=[
            Bars(y=range(len(parts)), lengths=times_ms, hover=hover),
            *(
                Label(x=time_ms, y=at, text=f"{time_ms / total_ms:.1%}", gap=4)
                for at, time_ms in enumerate(times_ms)
            ),
        ],
        height=60 + 32 * len(parts),
    )
