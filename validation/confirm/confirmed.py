"""What `confirm` wrote, read back key by key without training's libraries."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

from ...files.read import build
from ...search.record import read_document
from .compare import Agreement

FOLDER, FILE_NAME = "confirm", "confirm.json"


@dataclasses.dataclass(frozen=True, kw_only=True)
class ConfirmedModel:
    """One trained model, predicted and measured; see `Trained`.

    Raises:
        ValueError: a number is not finite, or what must be positive is not.
    """

    label: str
    role: str
    n_params: int
    predicted_step_time_s: float
    step_time_s: float | None
    predicted_n_tokens: int
    n_tokens: float | None
    predicted_loss: float
    measured_loss: float | None
    measured_losses: list[float] = dataclasses.field(default_factory=list)
    n_seeds: int
    failures: str

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            for number in value if isinstance(value, list) else [value]:
                if isinstance(number, int | float) and not 0 < number < math.inf:
                    raise ValueError(f"`{field.name}` must be above 0 and finite, but got {number}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Confirmed:
    """A confirmation as its file tells it; see `Confirmation` and `Comparison`.

    Raises:
        ValueError: there is no model.
    """

    command: str
    date: str
    verdict: str
    warnings: list[str]
    time_budget_s: float
    device: str
    law: str
    law_corpus: str
    corpus: str
    corpus_fingerprint: str
    n_corpus_tokens: int
    p_best: dict[str, float] = dataclasses.field(default_factory=dict)
    best_measured: str
    seed_noise_nats: float | None
    loss: Agreement
    log_step_time: Agreement
    models: list[ConfirmedModel]

    def __post_init__(self) -> None:
        if not self.models:
            raise ValueError("`models` must not be empty")
        if not (math.isfinite(self.time_budget_s) and self.time_budget_s > 0):
            raise ValueError(f"`time_budget_s` must be above 0, but got {self.time_budget_s}")
        for name in ("loss", "log_step_time"):
            for key, value in dataclasses.asdict(getattr(self, name)).items():
                if value is not None and not math.isfinite(value):
                    raise ValueError(f"`{name}.{key}` must be finite, but got {value}")


def load_confirmed(folder: Path) -> Confirmed | None:
    """The confirmation in the folder of a search; None where there is none, or none has ended.

    Raises:
        ValueError: the file is not what `confirm` writes.
    """
    path = folder / FOLDER / FILE_NAME
    return read_confirmed(path) if path.exists() else None


def read_confirmed(path: Path) -> Confirmed:
    """The confirmation in a file.

    Raises:
        ValueError: the file is not what `confirm` writes.
    """
    data = read_document(path, made_by="`anybudget confirm DIR`")
    return build(Confirmed, data, str(path))
