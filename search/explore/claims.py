"""Who evaluates what, so that no two processes evaluate the same architecture and none is lost.

Before a process evaluates a batch it *claims* it: it writes the batch into an attribute of its own
on the study, then reads the attributes of the others, then the trials. Of what others claim or have
finished it keeps nothing. Of two that claim the same at once, the one that reads last sees the
other's claim, so at most one goes on; sometimes neither does, and both propose anew. Counting the
claims of others as trials, a process takes no more than are missing. This needs a storage that
shows a write to every read that begins after it, and no lock, so it holds through a proxy too.

A process that dies leaves its claim, and whoever sees that takes the batch over: at once where the
process was on the same machine, else when its claim has not changed for `GRACE_S` on the reader's
own clock. A living process renews its claim long before that.
"""

from __future__ import annotations

import os
import secrets
import socket
import time
from pathlib import Path
from typing import Any

import psutil
from optuna.storages import BaseStorage

from ...space.architecture import FIELDS

Key = tuple[Any, ...]

# Seconds after which an unchanged claim from another machine is a dead process's.
GRACE_S = 60.0
# Seconds after which a process must claim the rest of its batch anew.
RENEW_S = 15.0
PREFIX = "claim:"
# A process's number is a C int.
MOST_PROCESSES = 2**31
# Names of the claims that searches in this very process hold.
HELD_HERE: set[str] = set()


class Claims:
    """The claims on one study, as one process sees them.

    Attributes:
        taken: keys that other living processes claim.
        abandoned: keys that dead ones claimed and no living one has claimed since, in their order:
            the first were evaluated first, and some were finished.
    """

    def __init__(self) -> None:
        self.taken: set[Key] = set()
        self.abandoned: list[Key] = []
        self.me = f"{PREFIX}{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"
        self.n_made = 0
        self.made_at = 0.0
        # Each other process's claim, and when this one first saw it.
        self.others: dict[str, tuple[Any, float]] = {}

    @property
    def is_old(self) -> bool:
        """Whether this process's own claim must be made anew, lest others take it for dead."""
        return time.monotonic() - self.made_at > RENEW_S

    def make(self, storage: BaseStorage, study_id: int, keys: list[Key]) -> None:
        """Claim these and nothing else."""
        self.n_made += 1
        HELD_HERE.add(self.me)
        self.made_at = time.monotonic()
        value = {"number": self.n_made, "pid": os.getpid(), "machine": _machine(), "keys": keys}
        storage.set_study_system_attr(study_id, self.me, value)

    def drop(self) -> None:
        """This process's search ends, whether or not its claim could be released."""
        HELD_HERE.discard(self.me)

    def read(self, storage: BaseStorage, study_id: int) -> None:
        """Sort what others claim into taken and abandoned."""
        now = time.monotonic()
        self.taken, abandoned = set(), list[Key]()
        for worker, claim in storage.get_study_system_attrs(study_id).items():
            if not worker.startswith(PREFIX) or worker == self.me:
                continue
            _check(worker, claim)
            if worker not in self.others or self.others[worker][0] != claim:
                self.others[worker] = claim, now
            dead = now - self.others[worker][1] > GRACE_S or _has_died_here(worker, claim)
            keys = map(tuple, claim["keys"])
            abandoned.extend(keys) if dead else self.taken.update(keys)
        self.abandoned = [key for key in dict.fromkeys(abandoned) if key not in self.taken]


def _machine() -> str:
    """The realm of process numbers: this boot of this machine, and the container."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot}/{os.stat('/proc/self/ns/pid').st_ino}"
    except OSError:
        return socket.gethostname()


def _check(worker: str, claim: Any) -> None:
    """That what the study holds as a claim is one."""
    match claim:
        case {"pid": int(pid), "machine": str(), "keys": list(keys)}:
            if 0 < pid < MOST_PROCESSES and all(map(_is_key, keys)):
                return
    raise ValueError(
        f"{worker!r} of the study must have a pid, a machine and the keys of architectures, as a "
        "search writes it, but has not; give this search another --study name"
    )


def _is_key(key: Any) -> bool:
    return (
        isinstance(key, list | tuple)
        and len(key) == len(FIELDS)
        and all(isinstance(value, int) for value in key)
    )


def _has_died_here(worker: str, claim: dict[str, Any]) -> bool:
    if claim["machine"] != _machine():
        return False
    if claim["pid"] == os.getpid():
        return worker not in HELD_HERE
    return not psutil.pid_exists(claim["pid"])
