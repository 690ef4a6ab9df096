"""A study in a storage, searched by any number of processes at once.

Finished trials are all that it holds, one for each architecture. Their parameters are the
architecture's own fields and their attributes the prediction's parts: readable in a dashboard, and
free of the pickled state that some samplers keep.

What a search answers, proven or polished, is a trial too, that a dashboard shows the best. Where it
was not explored it is marked as an answer and counts for nothing, so that a rerun explores alike.
"""

from __future__ import annotations

import contextlib
from types import TracebackType
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from ...space.architecture import BOOL_FIELDS, FIELDS, Architecture
from ...space.search_space import SearchSpace
from ..candidate import Candidate
from ..experts import refuse_sparse
from ..question import Question
from .claims import Claims, Key
from .proposer import excess
from .storage import close_storage, open_storage, without_password

# The attribute of a trial that was not explored.
ANSWER = "answer"


class KeptStudy:
    """The study, as one process sees it.

    Attributes:
        done: keys of the architectures whose trials are finished.
        answered: keys of those that searches answered without having explored them.
        n_retried: how many of them this process took over from one that died.

    Raises:
        ValueError: the storage cannot be opened, or the study asked another question.
    """

    def __init__(self, storage: str, study_name: str, question: Question) -> None:
        refuse_sparse(question, "a kept study")
        self.url, self.name, self.fingerprint = storage, study_name, question.optimum_fingerprint
        self.space, self.objective = question.space, question.objective
        self.distributions = native_distributions(self.space)
        self.claims = Claims()
        self.mine: list[Architecture] = []
        self.done: set[Key] = set()
        self.answered: set[Key] = set()
        self.n_retried = self.n_read = 0
        self._open()
        try:
            self._check_question()
        except BaseException:
            close_storage(self.storage)
            raise

    def __enter__(self) -> KeptStudy:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        try:
            # Where the storage is lost, the claim is released as a dead process's.
            with contextlib.suppress(Exception) if error else contextlib.nullcontext():
                if self.claims.n_made:
                    self.claim([])
        finally:
            self.claims.drop()
            close_storage(self.storage)

    @property
    def taken(self) -> set[Key]:
        """What other living processes are about to finish."""
        return self.claims.taken - self.done

    @property
    def abandoned(self) -> list[Architecture]:
        """What dead processes had claimed and not finished."""
        keys = [key for key in self.claims.abandoned if key not in self.done]
        return [Architecture(**dict(zip(FIELDS, key, strict=True))) for key in keys]

    def claim(self, wanted: list[Architecture]) -> None:
        """Say what this process is about to evaluate, instead of what it said before."""
        self.mine = wanted
        keys = [Candidate.key_of(arch) for arch in wanted]
        self.claims.make(self.storage, self.study_id, keys)

    def look(self) -> list[Candidate]:
        """See what others have claimed and, only then, finished; returns what is newly finished."""
        self.claims.read(self.storage, self.study_id)
        # To predict them anew takes less time than to have read them.
        return [Candidate.of(arch, self.objective) for arch in self._read_trials()]

    def granted(self, n_trials: int) -> list[Architecture]:
        """What of the claim is this process's, once it has looked.

        What a dead process had claimed comes first, and what nobody takes over now has its place
        kept: a process may die between another's proposal and its look.

        Args:
            n_trials: how many trials the study is to have.
        """
        others = self.done | self.taken
        free = [arch for arch in self.mine if Candidate.key_of(arch) not in others]
        old = [arch for arch in free if Candidate.key_of(arch) in self.claims.abandoned]
        fresh = [arch for arch in free if arch not in old]
        n_old, n_fresh = n_trials - len(others), n_trials - len(others.union(self.claims.abandoned))
        return [*old[: max(n_old, 0)], *fresh[: max(n_fresh, 0)]]

    def write(self, candidate: Candidate) -> None:
        """Add a finished trial."""
        self.study.add_trial(self._trial(candidate))
        self.done.add(candidate.key)
        self.n_retried += candidate.key in self.claims.abandoned

    def write_answer(self, candidate: Candidate) -> None:
        """Add a search's answer where neither a trial nor another process has it."""
        self.claim([candidate.arch])
        self.claims.read(self.storage, self.study_id)
        self._read_trials()
        if candidate.key not in self.done | self.taken | self.answered:
            self.study.add_trial(self._trial(candidate, is_answer=True))

    def _open(self) -> None:
        self.storage = open_storage(self.url)
        self.study = optuna.create_study(
            storage=self.storage, study_name=self.name, load_if_exists=True
        )
        self.study_id = self.storage.get_study_id_from_name(self.name)

    def _check_question(self) -> None:
        if "question" not in self.study.user_attrs and not self.study.get_trials(deepcopy=False):
            self.study.set_user_attr("question", self.fingerprint)
        if self.study.user_attrs.get("question") != self.fingerprint:
            raise ValueError(
                f"study {self.name!r} in {without_password(self.url)} searched another space, "
                "budget, device, law or the like; give it another --study name"
            )

    def _read_trials(self) -> list[Architecture]:
        """What other processes explored since the last time."""
        trials = self.study.get_trials(deepcopy=False)
        while trials and trials[-1].number >= len(trials):
            # Optuna's proxy may list a trial before an earlier one, and then never lists that one
            # to the same client: ask as a new client.
            close_storage(self.storage)
            self._open()
            trials = self.study.get_trials(deepcopy=False)
        fixed = {name: getattr(self.space, name)[0] for name in FIELDS}
        new = {}
        for trial in trials[self.n_read :]:
            if trial.state == TrialState.COMPLETE:
                arch = Architecture(**(fixed | trial.params))
                if ANSWER in trial.user_attrs:
                    self.answered.add(Candidate.key_of(arch))
                else:
                    new[Candidate.key_of(arch)] = arch
        self.n_read = len(trials)
        archs = [arch for key, arch in new.items() if key not in self.done]
        self.done |= new.keys()
        return archs

    def _trial(self, candidate: Candidate, *, is_answer: bool = False) -> FrozenTrial:
        row = candidate.as_dict()
        attributes = {name: row[name] for name in row if name not in FIELDS}
        return create_trial(
            value=candidate.loss,
            params={name: row[name] for name in self.distributions},
            distributions=self.distributions,
            constraints={"feasible": excess(candidate, self.objective)},
            user_attrs=attributes | ({ANSWER: True} if is_answer else {}),
        )


def native_distributions(space: SearchSpace) -> dict[str, BaseDistribution]:
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
