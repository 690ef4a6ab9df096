"""Where a user's settings and what is kept between runs lie."""

from __future__ import annotations

import os
from pathlib import Path


def default_cache_dir() -> Path:
    """Where corpora and tokens are kept: `anybudget` in XDG_CACHE_HOME, else in ~/.cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "anybudget"


def calibrated_device_path() -> Path:
    """Where `anybudget calibrate` leaves this machine's device, under the user's config folder."""
    config = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(config) / "anybudget" / "device.toml"
