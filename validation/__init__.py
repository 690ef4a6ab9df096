"""Training for real in JAX: data, model, clock, comparison, the loop back to search."""
