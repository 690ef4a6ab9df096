"""The forecast of a run from its log, as it is typed."""

import json

import numpy as np
import pytest

import anybudget
from anybudget.search.record import read_record


@pytest.fixture
def answer(searched_folder):
    return read_record(searched_folder)


@pytest.fixture
def write(answer, tmp_path):
    """A log of the winner on its law's course, at a constant rate, one second a step."""
    best = answer.best

    def write(until=0.5, change=lambda rows: rows, tail=""):
        n_steps = best.prediction.n_steps
        steps = np.unique(np.linspace(1, until * n_steps, 200).astype(int))
        n_params = float(answer.objective.counted_params(best.prediction))
        loss = answer.objective.law.loss(n_params, steps * best.arch.tokens_per_step * 1.0)
        loss = (
            loss * np.exp(0.027) * np.exp(0.003 * np.random.default_rng(0).normal(size=len(loss)))
        )
        rows = change(list(zip(steps.tolist(), loss.tolist(), steps.tolist(), strict=True)))
        path = tmp_path / "log.csv"
        lines = [",".join(map(str, row)) for row in rows]
        path.write_text("\n".join(["step,loss,seconds", *lines]) + "\n" + tail)
        return path

    return write


def forecast(run, path, folder, *more):
    code, out, err = run("forecast", path, "--result", folder, "--schedule", "constant", *more)
    assert (code, err) == (0, "")
    return out


def test_a_run_on_its_course(run, write, searched_folder, answer):
    path = write()
    found = json.loads(forecast(run, path, searched_folder, "--json"))
    best = answer.best
    expected = np.exp(0.027) * best.loss
    assert found["final_loss"]["value"] == pytest.approx(expected, rel=0.005)
    assert found["final_loss"]["low"] < expected < found["final_loss"]["high"]
    assert found["end_s"]["value"] == pytest.approx(best.prediction.n_steps, rel=0.01)
    assert (found["on_course"], found["off_course_since"], found["events"]) == (True, None, [])
    asked = anybudget.forecast(path, searched_folder, schedule="constant")
    assert json.loads(json.dumps(asked.as_dict())) == found
    said = forecast(run, path, searched_folder)
    assert "Final loss" in said
    assert "(50%)" in said
    assert "On its course" in said


def _leap(rows):
    return [(s, 2 * y if 100 <= i < 103 else y, t) for i, (s, y, t) in enumerate(rows)]


def _fail(rows):
    return [(s, "nan" if i >= 150 else y, t) for i, (s, y, t) in enumerate(rows)]


@pytest.mark.parametrize(
    ("change", "tail", "said"),
    [
        (lambda rows: rows, "99", "the log ends within a line"),
        (lambda rows: rows[:120] + rows[100:], "", "resumed at"),
        (lambda rows: rows[:60] + rows, "", "restarted at"),
        (_leap, "", "the loss leapt at"),
        (_fail, "", "diverged at"),
    ],
    ids=["truncated", "resumed", "restarted", "spiking", "diverged"],
)
def test_a_log_says_what_it_is(run, write, searched_folder, change, tail, said):
    out = forecast(run, write(change=change, tail=tail), searched_folder)
    assert [line for line in out.splitlines() if line.startswith("!")] == [
        line for line in out.splitlines() if said in line
    ]
    assert said in out
    assert ("No final loss" in out) == (said == "diverged at")


def test_a_run_that_is_elsewhere_is_told_apart_from_one_that_left(run, write, searched_folder):
    def raised(rows):
        return [(s, 1.3 * y, t) for s, y, t in rows]

    def bent(rows):
        return [(s, y * (1.15 if i > 120 else 1), t) for i, (s, y, t) in enumerate(rows)]

    elsewhere = forecast(run, write(change=raised), searched_folder)
    assert "times the predicted loss" in elsewhere
    assert "On its course" in elsewhere
    left = forecast(run, write(change=bent), searched_folder)
    assert "Off its course since" in left


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--schedule", "wavy"), "`schedule` must be one of constant, linear, cosine, cooldown"),
        (("--candidate", "99"), "`candidate` must be 1 to"),
        (("--tokens", "1000"), "the log must end by the run's 1,000 tokens, but reaches"),
    ],
)
def test_a_mistake_is_one_line(run, write, searched_folder, words, message):
    code, out, err = run("forecast", write(), "--result", searched_folder, *words)
    assert (code, out) == (2, "")
    assert message in err
    assert err.count("\n") == 1


def test_a_bad_log_is_one_line(run, searched_folder, tmp_path):
    path = tmp_path / "log.csv"
    for text in ("", "step,loss\n", "step,loss\n1,nan\n", "step,loss\n1,0\n"):
        path.write_text(text)
        code, out, err = run("forecast", path, "--result", searched_folder)
        assert (code, out, err.count("\n")) == (2, "", 1)
    code, _, err = run("forecast", tmp_path / "none", "--result", searched_folder)
    assert (code, err.count("\n")) == (2, 1)
