"""What to try next: Optuna's samplers in memory, on the unit cube of `SearchSpace.decode`.

Every point of the cube is a valid architecture. A sampler may be asked for several architectures
before it is told of any, since another process may turn out to have taken some of them.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, FloatDistribution
from optuna.trial import FrozenTrial, Trial, TrialState, create_trial

from ...objectives.loss_at_time import LossAtTime
from ...space.architecture import Architecture
from ..candidate import Candidate
from ..question import Question
from .polish import polish
from .samplers import CONSTRAINED, CONVERGING, make_sampler

# Random models that `auto` starts from.
N_START = 60
# Suggestions of models known before, in a row, after which one is drawn at random instead.
MAX_REPEATS = 16
# Added to the loss of a model that does not fit, more the less it fits.
PENALTY = 10.0


class Proposer:
    """A sampler under way.

    Attributes:
        seen: every architecture evaluated, here or by others, by its key.
        pending: keys proposed and neither learnt nor withdrawn, each with the sampler's trial.
        taken: keys that others are about to evaluate.
        n_repeats: suggestions that had been evaluated before; they count for nothing.
    """

    def __init__(self, question: Question, sampler: str) -> None:
        """Refuse at once a sampler that there is not, or that cannot search this space."""
        space = question.space
        make_sampler(sampler, seed=0, n_coordinates=len(space.free_coordinates))
        self.space, self.objective, self.sampler = space, question.objective, sampler
        self.rng = np.random.default_rng(question.seed)
        self.seen: dict[tuple, Candidate] = {}
        self.pending: dict[tuple, Trial | None] = {}
        self.taken: Collection[tuple] = ()
        self.n_repeats = self.repeats_in_a_row = 0
        # Of architectures that nothing near them improves on.
        self._peaks: set[tuple] = set()
        self.cube: dict[str, BaseDistribution] = {
            name: FloatDistribution(0, 1) for name in space.free_coordinates
        }
        self.study: optuna.Study | None = None
        self.suggestions = self._suggestions()

    def propose(self, n: int) -> list[Architecture]:
        """Up to `n` new architectures; fewer where the next depends on how those turn out."""
        fresh: list[Architecture] = []
        while len(fresh) < n and self._n_known() < self.space.n_architectures:
            arch = next(self.suggestions)
            if arch is None:
                break
            self.pending.setdefault(Candidate.key_of(arch), None)
            fresh.append(arch)
        return fresh

    def learn(self, candidate: Candidate) -> None:
        """Note how an architecture turned out, proposed here or not."""
        self.seen.setdefault(candidate.key, candidate)
        trial = self.pending.pop(candidate.key, None)
        if trial:
            self._tell(trial, candidate)
        elif self.study:
            self.study.add_trial(self._cube_trial(candidate))

    def polished(self, candidate: Candidate) -> Candidate:
        """The best near a candidate; nothing is done where it is known to be that itself."""
        if candidate.key not in self._peaks:
            candidate = polish(candidate, self.space, self.objective)
            self._peaks.add(candidate.key)
        return candidate

    def withdraw(self, key: tuple) -> None:
        """Give up what was proposed: another process has it."""
        trial = self.pending.pop(key, None)
        if trial:
            trial.study.tell(trial, state=TrialState.FAIL)

    def diverge(self) -> None:
        """Leave the seed's path, on which other processes with that seed may be as well."""
        self.rng = np.random.default_rng()
        if self.study:
            self.study.sampler.reseed_rng()

    def _suggestions(self) -> Iterator[Architecture | None]:
        """New architectures for ever; None while those pending must be learnt first."""
        if self.sampler == "auto":
            while len(self.seen) + len(self.pending) < N_START:
                yield self._random()
            while self.pending:
                yield None
            best = self.polished(min(self.seen.values(), key=self._score))
            if not self._is_known(best.key):
                yield best.arch
            while self.pending:
                yield None
        self.study = study = self._open_study()
        study.add_trials([self._cube_trial(candidate) for candidate in self.seen.values()])
        while True:
            arch = self._suggest(self.study)
            if arch:
                yield arch

    def _suggest(self, study: optuna.Study) -> Architecture | None:
        """Ask for one suggestion; None where it is known."""
        if self.repeats_in_a_row >= MAX_REPEATS:
            self.repeats_in_a_row = 0
            if isinstance(study.sampler, CONVERGING):
                self.study = self._open_study()  # it has converged: start it anew
            return self._random()
        trial = study.ask(self.cube)
        arch = self.space.decode(trial.params)
        key = Candidate.key_of(arch)
        if not self._is_known(key):
            self.repeats_in_a_row = 0
            self.pending[key] = trial
            return arch
        self.repeats_in_a_row += 1
        if key in self.seen:
            self.n_repeats += 1
            self._tell(trial, self.seen[key])
        else:
            study.tell(trial, state=TrialState.FAIL)
        return None

    def _open_study(self) -> optuna.Study:
        seed = int(self.rng.integers(2**31))
        sampler = make_sampler(self.sampler, seed=seed, n_coordinates=len(self.cube))
        return optuna.create_study(sampler=sampler)

    def _random(self) -> Architecture:
        """A new architecture drawn at random."""
        while True:
            position = dict(zip(self.cube, self.rng.random(len(self.cube)).tolist(), strict=True))
            arch = self.space.decode(position)
            if not self._is_known(Candidate.key_of(arch)):
                return arch

    def _is_known(self, key: tuple) -> bool:
        return key in self.seen or key in self.pending or key in self.taken

    def _n_known(self) -> int:
        ours = self.seen.keys() | self.pending.keys() if self.taken else ()
        return len(self.seen) + len(self.pending) + sum(key not in ours for key in self.taken)

    def _tell(self, trial: Trial, candidate: Candidate) -> None:
        if isinstance(trial.study.sampler, CONSTRAINED):
            trial.set_constraint("feasible", excess(candidate, self.objective))
        trial.study.tell(trial, self._score(candidate))

    def _score(self, candidate: Candidate) -> float:
        """What the sampler minimises: the loss, and more where the model is not feasible."""
        over = excess(candidate, self.objective)
        return candidate.loss + (PENALTY * (1 + math.log(over)) if over else 0.0)

    def _cube_trial(self, candidate: Candidate) -> FrozenTrial:
        position = self.space.encode(candidate.arch)
        return create_trial(
            value=self._score(candidate),
            params={name: position[name] for name in self.cube},
            distributions=self.cube,
            constraints={"feasible": excess(candidate, self.objective)},
        )


def excess(candidate: Candidate, objective: LossAtTime) -> float:
    """How far a candidate is from feasible: 0 where it is, else the largest of its ratios."""
    if candidate.prediction.feasible:
        return 0.0
    needed = candidate.prediction.memory_bytes / objective.device.room_bytes
    late = candidate.prediction.step_time_s / objective.time_budget_s
    large = objective.counted_params(candidate.prediction) / objective.most_params
    return max(needed, late, large, 1.0)
