"""Joint draws carried to a ranking, against small cases worked out by hand."""

import dataclasses

import numpy as np
import pytest

from anybudget.objectives.loss_at_time import LossAtTime
from anybudget.objectives.time_draws import CARD_SPREAD, KERNEL_SPREAD, datasheet_draws
from anybudget.objectives.uncertainty import Draws, draw_losses, rank, stacked
from anybudget.presets.devices import load_device
from anybudget.presets.laws import load_law
from anybudget.space.architecture import Architecture

# As if it were of the very text that is asked about.
LAW = dataclasses.replace(load_law("besiroglu-2024"), level_std=0.0)
NUMBERS = np.array([[LAW.E, LAW.A, LAW.B, LAW.alpha, LAW.beta]])
OBJECTIVE = LossAtTime(
    device=load_device("tpu-v5e-datasheet"), law=LAW, time_budget_s=3600, attention="plain"
)
SECONDS = np.array([list(OBJECTIVE.device.step_time_model.seconds_per_unit.values())])
ARCHS = [
    Architecture.from_shape(d_model=width, n_layers=6, batch_size=8) for width in (512, 640, 1024)
]
PREDICTIONS = [OBJECTIVE.predict(arch) for arch in ARCHS]
CERTAIN = Draws(laws=NUMBERS, law_residual=0.0, seconds_per_unit=SECONDS, time_residual=0.0)


def test_without_uncertainty_a_draw_is_the_prediction():
    losses = draw_losses(OBJECTIVE, stacked(ARCHS), stacked(PREDICTIONS), CERTAIN)
    np.testing.assert_allclose(losses, [[p.predicted_loss for p in PREDICTIONS]], rtol=1e-12)


def test_on_several_chips_too():
    objective = dataclasses.replace(OBJECTIVE, n_chips=8)
    predictions = [objective.predict(arch) for arch in ARCHS]
    losses = draw_losses(objective, stacked(ARCHS), stacked(predictions), CERTAIN)
    np.testing.assert_allclose(losses, [[p.predicted_loss for p in predictions]], rtol=1e-12)


def test_fused_attention_alone_is_drawn_by_the_spread_of_its_kernel():
    objective = dataclasses.replace(OBJECTIVE, attention="fused")
    short, long = (
        Architecture.from_shape(
            d_model=512, n_layers=6, d_head=32, seq_len=n, batch_size=2**17 // n
        )
        for n in (128, 2**17)
    )
    spreads = []
    for arch in (short, long):
        prediction = objective.predict(arch)
        many = dataclasses.replace(CERTAIN, seconds_per_unit=np.repeat(SECONDS, 4000, axis=0))
        losses = draw_losses(objective, stacked([arch]), stacked([prediction]), many)
        parts = objective.device.step_time_model.step_time_by_part(
            arch, prediction.execution, kind=objective.device.kind
        )
        share = (parts["scores"] + parts["weighted_values"]) / sum(parts.values())
        # How far a draw's tokens, and with them its loss, are from the predicted.
        fewer = (losses[:, 0] - LAW.E - LAW.A / prediction.n_params**LAW.alpha) / LAW.B
        tokens = fewer ** (-1 / LAW.beta)
        spreads.append((share, np.std(np.log(tokens))))
        assert np.median(tokens) == pytest.approx(prediction.n_tokens, rel=0.02)
    (few, narrow), (most, wide) = spreads
    assert few < 0.25 < 0.9 < most
    assert narrow == pytest.approx(KERNEL_SPREAD * few, rel=0.1)
    assert wide == pytest.approx(KERNEL_SPREAD * most, rel=0.1)


def test_fused_attention_that_was_timed_is_drawn_by_its_coefficient():
    device, timed = OBJECTIVE.device, OBJECTIVE.device.step_time_model
    seconds = timed.seconds_per_unit | {"attention": 2 * timed.seconds_per_unit["flops"]}
    model = dataclasses.replace(timed, seconds_per_unit=seconds)
    device = dataclasses.replace(device, step_time=model, basis="measured")
    objective = dataclasses.replace(OBJECTIVE, device=device, attention="fused")
    predictions = [objective.predict(arch) for arch in ARCHS]
    certain = dataclasses.replace(CERTAIN, seconds_per_unit=np.array([list(seconds.values())]))
    losses = draw_losses(objective, stacked(ARCHS), stacked(predictions), certain)
    np.testing.assert_allclose(losses, [[p.predicted_loss for p in predictions]], rtol=1e-12)


def test_another_corpus_s_level_widens_its_own_interval_and_nothing_else():
    elsewhere = dataclasses.replace(OBJECTIVE, law=dataclasses.replace(LAW, level_std=0.25))
    many = dataclasses.replace(CERTAIN, laws=np.repeat(NUMBERS, 4000, axis=0), time_residual=0.05)
    here = rank(OBJECTIVE, ARCHS, PREDICTIONS, many)
    there = rank(elsewhere, ARCHS, PREDICTIONS, many)
    for own, other, predicted in zip(here, there, PREDICTIONS, strict=True):
        ends = {"elsewhere_low": own.loss_low, "elsewhere_high": own.loss_high}
        assert dataclasses.replace(other, **ends) == own
        # 1.96 standard deviations either way, in log.
        there = np.array([other.elsewhere_low, other.elsewhere_high])
        ends = np.log(there / predicted.predicted_loss)
        assert ends == pytest.approx([-0.49, 0.49], abs=0.03)


def test_a_shared_shift_moves_levels_and_not_differences():
    shifted = NUMBERS + np.outer(np.linspace(-0.1, 0.1, 101), [1, 0, 0, 0, 0])
    standings = rank(OBJECTIVE, ARCHS, PREDICTIONS, dataclasses.replace(CERTAIN, laws=shifted))
    predicted = [p.predicted_loss for p in PREDICTIONS]
    for standing, loss in zip(standings, predicted, strict=True):
        assert standing.loss_low == pytest.approx(loss - 0.095)
        assert standing.loss_high == pytest.approx(loss + 0.095)
        assert standing.behind_low == pytest.approx(loss - predicted[0])
        assert standing.behind_high == pytest.approx(loss - predicted[0])


def test_equal_candidates_are_tied_and_share_the_chance():
    draws = dataclasses.replace(CERTAIN, laws=np.repeat(NUMBERS, 4000, axis=0), law_residual=0.01)
    standings = rank(OBJECTIVE, [ARCHS[0]] * 4, [PREDICTIONS[0]] * 4, draws)
    # Four equal chances, each with a standard error of 0.7%.
    assert [s.p_best for s in standings] == pytest.approx([0.25] * 4, abs=0.03)
    assert sum(s.p_best for s in standings) == pytest.approx(1)
    assert all(s.tied for s in standings)


def test_the_first_alone_where_the_others_never_win():
    order = np.argsort([p.predicted_loss for p in PREDICTIONS])
    archs, predictions = [ARCHS[i] for i in order], [PREDICTIONS[i] for i in order]
    standings = rank(OBJECTIVE, archs, predictions, CERTAIN)
    assert [s.tied for s in standings] == [True, False, False]
    assert [s.p_best for s in standings] == [1, 0, 0]


def test_the_law_s_spread_at_one_candidate_is_that_of_its_residual():
    draws = dataclasses.replace(CERTAIN, laws=np.repeat(NUMBERS, 20_000, axis=0), law_residual=0.02)
    losses = draw_losses(OBJECTIVE, stacked(ARCHS[:1]), stacked(PREDICTIONS[:1]), draws)
    # The standard error of a standard deviation over 20,000 draws is 0.5% of it.
    assert np.log(losses).std() == pytest.approx(0.02, rel=0.03)


def test_a_datasheet_s_rates_stay_within_the_stated_spread():
    ratio = datasheet_draws(OBJECTIVE.device)[:, :2] / SECONDS[:, :2]
    shares = OBJECTIVE.device.utilisation / ratio
    assert shares.min() >= 0.5
    assert shares.max() <= 0.9
    correlations: np.ndarray = np.asarray(np.corrcoef(shares, rowvar=False))
    assert abs(correlations[0, 1]) < 0.2


def test_a_gpu_s_level_alone_is_drawn_where_others_say_its_rates():
    device = load_device("rtx-4090")
    draws = datasheet_draws(device, n_draws=20_000)
    seconds = np.array(list(device.step_time_model.seconds_per_unit.values()))
    timed = seconds > 0
    off = np.log(draws[:, timed] / seconds[timed])
    np.testing.assert_allclose(off, off[:, :1].repeat(off.shape[1], axis=1), atol=1e-12)
    assert off[:, 0].std() == pytest.approx(CARD_SPREAD, rel=0.03)


def test_terms_of_the_law_are_drawn_too():
    law = dataclasses.replace(LAW, terms={"inverse_depth": 0.3})
    objective = dataclasses.replace(OBJECTIVE, law=law)
    laws = np.column_stack([NUMBERS, [0.3]])
    draws = dataclasses.replace(CERTAIN, laws=laws)
    losses = draw_losses(objective, stacked(ARCHS), stacked(PREDICTIONS), draws)
    expected = [objective.predict(arch).predicted_loss for arch in ARCHS]
    np.testing.assert_allclose(losses[0], expected, rtol=1e-12)


def test_a_table_must_hold_finite_numbers():
    with pytest.raises(ValueError, match="`laws` must be a table of finite numbers"):
        dataclasses.replace(CERTAIN, laws=NUMBERS * np.nan)
