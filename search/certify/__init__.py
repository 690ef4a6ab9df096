"""The best of a space for certain."""
