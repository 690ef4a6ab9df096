"""Checkpoints of a training run: its state, its clock, and which run it was."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import orbax.checkpoint as ocp

from ...files.write import check_room
from .step import State


class Checkpoints:
    """The latest checkpoint of one run in a folder of its own.

    Args:
        folder: where it is kept; made when missing.
        run: what identifies the run, as JSON would have it.
    """

    def __init__(self, folder: Path, run: dict[str, Any]) -> None:
        self._run = run
        options = ocp.CheckpointManagerOptions(max_to_keep=1, enable_async_checkpointing=False)
        self._manager = ocp.CheckpointManager(folder.absolute(), options=options)

    def save(self, state: State, *, n_steps: int, train_time_s: float) -> None:
        """Write a checkpoint, then drop the one before; a kill leaves one of them whole.

        Raises:
            ValueError: the disk has no room for it.
        """
        self.check_room(state)
        clock = {"train_time_s": train_time_s, "run": self._run}
        args = {"state": ocp.args.StandardSave(state), "clock": ocp.args.JsonSave(clock)}
        self._manager.save(n_steps, args=ocp.args.Composite(**args))

    def check_room(self, state: State) -> None:
        """Refuse a disk without room for a checkpoint, which Orbax fills and then tells at length.

        Args:
            state: or its shapes.

        Raises:
            ValueError: there is none.
        """
        n_bytes = sum(array.size * array.dtype.itemsize for array in jax.tree.leaves(state))
        check_room(Path(self._manager.directory), n_bytes // jax.process_count())

    def restore(self, state_shapes: State) -> tuple[State, int, float] | None:
        """The latest checkpoint's state, n_steps and train_time_s; None when there is none.

        Args:
            state_shapes: shape, dtype and sharding of every array of the state.

        Raises:
            ValueError: the folder holds another run's checkpoint.
        """
        n_steps = self._manager.latest_step()
        if n_steps is None:
            return None
        clock = self._restore(n_steps, clock=ocp.args.JsonRestore())["clock"]
        if changed := {name for name in self._run if clock["run"].get(name) != self._run[name]}:
            name = min(changed)
            raise ValueError(
                f"a run must resume from its own checkpoint, but {self._manager.directory} is of a "
                f"run with {name}={clock['run'].get(name)!r}, not {self._run[name]!r}; "
                "use another folder"
            )
        state = self._restore(n_steps, state=ocp.args.StandardRestore(state_shapes))["state"]
        return state, n_steps, clock["train_time_s"]

    def close(self) -> None:
        """Wait for what is being written."""
        self._manager.close()

    def _restore(self, n_steps: int, **args: ocp.args.CheckpointArgs) -> Any:
        return self._manager.restore(n_steps, args=ocp.args.Composite(**args))
