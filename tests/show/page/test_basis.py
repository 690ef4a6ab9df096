"""What a report says that an answer rests on: a device's calibration in words."""

import dataclasses

import pytest

from anybudget.presets.devices import load_device
from anybudget.show.page.basis import _step_time


def test_a_calibration_is_told_in_words():
    text = _step_time(load_device("h100-sxm-measured"))
    assert "Mean error on shapes left out: stacked 3.9%, traffic 4.2%, roofline 5.1%" in text
    assert "95% of such steps take 0.93 to 1.13 times the predicted time." in text
    assert "Alone, memory copies explain 79% of the variance of step time and FLOPs 81%." in text
    assert "Calibration: machine NVIDIA H100 80GB HBM3, n cores 16, dtype bfloat16" in text
    assert "heldout" not in text
    assert _step_time(load_device("h100-sxm-datasheet")).startswith(
        "Model “overhead”, seconds per unit: memcpys"
    )


@pytest.mark.parametrize(
    ("facts", "told"),
    [
        ({"heldout": "good"}, "Calibration: heldout good."),
        ({"heldout": {"paper": {"r2": 0.9}}}, "Calibration: heldout (paper (r2 0.9))."),
        ({"actual_over_predicted_95": [0.9]}, "Calibration: actual over predicted 95 0.9."),
        ({"variance_explained_alone": {}}, "Calibration: variance explained alone ()."),
    ],
)
def test_what_is_no_such_table_is_told_as_it_stands(facts, told):
    device = dataclasses.replace(load_device("h100-sxm-measured"), calibration=facts)
    assert _step_time(device).endswith(told)
