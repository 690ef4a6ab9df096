"""Where a user's settings and what is kept between runs lie: the customary places of the system.

On Linux XDG_CONFIG_HOME and XDG_CACHE_HOME, else ~/.config and ~/.cache.
"""

from __future__ import annotations

from pathlib import Path

from platformdirs import user_cache_path, user_config_path

NAME = "anybudget"


def default_cache_dir() -> Path:
    """Where corpora and tokens are kept."""
    return user_cache_path(NAME, appauthor=False)


def calibrated_device_path() -> Path:
    """Where `anybudget calibrate` leaves this machine's device."""
    return user_config_path(NAME, appauthor=False) / "device.toml"
