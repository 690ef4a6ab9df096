"""What is shipped under a name, or lies in a user's TOML file."""

from __future__ import annotations

from pathlib import Path

from ..files.read import did_you_mean

HERE = Path(__file__).parent
# What to do where no preset will do.
OWN_FILE = {
    "devices": (
        "another card is described in a file of your own that ends in .toml: name, kind, "
        "peak_flops_per_s, bandwidth_bytes_per_s, memory_bytes, dtype and source"
    ),
    "laws": "a file of your own ends in .toml",
}


def names_in(folder: str) -> list[str]:
    """Names of what a folder of this room ships, in whichever of its folders."""
    return sorted(_shipped(folder))


def path_of(name_or_path: str, folder: str) -> Path:
    """The file of a name, or the user's.

    Raises:
        ValueError: no such name, and no TOML file.
    """
    if shipped := _shipped(folder).get(name_or_path):
        return shipped
    path = Path(name_or_path)
    if path.suffix != ".toml":
        near = did_you_mean(name_or_path, names_in(folder))
        raise ValueError(
            f"no {folder.removesuffix('s')} is called {name_or_path!r}{near} ({OWN_FILE[folder]})"
        )
    return path


def _shipped(folder: str) -> dict[str, Path]:
    return {path.stem: path for path in (HERE / folder).rglob("*.toml")}
