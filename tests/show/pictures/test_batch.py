"""The pictures of a batch: a colour a device, a line style a number of chips."""

import dataclasses

import pytest

from anybudget.search.batch.run import run_batch
from anybudget.search.question import Question
from anybudget.show.pictures.batch import MOST_RANGES, batch_sheets
from anybudget.show.pictures.picture import Band, Line


@pytest.fixture(scope="module")
def ask(small_space, objective, tmp_path_factory):
    """The sheets of a batch over devices, numbers of chips and laws, in two budgets each."""

    def ask(devices, chips=(1,), laws=("one",)):
        space = dataclasses.replace(small_space, batch_size=(8,))
        questions = []
        for at, name in enumerate(devices):
            device = dataclasses.replace(
                objective.device, name=name, memory_bytes=1e12, interconnect_bytes_per_s=5e8,
                peak_flops_per_s=1e12 * (1 + at), price_per_hour_usd=1.0 + at,
            )  # fmt: skip
            for n, law, budget_s in ((n, w, s) for n in chips for w in laws for s in (60.0, 600.0)):
                chosen = dataclasses.replace(
                    objective, device=device, n_chips=n, time_budget_s=budget_s,
                    law=dataclasses.replace(objective.law, name=law),
                )  # fmt: skip
                questions.append(Question(space=space, objective=chosen))
        table = run_batch(questions, tmp_path_factory.mktemp("batch"))
        return batch_sheets(questions, table)

    return ask


def lines(sheet, panel=0):
    return [one for one in sheet.pictures[panel].layers if isinstance(one, Line) and len(one.x)]


def test_eighteen_lines_are_told_apart(ask):
    sheets = ask([f"device {at}" for at in range(6)], chips=(1, 4, 8))
    assert list(sheets) == ["scaling-one", "money"]
    for sheet in sheets.values():
        drawn = lines(sheet)
        assert len(drawn) == len({(line.colour, line.dash) for line in drawn}) == 18
        assert len({line.name for line in drawn}) == 18
        for line in drawn:
            assert {"4 ×": "dash", "8 ×": "dot"}.get(line.name[:3], "solid") == line.dash
        of_one = {line.colour for line in drawn if "device 3" in line.name}
        assert len(of_one) == 1
        assert not [one for p in sheet.pictures for one in p.layers if isinstance(one, Band)]


def test_a_device_has_one_colour_on_every_sheet(ask):
    sheets = ask([f"device {at}" for at in range(13)], laws=("one", "two"))
    assert list(sheets) == ["scaling-one", "scaling-two", "money"]
    looks = {
        (line.name.split(",")[0], line.colour)
        for sheet in sheets.values()
        for at in range(len(sheet.pictures))
        for line in lines(sheet, at)
    }
    assert len(looks) == len({colour for _, colour in looks}) == 13


def test_money_has_a_picture_a_law_on_equal_axes(ask):
    money = ask(["a", "b"], laws=("one", "two"))["money"]
    assert [picture.title[-6:] for picture in money.pictures] == ["by one", "by two"]
    first, second = money.pictures
    assert (first.x, first.y) == (second.x, second.y)
    assert first.x.ticks[0][1].startswith("$")


def test_few_curves_have_their_fits(ask):
    [sheet, _] = ask(["a", "b"]).values()
    assert len(lines(sheet)) == 4 <= 2 * MOST_RANGES
    assert {len(lines(sheet, panel)) for panel in range(1, 6)} == {2}
