"""Optuna explores a space, alone or with others."""
