"""Loss as a function of parameters and tokens, L(N, D) = (E + A / N^alpha + B / D^beta)^kappa.

With kappa = 1 this is the sum of Hoffmann et al. 2022 (arXiv:2203.15556), in which more tokens are
worth the same to every model. Below 1 they are worth less to a small one; with E = 0 it is then
equation 1.5 of Kaplan et al. 2020 (arXiv:2001.08361), whose alpha_D is kappa.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import operator
from collections.abc import Collection, Iterable, Mapping
from typing import Any, Literal

import numpy as np
from pydantic import ConfigDict

from ...space.limits import MOST, MOST_OF_FIELD, check_size
from .copying import NUMBERS, Copying, copying_factor
from .experts import ExpertsTerm, experts_factors
from .terms import TERMS

Range = tuple[float, float]
# The numbers of the pure law, in the order of tables and draws.
PARAMETERS = ("E", "A", "B", "alpha", "beta")
# Which parameters N counts, and what they are called elsewhere.
Convention = Literal["total", "non_embedding"]
N_COLUMNS: dict[Convention, str] = {
    "total": "n_params",
    "non_embedding": "n_params_non_embedding",
}
# Of those, and of `Copying`, what is above 0; E may be 0, and a term below.
POSITIVE = (*PARAMETERS[1:], *NUMBERS)
# Beyond these a law is no number or no loss, or alike for all models; no fit comes near.
MOST_EXPONENT, MOST_STD, MOST_NATS, LEAST_KAPPA = 10.0, 10.0, 1e3, 0.01
# Of what else a law records the range; true and false are 1 and 0.
RANGED = (
    "d_model", "n_layers", "d_head", "gated_mlp", "ff_ratio", "heads_per_kv_head",
    "tied_embeddings", "seq_len", "batch_size", "tokens_per_param",
)  # fmt: skip


@dataclasses.dataclass(frozen=True, kw_only=True)
class LossLaw:
    """A loss law with what it needs to be used honestly: its N, its data, its range.

    Attributes:
        name: what `--law` calls it.
        E: loss of an infinite model on infinite data, nats per token; like A, B and the terms to
            the power of 1 / kappa.
        A: scale of the model-size term.
        B: scale of the data term.
        alpha: exponent of the parameters.
        beta: exponent of the tokens.
        n_convention: the parameters that N counts, `total` or `non_embedding`.
        kappa: how far size and data are coupled: 1 not at all.
        corpus: the text whose loss it predicts; losses of different texts or vocabularies do not
            compare.
        source: where the numbers stand.
        n_params_range: smallest and largest N behind the fit.
        n_tokens_range: smallest and largest D behind the fit.
        aspect_ratio_range: smallest and largest d_model / n_layers behind the fit, outside which
            the law says nothing.
        vocab_size: of the models behind the fit, where all had one.
        schedule: of their learning rate.
        ranges: smallest and largest of other fields and ratios behind the fit (`RANGED`); a
            search does not vary what they did not.
        terms: coefficients of further terms of `TERMS`, in shape or steps, beside A and B.
        pure: for a law with further terms, E, A, B, alpha and beta of the fit without them, at the
            same kappa and copying.
        copying: by how much, and from which tokens on, the loss of some runs falls suddenly.
        experts: how parameters and tokens are worth another thing to models with experts; None:
            its runs had none. N then counts what a token meets, of a dense model all.
        residual_std: relative standard deviation of measured losses about the law, once a run
            copies or not.
        level_std: relative standard deviation about this law of the loss of models that are trained
            on another corpus and judged on it; 0 for a law of the very data that is asked about.

    Raises:
        ValueError: a number is not positive (E may be 0) or beyond what fits have, kappa is not
            from 0.01 to 1, or a range is reversed.
    """

    __pydantic_config__ = ConfigDict(extra="forbid")

    name: str
    E: float
    A: float
    B: float
    alpha: float
    beta: float
    n_convention: Convention
    corpus: str
    source: str
    n_params_range: Range
    n_tokens_range: Range
    aspect_ratio_range: Range | None = None
    kappa: float = 1.0
    vocab_size: int | None = None
    schedule: str | None = None
    ranges: dict[str, Range] = dataclasses.field(default_factory=dict)
    terms: dict[str, float] = dataclasses.field(default_factory=dict)
    pure: tuple[float, float, float, float, float] | None = None
    copying: Copying | None = None
    experts: ExpertsTerm | None = None
    residual_std: float = 0.0
    level_std: float = 0.0

    def __post_init__(self) -> None:
        for name in ("A", "B", "alpha", "beta"):
            most = MOST_EXPONENT if name in ("alpha", "beta") else MOST
            check_size(f"law {self.name!r}: `{name}`", getattr(self, name), 0, most)
        check_size(f"law {self.name!r}: `kappa`", self.kappa, LEAST_KAPPA, 1)
        most = min(MOST_NATS ** (1 / self.kappa), MOST)
        check_size(f"law {self.name!r}: `E`", self.E, 0, most, or_zero=True)
        for name in ("n_params_range", "n_tokens_range", "aspect_ratio_range"):
            low, high = getattr(self, name) or (1, 1)
            if not 0 < low <= high < math.inf:
                raise ValueError(
                    f"law {self.name!r}: `{name}` must be 0 < low <= high, but got [{low}, {high}]"
                )
        if self.vocab_size is not None:
            check_size(f"law {self.name!r}: `vocab_size`", self.vocab_size, 1, MOST_OF_FIELD)
        for name, (low, high) in self.ranges.items():
            if name not in RANGED or not 0 <= low <= high < math.inf:
                raise ValueError(
                    f"law {self.name!r}: `ranges` must be of {', '.join(RANGED)}, each 0 <= low <= "
                    f"high, but got {name} = [{low}, {high}]"
                )
        for name, value in self.terms.items():
            most = MOST if name in TERMS and TERMS[name].place == "sum" else MOST_EXPONENT
            if name not in TERMS or not abs(value) <= most:
                raise ValueError(
                    f"law {self.name!r}: a term must be one of {sorted(TERMS)} with a coefficient "
                    f"of at most {most:g}, but got {name!r}: {value}"
                )
        for name in ("residual_std", "level_std"):
            value = getattr(self, name)
            check_size(f"law {self.name!r}: `{name}`", value, 0, MOST_STD, or_zero=True)

    @property
    def numbers(self) -> dict[str, float]:
        """All that was fitted, by name: of the pure law, its terms, copying and experts."""
        pure = {name: getattr(self, name) for name in PARAMETERS}
        more = [part.numbers for part in (self.copying, self.experts) if part]
        return functools.reduce(operator.or_, more, pure | self.terms)

    @property
    def n_column(self) -> str:
        """Name of the parameters that its N counts."""
        return N_COLUMNS[self.n_convention]

    @property
    def has_best_shape(self) -> bool:
        """Whether its terms put the best width over depth between too wide and too deep."""
        return any(self.terms.get(f"{p}log_aspect_ratio_squared", 0) > 0 for p in ("", "size_"))

    @property
    def floor(self) -> float:
        """Loss of an infinite model on infinite data, nats per token."""
        return self.E**self.kappa * (1 - self.copying.gain if self.copying else 1)

    @property
    def formula(self) -> str:
        """Its form in letters."""
        return self.around(f"E + A / N^alpha + B / D^beta{' + terms' if self.terms else ''}")

    def around(self, total: str) -> str:
        """What is around the sum of its terms, in letters."""
        if self.kappa == 1 and not self.copying:
            return total
        power = f"^{self.kappa:.3g}" if self.kappa != 1 else ""
        factor = f" × {self.copying.formula}" if self.copying else ""
        return f"({total}){power}{factor}"

    def without_terms(self) -> LossLaw:
        """The pure law of the same runs; this one where it has no further terms."""
        if not (self.terms and self.pure):
            return self
        numbers = dict(zip(PARAMETERS, self.pure, strict=True))
        return dataclasses.replace(self, **numbers, terms={}, pure=None)

    def loss(self, n_params: Any, n_tokens: Any, run: Mapping[str, Any] | None = None) -> Any:
        """Predicted loss, nats per token.

        Args:
            n_params: by the law's own convention.
            n_tokens: in training.
            run: the columns that its terms need (`TERMS`), and `d_model` and `n_layers` for
                copying.
        """
        return self.loss_under(self.numbers.values(), n_params, n_tokens, run)

    def folds_outside(self, n_params: Any, n_tokens: Any) -> Any:
        """How many e-folds of N and of D together lie outside of what the law was fitted to."""
        outside = 0.0
        for value, (low, high) in (
            (n_params, self.n_params_range),
            (n_tokens, self.n_tokens_range),
        ):
            outside += np.maximum(0, np.log(low / value)) + np.maximum(0, np.log(value / high))
        return outside

    def loss_under(
        self,
        numbers: Iterable[Any],
        n_params: Any,
        n_tokens: Any,
        run: Mapping[str, Any] | None = None,
    ) -> Any:
        """As `loss`, under other numbers of the same form, of one law or of many at once.

        Args:
            numbers: as many as `numbers` has, in its order.
            n_params: as for `loss`, like the next two.
            n_tokens: in training.
            run: for the terms and the copying.
        """
        own = [number for _, number in zip(self.numbers, numbers, strict=True)]
        form: dict[str, Any] = {"terms": self.terms, "kappa": self.kappa, "experts": self.experts}
        return law_loss(own, n_params, n_tokens, run, **form)


def law_loss(
    numbers: Iterable[Any],
    n_params: Any,
    n_tokens: Any,
    run: Mapping[str, Any] | None = None,
    *,
    terms: Collection[str] = (),
    kappa: float = 1.0,
    experts: ExpertsTerm | None = None,
) -> Any:
    """The formula itself, of one law or of many at once, nats per token.

    Args:
        numbers: E, A, B, alpha, beta, the coefficients of the terms and, for a law with copying,
            its gain and its onset, or, for one with experts, their four powers.
        n_params: as for `LossLaw.loss`, like the next two.
        n_tokens: in training.
        run: for the terms and the copying.
        terms: names from `TERMS`, one for each coefficient.
        kappa: the power in the law.
        experts: of a law that knows them; `run` has their number, and a dense one need not.
    """
    E, A, B, alpha, beta, *rest = numbers  # noqa: N806
    coefficients, more = rest[: len(terms)], rest[len(terms) :]
    further: dict[str, Any] = {}
    for name, coefficient in zip(terms, coefficients, strict=True):
        term = TERMS[name]
        further[term.place] = further.get(term.place, 0) + coefficient * term.value(run or {})
    size, tokens = A / n_params**alpha, B / n_tokens**beta
    copying, powers = (more[:-4], more[-4:]) if experts else (more, ())
    if experts and run and "n_experts" in run:
        factors = experts_factors(experts, tuple(powers), run["n_experts"], n_params, n_tokens)
        size, tokens = size * factors[0], tokens * factors[1]
    with np.errstate(over="ignore"):
        if "size" in further:
            size = size * np.exp(further["size"])
        if "tokens" in further:
            tokens = tokens * np.exp(further["tokens"])
    parts = E + size + tokens + further.get("sum", 0)
    with np.errstate(invalid="ignore"):  # below 0 it is no loss, which whoever shows it says
        loss = parts if kappa == 1 else parts**kappa
    if not copying:
        return loss
    gain, onset_tokens = copying
    return loss * copying_factor(gain, onset_tokens, n_tokens, run or {})
