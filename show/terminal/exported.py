"""An export as text for a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from rich.markup import escape

from ..export.brief import Export
from .parts import prose


def show_export(exported: Export, folder: Path) -> Iterator[str]:
    """What the trainer does otherwise, and how to start it."""
    yield "What the trainer does otherwise, or wants:"
    yield from (prose(note, "- ") for note in exported.notes)
    yield f"\nStart: {escape(exported.command_in(folder))}"
