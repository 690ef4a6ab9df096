"""Timed steps as least squares: coefficients between their bounds, near to what others fitted."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize import nnls

from ..cost.features import ROOFLINE
from ..cost.step_time import MODELS

if TYPE_CHECKING:
    from .step_time import Steps

# FLOPs in the time of one memory copy: from 1 to a thousand, in steps of a fifth.
RIDGES = 2.0 ** np.arange(0, 10.01, 0.25)
# A coefficient that others fitted to the same hardware may be off by so much beside a common level,
# and a measured step by so much: a standard deviation each; presets scatter by 4 to 8% held out.
PRIOR_OFF, STEP_OFF = 0.3, 0.05
# Rounds in which the levels of several trainers settle.
LEVEL_ROUNDS = 20
# Another ridge than the usual one is taken if it lowers the error by so much of it: steps that are
# all bound by FLOPs fit any ridge alike.
RIDGE_PAYS = 0.01


@dataclasses.dataclass(frozen=True, kw_only=True)
class Problem:
    """Steps as least squares: units by ridge, the usual one first, and what bounds the solution."""

    units: dict[float, np.ndarray]
    measured_s: np.ndarray
    least: np.ndarray
    most: np.ndarray
    trainer: np.ndarray
    levels: np.ndarray
    prior: np.ndarray

    @classmethod
    def of(cls, steps: Steps, name: str, ridges: Iterable[float] | None = None) -> Problem:
        """With the levels at which the trainers are alike; their logarithms add up to 0."""
        known = {} if steps.prior is None else steps.prior.seconds_per_unit
        if steps.prior is not None:
            ridges = [steps.prior.ridge]
        if ridges is None:
            has_roof = ROOFLINE in MODELS[name]
            ridges = [steps.usual_ridge or RIDGES[0], *RIDGES] if has_roof else [0.0]
        trainer = steps.trainer
        one = cls(
            units={ridge: steps.units(name, ridge) for ridge in ridges},
            measured_s=steps.measured_s,
            least=steps.least(name),
            most=steps.most(name),
            trainer=np.zeros(len(steps.measured_s), int) if trainer is None else trainer,
            levels=np.ones(1 if trainer is None else int(trainer.max()) + 1),
            prior=np.array([known.get(feature, 0.0) for feature in steps.features(name)]),
        )
        return one._settled() if len(one.levels) > 1 else one

    @property
    def level(self) -> np.ndarray:
        """Of each step's trainer."""
        return self.levels[self.trainer]

    def _settled(self) -> Problem:
        one = self
        for _ in range(LEVEL_ROUNDS):
            ridge, seconds = one.solve(np.full(len(one.measured_s), True))
            off = np.log(one.measured_s / (one.units[ridge] @ seconds))
            means = np.array([off[one.trainer == i].mean() for i in range(len(one.levels))])
            one = dataclasses.replace(one, levels=np.exp(centred(means)))
        return one

    def solve(self, rows: np.ndarray) -> tuple[float, np.ndarray]:
        """The ridge and the coefficients of least relative error on some rows.

        The first ridge is the usual one, which another must beat by `RIDGE_PAYS`.
        """
        best: tuple[float, float, np.ndarray] | None = None
        bar = np.inf
        alike_s = self.measured_s / self.level
        for ridge, matrix in self.units.items():
            relative = matrix[rows] / alike_s[rows, None]
            seconds, error = _bounded(*self._with_prior(relative), self.least, self.most)
            if best is None or error < bar:
                bar = error if best else (1 - RIDGE_PAYS) * error
                best = error, ridge, seconds
        assert best is not None
        return best[1:]

    def _with_prior(self, relative: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Sums that should be 1, and a row for each known coefficient, which should be itself."""
        target, known = np.ones(len(relative)), self.prior > 0
        if not np.any(known):
            return relative, target
        weight = STEP_OFF / PRIOR_OFF
        level = np.exp(-np.log(relative @ self.prior).mean())
        rows = weight * np.diag(1 / np.where(known, level * self.prior, np.inf))[known]
        return np.concatenate([relative, rows]), np.append(target, np.full(len(rows), weight))


def _bounded(
    relative: np.ndarray, target: np.ndarray, least: np.ndarray, most: np.ndarray
) -> tuple[np.ndarray, float]:
    """The coefficients between their bounds whose sums come nearest to a target, and how near.

    One that would go beyond its `most` stays there: with one such feature that is the optimum.
    """
    # FLOPs and steps differ by ten orders of magnitude; what no row has stays at 0.
    scale = np.maximum(relative.mean(axis=0), np.finfo(float).tiny)

    def above(base: np.ndarray, free: np.ndarray) -> tuple[np.ndarray, float]:
        rest, error = nnls(free * relative / scale, target - relative @ base)
        return base + rest / scale, error

    seconds, error = above(least, np.ones(len(least)))
    over = seconds > most
    return above(np.where(over, most, least), ~over) if np.any(over) else (seconds, error)


def centred(values: np.ndarray) -> np.ndarray:
    """Values less their mean."""
    return values - values.mean()
