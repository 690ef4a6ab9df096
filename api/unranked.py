"""What `find` answers of a space that no law ranks."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from .words import Stage, writable

if TYPE_CHECKING:
    from ..search.explore.study import Exploring
    from ..search.unranked.sizes import Sizes
    from ..search.words import Words

SIZES = "sizes.csv"


def sizes(
    words: Words,
    top: int,
    out: Path | str | None,
    on_progress: Stage,
    distinct: str,
    exploring: Exploring,
) -> Sizes:
    """What `find` answers where no law ranks; `sizes.csv` is written where `out` says.

    Raises:
        ValueError: as `sizes`, or how it would be searched is not as usual but for its trials.
    """
    from ..search.explore.study import Exploring
    from ..search.unranked.sizes import sizes

    if distinct != "shape" or exploring != Exploring(n_trials=exploring.n_trials):
        raise ValueError(
            "distinct, sampler, storage and study are of models that a law ranks; here all are "
            "tried, so leave them out"
        )
    folder = writable(out) if out else None
    found = sizes(words, top=top, on_progress=on_progress)
    if folder:
        from ..files.write import csv_text, write_whole

        write_whole(folder / SIZES, csv_text(found.frame))
    return found
