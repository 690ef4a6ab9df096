"""How a result shows itself where Python is typed: a line, and a table in a notebook."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd


class Shown:
    """A result with a `headline`, one line of plain text, and a `frame`, its table."""

    @property
    def headline(self) -> str:
        """What came out, in a line."""
        raise NotImplementedError

    @property
    def frame(self) -> pd.DataFrame:
        """The table of the result."""
        raise NotImplementedError

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self.headline}>"

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        from html import escape

        return f"<p>{escape(self.headline)}</p>\n{self.frame.to_html(max_rows=20)}"


def numbers_frame(told: Mapping[str, Any], names: Iterable[str]) -> pd.DataFrame:
    """A law's numbers as a table: `value`, `standard_error`, and `low` to `high`, its 95%.

    Args:
        told: of each number its `value`, `standard_error` and `interval_95`, as reports have them.
        names: which of what is told are numbers, in the table's order.
    """
    import pandas as pd

    rows = {name: told[name] for name in names}
    ends = {name: row["interval_95"] or (None, None) for name, row in rows.items()}
    return pd.DataFrame(
        {
            "value": {name: row["value"] for name, row in rows.items()},
            "standard_error": {name: row["standard_error"] for name, row in rows.items()},
            "low": {name: low for name, (low, _) in ends.items()},
            "high": {name: high for name, (_, high) in ends.items()},
        }
    )
