"""Final loss and end from a curve, against what made the curve."""

import dataclasses

import numpy as np
import pytest

from anybudget.objectives.curve import Curve
from anybudget.objectives.forecast import (
    FREE_LEVEL_STD,
    Course,
    end_time,
    final_loss,
    left_course,
    rate_share,
    seen,
)

END = 1e9


def law(tokens):
    return 2 + 400 * tokens**-0.35


def course_of(points, schedule="constant", level=1.0, rate_of_law=1.0):
    tokens = np.append(points.n_tokens, END)
    rng = np.random.default_rng(1)
    draws = np.exp(0.003 * rng.standard_normal((50, 1))) * law(tokens)
    return Course(
        n_tokens=tokens,
        log_loss=np.log(level * law(tokens)),
        log_draws=np.log(draws),
        residual_std=0.004,
        rate=rate_share(schedule, tokens / END) - rate_of_law,
    )


def curve_of(until, n=400, level=1.0, noise=0.01, seed=0):
    tokens = np.linspace(END / n, END, n)
    tokens = tokens[tokens <= until * END]
    noise = np.exp(noise * np.random.default_rng(seed).standard_normal(len(tokens)))
    return Curve(n_tokens=tokens, loss=level * law(tokens) * noise, elapsed_s=tokens / 1e4)


def test_without_a_point_it_is_the_laws_interval():
    empty = seen(curve_of(0.01), END)
    assert not len(empty.n_tokens)
    found = final_loss(empty, course_of(empty))
    assert found.value == pytest.approx(law(END))
    # Draws of .003 and runs of .004 about the law are .005 together, and .0015 of noise.
    assert np.log(found.high / found.value) == pytest.approx(1.96 * 0.0052, rel=0.15)


@pytest.mark.parametrize("level", [1.0, 1.3])
def test_a_curve_narrows_it_at_whatever_level(level):
    widths = []
    for until in (0.1, 0.3, 0.9):
        points = [seen(curve_of(until, level=level, seed=seed), END) for seed in range(20)]
        found = [final_loss(one, course_of(one)) for one in points]
        assert np.mean([one.value for one in found]) == pytest.approx(level * law(END), rel=0.01)
        # Of 20 intervals of 95% fewer than 17 hold in one case of 60.
        assert sum(one.low < level * law(END) < one.high for one in found) >= 17
        widths.append(np.mean([one.high - one.low for one in found]))
    assert widths[0] > widths[1] > widths[2]


def test_a_rate_that_will_fall_lowers_it():
    points = seen(curve_of(0.5), END)
    kept = final_loss(points, course_of(points))
    cooled = final_loss(points, course_of(points, "cooldown"))
    assert np.log(kept.value / cooled.value) == pytest.approx(0.027, abs=1e-3)


def test_it_is_what_conditioning_says_for_one_point():
    points = dataclasses.replace(
        seen(curve_of(0.1), END),
        n_tokens=np.array([END / np.e]),
        log_loss=np.log([1.3 * law(END / np.e)]),
        std=np.array([0.002]),
    )
    course = dataclasses.replace(course_of(points), log_draws=None, residual_std=0.0)
    # Level and unknown law are shared, the tilt of .01 stands at the point alone.
    shared = FREE_LEVEL_STD**2 + 0.03**2
    weight = shared / (shared + 0.01**2 + 0.002**2)
    expected = np.log(law(END)) + weight * np.log(1.3)
    assert np.log(final_loss(points, course).value) == pytest.approx(expected, rel=1e-12)


def test_a_run_that_leaves_its_course_is_told_when():
    for level in (1.0, 1.3):
        straight = curve_of(0.6, level=level)
        points = seen(straight, END)
        assert left_course(points, course_of(points)) is None
        bent = np.where(straight.n_tokens > 0.4 * END, 1.08, 1.0) * straight.loss
        points = seen(dataclasses.replace(straight, loss=bent), END)
        assert left_course(points, course_of(points)) == pytest.approx(0.4 * END, rel=0.08)


def test_the_end_is_at_the_steady_pace():
    rng = np.random.default_rng(0)
    curve = curve_of(0.25)
    steps_s = np.diff(curve.n_tokens, prepend=0) / 1e4 * rng.normal(1, 0.05, len(curve.n_tokens))
    steps_s[30] += 5_000  # a pause, as long as a twentieth of the run
    found = end_time(dataclasses.replace(curve, elapsed_s=np.cumsum(steps_s)), END)
    assert found
    assert found.value == pytest.approx(END / 1e4 + 5_000, rel=0.01)
    assert found.low < END / 1e4 + 5_000 < found.high


def test_no_clock_no_end():
    curve = curve_of(0.25)
    assert end_time(dataclasses.replace(curve, elapsed_s=None), END) is None


@pytest.mark.parametrize(
    ("schedule", "middle", "end"), [("constant", 1, 1), ("linear", 0.5, 0), ("cosine", 0.5, 0)]
)
def test_rates(schedule, middle, end):
    assert rate_share(schedule, 0.55) == pytest.approx(middle)
    assert rate_share(schedule, 1.0) == pytest.approx(end)
    assert rate_share(schedule, np.array([0.05])) == pytest.approx(1)


def test_no_such_schedule():
    with pytest.raises(ValueError, match="must be one of constant, linear, cosine, cooldown"):
        rate_share("wavy", 0.5)  # type: ignore[arg-type]
