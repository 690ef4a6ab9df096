"""The parts of a step as a CPU computes them fastest, in pieces that stay in a core's cache."""
