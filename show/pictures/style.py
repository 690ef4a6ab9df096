"""How every picture looks: one set of colours, lines and sizes for files and pages."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from typing import Any

ACCENT, SECOND = "#c2410c", "#1d4ed8"
INK, SOFT, FAINT, GRID = "#1c2430", "#5b6675", "#aeb6c1", "#e3e7ec"
# Of lines that run over white and over dark cells alike.
ON_CELLS = "#8b97a8"
# Of cells: where between the lowest (0) and the highest (1), and the colour there. Dark is best.
CELLS = ((0.0, "#172554"), (0.3, "#1d4ed8"), (0.65, "#93b4f5"), (1.0, "#dce6f8"))
PALETTE = (
    "#1d4ed8", "#c2410c", "#047857", "#7e22ce", "#b7791f", "#0891b2", "#be123c", "#4d7c0f",
    "#db2777", "#374151",
)  # fmt: skip
DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")

# For matplotlib's `rc_context`.
STYLE: Any = {
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 11,
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "text.color": INK,
    "xtick.color": FAINT,
    "ytick.color": FAINT,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "font.size": 10,
    "savefig.dpi": 150,
}


def colours(names: Sequence[str]) -> dict[str, str]:
    """A colour for each of several names, by their order; those beyond the palette are mixed."""
    # Steps of the golden ratio keep hues apart however many there are.
    mixed = (
        "#" + "".join(f"{round(255 * part):02x}" for part in colorsys.hls_to_rgb(hue, 0.42, 0.55))
        for hue in ((0.05 + 0.618034 * at) % 1 for at in range(len(names)))
    )
    return dict(zip(dict.fromkeys(names), (*PALETTE, *mixed), strict=False))


def dashes(counts: Sequence[int]) -> dict[int, str]:
    """A line style for each of several counts, solid for the lowest."""
    ordered = sorted(set(counts))
    return {count: DASHES[at % len(DASHES)] for at, count in enumerate(ordered)}
