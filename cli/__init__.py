"""The command line: parse, call one function, print."""

from .main import main as main
