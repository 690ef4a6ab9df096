"""Answers as pictures: each described once as data, and drawn into PNG files."""
