"""A training as a job: plain data in and out.

The driver's side builds the arguments; the job's side makes objects of them and calls what would
have been called without an engine.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from ...machines.job import find_function, reference
from ...objectives.cost.execution import Execution
from ...objectives.device import Device
from ...space.architecture import Architecture
from ...space.sparse import model_of
from ...validation.backend import check_kind, machine_name
from .corpus import load_corpus
from .tokens import Tokens, is_whole, map_tokens, prepare_tokens
from .train import Upkeep

# Of a text's description, what `Tokens` has under the same name.
PLAIN = ("corpus", "corpus_fingerprint", "fingerprint", "vocab_size", "heldout_n_bytes")


def training(
    train: Callable[..., Any],
    arch: Architecture,
    tokens: Tokens,
    *,
    read: dict[str, Any],
    device: Device,
    checkpoint: Path,
    **settings: Any,
) -> dict[str, Any]:
    """Arguments of `train_job`.

    Args:
        train: `train`, or a top-level function that is called alike.
        arch: what to train.
        tokens: the text as it was prepared here.
        read: what `load_corpus` was given, to prepare it where it is not.
        device: that the run's row names.
        checkpoint: this run's own folder.
        **settings: plain data, handed on.
    """
    text = {name: getattr(tokens, name) for name in PLAIN}
    text |= {"folder": str(tokens.tokenizer_path.parent.absolute()), "read": read}
    return {
        "train": reference(train),
        "arch": arch.as_dict(),
        "text": text,
        "device": {"name": device.name, "kind": device.kind},
        "checkpoint": str(checkpoint.absolute()),
        **settings,
    }


def train_job(
    *,
    train: str,
    arch: dict[str, Any],
    text: dict[str, Any],
    device: dict[str, str],
    checkpoint: str,
    execution: dict[str, Any],
    **settings: Any,
) -> dict[str, Any]:
    """Train one architecture; its row, and the machine that it was trained on.

    Raises:
        ValueError: this machine is of another kind than the device, its text is another, or see
            `train`.
    """
    check_kind(device["name"], device["kind"])
    run = find_function(train)(
        model_of(arch),
        open_text(**text),
        execution=Execution(**execution),
        upkeep=Upkeep(device_name=device["name"], checkpoint_dir=Path(checkpoint)),
        **settings,
    )
    return {"run": run.model_dump(mode="json"), "machine": machine_name(device["kind"])}


def open_text(*, folder: str, read: dict[str, Any], **plain: Any) -> Tokens:
    """The driver's tokens, from its cache or else prepared anew on this machine.

    Raises:
        ValueError: the same corpus is another text here.
    """
    if is_whole(Path(folder)):
        return map_tokens(Path(folder), **plain)
    tokens = prepare_tokens(load_corpus(**read), vocab_size=plain["vocab_size"])
    if tokens.fingerprint != plain["fingerprint"]:
        raise ValueError(
            f"the text of {plain['corpus']} must be the same on every machine, but this one has "
            "another; share the driver's cache (XDG_CACHE_HOME), or give --corpus a shared file"
        )
    return tokens
