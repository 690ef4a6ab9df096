"""One architecture, its fields typed: predict, compile."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from ..space.architecture import ABOUT, FIELDS, help_of
from .options import Budget, Chain, Flag, Json, Positive, Seconds, Whole, asked, flattened
from .output import show, show_json, tell


def _option(name: str) -> tuple[str, Any, Any]:
    type_ = bool if ABOUT[name].is_flag else Whole
    option = Annotated[type_ | None, Parameter(help=help_of(name))]
    return name, option, dataclasses.field(default=None)


class _Fields:
    def given(self) -> dict[str, Any]:
        """The fields that were typed."""
        fields = {name: getattr(self, name) for name in FIELDS}
        return {name: value for name, value in fields.items() if value is not None}


if TYPE_CHECKING:
    Shape = _Fields
else:
    Shape = flattened(
        dataclasses.make_dataclass(
            "Shape",
            map(_option, FIELDS),
            bases=(_Fields,),
            namespace={"__module__": __name__},  # a class of Python's own has no options
            frozen=True,
            kw_only=True,
        )
    )


def predict(
    budget: Budget,
    /,
    *,
    shape: Shape = Shape(),
    config: Path | None = None,
    chain: Chain = Chain(),
    as_json: Json = False,
) -> None:
    """Predict step time, tokens and loss of one architecture, part by part.

    Example: `anybudget predict 3h --d-model 768 --n-layers 12`

    Args:
        config: A Hugging Face config.json.
    """
    from .. import api
    from ..search.unranked.costed import Costed
    from ..show.terminal.predicted import show_prediction
    from ..show.terminal.training import show_training

    predicted = api.predict(budget, config=config, **shape.given(), **asked(chain))
    if as_json:
        show_json(predicted.as_dict())
        return
    show(show_prediction(predicted))
    if not isinstance(predicted, Costed):
        show(show_training(predicted.candidate, predicted.question.objective))


def compile(  # noqa: A001 - the command's name
    topology: str,
    /,
    *,
    shape: Shape = Shape(),
    result: Path | None = None,
    top: Positive = 3,
    remat: str | None = None,
    attention: str | None = None,
    scan: Flag = False,
    sharding: str | None = None,
    time: bool = True,
    timeout: Seconds = 150.0,
    as_json: Json = False,
) -> None:
    """Let a TPU's compiler judge a training step, without a TPU (extra `tpu`).

    Example: `anybudget compile v5e:2x2 --d-model 768 --n-layers 12`

    Args:
        topology: TPU and its chips: v5e:1x1, v5p:2x2x1, v6e:4x4.
        result: DIR of `find --out DIR`: its best instead of one.
        top: Candidates of the result.
        remat: none, dots or layer; default none, or the result's.
        attention: plain; or fused, whose memory alone is told; default as the result's.
        scan: Layers in a loop.
        sharding: Chips share data, or full: also state; default data, or the result's.
        time: Step times; without, seconds, not minutes.
        timeout: Seconds for each; then what is known by then.
    """
    from .. import api
    from ..show.terminal.compiled import show_compiled

    steps = api.compile(
        topology,
        result=result,
        top=top,
        remat=remat,
        attention=attention,
        scan=scan,
        sharding=sharding,  # type: ignore[arg-type]
        time=time,
        timeout=timeout,
        on_progress=tell,
        **shape.given(),
    )
    if as_json:
        show_json([step.as_dict() for step in steps])
    else:
        show(show_compiled(steps))
