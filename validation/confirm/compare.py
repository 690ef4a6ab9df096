"""Predicted beside measured: agreement, regret of the predicted winner, seed noise."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from ...search.candidate import Candidate
from ...space.architecture import Architecture
from ...space.sparse import names_of
from ..runs import Run


@dataclasses.dataclass(frozen=True, kw_only=True)
class Trained:
    """One architecture: why it was trained, what was predicted, and its runs, one a seed.

    Attributes:
        label: width × depth, and what else tells it from the others.
        role: `top`, `contrast`, or what `choose` calls it.
        candidate: the prediction for the time that it was trained.
        runs: what came out.
    """

    label: str
    role: str
    candidate: Candidate
    runs: Sequence[Run]

    @property
    def losses(self) -> list[float]:
        """Held-out losses of the runs that ended well."""
        return [run.measured_loss for run in self.runs if run.measured_loss is not None]

    @property
    def measured_loss(self) -> float | None:
        """Their mean, nats per token; None where no run ended well."""
        return float(np.mean(self.losses)) if self.losses else None

    @property
    def step_time_s(self) -> float | None:
        """Median over the runs of the measured step time."""
        times = [run.step_time_s for run in self.runs if run.step_time_s is not None]
        return float(np.median(times)) if times else None

    @property
    def n_tokens(self) -> float | None:
        """Mean over the runs that ended well of the tokens trained on."""
        tokens = [run.n_tokens for run in self.runs if run.measured_loss is not None]
        return float(np.mean(tokens)) if tokens else None

    @property
    def failures(self) -> str:
        """Which runs did not end well, as in `1 of 3 diverged`."""
        failed = [run.status for run in self.runs if run.measured_loss is None]
        return ", ".join(
            f"{failed.count(status)} of {len(self.runs)} {status.replace('_', ' ')}"
            for status in sorted(set(failed))
        )

    def as_dict(self) -> dict[str, Any]:
        """One row of a table; predictions and measurements by the same names."""
        prediction = self.candidate.prediction
        return {
            "label": self.label,
            "role": self.role,
            **self.candidate.arch.as_dict(),
            "n_params": int(prediction.n_params),
            "predicted_step_time_s": float(prediction.step_time_s),
            "step_time_s": self.step_time_s,
            "predicted_n_tokens": int(prediction.n_tokens),
            "n_tokens": self.n_tokens,
            "predicted_loss": float(self.candidate.loss),
            "measured_loss": self.measured_loss,
            "n_seeds": len(self.runs),
            "failures": self.failures,
        }


@dataclasses.dataclass(frozen=True, kw_only=True)
class Agreement:
    """How predictions agree with measurements; None where the points are too few to say.

    Attributes:
        n: points.
        r_squared: 1 - squared errors / squared deviations from the mean: 1 is perfect, and below 0
            the mean would have predicted better.
        r_squared_of_line: the squared correlation, which forgives a wrong level and scale.
        spearman: rank correlation.
        spearman_p: the chance of one as far from 0 among unrelated numbers.
        mean_error: of predicted less measured.
        mean_absolute_error: likewise, without the sign.
    """

    n: int
    r_squared: float | None = None
    r_squared_of_line: float | None = None
    spearman: float | None = None
    spearman_p: float | None = None
    mean_error: float | None = None
    mean_absolute_error: float | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Comparison:
    """What training says of the predictions.

    Attributes:
        models: best measured first; those without a loss come last.
        loss: agreement of the losses, nats per token.
        log_step_time: agreement of the natural logarithms of the step times.
        regret_nats: loss of the predicted winner above the best measured; None where it has none.
        seed_noise_nats: standard deviation over seeds, pooled over models; None with one seed.
    """

    models: list[Trained]
    loss: Agreement
    log_step_time: Agreement
    regret_nats: float | None
    seed_noise_nats: float | None

    @property
    def winner(self) -> Trained:
        """The model with the lowest predicted loss."""
        return min(self.models, key=lambda model: model.candidate.loss)

    @property
    def best(self) -> Trained:
        """The model with the lowest measured loss."""
        return self.models[0]

    @property
    def regret_share(self) -> float | None:
        """Regret as a share of the best measured loss."""
        best = self.best.measured_loss
        return None if self.regret_nats is None or best is None else self.regret_nats / best

    @property
    def frame(self) -> pd.DataFrame:
        """One row a model."""
        return pd.DataFrame([model.as_dict() for model in self.models])

    def as_dict(self) -> dict[str, Any]:
        """The comparison as one JSON object."""
        return {
            "predicted_winner": self.winner.label,
            "best_measured": self.best.label,
            "regret_nats": self.regret_nats,
            "regret_share": self.regret_share,
            "seed_noise_nats": self.seed_noise_nats,
            "loss": dataclasses.asdict(self.loss),
            "log_step_time": dataclasses.asdict(self.log_step_time),
            "models": [
                model.as_dict() | {"measured_losses": model.losses} for model in self.models
            ],
        }


def compare(models: Sequence[Trained]) -> Comparison:
    """Set predictions beside measurements.

    Raises:
        ValueError: there is no model.
    """
    if not models:
        raise ValueError("a comparison must have at least one trained model, but got none")
    ordered = sorted(models, key=lambda model: (_or_inf(model.measured_loss), model.candidate.loss))
    winner = min(models, key=lambda model: model.candidate.loss).measured_loss
    times = [(m.candidate.prediction.step_time_s, m.step_time_s) for m in ordered]
    return Comparison(
        models=ordered,
        loss=agreement([(m.candidate.loss, m.measured_loss) for m in ordered]),
        log_step_time=agreement([(math.log(p), m and math.log(m)) for p, m in times]),
        regret_nats=None if winner is None else winner - _or_inf(ordered[0].measured_loss),
        seed_noise_nats=pooled_std([model.losses for model in models]),
    )


def agreement(pairs: Sequence[tuple[float, float | None]]) -> Agreement:
    """Compare (predicted, measured) pairs; those without a measurement are left out."""
    known = np.array([pair for pair in pairs if pair[1] is not None], dtype=float).reshape(-1, 2)
    predicted, measured = known.T
    n, errors = len(known), predicted - measured
    if n == 0:
        return Agreement(n=0)
    means = {
        "mean_error": float(errors.mean()),
        "mean_absolute_error": float(np.abs(errors).mean()),
    }
    if n < 3 or not np.ptp(predicted) or not np.ptp(measured):
        return Agreement(n=n, **means)
    spearman, spearman_p = stats.spearmanr(predicted, measured)
    return Agreement(
        n=n,
        r_squared=float(1 - (errors**2).sum() / ((measured - measured.mean()) ** 2).sum()),
        r_squared_of_line=float(np.corrcoef(predicted, measured)[0, 1] ** 2),
        spearman=float(spearman),  # type: ignore[arg-type]
        spearman_p=float(spearman_p),  # type: ignore[arg-type]
        **means,
    )


def pooled_std(groups: Sequence[Sequence[float]]) -> float | None:
    """Standard deviation around the groups' own means; None where no group has two values."""
    freedom = sum(max(len(group) - 1, 0) for group in groups)
    squares = sum(((np.array(group) - np.mean(group)) ** 2).sum() for group in groups if group)
    return float(math.sqrt(squares / freedom)) if freedom else None


def labels(archs: Sequence[Architecture]) -> list[str]:
    """Width × depth of each, and every other field in which those of one shape differ."""
    texts = []
    for arch in archs:
        twins = [a for a in archs if (a.d_model, a.n_layers) == (arch.d_model, arch.n_layers)]
        differing = [
            name for name in names_of(arch) if len({getattr(twin, name) for twin in twins}) > 1
        ]
        texts.append(
            " ".join(
                [f"{arch.d_model}×{arch.n_layers}"]
                + [f"{name}={getattr(arch, name)}" for name in differing]
            )
        )
    return texts


def _or_inf(value: float | None) -> float:
    return math.inf if value is None else value
