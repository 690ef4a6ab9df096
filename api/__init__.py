"""The commands as functions, with the words of their options: `anybudget.find("3h")`.

A budget, the names of device, law and space, and all that `find --help` tells of are given as on
the command line, with an underscore for a hyphen. Nothing is printed: an answer is a value that
carries its warnings, and it is written where `out` says.

>>> answer = find("2m", device="cpu-core", trials=1)
>>> answer.certified, answer.best.prediction.feasible
(True, True)
"""

from .learn import calibrate, calibration_path, devices, fit, laws
from .show import explore, export, plot, report, save
from .train import compile, confirm, refine  # noqa: A004 - the command's name
from .watch import forecast, forecasts
from .which import ask, batch, find, front, predict

__all__ = [
    "ask",
    "batch",
    "calibrate",
    "calibration_path",
    "compile",
    "confirm",
    "devices",
    "explore",
    "export",
    "find",
    "fit",
    "forecast",
    "forecasts",
    "front",
    "laws",
    "plot",
    "predict",
    "refine",
    "report",
    "save",
]
