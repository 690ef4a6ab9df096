"""The best of a space: exhaustive scan and Optuna."""
