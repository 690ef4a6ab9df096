"""A question: words in, one value out, made here for whoever asks.

The command line, a plan, a second search under a refitted law and Python ask alike: `ask(Words)`.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from .. import __version__
from ..objectives.budget import format_budget, parse_budget
from ..objectives.cost.execution import SPLITS
from ..objectives.cost.kernel import ACCELERATORS
from ..objectives.device import Device
from ..objectives.law.loss_law import LossLaw
from ..objectives.loss_at_time import REACH, LossAtTime
from ..objectives.uncertainty import Draws
from ..presets.anchors import anchor_path
from ..presets.devices import known_device
from ..presets.known import Known
from ..presets.laws import EXPERTS_LAW, KnownLaw, default_law, known_law
from ..presets.spaces import (
    ANY_ASPECT_RATIO,
    batch_sizes,
    default_space,
    evidence,
    load_space,
    says,
    still_held,
)
from ..space.architecture import Architecture
from ..space.limits import check_seed
from ..space.search_space import SearchSpace
from ..space.sparse import FIELD as EXPERTS
from ..space.sparse import is_sparse
from .words import Words, columns_of

if TYPE_CHECKING:
    from ..presets.anchored import Moved

THE_DEFAULT = (
    "{} is the default, whatever this machine is: --device takes a name of `anybudget devices`, "
    "and `anybudget calibrate` measures this one"
)
# What of the words goes into the objective as it stands, and what does with the chips.
AS_THEY_STAND = ("remat", "attention", "sharding", "micro_batch_size", "data_limit_tokens")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Question:
    """Which architecture of a space has the lowest loss under an objective, and how sure is that?

    Attributes:
        space: where to look.
        objective: what to minimise.
        draws: of law and step time; None where nothing is known of them.
        known: the law and the device that the draws are of, to be kept with the answer.
        seed: of all randomness.
        warnings: what a reader must know before any answer.
        words: as it was put; empty where a program put it together.

    Raises:
        ValueError: the objective's chips do not divide every batch of the space, its pipeline is
            longer than any model is deep, or the seed is none.
    """

    space: SearchSpace
    objective: LossAtTime
    draws: Draws | None = None
    known: Known | None = dataclasses.field(default=None, compare=False)
    seed: int = 0
    warnings: tuple[str, ...] = dataclasses.field(default=(), compare=False)
    words: Words = dataclasses.field(default=Words(), compare=False)

    def __post_init__(self) -> None:
        check_seed(self.seed)
        if is_sparse(self.space) and not self.objective.law.experts:
            raise ValueError(
                f"{self.objective.law.name} was fitted on dense models and knows no experts: "
                f"--law {EXPERTS_LAW} does, where no --anchor moves it"
            )
        self.objective.check_batch(self.space.batch_size)
        self.objective.check_stages(max(self.space.n_layers))

    def under(self, known: Known, *, time_share: float = 1.0) -> Question:
        """The same question under another law or on another device, for a share of the time."""
        objective = dataclasses.replace(
            self.objective,
            law=known.law.law,
            device=known.device.device,
            time_budget_s=self.objective.time_budget_s * time_share,
        )
        draws = known.draws(objective)
        return dataclasses.replace(self, objective=objective, draws=draws, known=known)

    @functools.cached_property
    def fingerprint(self) -> str:
        """Equal for two questions only if their answers are: of every number that matters."""
        digest = hashlib.sha256(repr((__version__, self.space, self.objective, self.seed)).encode())
        if self.draws:
            digest.update(self.draws.laws.tobytes() + self.draws.seconds_per_unit.tobytes())
            digest.update(repr((self.draws.law_residual, self.draws.time_residual)).encode())
        return digest.hexdigest()[:16]

    @property
    def space_name(self) -> str:
        """Of the space, as it was named or by the device's kind."""
        return _space_name(self.words, self.objective)

    @property
    def title(self) -> str:
        """Budget, device and law, for a sentence."""
        budget = self.words.budget or format_budget(self.objective.time_budget_s)
        return f"{budget} on {self.objective.machine} under {self.objective.law.name}"

    @property
    def cost_usd(self) -> float | None:
        """US dollars for the budget on all chips; None where their price is not known."""
        asked = self.objective
        return asked.device.cost_usd(asked.n_chips, asked.time_budget_s)

    @property
    def optimum_fingerprint(self) -> str:
        """Equal for two questions with one optimum, whatever their seeds, draws and versions.

        Those may share a study.
        """
        asked = [dataclasses.asdict(self.space), dataclasses.asdict(self.objective)]
        return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:16]


# What a mistake in one of the words is told under.
Blame = Callable[[str], AbstractContextManager]


class QuestionMaker:
    """Makes questions of words; what several of them share is read and built once."""

    def __init__(self, folder: Path = Path()) -> None:
        """Relative paths start at the folder."""
        self._folder = folder
        self._device = functools.cache(known_device)
        self._law = functools.cache(known_law)
        self._moved = functools.cache(_moved)
        self._space = functools.cache(load_space)

    def __call__(
        self,
        words: Words,
        arch: Architecture | None = None,
        blame: Blame = lambda name: nullcontext(),
        *,
        free_batch: bool = False,
    ) -> Question:
        """The question that some words put.

        Args:
            words: as people put it.
            arch: the one architecture that is asked about; None: all of the words' space.
            free_batch: whether the architecture's batch is searched where it has a price.
            blame: around whatever reads one of the words, called with the name that a plan has
                for it.

        Raises:
            ValueError: one of the words makes no sense.
        """
        with blame("device"):
            machine = self._device(self._path(words.device))
        with blame("price"):
            if words.price is not None:
                priced = dataclasses.replace(machine.device, price_per_hour_usd=words.price)
                machine = dataclasses.replace(machine, device=priced)
        device = machine.device
        law, of_runs = self._law_of(words, device, blame)
        known = Known(law=law, device=machine)
        objective = self._objective(words, device, law.law, blame)
        if not (words.extrapolate or arch):  # What was asked for by name is told of, however far.
            objective = dataclasses.replace(objective, reach=REACH)
        # What is set on a space is the likelier to be wrong.
        with blame("set" if words.settings else "space"):
            space = self._space_of(words, objective) if arch is None else SearchSpace.only(arch)
            if arch and free_batch and objective.critical_batch:
                space = dataclasses.replace(space, batch_size=batches_of(objective))
        with blame("device"):
            draws = known.draws(objective)
        with blame("seed"):
            check_seed(words.seed)
        with blame("chips"):
            return Question(
                space=space,
                objective=objective,
                draws=draws,
                known=known,
                seed=words.seed,
                warnings=(
                    *of_the_device(device, words.device),
                    *of_runs,
                    *(() if arch else self._of_the_law(words, objective)),
                ),
                words=words,
            )

    def _objective(self, words: Words, device: Device, law: LossLaw, blame: Blame) -> LossAtTime:
        with blame("budget"):
            time_budget_s = parse_budget(words.budget)
            objective = LossAtTime(device=device, law=law, time_budget_s=time_budget_s)
        for name in AS_THEY_STAND:
            with blame(name):
                objective = dataclasses.replace(objective, **{name: getattr(words, name)})
        with blame("critical_batch"):
            asked = words.critical_batch
            priced = device.kind in ACCELERATORS if asked is None else asked
            objective = dataclasses.replace(objective, critical_batch=priced)
        with blame("chips"):
            # Which attention is customary may rest on the chips.
            split = {name: getattr(words, name) for name in (*SPLITS, "attention")}
            return dataclasses.replace(objective, n_chips=words.chips, **split)

    def _law_of(
        self, words: Words, device: Device, blame: Blame
    ) -> tuple[KnownLaw, tuple[str, ...]]:
        """The law, and sentences on the runs that moved it."""
        with blame("law"):
            law = self._law(self._law_name(words, device))
        if words.anchor is None:
            if words.column:
                raise ValueError("--column names columns of your runs: give these as --anchor RUNS")
            return law, ()
        with blame("anchor"):
            runs = anchor_path(words.anchor, self._folder)
            moved = self._moved(law, runs, words.column, words.seed)
        return moved.known, (moved.headline, *moved.warnings)

    def _law_name(self, words: Words, device: Device) -> str:
        if words.law is not None:
            return self._path(words.law) or ""
        space = self._path(words.space) or default_space(device.kind)
        return default_law(device, experts=says(EXPERTS, space, words.settings))

    def _space_of(self, words: Words, objective: LossAtTime) -> SearchSpace:
        law = objective.law
        return self._space(
            self._path(_space_name(words, objective)) or "",
            settings=words.settings,
            # A law that knows the best shape needs no fence.
            aspect_ratio=ANY_ASPECT_RATIO if law.has_best_shape else law.aspect_ratio_range,
            held=evidence(law),
            batch_sizes=batches_of(objective) if objective.critical_batch else None,
        )

    def _of_the_law(self, words: Words, objective: LossAtTime) -> tuple[str, ...]:
        """A sentence on what is held at what the law's runs had."""
        name = self._path(_space_name(words, objective)) or ""
        held = still_held(evidence(objective.law), name, words.settings)
        if not held:
            return ()
        named = ", ".join(f"{key}={value}" for key, value in held)
        return (f"held as in the law's runs, --set frees: {named}",)

    def _path(self, name: str | None) -> str | None:
        return str(self._folder / name) if name and name.endswith(".toml") else name


def _moved(law: KnownLaw, runs: Path, column: tuple[str, ...], seed: int) -> Moved:
    # Only those who have runs wait for the fit.
    from ..presets.anchored import moved_by

    return moved_by(law, runs, columns=columns_of(column), seed=seed)


def _space_name(words: Words, objective: LossAtTime) -> str:
    return default_space(objective.device.kind) if words.space is None else words.space


def ask(words: Words, arch: Architecture | None = None, *, free_batch: bool = False) -> Question:
    """The question that some words put, see `QuestionMaker`."""
    return QuestionMaker()(words, arch, free_batch=free_batch)


def of_the_device(device: Device, name: str | None) -> tuple[str, ...]:
    """A sentence where nobody said which device, and none was calibrated here."""
    is_default = name is None and device.basis != "measured"
    return (THE_DEFAULT.format(device.name),) if is_default else ()


def batches_of(objective: LossAtTime) -> tuple[int, ...]:
    """Batches to search, of whatever its chips and passes can split."""
    return batch_sizes(objective.simplest.n_split * (objective.micro_batch_size or 1))
