"""Ticks: what people write, never crowded, never missing."""

import math

import pytest

from anybudget.show.pictures.ticks import (
    MOST,
    count_ticks,
    log_span_of,
    number_ticks,
    span_of,
    time_ticks,
    width_ticks,
)

HOUR, DAY = 3600, 86_400


@pytest.mark.parametrize(
    ("span", "texts"),
    [
        ((50, 1000), ["1m", "2m", "5m", "10m"]),
        ((150, 100_000), ["5m", "15m", "1h", "3h", "12h", "1d"]),
        ((3000, 8 * DAY), ["1h", "3h", "6h", "12h", "1d", "2d", "4d", "7d"]),
        ((0.5, 400 * DAY), ["1s", "10s", "1m", "10m", "1h", "6h", "1d", "7d", "30d", "365d"]),
    ],
)
def test_times_are_those_that_people_write(span, texts):
    assert [text for _, text in time_ticks(span)] == texts


def test_widths_are_powers_of_two():
    assert width_ticks((200, 3000)) == [(256, "256"), (512, "512"), (1024, "1024"), (2048, "2048")]
    assert [text for _, text in width_ticks((600, 1000))] == ["600", "700", "800", "900", "1k"]


def test_counts_and_dollars():
    assert [text for _, text in count_ticks((4e6, 3e9))] == ["10M", "100M", "1B"]
    assert [text for _, text in number_ticks((0.9, 20_000), "$")][-1] == "$10,000"


@pytest.mark.parametrize("ticks", [count_ticks, number_ticks, time_ticks, width_ticks])
@pytest.mark.parametrize("low", [0.9, 3.1, 70, 1234, 7.7e5])
@pytest.mark.parametrize("factor", [1.001, 1.03, 1.5, 4, 60, 1e4])
def test_an_axis_has_a_few_ticks_within_it(ticks, low, factor):
    span = (low, low * factor)
    found = ticks(span)
    assert 2 <= len(found) <= MOST
    assert all(span[0] <= value <= span[1] for value, _ in found)
    assert [value for value, _ in found] == sorted(value for value, _ in found)


def test_spans_have_room_beside():
    assert span_of([2, 4], 0.1) == pytest.approx((1.8, 4.2))
    assert span_of([3]) == pytest.approx((2.85, 3.15))
    low, high = log_span_of([1, 100], 0.5)
    assert (low, high) == pytest.approx((0.1, 1000))
    assert math.isfinite(log_span_of([7.0])[0])
