"""Many searches in one plan."""
