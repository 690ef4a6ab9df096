"""Learning to copy: its chance, the law with it, its choice from runs, and one draw's luck."""

import dataclasses

import numpy as np
import pytest

from anybudget.objectives.fit.choose_copying import choose_copying, std_beyond_luck
from anybudget.objectives.fit.law import fit_varpro
from anybudget.objectives.fit.report import Fitting, report_law
from anybudget.objectives.fit.runs import law_runs
from anybudget.objectives.flags import flags
from anybudget.objectives.law.copying import Copying
from anybudget.objectives.loss_at_time import LossAtTime
from anybudget.objectives.uncertainty import Draws, draw_losses, stacked
from anybudget.presets.laws import KnownLaw, load_law, save_law
from anybudget.space.architecture import Architecture

COPYING = Copying(gain=0.1, onset_tokens=4e6)


def test_half_do_at_the_onset_and_none_that_are_too_shallow_or_narrow():
    run = {"n_layers": np.array([2, 3, 3, 12, 12]), "d_model": np.array([64, 64, 32, 64, 64])}
    n_tokens = np.array([4e6, 4e6, 4e6, 8e6, 2e6])
    assert COPYING.chance(n_tokens, run).tolist() == pytest.approx([0, 1 / 2, 0, 16 / 17, 1 / 17])
    assert COPYING.factor(n_tokens, run).tolist() == pytest.approx(
        [1, 0.95, 1, 1 - 1.6 / 17, 1 - 0.1 / 17]
    )
    assert COPYING.factor(n_tokens, run | {"luck": 0.6}).tolist() == [1, 1, 1, 0.9, 1]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"gain": 1.0}, "`gain` must be above 0 and below 1, but got 1.0"),
        ({"gain": 0.0}, "`gain` must be above 0 and below 1, but got 0.0"),
        ({"onset_tokens": 0.0}, "`onset_tokens` must be > 0, but got 0.0"),
        ({"onset_tokens": np.inf}, "`onset_tokens` must be from .*, but got inf"),
    ],
)
def test_what_cannot_be_is_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(COPYING, **wrong)


def test_a_law_is_kept_with_it(law, tmp_path):
    copying = dataclasses.replace(law, copying=COPYING)
    run = {"n_layers": 3, "d_model": 64, "n_steps": 1000}
    assert copying.loss(1e6, 4e6, run) == pytest.approx(0.95 * law.loss(1e6, 4e6))
    assert copying.formula == "(E + A / N^alpha + B / D^beta) × (1 - 0.1 if it copies)"
    assert copying.floor == pytest.approx(0.9 * law.floor)
    shaped = dataclasses.replace(copying, terms={"inverse_depth": 0.1}, pure=(1, 2, 3, 0.4, 0.5))
    assert shaped.without_terms().copying == COPYING
    save_law(tmp_path / "law.toml", KnownLaw(law=copying))
    assert load_law(str(tmp_path / "law.toml")) == copying


NOISE = 0.005


def make_table(gain: float, n_seeds: int = 3) -> dict[str, np.ndarray]:
    """Runs of which some copy, each by its own luck."""
    rng = np.random.default_rng(0)
    mesh = np.meshgrid(
        (64, 96, 128, 192), (1, 2, 3, 4, 6), 2.0 ** np.arange(18, 25), range(n_seeds)
    )
    d_model, n_layers, n_tokens, _ = (axis.ravel() for axis in mesh)
    n_params = 12 * n_layers * d_model**2 + 1024 * d_model
    run = {"d_model": d_model, "n_layers": n_layers}
    true = dataclasses.replace(COPYING, gain=gain or 0.5)
    factor = true.factor(n_tokens, run | {"luck": rng.random(len(n_tokens))}) if gain else 1
    noise = np.exp(NOISE * rng.standard_normal(len(n_tokens)))
    loss = (1.5 + 300 / n_params**0.5 + 2000 / n_tokens**0.5) * factor * noise
    return run | {"n_params": n_params, "n_tokens": n_tokens, "measured_loss": loss}


def test_it_is_found_where_it_is():
    runs = law_runs(make_table(gain=0.1))
    found = choose_copying(runs, fit_varpro(runs))
    assert found is not None
    assert found.gain in (0.08, 0.1, 0.12)
    assert found.onset_tokens == pytest.approx(2**22)
    fit = fit_varpro(runs, copying=found)
    # What luck does is not in what is left.
    assert std_beyond_luck(runs, fit) == pytest.approx(NOISE, rel=0.3)
    assert fit.residual_std > 3 * NOISE
    runs = law_runs(make_table(gain=0))
    fit = fit_varpro(runs)
    assert choose_copying(runs, fit) is None
    assert std_beyond_luck(runs, fit) == pytest.approx(fit.residual_std)
    shapeless = dataclasses.replace(runs, columns={})
    assert choose_copying(shapeless, fit_varpro(shapeless)) is None


def test_a_gain_at_the_end_of_those_tried_is_none():
    runs = law_runs(make_table(gain=0.3))
    assert choose_copying(runs, fit_varpro(runs)) is None


def test_it_can_be_switched_off():
    table = make_table(gain=0.1, n_seeds=1)
    report = report_law(
        table, name="made", source="a test", fitting=Fitting(n_draws=20, copying=False)
    )
    assert report.law.copying is None


def test_a_report_s_law_and_draws_have_it():
    table = make_table(gain=0.1)
    report = report_law(table, name="made up", source="here", fitting=Fitting(n_draws=20))
    assert report.law.copying
    assert report.law.residual_std == pytest.approx(NOISE, rel=0.3)
    gain, draws = report.as_dict()["copying_gain"], report.draws
    assert draws is not None
    assert gain["value"] == report.law.copying.gain
    low, high = gain["interval_95"]
    assert low <= 0.1 <= high
    gains, onsets = draws.values.T[-2:]
    assert draws.names[-2:] == ("copying_gain", "copying_onset_tokens")
    assert len({*gains}) > 1 or len({*onsets}) > 1
    run = {"d_model": 64, "n_layers": 4, "n_params": 1e6}
    ratios = [
        draws.loss(1e6, n_tokens, run) / draws.loss(1e6, n_tokens, run | {"luck": 1.0})
        for n_tokens in (2**18, 2**28)
    ]
    assert ratios[0] == pytest.approx([1] * 20, abs=1e-3)
    assert ratios[1] == pytest.approx(1 - gains, abs=1e-3)
    given = report_law(
        table, name="made up", source="here", fitting=Fitting(n_draws=20, form="none", kappa=1.0)
    )
    assert given.law.copying is None
    errors = [one.scores["leave_shape_out"] for one in (report, given)]
    assert errors[0]
    assert errors[1]
    assert errors[0].mape < errors[1].mape


def test_each_draw_has_luck_of_its_own(objective: LossAtTime):
    archs = [Architecture.from_shape(d_model=d, n_layers=6, batch_size=8) for d in (512, 640)]
    archs.append(Architecture.from_shape(d_model=512, n_layers=2, batch_size=8))
    onset = float(objective.predict(archs[0]).n_tokens)
    copying = Copying(gain=0.1, onset_tokens=onset)
    law = dataclasses.replace(objective.law, copying=copying)
    # A kernel that was not timed is never certain.
    objective = dataclasses.replace(objective, law=law, attention="plain")
    device = objective.device
    predictions = [objective.predict(arch) for arch in archs]
    numbers = [list(law.numbers.values())]
    draws = Draws(
        laws=np.repeat(numbers, 4000, axis=0),
        law_residual=0.0,
        seconds_per_unit=np.array([list(device.step_time_model.seconds_per_unit.values())]),
        time_residual=0.0,
    )
    losses = draw_losses(objective, stacked(archs), stacked(predictions), draws)
    for column, arch, prediction in zip(losses.T[:2], archs, predictions, strict=False):
        lucky, unlucky = np.unique(column.round(9))
        assert lucky / unlucky == pytest.approx(0.9)
        chance = copying.chance(prediction.n_tokens, arch.as_dict())
        assert np.mean(column < unlucky * 0.95) == pytest.approx(chance, abs=0.03)
        assert column.mean() == pytest.approx(prediction.predicted_loss, rel=0.01)
        decided = [flag for flag in flags(objective, arch, prediction) if "luck" in flag]
        assert len(decided) == (0.05 < chance < 0.95)
    assert not [flag for flag in flags(objective, archs[2], predictions[2]) if "luck" in flag]
    assert abs(np.corrcoef(losses[:, 0], losses[:, 1])[0, 1]) < 0.1
    assert np.ptp(losses[:, 2]) < 1e-9


def test_luck_is_of_the_tokens_that_count(objective: LossAtTime):
    arch = Architecture.from_shape(d_model=512, n_layers=6, batch_size=8)
    onset = float(objective.predict(arch).n_tokens)
    law = dataclasses.replace(objective.law, copying=Copying(gain=0.1, onset_tokens=onset))
    for limit, n_flags in ((None, 1), (onset / 1000, 0)):
        asked = dataclasses.replace(objective, law=law, data_limit_tokens=limit)
        told = [flag for flag in flags(asked, arch, asked.predict(arch)) if "luck decides" in flag]
        assert len(told) == n_flags
    # A model without a single step has no chance to speak of.
    hasty = dataclasses.replace(objective, law=law, time_budget_s=1e-9)
    prediction = hasty.predict(arch)
    assert prediction.n_steps == 0
    assert not [flag for flag in flags(hasty, arch, prediction) if "luck" in flag]
