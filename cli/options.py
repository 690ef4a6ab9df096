"""Options that several commands take, each described once.

A command names a dataclass as a parameter and the parser makes an option of each of its fields;
the sentence under a field is its help.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter, Token
from cyclopts.validators import Number

from ..space.limits import MOST_COUNT, MOST_SEED


def _whole(type_: Any, tokens: Sequence[Token]) -> int:
    """The parser's own reading rounds 1.5 to 2."""
    text = tokens[0].value
    try:
        number = int(text)
    except ValueError:
        raise ValueError(f"it must be a whole number, but got {text!r}") from None
    if abs(number) > MOST_COUNT:
        raise ValueError(f"it must be below 2^63, but got {text}")
    return number


Whole = Annotated[int, Parameter(converter=_whole)]
Positive = Annotated[int, Parameter(converter=_whole, validator=Number(gte=1))]
SeedNumber = Annotated[int, Parameter(converter=_whole, validator=Number(gte=0, lte=MOST_SEED))]
Seconds = Annotated[float, Parameter(validator=Number(gte=1))]
# Said, or not said: it has no opposite.
Flag = Annotated[bool, Parameter(negative=(), show_default=False)]
Repeatable = Parameter(show_default=False)

Budget = Annotated[str, Parameter(help="Training time: 90s, 15m, 3h, 1h30m, 2d.")]
# Of every command that draws numbers.
Seed = Annotated[SeedNumber, Parameter(help="Of all randomness.")]
Json = Annotated[Flag, Parameter(name="--json", help="One JSON document on stdout.")]
Result = Annotated[Path, Parameter(help="DIR of `find --out DIR`, or its result.json.")]
Out = Annotated[Path | None, Parameter(help="Folder for results, tables and figures.")]

flattened = Parameter(name="*")


@flattened
@dataclass(frozen=True, kw_only=True)
class Chain:
    """What turns a shape into a step time and a loss, named or as it differs from the default."""

    device: str | None = None
    """A name of `anybudget devices`, cpu for a core of this machine's kind, or a TOML file."""
    law: str | None = None
    """A name of `anybudget laws`, or a TOML file; default: by device."""
    anchor: str | None = None
    """Runs to move the law: a CSV of yours, as `fit` takes it, or c4, fineweb, openwebtext,
    pile."""
    column: Annotated[tuple[str, ...], Repeatable] = ()
    """One of its columns under another name, as n_params=params. Repeatable."""
    remat: str = "auto"
    """Run blocks again in the backward pass: none, dots, layer, or auto."""
    attention: str = "auto"
    """plain: scores are written to memory; fused: one kernel; auto: fused."""
    sharding: str = "auto"
    """What several chips hold: data, the whole state; full, a share of it; optimizer, a share of
    the optimizer's; or auto."""
    tensor_parallel: Positive | None = None
    """Chips among which each layer is split; default: on several GPU hosts the fastest."""
    pipeline_parallel: Positive = 1
    """Stages, each of which has a part of the layers."""
    virtual_stages: Positive = 1
    """Pieces of a stage, which take turns: interleaving."""
    micro_batch_size: Positive | None = None
    """Sequences that a chip takes in one pass; default: what makes the fastest step that fits."""
    data_limit_tokens: float | None = None
    """Unique tokens that there are; repeated ones count for less, the larger the model."""
    critical_batch: bool | None = None
    """Batches off the best cost tokens, and the batch is searched; default: on accelerators."""
    extrapolate: Flag = False
    """The answer may be beyond 4 times what the law's runs had: a guess."""
    chips: Positive = 1
    """Devices that split every batch."""
    price: float | None = None
    """US dollars for an hour of one device; default: its file's."""


@flattened
@dataclass(frozen=True, kw_only=True)
class Space:
    """Which architectures there are to choose from."""

    space: str | None = None
    """default, cpu (the default on a CPU), llama, gpt2, moe, hybrid, linear, window, mla, or a
    TOML file."""
    settings: Annotated[tuple[str, ...], Parameter(name="--set"), Repeatable] = ()
    """One field of the space, as d_model=256:4096:128. Repeatable."""


@flattened
@dataclass(frozen=True, kw_only=True)
class Trained:
    """What a confirmation trains."""

    device: str | None = None
    """A name of `anybudget devices`, or a TOML file; default: the result's."""
    top: Whole = 3
    """Candidates of the result to train."""
    contrast: Whole = 5
    """Others, spread over predicted loss."""
    seeds: Whole = 1
    """Runs of each model."""
    corpus: str = "python"
    """python, c4, or a file or folder of text."""


@flattened
@dataclass(frozen=True, kw_only=True)
class Jobs:
    """Where jobs run, if not in this process."""

    engine: str | None = None
    """A fresh process for each job: local, ray or slurm."""
    workers: Positive | None = None
    """Jobs at once; needs --engine."""
    address: str | None = None
    """Of a running Ray cluster, as HOST:6379."""
    request: Annotated[tuple[str, ...], Repeatable] = ()
    """What each job asks for: TPU=4 of ray, slurm_partition=gpu. Repeatable."""


def asked(chain: Chain, space: Space = Space(), seed: int = 0) -> dict[str, Any]:
    """What `api.Asked` has of these options."""
    return asdict(chain) | {"space": space.space, "set": space.settings, "seed": seed}
