"""Training one architecture for a given time."""
