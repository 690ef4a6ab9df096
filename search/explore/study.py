"""Optuna's exploration of a space, with the predicted loss at a fixed time as its objective."""

from __future__ import annotations

import contextlib
import dataclasses
import random
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import optuna

from ...space.architecture import Architecture
from ..candidate import Candidate
from ..question import Question
from .proposer import Proposer
from .samplers import LEARNING

if TYPE_CHECKING:
    from .kept_study import KeptStudy

# Architectures evaluated at once, which takes little longer than one, and claimed at once, so that
# these are the most that wait for a process that died.
BATCH = 16
# As many where nobody else searches and the sampler learns from whole generations, if at all.
GENERATION = 50
# Longest time between two looks at what others do, while they do all that is left.
WAIT_S = 0.2


@dataclasses.dataclass(frozen=True, kw_only=True)
class Exploring:
    """How Optuna explores.

    Attributes:
        n_trials: distinct architectures to evaluate; with a storage, those kept there count, and
            those that other processes add meanwhile.
        sampler: one of `SAMPLERS`; `auto` polishes the best of a few random models, then looks
            for better ones with NSGA-II.
        storage: where trials are kept, a URL or the path of a journal file; None: nowhere.
        study_name: under which name.
    """

    n_trials: int = 300
    sampler: str = "auto"
    storage: str | None = None
    study_name: str = "anybudget"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Exploration:
    """What Optuna found.

    Attributes:
        candidates: every feasible architecture evaluated, best first, the polished best included.
        n_trials: distinct architectures evaluated, those of earlier and of other processes too.
        n_repeats: suggestions that had been evaluated before; they count for nothing.
        n_retried: trials finished here that a process had claimed before it died.
    """

    candidates: list[Candidate]
    n_trials: int
    n_repeats: int
    n_retried: int = 0

    @property
    def best(self) -> Candidate:
        """The best candidate after the polish, where anything tried was feasible."""
        return self.candidates[0]


def explore(
    question: Question,
    exploring: Exploring,
    on_progress: Callable[[int], None] = lambda n: None,
) -> Exploration:
    """Search a space with Optuna until enough distinct architectures have been evaluated.

    Args:
        question: where to look, what to minimise, and the seed of all randomness: the same seed
            gives the same search unless others share its study.
        exploring: how, how long, and where it is kept.
        on_progress: called with the number of trials since the last call, the kept ones first.

    Raises:
        ValueError: the number of trials is not positive, the kept study asked another question, or
            the storage cannot be opened or is lost on the way.
    """
    if exploring.n_trials < 1:
        raise ValueError(f"`n_trials` must be at least 1, but got {exploring.n_trials}")
    space, objective = question.space, question.objective
    proposer = Proposer(question, exploring.sampler)
    n_trials = min(exploring.n_trials, space.n_architectures)
    n_retried = 0
    with quiet_optuna():
        if exploring.storage is None:
            at_once = BATCH if exploring.sampler in LEARNING else GENERATION
            while n_missing := n_trials - len(proposer.seen):
                proposed = proposer.propose(min(at_once, n_missing))
                for candidate in Candidate.of_several(proposed, objective):
                    proposer.learn(candidate)
                on_progress(len(proposed))
        else:
            with _kept(question, exploring, exploring.storage) as kept:
                _search_with_others(proposer, kept, n_trials, on_progress)
                n_retried = kept.n_retried
    return _sum_up(proposer, n_retried)


def keep_answer(question: Question, exploring: Exploring, answer: Candidate) -> str | None:
    """Add an answer to the kept study, where there is one, for its best trial to be the answer.

    Returns:
        Why it could not be added: the storage was lost since; None where it was.
    """
    if exploring.storage is None:
        return None
    try:
        with quiet_optuna(), _kept(question, exploring, exploring.storage) as kept:
            kept.write_answer(answer)
    except ValueError as error:
        return f"the study lacks this answer: {error}"
    return None


@contextlib.contextmanager
def _kept(question: Question, exploring: Exploring, storage: str) -> Iterator[KeptStudy]:
    """The kept study, open; most questions keep none, and need no storage's libraries."""
    from .kept_study import KeptStudy
    from .storage import storage_failures

    with storage_failures(storage), KeptStudy(storage, exploring.study_name, question) as kept:
        yield kept


def _search_with_others(
    proposer: Proposer, kept: KeptStudy, n_trials: int, on_progress: Callable[[int], None]
) -> None:
    """Claim, evaluate and write batches until the study has its trials, whoever adds them."""
    left: list[Architecture] = []
    n_told = 0
    for candidate in kept.look():
        proposer.learn(candidate)
    proposer.taken = kept.taken
    while True:
        on_progress(len(proposer.seen) - n_told)
        n_told = len(proposer.seen)
        if n_told >= n_trials:
            return
        # What is left may be what a dead process had claimed, and so may what is proposed.
        wanted = list(dict.fromkeys([*left, *kept.abandoned[:BATCH]]))
        n_missing = n_trials - len(kept.done | kept.taken) - len(wanted)
        fresh = proposer.propose(min(BATCH - len(wanted), n_missing))
        wanted = list(dict.fromkeys([*wanted, *fresh]))
        if wanted or kept.mine:
            # Two that claim the same, and are refused it, would wait for each other's claim to age.
            kept.claim(wanted)
        _meet(proposer, kept)
        granted = kept.granted(n_trials)
        left = _evaluate(proposer, kept, granted)
        for key in set(proposer.pending) - {Candidate.key_of(arch) for arch in left}:
            proposer.withdraw(key)
        if not granted:
            time.sleep(random.uniform(0, WAIT_S))  # unlike for each: they have met


def _meet(proposer: Proposer, kept: KeptStudy) -> None:
    """Learn what other processes found, and go other ways than they."""
    others = kept.look()
    for candidate in others:
        proposer.learn(candidate)
    proposer.taken = kept.taken
    if others or kept.taken:
        proposer.diverge()


def _evaluate(
    proposer: Proposer, kept: KeptStudy, granted: list[Architecture]
) -> list[Architecture]:
    """Evaluate what is granted while the claim holds; returns what is left then."""
    for i, arch in enumerate(granted):
        if kept.claims.is_old:
            return granted[i:]
        candidate = Candidate.of(arch, proposer.objective)
        kept.write(candidate)
        proposer.learn(candidate)
    return []


def _sum_up(proposer: Proposer, n_retried: int) -> Exploration:
    """Polish the best of all."""
    feasible = [c for c in proposer.seen.values() if c.prediction.feasible]
    feasible.sort(key=lambda candidate: candidate.loss)
    if feasible:
        best = proposer.polished(feasible[0])
        if best.key != feasible[0].key:
            feasible.insert(0, best)
    return Exploration(
        candidates=feasible,
        n_trials=len(proposer.seen),
        n_repeats=proposer.n_repeats,
        n_retried=n_retried,
    )


@contextlib.contextmanager
def quiet_optuna() -> Iterator[None]:
    """Without Optuna's line for every study."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)
