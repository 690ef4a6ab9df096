"""An optimized XLA program read back: FLOPs, traffic, time."""
