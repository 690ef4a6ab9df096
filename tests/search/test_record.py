"""Results read back: equal to what was found, and nonsense refused in one line."""

import json

import pytest

from anybudget.search.explore.study import Exploring
from anybudget.search.find import find
from anybudget.search.question import Question
from anybudget.search.record import read_record
from anybudget.show.save import save


@pytest.fixture
def found(small_space, objective):
    return find(
        Question(space=small_space, objective=objective), top=3, exploring=Exploring(n_trials=1)
    )


def _same(candidates, expected):
    assert [c.arch for c in candidates] == [c.arch for c in expected]
    # A mesh and a single model add up in another order.
    assert [c.loss for c in candidates] == pytest.approx([c.loss for c in expected], rel=1e-14)


def test_a_result_is_read_back_equal(found, tmp_path):
    save(found, tmp_path, command="anybudget find 10m")
    for path in (tmp_path, tmp_path / "result.json"):
        result = read_record(path)
        assert result.space == found.space
        assert result.objective == found.objective
        _same(result.candidates, found.candidates)


@pytest.fixture
def searched(request):
    """The folder of a search with draws, and what was found."""
    return request.getfixturevalue("_searched")


def test_an_answer_is_read_back_whole(searched):
    folder, found = searched
    answer = read_record(folder, whole=True)
    told, expected = answer.as_dict(), found.as_dict()
    del told["candidates"], expected["candidates"]
    assert told == expected
    _same(answer.candidates, found.candidates)
    assert (answer.question.seed, answer.standings) == (found.question.seed, found.standings)
    _same(answer.shapes, found.shapes)
    assert answer.made.command.startswith("anybudget find 10m --device ")
    assert answer.made.anybudget == found.made.anybudget
    assert answer.made.date.endswith("+00:00")


def test_the_chips_are_kept(small_space, chips, tmp_path):
    found = find(
        Question(space=small_space, objective=chips), top=3, exploring=Exploring(n_trials=1)
    )
    save(found, tmp_path, command="anybudget find 10m --chips 4")
    result = read_record(tmp_path)
    assert result.objective == chips
    _same(result.candidates, found.candidates)


def test_what_find_prints_is_a_result_too(found, tmp_path):
    path = tmp_path / "printed.json"
    path.write_text(json.dumps(found.as_dict()))
    _same(read_record(path).candidates, found.candidates)


def _change(document, *keys, to):
    for key in keys[:-1]:
        document = document[key]
    if to is None:
        del document[keys[-1]]
    else:
        document[keys[-1]] = to


@pytest.mark.parametrize(
    ("keys", "to", "message"),
    [
        (["time_budget_s"], None, "`time_budget_s` is missing"),
        (["time_budget_s"], "2m", r"`time_budget_s`: .* valid number .*got '2m'"),
        (["time_budget_s"], -1.0, "must be > 0, but got -1"),
        (["time_budget_s"], 60.0, r"candidates\[0\]: `predicted_loss` must be what"),
        (["remat"], "some", "`remat`"),
        (["device"], "cpu-core", "`device`"),
        (["device", "kind"], "abacus", "`device.kind`"),
        (["device", "peak_flops"], 1.0, "unknown key `device.peak_flops`"),
        (["law", "alpha"], None, "`law.alpha` is missing"),
        (["law", "alpha"], float("nan"), "`alpha` must be > 0, but got nan"),
        (["space"], None, "`space` is missing"),
        (["space"], [1], "`space` must be an object"),
        (["space", "d_model"], [128, 64], "`d_model` must be ascending"),
        (["space", "d_model"], [512], "no architecture is valid"),
        (["candidates"], None, "`candidates` is missing"),
        (["candidates"], [], "`candidates` must not be empty"),
        (["candidates"], {}, "`candidates` must be a list"),
        (["candidates", 1], 7, r"candidates\[1\] must be a JSON object, but got 7"),
        (["candidates", 1, "d_ff"], None, r"candidates\[1\]: `d_ff` is missing"),
        (["candidates", 1, "d_ff"], True, "`d_ff` must be a whole number, but got True"),
        (["candidates", 1, "d_ff"], 128.0, "`d_ff` must be a whole number, but got 128.0"),
        (["candidates", 1, "d_ff"], 12345, "d_ff=12345 is not in the space"),
        (["candidates", 1, "n_layers"], 10**9, "is not in the space"),
        (["candidates", 1, "n_layers"], 10**400, "`n_layers` must be at most"),
        (["candidates", 1, "gated_mlp"], 1, "`gated_mlp` must be true or false, but got 1"),
        (["candidates", 1, "predicted_loss"], "low", "`predicted_loss` must be a number"),
        (["candidates", 1, "predicted_loss"], 0.5, "`predicted_loss` must be what .*got 0.5; run"),
    ],
)
def test_a_file_edited_into_nonsense_is_one_line(found, tmp_path, keys, to, message):
    path = tmp_path / "result.json"
    document = json.loads(json.dumps(found.as_dict()))
    _change(document, *keys, to=to)
    path.write_text(json.dumps(document))
    with pytest.raises(ValueError, match=message) as caught:
        read_record(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{", "is not valid JSON"),
        (b"[" * 100_000, "is not valid JSON"),
        (b"[]", "must hold the JSON object"),
        (b"\xff\xfe", "not UTF-8"),
        (b"{}", "is missing"),
    ],
)
def test_a_file_that_is_no_result(tmp_path, content, message):
    (tmp_path / "result.json").write_bytes(content)
    with pytest.raises(ValueError, match=message):
        read_record(tmp_path)


def test_no_file(tmp_path):
    with pytest.raises(ValueError, match=r"there is no .*result.json; `anybudget find BUDGET"):
        read_record(tmp_path)
