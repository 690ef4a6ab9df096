"""Words that several functions take, and the folder that they write to, tried before any work."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

if TYPE_CHECKING:
    from ..machines.engines import Engine
    from ..objectives.device import Device
    from ..search.answer import Answer

# Progress: a stage, what is newly done in it, and its total; or a line.
Stage = Callable[[str, int, int], None]
Line = Callable[[str], None]


def silent(*_: Any) -> None:
    """Progress that nobody looks at."""


class Chain(TypedDict, total=False):
    """What turns a shape into a step time and a loss; see `search.words.Words`.

    `column` has names in the runs of `anchor` by ours, as `{"n_params": "params"}`.
    """

    device: str | None
    law: str | None
    anchor: str | None
    column: Mapping[str, str] | Iterable[str]
    remat: str
    attention: str
    sharding: str
    tensor_parallel: int | None
    pipeline_parallel: int
    virtual_stages: int
    micro_batch_size: int | None
    data_limit_tokens: float | None
    critical_batch: bool | None
    extrapolate: bool
    chips: int
    price: float | None


# Of a field: one, several, or a range as `256:4096:128`.
Values = int | float | str | Sequence[int | float | bool | str]


class Fields(TypedDict, total=False):
    """What a space may hold of each of its fields; see `space.SearchSpace`."""

    d_model: Values
    n_layers: Values
    n_heads: Values
    n_kv_heads: Values
    d_head: Values
    d_ff: Values
    gated_mlp: Values
    vocab_size: Values
    tied_embeddings: Values
    seq_len: Values
    batch_size: Values
    n_experts: Values
    aspect_ratio: Values
    ff_ratio: Values
    heads_per_kv_head: Values
    heads_fill_width: Values
    pattern: str | Sequence[str]


class Asked(Chain, Fields, total=False):
    """What a search is asked besides its budget.

    Fields of the space stand among them, as `d_model="256:4096:128"`, or in `set`: a table of them
    as in a plan, or the texts that `--set` takes.
    """

    space: str | None
    set: Mapping[str, Any] | Iterable[str]
    seed: int


class Jobs(TypedDict, total=False):
    """Where jobs run, if not in this process.

    Attributes:
        engine: a fresh process for each job: `local`, `ray` or `slurm`.
        workers: jobs at once.
        address: of a running Ray cluster, as HOST:6379.
        request: what each job asks for, as `TPU=4` of ray.
    """

    engine: str | None
    workers: int | None
    address: str | None
    request: Iterable[str]


def engine_of(jobs: Jobs, n_cores: int | None) -> Engine | None:
    """The engine that was asked for; None: this process, as it is."""
    from ..machines.engines import Engine

    given = {name: value for name, value in jobs.items() if value}
    name, request = given.pop("engine", None), tuple(jobs.get("request") or ())
    if name is None:
        if given:
            raise ValueError("--workers, --address and --request need --engine local, ray or slurm")
        return None
    pairs = [one.partition("=") for one in request]
    if wrong := [pair[0] for pair in pairs if not pair[2]]:
        raise ValueError(f"--request takes NAME=VALUE, but got {wrong[0]!r}")
    return Engine(
        name=str(name),
        n_workers=jobs.get("workers"),
        n_cores=n_cores,
        address=jobs.get("address"),
        requests={key: value for key, _, value in pairs},
    )


def start(jobs: Jobs, n_cores: int | None) -> Engine | None:
    """The engine that was asked for; None: this process, confined to as many cores."""
    from ..machines.host import keep_freed_memory
    from ..machines.machine import pin_cores

    engine = engine_of(jobs, n_cores)
    if engine is None:
        keep_freed_memory()
        pin_cores(n_cores)
    return engine


def n_cores_of(device: Device) -> int | None:
    """As many cores as a device was calibrated on, as far as this machine has them."""
    from ..machines.machine import count_cores

    n_cores = device.calibration.get("n_cores")
    return min(n_cores, count_cores()) if isinstance(n_cores, int) else None


def answer_of(result: Answer | Path | str) -> Answer:
    """An answer, read back where its place was given.

    Raises:
        ValueError: it is neither, or the place holds none.
    """
    from ..search.answer import Answer
    from ..search.record import read_record

    if not isinstance(result, Answer | str | Path):
        raise ValueError(f"a result is what `find` answered, or its folder, but got {result!r}")
    return read_record(Path(result)) if isinstance(result, str | Path) else result


def beside(result: Answer | Path | str, out: Path | str | None, name: str) -> Path:
    """Where what comes of a result is written: `out`, or a folder in the result's.

    Raises:
        ValueError: an answer that was not read from a folder has none beside it.
    """
    if out:
        return Path(out)
    if not isinstance(result, str | Path):
        raise ValueError("`out` must name a folder where the result is no folder itself")
    path = Path(result)
    return (path if path.is_dir() else path.parent) / name


def keep(answer: Answer, folder: Path, command: str) -> None:
    """Write an answer, while no other process writes there."""
    from ..files.lock import TURN_S, held
    from ..show.save import save

    with held(folder, wait_s=TURN_S):
        save(answer, folder, command=command)


def writable(folder: Path | str) -> Path:
    """The folder, made where it is missing, or a refusal before any work is done."""
    from ..files.write import check_writable

    return check_writable(Path(folder))
