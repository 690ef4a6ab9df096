"""A candidate as a config for another trainer."""
