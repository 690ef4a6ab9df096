"""What a TPU's compiler said of a step, kept so that the minute it takes is spent once.

One folder for each step that was asked for, named by a hash of all that the answer depends on:
the request itself, the versions of the compiler and the code that makes the step. It appears once
it is whole. The program is kept beside the answer, so that a later way to read it needs no compile.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ...files import disk
from ...files.places import default_cache_dir
from ...files.write import check_writable, written_whole

PACKAGES = ("jax", "jaxlib", "libtpu", "optax")
# The code that a compiled step is made of.
SOURCES = ("model.py", "recipe.py", "splash.py", "step.py")
REQUEST = "request.json"


def versions() -> dict[str, str]:
    """Of the packages that a compiled step depends on, where they are installed."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "none"
    return found


def cached(request: dict[str, Any], make: Callable[[Path], None]) -> Path:
    """The folder of a request's answer, made when there is none.

    Args:
        request: what was asked for, as JSON data.
        make: writes the answer into a folder; what it raises leaves nothing in the cache.
    """
    facts = {"request": request, "versions": versions(), "sources": _fingerprint()}
    text = json.dumps(facts, sort_keys=True, indent=2)
    folder = default_cache_dir() / "compiled" / hashlib.sha256(text.encode()).hexdigest()[:24]
    if not folder.is_dir():
        check_writable(folder.parent)
        with written_whole(folder) as partial:
            disk.make_folder(partial)
            disk.put(partial / REQUEST, f"{text}\n".encode())
            make(partial)
    return folder


def _fingerprint() -> str:
    here = Path(__file__).parents[1] / "training"
    return hashlib.sha256(b"".join((here / name).read_bytes() for name in SOURCES)).hexdigest()
