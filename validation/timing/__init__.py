"""Timing steps on this machine."""
