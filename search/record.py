"""A search's result on disk: result.json, candidates.csv and shapes.csv."""

from __future__ import annotations

import datetime
import json
from pathlib import Path

from .. import __version__
from ..files.write import write_whole
from .candidate import to_frame
from .find import Found

SHAPES_FILE = "shapes.csv"


def write_record(found: Found, folder: Path, *, command: str, seed: int) -> None:
    """Write everything needed to reproduce the search and to train its candidates.

    Args:
        found: the result.
        folder: an existing folder.
        command: the command line that made it.
        seed: of the search.
    """
    provenance = {
        "command": command,
        "seed": seed,
        "anybudget": __version__,
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }
    document = provenance | found.as_dict()
    write_whole(folder / "result.json", json.dumps(document, indent=2) + "\n")
    write_whole(folder / "candidates.csv", found.frame.to_csv(index=False))
    write_whole(folder / SHAPES_FILE, to_frame(found.shapes).to_csv(index=False))
