"""Optuna's exploration of a space, with the predicted loss at a fixed time as its objective.

The sampler works in memory on the unit cube of `SearchSpace.decode`, where every point is a valid
architecture. What it has evaluated goes to the storage in batches, as trials whose parameters are
the architecture's own fields: fast to write, readable in a dashboard, and free of the pickled
state that some samplers keep in a study.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import FrozenTrial, create_trial

from ..objectives.loss_at_time import LossAtTime
from ..space.architecture import BOOL_FIELDS, FIELDS, Architecture
from ..space.search_space import SearchSpace
from .candidate import Candidate
from .polish import polish
from .samplers import CONSTRAINED, CONVERGING, make_sampler
from .storage import open_storage

# Trials between two writes to the storage; a kill loses at most these.
BATCH = 64
# Random models that `auto` starts from, fewer than a batch.
N_START = 60
# Suggestions of models seen before, in a row, after which one is drawn at random instead.
MAX_REPEATS = 16
# Added to the loss of a model that does not fit, more the less it fits.
PENALTY = 10.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Exploration:
    """What Optuna found.

    Attributes:
        candidates: every feasible architecture evaluated, best first, the polished best included.
        n_trials: distinct architectures evaluated, kept ones from earlier sessions included.
        n_repeats: suggestions that had been evaluated before; they count for nothing.
    """

    candidates: list[Candidate]
    n_trials: int
    n_repeats: int

    @property
    def best(self) -> Candidate:
        """The best candidate after the polish, where anything tried was feasible."""
        return self.candidates[0]


def explore(
    space: SearchSpace,
    objective: LossAtTime,
    *,
    n_trials: int,
    sampler: str = "auto",
    seed: int = 0,
    storage: str | None = None,
    study_name: str = "anybudget",
    on_progress: Callable[[int], None] = lambda n: None,
) -> Exploration:
    """Search a space with Optuna until `n_trials` distinct architectures have been evaluated.

    Args:
        space: where to look.
        objective: what to minimise.
        n_trials: distinct architectures to evaluate; with a storage, those kept there count.
        sampler: one of `SAMPLERS`; `auto` polishes the best of a few random models, then looks
            for better ones with NSGA-II.
        seed: of all randomness; the same seed without a storage gives the same search.
        storage: where trials are kept, a URL or the path of a journal file; None: nowhere.
        study_name: under which name.
        on_progress: called with the number of trials since the last call, the kept ones first.

    Raises:
        ValueError: `n_trials` is not positive, or the kept study asked another question.
    """
    if n_trials < 1:
        raise ValueError(f"`n_trials` must be at least 1, but got {n_trials}")
    make_sampler(sampler, seed=seed, n_coordinates=len(space.free_coordinates))  # or refuse now
    with quiet_optuna():
        search = _Search(space, objective, sampler, seed)
        if storage is not None:
            search.keep_in(storage, study_name)
            on_progress(search.n_trials)
        n_trials = min(n_trials, space.n_architectures)
        while search.n_trials < n_trials:
            before = search.n_trials
            search.run_batch(min(BATCH, n_trials - before))
            on_progress(search.n_trials - before)
    return search.finish()


class _Search:
    """An exploration under way."""

    def __init__(self, space: SearchSpace, objective: LossAtTime, sampler: str, seed: int) -> None:
        self.space, self.objective, self.sampler = space, objective, sampler
        self.rng = np.random.default_rng(seed)
        self.seen: dict[tuple, Candidate] = {}
        self.n_repeats = self.repeats_in_a_row = 0
        self.kept: optuna.Study | None = None
        self.n_kept = 0
        self.cube: dict[str, BaseDistribution] = {
            name: FloatDistribution(0, 1) for name in space.free_coordinates
        }
        self.study: optuna.Study | None = None

    @property
    def n_trials(self) -> int:
        return len(self.seen)

    def keep_in(self, storage: str, study_name: str) -> None:
        """Take up what a storage holds of this question, and write to it from now on."""
        study = optuna.create_study(
            storage=open_storage(storage), study_name=study_name, load_if_exists=True
        )
        question = fingerprint(self.space, self.objective)
        asked = study.user_attrs.get("question")
        if asked is None and not study.get_trials(deepcopy=False):
            study.set_user_attr("question", question)
        elif asked != question:
            raise ValueError(
                f"study {study_name!r} in {storage} searched another space, budget, device or law; "
                "give it another --study name"
            )
        self.kept = study
        self._read_kept()

    def run_batch(self, size: int) -> None:
        """Evaluate `size` new architectures and write them to the storage."""
        fresh: list[Candidate] = []
        if self.study is None:
            fresh += self._start(size)
        while len(fresh) < size and self.n_trials < self.space.n_architectures:
            candidate = self._suggest()
            if candidate:
                fresh.append(candidate)
        if self.kept:
            self.kept.add_trials([self._kept_trial(candidate) for candidate in fresh])
            self._read_kept(n_own=len(fresh))

    def finish(self) -> Exploration:
        """Polish the best and sum up."""
        feasible = [c for c in self.seen.values() if c.prediction.feasible]
        feasible.sort(key=lambda candidate: candidate.loss)
        if feasible:
            best = polish(feasible[0], self.space, self.objective)
            if best.key != feasible[0].key:
                feasible.insert(0, best)
        return Exploration(candidates=feasible, n_trials=self.n_trials, n_repeats=self.n_repeats)

    def _start(self, size: int) -> list[Candidate]:
        """Open the sampler's study; `auto` first polishes the best of a random few."""
        fresh = []
        if self.sampler == "auto" and not self.seen:
            fresh = [self._random() for _ in range(min(N_START, size))]
            best = polish(min(fresh, key=self._score), self.space, self.objective)
            if best.key not in self.seen and len(fresh) < size:
                fresh.append(self._note(best))
        self.study = self._open_study()
        self.study.add_trials([self._cube_trial(candidate) for candidate in self.seen.values()])
        return fresh

    def _open_study(self) -> optuna.Study:
        seed = int(self.rng.integers(2**31))
        sampler = make_sampler(self.sampler, seed=seed, n_coordinates=len(self.cube))
        return optuna.create_study(sampler=sampler)

    def _suggest(self) -> Candidate | None:
        """Ask, evaluate and tell one suggestion; None where it was seen before."""
        assert self.study is not None
        if self.repeats_in_a_row >= MAX_REPEATS:
            self.repeats_in_a_row = 0
            if isinstance(self.study.sampler, CONVERGING):
                self.study = self._open_study()  # it has converged: start it anew
            candidate = self._random()
            self.study.add_trial(self._cube_trial(candidate))
            return candidate
        trial = self.study.ask(self.cube)
        arch = self.space.decode(trial.params)
        seen = self.seen.get(Candidate.key_of(arch))
        candidate = seen or self._note(Candidate.of(arch, self.objective))
        if isinstance(self.study.sampler, CONSTRAINED):
            trial.set_constraint("feasible", self._excess(candidate))
        self.study.tell(trial, self._score(candidate))
        self.n_repeats += seen is not None
        self.repeats_in_a_row = self.repeats_in_a_row + 1 if seen else 0
        return None if seen else candidate

    def _random(self) -> Candidate:
        """A new architecture drawn at random."""
        while True:
            arch = self.space.decode(dict.fromkeys(self.cube, 0.0) | self._random_position())
            if Candidate.key_of(arch) not in self.seen:
                return self._note(Candidate.of(arch, self.objective))

    def _random_position(self) -> dict[str, float]:
        return dict(zip(self.cube, self.rng.random(len(self.cube)).tolist(), strict=True))

    def _note(self, candidate: Candidate) -> Candidate:
        return self.seen.setdefault(candidate.key, candidate)

    def _excess(self, candidate: Candidate) -> float:
        """How far it is from feasible; at most 0 where it is."""
        if candidate.prediction.feasible:
            return 0.0
        needed = candidate.prediction.memory_bytes / self.objective.device.memory_bytes
        late = candidate.prediction.step_time_s / self.objective.time_budget_s
        return max(needed, late, 1.0)

    def _score(self, candidate: Candidate) -> float:
        """What the sampler minimises: the loss, and more where the model is not feasible."""
        excess = self._excess(candidate)
        return candidate.loss + (PENALTY * (1 + math.log(excess)) if excess else 0.0)

    def _cube_trial(self, candidate: Candidate) -> FrozenTrial:
        position = self.space.encode(candidate.arch)
        return create_trial(
            value=self._score(candidate),
            params={name: position[name] for name in self.cube},
            distributions=self.cube,
            constraints={"feasible": self._excess(candidate)},
        )

    def _kept_trial(self, candidate: Candidate) -> FrozenTrial:
        row = candidate.as_dict()
        searched = _native_distributions(self.space)
        return create_trial(
            value=candidate.loss,
            params={name: row[name] for name in searched},
            distributions=searched,
            constraints={"feasible": self._excess(candidate)},
            user_attrs={name: row[name] for name in row if name not in FIELDS},
        )

    def _read_kept(self, n_own: int = 0) -> None:
        """Note the trials that the storage holds beyond those read before; `n_own` are ours."""
        assert self.kept is not None
        trials = self.kept.get_trials(deepcopy=False)
        new = trials[self.n_kept :]
        fixed = {name: getattr(self.space, name)[0] for name in FIELDS}
        theirs = [
            self._note(candidate)
            for trial in new
            for candidate in [Candidate.of(Architecture(**(fixed | trial.params)), self.objective)]
            if candidate.key not in self.seen
        ]
        self.n_kept = len(trials)
        if self.study and len(new) > n_own:
            # Another process is at work, perhaps with this seed and so with these very trials.
            self.study.add_trials([self._cube_trial(candidate) for candidate in theirs])
            self.study.sampler.reseed_rng()
            self.rng = np.random.default_rng()


def fingerprint(space: SearchSpace, objective: LossAtTime) -> str:
    """A hash of the question that a search answers: its space and its objective."""
    question = json.dumps(
        [dataclasses.asdict(space), dataclasses.asdict(objective)], sort_keys=True
    )
    return hashlib.sha256(question.encode()).hexdigest()[:16]


def _native_distributions(space: SearchSpace) -> dict[str, BaseDistribution]:
    """The searched fields' ranges, for a study that people read."""
    ranges: dict[str, BaseDistribution] = {}
    for name in FIELDS:
        values: tuple[Any, ...] = getattr(space, name)
        if len(values) > 1:
            ranges[name] = (
                CategoricalDistribution(values)
                if name in BOOL_FIELDS
                else IntDistribution(values[0], values[-1])
            )
    return ranges


@contextlib.contextmanager
def quiet_optuna() -> Iterator[None]:
    """Without Optuna's line for every study."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)
