"""anybudget: the best decoder-only transformer for a time budget on a given machine."""

__version__ = "0.1.0"
