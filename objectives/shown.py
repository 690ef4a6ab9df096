"""How a result shows itself where Python is typed: a line, and a table in a notebook."""

from __future__ import annotations

from typing import TYPE_CHECKING

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
