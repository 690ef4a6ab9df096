"""A law or device and its draws are one thing: neither is taken for another's, nor is a part."""

import dataclasses
import re

import numpy as np
import pytest

from anybudget.files.write import write_together
from anybudget.objectives.loss_at_time import LossAtTime
from anybudget.presets import drawn
from anybudget.presets.devices import KnownDevice, device_names, known_device, save_device
from anybudget.presets.known import known, shipped
from anybudget.presets.laws import KnownLaw, known_law, law_names, load_law, save_law
from anybudget.search.record import read_record


def drawn_of(thing):
    """The draws of a law or device, which has some."""
    assert thing.draws is not None
    return thing.draws


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def mine(law, rng):
    """A law with 150 draws, which bears the name of a shipped one."""
    law = dataclasses.replace(law, name="besiroglu-2024")
    spread = np.exp(0.05 * rng.standard_normal((150, 5)))
    return KnownLaw(law=law, draws=np.array(list(law.numbers.values())) * spread)


def test_draws_come_back_with_their_law(mine, tmp_path):
    save_law(tmp_path / "mine.toml", mine)
    again = known_law(str(tmp_path / "mine.toml"))
    assert again.law == mine.law
    np.testing.assert_allclose(drawn_of(again), drawn_of(mine), rtol=1e-5)
    save_law(tmp_path / "again.toml", again)
    for kind in ("toml", "draws.csv"):
        written = [(tmp_path / f"{name}.{kind}").read_text() for name in ("mine", "again")]
        assert written[0] == written[1]


def test_what_is_shipped_has_the_draws_that_it_says():
    assert len(drawn_of(known_law("besiroglu-2024"))) == 1000
    assert known_law("hoffmann-2022").draws is None
    assert all(load_law(name) == known_law(name).law for name in law_names())
    for name in device_names():
        found = known_device(name)
        assert (found.draws is None) == (found.device.basis == "datasheet")


def test_a_law_named_like_a_preset_keeps_its_own_draws(run, mine, tmp_path):
    save_law(tmp_path / "mine.toml", mine)
    out = tmp_path / "out"
    code, *_ = run("find", "2m", "--device", "cpu-core", "--law", tmp_path / "mine.toml",
                   "--trials", 1, "--out", out)  # fmt: skip
    assert code == 0
    (tmp_path / "mine.toml").unlink()
    result = read_record(out)
    assert drawn_of(result.known.law).shape == (150, 5)
    np.testing.assert_allclose(drawn_of(result.known.law), drawn_of(mine), rtol=1e-5)


def test_the_draws_of_a_device_reach_the_confirmation(run, tmp_path):
    code, *_ = run("find", "1d", "--device", "h100-sxm-measured", "--trials", 1,
                   "--set", "d_model=768:1024:128", "--set", "batch_size=256",
                   "--out", tmp_path)  # fmt: skip
    assert code == 0
    result = read_record(tmp_path)
    draws = result.known.draws(result.objective)
    assert draws is not None
    assert len(draws.seconds_per_unit) == 200
    asked = known("h100-sxm-measured").draws(result.objective)
    for name in ("laws", "law_residual", "seconds_per_unit", "time_residual"):
        np.testing.assert_array_equal(getattr(draws, name), getattr(asked, name))


def test_a_printed_result_has_the_draws_that_are_shipped(objective):
    rests_on = known("h100-sxm-measured")
    asked = LossAtTime(
        device=rests_on.device.device, law=load_law("besiroglu-2024"), time_budget_s=60.0
    )
    assert len(drawn_of(shipped(asked).law)) == 1000
    assert len(drawn_of(shipped(asked).device)) == 200
    # Another law, or device, of that name has none.
    other = dataclasses.replace(asked, law=dataclasses.replace(asked.law, A=500.0))
    assert shipped(other).law.draws is None
    assert shipped(objective).device.draws is None


def test_a_law_without_draws_does_not_inherit_those_of_another(mine, tmp_path):
    path = tmp_path / "mine.toml"
    save_law(path, mine)
    save_law(path, dataclasses.replace(mine, draws=None))
    assert [found.name for found in tmp_path.iterdir()] == ["mine.toml"]
    assert known_law(str(path)).draws is None


def test_a_fit_stopped_between_its_two_files_is_told_of(mine, tmp_path, monkeypatch):
    path = tmp_path / "mine.toml"
    save_law(path, mine)
    new = KnownLaw(law=dataclasses.replace(mine.law, A=500.0), draws=drawn_of(mine)[:120])

    def stopped_after(n_files):
        return lambda files: write_together(dict(list(files.items())[:n_files]))

    monkeypatch.setattr(drawn, "write_together", stopped_after(1))
    save_law(path, new)
    with pytest.raises(
        ValueError, match=r"must be the 150 draws with the checksum .* 120 or other"
    ):
        known_law(str(path))
    monkeypatch.undo()
    save_law(path, new)
    assert drawn_of(known_law(str(path))).shape == (120, 5)
    monkeypatch.setattr(drawn, "write_together", stopped_after(1))
    save_law(path, dataclasses.replace(new, draws=None))
    with pytest.raises(ValueError, match="is not named by what it lies beside"):
        known_law(str(path))


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda text: text[:-2], "must be the 150 draws with the checksum that was noted"),
        (lambda text: "", "holds 0 or others"),
        (lambda text: text.replace("E,A", "A,E"), "holds 150 or others; fit or calibrate again"),
        (None, r"there is no .*mine.draws.csv of 150 draws; keep the two together"),
    ],
)
def test_draws_that_were_cut_or_edited(mine, tmp_path, edit, message):
    save_law(tmp_path / "mine.toml", mine)
    beside = tmp_path / "mine.draws.csv"
    if edit:
        beside.write_text(edit(beside.read_text()))
    else:
        beside.unlink()
    with pytest.raises(ValueError, match=message):
        known_law(str(tmp_path / "mine.toml"))


def test_draws_of_other_numbers(mine, tmp_path):
    path = tmp_path / "mine.toml"
    save_law(path, mine)
    # What is not drawn may be edited.
    path.write_text(path.read_text().replace("made up for tests", "edited"))
    assert len(drawn_of(known_law(str(path)))) == 150
    path.write_text(re.sub(r"^A = .*$", "A = 481.0", path.read_text(), flags=re.MULTILINE))
    with pytest.raises(ValueError, match="holds draws of other numbers than those beside it"):
        known_law(str(path))


def test_a_device_keeps_its_draws(tmp_path, rng):
    found = known_device("cpu-core")
    save_device(tmp_path / "mine.toml", found)
    again = known_device(str(tmp_path / "mine.toml"))
    assert again.device == found.device
    np.testing.assert_array_equal(drawn_of(again), drawn_of(found))
    save_device(tmp_path / "mine.toml", KnownDevice(device=found.device))
    assert not (tmp_path / "mine.draws.csv").exists()
