"""Runs that others published, a corpus a table, which move a law as a user's own runs do.

Made by `experiments/public_losses/corpora.py`, where each run's source is and how near it comes.
"""

from __future__ import annotations

from pathlib import Path

from ..files.read import did_you_mean

ANCHORS = Path(__file__).parent / "anchors"


def anchor_names() -> list[str]:
    """Names of the corpora whose runs are shipped."""
    return sorted(path.stem for path in ANCHORS.glob("*.csv"))


def anchor_path(name_or_path: str, folder: Path) -> Path:
    """The table of a shipped corpus, or a user's, whose relative path starts at a folder.

    Raises:
        ValueError: a name, and of no corpus.
    """
    names = anchor_names()
    if name_or_path in names:
        return ANCHORS / f"{name_or_path}.csv"
    path = folder / name_or_path
    if not path.suffix and not path.exists():
        raise ValueError(
            f"no runs are called {name_or_path!r}{did_you_mean(name_or_path, names)} "
            f"(a CSV of runs of yours, or {', '.join(names)})"
        )
    return path
