"""Budgets as people write them."""

import pytest

from anybudget.objectives.budget import format_budget, parse_budget


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90s", 90),
        ("15m", 900),
        ("3h", 10_800),
        ("1h30m", 5400),
        ("2d", 172_800),
        ("1d2h3m4s", 86_400 + 7200 + 180 + 4),
        ("0.5h", 1800),
        (" 3h ", 10_800),
    ],
)
def test_parse(text, seconds):
    assert parse_budget(text) == seconds


@pytest.mark.parametrize(
    "text", ["3 parsecs", "", "  ", "-1h", "nan", "inf", "h", "30m1h", "1e3s", "3H", "1h-5m", "1.h"]
)
def test_what_is_not_a_budget(text):
    with pytest.raises(ValueError, match="a time budget must be a positive time such as 90s"):
        parse_budget(text)


@pytest.mark.parametrize("text", ["3", "-3", "3.5"])
def test_a_bare_number_lacks_its_unit(text):
    with pytest.raises(ValueError, match="a positive time with a unit such as 90s"):
        parse_budget(text)


@pytest.mark.parametrize("text", ["0s", "0h0m", "0.0d"])
def test_zero(text):
    with pytest.raises(ValueError, match="must be more than 0 seconds, but got"):
        parse_budget(text)


@pytest.mark.parametrize("text", ["90s", "1m30s", "3h", "1h30m", "2d", "1d1s", "0.5s"])
def test_format_is_the_inverse(text):
    seconds = parse_budget(text)
    assert parse_budget(format_budget(seconds)) == seconds


def test_format_is_short():
    assert format_budget(5400) == "1h30m"
    assert format_budget(90) == "1m30s"
    assert format_budget(59.5) == "59.5s"
    assert format_budget(86_400.4) == "1d"
