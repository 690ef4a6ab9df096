"""Loss laws by name or file, each with the draws of its numbers."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..files.read import build
from ..objectives.device import Device
from ..objectives.law.loss_law import POSITIVE, LossLaw
from .drawn import Drawn, fingerprint, read_pair, save_pair, with_draws_of
from .named import names_in, path_of

if TYPE_CHECKING:
    from ..objectives.fit.report import LawReport

# Of models of real size, and it knows shape.
DEFAULT_LAW = "gemstones-2025-cooldown"
# The one that knows experts.
EXPERTS_LAW = "ludziejewski-2025"
# Of the small models that a CPU trains in minutes to hours.
CPU_LAW = "python-source"


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class KnownLaw(Drawn):
    """A law and what is not known of it.

    Attributes:
        law: the fitted one.
        draws: laws that its runs could as well have given, all of `LossLaw.numbers` in each,
            (draws, numbers); None where nothing is known of them.
    """

    law: LossLaw

    @classmethod
    def of(cls, report: LawReport) -> KnownLaw:
        """A law that was fitted, with its bootstrap."""
        return cls(law=report.law, draws=report.draws.values if report.draws else None)

    @property
    def dense(self) -> KnownLaw:
        """What it says of models without experts."""
        if not self.law.experts:
            return self
        law = dataclasses.replace(self.law, experts=None)
        draws = None if self.draws is None else self.draws[:, : len(law.numbers)]
        return KnownLaw(law=law, draws=draws)

    @property
    def names(self) -> list[str]:
        """Of the numbers that are drawn."""
        return list(self.law.numbers)

    @property
    def fingerprint(self) -> str:
        """Of the numbers that were drawn, and of their form."""
        law = self.law
        return fingerprint(law.numbers, law.kappa, law.n_convention)

    def can_be(self, draws: np.ndarray) -> np.ndarray:
        """Whether all but E and the terms are above 0, and E is not below."""
        positive = [name in POSITIVE for name in self.names]
        return (draws[:, positive] > 0).all(axis=1) & (draws[:, self.names.index("E")] >= 0)


def law_names() -> list[str]:
    """Names of the shipped laws."""
    return names_in("laws")


def default_law(device: Device, *, experts: bool = False) -> str:
    """Name of the law where none is asked: by what a device can train, or that of experts."""
    if experts:
        return EXPERTS_LAW
    return CPU_LAW if device.kind == "cpu" else DEFAULT_LAW


def known_law(name_or_path: str) -> KnownLaw:
    """A loss law by preset name or TOML file, with its draws.

    Raises:
        ValueError: no such name or file, or it is not a valid law with its own draws.
    """
    path = path_of(name_or_path, "laws")
    return read_pair(path, lambda data: KnownLaw(law=build(LossLaw, data, str(path))))


def load_law(name_or_path: str) -> LossLaw:
    """The law alone; see `known_law`."""
    return known_law(name_or_path).law


def shipped_law(law: LossLaw) -> KnownLaw:
    """A law with the draws that are shipped under its name, if it is that law; else without."""
    of_that_name = known_law(law.name) if law.name in law_names() else None
    return with_draws_of(KnownLaw(law=law), of_that_name)


def save_law(path: Path, known: KnownLaw) -> None:
    """Write a law and its draws as `known_law` reads them."""
    save_pair(path, dataclasses.asdict(known.law), known)
