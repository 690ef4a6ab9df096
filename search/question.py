"""One question of a batch: what is searched, under what, and a fingerprint of all of it."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from .. import __version__
from ..objectives.budget import parse_budget
from ..objectives.device import Device
from ..objectives.law.loss_law import LossLaw, Range
from ..objectives.loss_at_time import LossAtTime
from ..objectives.uncertainty import Draws
from ..presets.presets import default_law, load_device, load_draws, load_law
from ..presets.spaces import default_space, load_space
from ..space.search_space import SearchSpace

# A space is walked once for all of its searches, at some millions of architectures a second.
MAX_ARCHITECTURES = 500_000_000


class Option(NamedTuple):
    """A value of a plan, and where it stands."""

    value: Any
    place: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Question:
    """One search of a plan.

    Attributes:
        search: the name of the plan's table that it comes from.
        budget: as the plan writes it.
        space_name: as the plan writes it.
        settings: what the plan sets on top of the space, `field=values` separated by `; `.
        seed: of the draws.
        space: where to look.
        objective: what to minimise.
        draws: of law and step time; None where nothing is known of them.
    """

    search: str
    budget: str
    space_name: str
    settings: str
    seed: int
    space: SearchSpace
    objective: LossAtTime
    draws: Draws | None

    @functools.cached_property
    def fingerprint(self) -> str:
        """Equal for two questions only if their answers are: of every number that matters."""
        digest = hashlib.sha256(repr((__version__, self.space, self.objective, self.seed)).encode())
        if self.draws:
            digest.update(self.draws.laws.tobytes() + self.draws.seconds_per_unit.tobytes())
            digest.update(repr((self.draws.law_residual, self.draws.time_residual)).encode())
        return digest.hexdigest()[:16]

    @property
    def title(self) -> str:
        """Budget, device and law, for a sentence."""
        return f"{self.budget} on {self.objective.machine} under {self.objective.law.name}"

    def as_dict(self) -> dict[str, Any]:
        """The columns that say what was asked."""
        return {
            "search": self.search,
            "device": self.objective.hardware,
            "attention": self.objective.attention,
            "law": self.objective.law.name,
            "space": self.space_name,
            "settings": self.settings,
            "remat_asked": self.objective.remat,
            "data_limit_tokens": self.objective.data_limit_tokens,
            "critical_batch": self.objective.critical_batch,
            "seed": self.seed,
            "budget": self.budget,
            "time_budget_s": self.objective.time_budget_s,
        }


class QuestionMaker:
    """Makes questions of a plan's options; what several of them share is read and built once."""

    def __init__(self, folder: Path) -> None:
        """Relative paths start at the folder."""
        self._folder = folder
        self._device = functools.cache(load_device)
        self._law = functools.cache(load_law)
        self._space = functools.cache(_sized_space)

    def __call__(self, search: str, options: dict[str, Option]) -> Question:
        """The question of one combination of options.

        Raises:
            ValueError: an option makes no sense; the message begins with its place.
        """
        with _blaming(options["device"]) as value:
            device_name = self._path(value)
            device: Device = self._device(device_name)
        with _blaming(options["law"]) as value:
            law_name = self._path(value) or default_law(device)
            law: LossLaw = self._law(law_name)
        with _blaming(options["budget"]) as value:
            budget = str(value)
            objective = LossAtTime(device=device, law=law, time_budget_s=parse_budget(budget))
        for name in ("remat", "attention", "data_limit_tokens", "critical_batch"):
            with _blaming(options[name]) as value:
                unlimited = name == "data_limit_tokens" and value == math.inf
                changed = {name: None if unlimited else value}
                objective = dataclasses.replace(objective, **changed)
        settings = tuple(f"{key}={_text(value)}" for key, value in options["set"].value.items())
        space_name = options["space"].value or default_space(device.kind)
        # What is set on a space is the likelier to be wrong.
        with _blaming(options["set" if settings else "space"]):
            space = self._space(self._path(space_name), settings, law.aspect_ratio_range)
        with _blaming(options["chips"]) as n_chips:
            objective = dataclasses.replace(objective, n_chips=n_chips)
            objective.check_batch(space.batch_size)
        # Files of draws lie beside the law's and the device's.
        with _blaming(options["law"]):
            draws = load_draws(objective, device_name, law_name)
        return Question(
            search=search,
            budget=budget,
            space_name=space_name,
            settings="; ".join(settings),
            seed=options["seed"].value,
            space=space,
            objective=objective,
            draws=draws,
        )

    def _path(self, name: str | None) -> str | None:
        return str(self._folder / name) if name and name.endswith(".toml") else name


def _sized_space(name: str, settings: tuple[str, ...], aspect_ratio: Range | None) -> SearchSpace:
    space = load_space(name, settings=settings, aspect_ratio=aspect_ratio)
    if space.n_architectures > MAX_ARCHITECTURES:
        raise ValueError(
            f"a space must have at most {MAX_ARCHITECTURES:,} architectures to be enumerated, but "
            f"has {space.n_architectures:,}; give its ranges wider steps"
        )
    return space


@contextmanager
def _blaming(option: Option) -> Iterator[Any]:
    """An option's value; a mistake in it is told with its place."""
    try:
        yield option.value
    except ValueError as error:
        raise ValueError(f"{option.place}: {str(error).removeprefix('--set: ')}") from None


def _text(value: Any) -> str:
    """A setting's value as `--set` has it."""
    if isinstance(value, list):
        return ",".join(map(_text, value))
    return str(value).lower() if isinstance(value, bool) else str(value)
