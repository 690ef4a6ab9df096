"""A search's result on disk: result.json, its tables, and the draws that it was judged by."""

from __future__ import annotations

import dataclasses
import datetime
import json
from pathlib import Path

from .. import __version__
from ..files.write import write_together
from ..presets.drawn import Reference, draws_text
from .candidate import to_frame
from .find import Found

SHAPES_FILE = "shapes.csv"
# Of names that no law or device fitted into the folder bears.
DRAWS_FILES = {kind: f"result.{kind}.draws.csv" for kind in ("law", "device")}


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
    known = found.question.known
    draws = {
        kind: draws_text(one.draws, one.names, one.fingerprint)
        for kind, one in (vars(known) if known else {}).items()
        if one.draws is not None
    }
    named = {kind: dataclasses.asdict(Reference.of(text)) for kind, text in draws.items()}
    document = provenance | found.as_dict() | {"draws": named}
    write_together(
        {
            **{folder / file: draws.get(kind) for kind, file in DRAWS_FILES.items()},
            folder / "candidates.csv": found.frame.to_csv(index=False),
            folder / SHAPES_FILE: to_frame(found.shapes).to_csv(index=False),
            folder / "result.json": json.dumps(document, indent=2) + "\n",
        }
    )
