"""Scores against their definitions, and a verdict that says no more than the numbers do."""

import datetime

import numpy as np
import pytest

from anybudget.objectives.cost.execution import PLAIN
from anybudget.search.candidate import Candidate
from anybudget.space.architecture import Architecture
from anybudget.validation.confirm.compare import Trained, agreement, compare, labels, pooled_std
from anybudget.validation.confirm.verdict import verdict
from anybudget.validation.runs import Run

WIDTHS = (64, 128, 192, 256, 320)


def make_run(arch, seed, loss):
    return Run(
        **arch.as_dict(),
        **PLAIN.columns(arch),
        corpus="python",
        corpus_fingerprint="00ff",
        seed=seed,
        device="toy",
        recipe="adamw",
        learning_rate=1e-3,
        time_budget_s=60.0,
        n_params=100,
        n_params_non_embedding=60,
        status="ok" if loss else "diverged",
        n_steps=100,
        n_tokens=12_800,
        step_time_s=0.5,
        measured_loss=loss,
        started=datetime.datetime(2025, 1, 2, tzinfo=datetime.UTC),
        versions="jax",
    )


@pytest.fixture
def make(objective):
    """Models of rising width, whose measured losses are given, a list of seeds each."""

    def build(*losses):
        models = []
        for d_model, of_seeds in zip(WIDTHS, losses, strict=False):
            arch = Architecture.from_shape(
                d_model=d_model, n_layers=2, vocab_size=1000, seq_len=64, batch_size=4
            )
            runs = [make_run(arch, seed, loss) for seed, loss in enumerate(of_seeds)]
            models.append(
                Trained(
                    label=f"{d_model}×2",
                    role="top",
                    candidate=Candidate.of(arch, objective),
                    runs=runs,
                )
            )
        return models

    return build


def say(models):
    return verdict(compare(models), corpus="python", law_corpus="python")


def test_agreement_follows_its_definitions():
    predicted, measured = np.array([3.0, 3.5, 3.2, 4.0]), np.array([3.1, 3.3, 3.4, 4.2])
    found = agreement([*zip(predicted, measured, strict=True), (9.0, None)])
    assert found.n == 4
    errors = ((measured - predicted) ** 2).sum() / (4 * np.var(measured))
    assert found.r_squared == pytest.approx(1 - errors)
    line = np.polyval(np.polyfit(predicted, measured, 1), predicted)
    unexplained = ((measured - line) ** 2).sum() / (4 * np.var(measured))
    assert found.r_squared_of_line == pytest.approx(1 - unexplained)
    # Ranks 1 3 2 4 against 1 2 3 4: 1 - 6 * 2 / (4 * 15).
    assert found.spearman == pytest.approx(0.8)
    assert found.mean_error == pytest.approx(-0.075)
    assert found.mean_absolute_error == pytest.approx(0.175)


def test_a_shifted_level_costs_r_squared_and_not_the_ranking():
    found = agreement([(value + 5, value) for value in (1.0, 2.0, 4.0)])
    assert found.r_squared is not None
    assert found.r_squared < 0
    assert found.spearman == pytest.approx(1.0)
    assert found.r_squared_of_line == pytest.approx(1.0)


@pytest.mark.parametrize(
    "pairs", [[], [(1.0, 2.0)], [(1.0, 2.0), (2.0, 3.0)], [(1.0, 3.0)] * 3, [(1.0, None)] * 9]
)
def test_too_little_to_agree_on(pairs):
    found = agreement(pairs)
    assert found.spearman is None
    assert found.r_squared is None


def test_pooled_std():
    groups = [[3.0, 3.2], [5.0, 5.1, 4.9], [7.0], []]
    # Squares 0.02 with one degree of freedom, and 0.02 with two.
    assert pooled_std(groups) == pytest.approx((0.04 / 3) ** 0.5)
    assert pooled_std([[1.0], [2.0]]) is None


def test_order_regret_and_noise(make):
    models = make([4.0, 4.2], [3.9, 3.9], [5.0, 5.2])
    comparison = compare(models)
    assert [model.label for model in comparison.models] == ["128×2", "64×2", "192×2"]
    winner = min(models, key=lambda model: model.candidate.loss)
    assert comparison.winner is winner
    assert comparison.regret_nats == pytest.approx(np.mean(winner.losses) - 3.9)
    assert comparison.regret_share == pytest.approx((np.mean(winner.losses) - 3.9) / 3.9)
    assert comparison.seed_noise_nats == pytest.approx((0.04 / 3) ** 0.5)
    assert list(comparison.frame["measured_loss"]) == pytest.approx([3.9, 4.1, 5.1])


def by_prediction(make, losses):
    """Models given the losses in the order of their predictions, best predicted first."""
    order = np.argsort([model.candidate.loss for model in make(*losses)])
    of_model = dict(zip(order.tolist(), losses, strict=True))
    return make(*(of_model[i] for i in range(len(losses))))


def test_a_ranking_that_holds(make):
    models = by_prediction(make, [[3.0], [3.1], [3.2], [3.3], [3.4]])
    text = say(models)
    assert "came first of 5, 0.1000 nats ahead of" in text
    assert "one seed each cannot say whether that is more than seed noise" in text
    assert "the ranking held (Spearman 1.00 over 5 models)" in text


def test_a_ranking_that_does_not_hold(make):
    text = say(by_prediction(make, [[3.4], [3.3], [3.2], [3.1], [3.0]]))
    assert "came 5th of 5, 0.4000 nats (13.33%) behind" in text
    assert "the ranking was reversed (Spearman -1.00 over 5 models)" in text
    text = say(by_prediction(make, [[3.4], [3.0], [3.3], [3.2], [3.1]]))
    assert "the ranking cannot be told from chance (Spearman -0.40" in text


@pytest.mark.parametrize(
    ("spread", "word"), [(0.2, "within"), (0.06, "within"), (0.01, "more than")]
)
def test_regret_beside_seed_noise(make, spread, word):
    # With four degrees of freedom 0.2 nats are real beyond 2.78 standard errors of spread * 2**0.5.
    losses = [[value - spread, value + spread] for value in (3.2, 3.0, 3.4, 3.6)]
    text = say(by_prediction(make, losses))
    assert "came 2nd of 4, 0.2000 nats (6.67%) behind" in text
    assert f", {word} seed noise (std {spread * 2**0.5:.4f})" in text


def test_levels_of_another_text(make):
    comparison = compare(make([3.0], [3.1], [3.2]))
    same = verdict(comparison, corpus="python", law_corpus="python")
    other = verdict(comparison, corpus="python", law_corpus="C4")
    assert "only the ranking compares" not in same
    assert "the law is of C4 and training was on python, so only the ranking compares" in other
    error = np.mean([model.candidate.loss - model.losses[0] for model in comparison.models])
    assert f"predicted losses lie {abs(error):.3f} nats above the measured" in same


def test_runs_that_failed(make):
    comparison = compare(by_prediction(make, [[None, None], [3.0, None], [3.1, 3.2]]))
    assert comparison.regret_nats is None
    text = verdict(comparison, corpus="python", law_corpus="python")
    assert "has no loss (2 of 2 diverged)" in text
    assert "2 losses are too few to judge the ranking" in text
    assert [model.failures for model in comparison.models] == [
        "1 of 2 diverged",
        "",
        "2 of 2 diverged",
    ]
    assert comparison.log_step_time.n == 3


def test_every_run_failed_or_none_was_made(make):
    assert say(make([None])).endswith("has no loss (1 of 1 diverged).")
    assert say(make([3.0])).startswith("Only 64×2 has a loss")
    with pytest.raises(ValueError, match="at least one trained model"):
        compare([])


def test_labels_tell_twins_apart():
    shape = {"n_layers": 2, "d_model": 64}
    archs = [
        Architecture.from_shape(**shape, d_ff=128),
        Architecture.from_shape(**shape, d_ff=256),
        Architecture.from_shape(d_model=128, n_layers=2),
    ]
    assert labels(archs) == ["64×2 d_ff=128", "64×2 d_ff=256", "128×2"]
