"""The report of a folder: all that is asked of it is in it, escaped, in one file that is no giant.

`test_report_browser.py` opens it in Chromium.
"""

import json
import re
import subprocess
import sys

import pytest

from anybudget import cli
from anybudget.objectives.uncertainty import Draws
from anybudget.search.find import find
from anybudget.search.save import save
from anybudget.validation.report import write_report

EVIL = '<script>alert("x")</script><b>"&'
N_BYTES_AT_MOST = 6_000_000


@pytest.fixture
def draws(law, device):
    """Two laws and one step time, so that a second candidate may be the best."""
    numbers = [law.E, law.A, law.B, law.alpha, law.beta]
    other = [law.E, law.A * 3, law.B, law.alpha, law.beta]
    seconds = list(device.step_time_model.seconds_per_unit.values())
    return Draws(laws=[numbers, other], law_residual=0.01, seconds_per_unit=[seconds], time_residual=0.1)
