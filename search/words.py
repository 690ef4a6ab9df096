"""A question as people put it: in words, before anything is looked up."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any


@dataclasses.dataclass(frozen=True, kw_only=True)
class Words:
    """A question as people put it; what is left out is as customary.

    Attributes:
        device: a name of `device_names()` or a TOML file; None: this machine's, else the default.
        law: a name of `law_names()` or a TOML file; None: by the device.
        anchor: a CSV of runs that move the law, or a name of `anchor_names()`; None: it is
            taken as it is.
        column: `ours=theirs`, each a column of these runs under another name.
        space: a name of `space_names()` or a TOML file; None: by the device.
        settings: `field=values`, each replacing one key of the space.
        remat, attention, sharding, tensor_parallel, pipeline_parallel, virtual_stages,
            micro_batch_size, data_limit_tokens: see `LossAtTime`.
        critical_batch: see `LossAtTime`; then a batch that nobody gave is searched. None: on
            accelerators; on a CPU the space holds the batch that the runs of its law had.
        extrapolate: whether the answer may be beyond `REACH` times what the law's runs had.
        chips: devices that split every batch.
        price: US dollars for an hour of one device; None: as the device's file has it.
        seed: of all randomness.
        budget: training time, such as `3h`.
        name: what tells it from the others of a plan.
    """

    device: str | None = None
    law: str | None = None
    anchor: str | None = None
    column: tuple[str, ...] = ()
    space: str | None = None
    settings: tuple[str, ...] = ()
    remat: str = "auto"
    attention: str = "auto"
    sharding: str = "auto"
    tensor_parallel: int | None = None
    pipeline_parallel: int = 1
    virtual_stages: int = 1
    micro_batch_size: int | None = None
    data_limit_tokens: float | None = None
    critical_batch: bool | None = None
    extrapolate: bool = False
    chips: int = 1
    price: float | None = None
    seed: int = 0
    budget: str = ""
    name: str = ""


def settings_of(settings: Mapping[str, Any] | Iterable[str]) -> tuple[str, ...]:
    """Settings of a space as `--set` has them, of a table or of such texts.

    >>> settings_of({"d_model": "256:1024:128", "d_ff": [1024, 2048], "gated_mlp": True})
    ('d_model=256:1024:128', 'd_ff=1024,2048', 'gated_mlp=true')
    """
    if isinstance(settings, Mapping):
        return tuple(f"{key}={_text(value)}" for key, value in settings.items())
    return tuple(settings)


def columns_of(texts: Iterable[str]) -> dict[str, str]:
    """Names of columns in a user's table by ours.

    Raises:
        ValueError: a text is not as `n_params=params`.

    >>> columns_of(["n_params=params"])
    {'n_params': 'params'}
    """
    texts = tuple(texts)
    pairs = dict(one.split("=", 1) for one in texts if "=" in one)
    if len(pairs) < len(texts):
        raise ValueError(f"--column must be ours=theirs, each once, but got {', '.join(texts)}")
    return pairs


def _text(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ",".join(map(_text, value))
    return str(value).lower() if isinstance(value, bool) else str(value)
