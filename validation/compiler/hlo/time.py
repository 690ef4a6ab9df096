"""How long a compiled TPU program takes, by its compiler's own cycles and terms for the rest.

The compiler writes `estimated_cycles` on its fusions. Summed over the schedule, a loop's body as
often as it runs, over the clock, they are the `compute` term. What carries none has own terms:

- `copies`: asynchronous copies between the chip's main memory and its own run beside the compute,
  one after the other at the memory's bandwidth; only what an instruction waits for one counts;
- `collectives`: n chips send (n-1)/n of an all-gathered or reduce-scattered array and twice that
  of an all-reduced one at the interconnect's bandwidth; asynchronous ones wait as copies do;
- `gathers`: a gather reads and writes its rows, a scatter reads its rows and reads and writes as
  many of the result, at the memory's bandwidth;
- `others`: kernels by hand and whatever else has no estimate read and write their operands.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections import Counter

from .program import Instruction, Program

TERMS: tuple[str, ...] = ("compute", "copies", "collectives", "gathers", "others")
COLLECTIVES = ("all-reduce", "all-gather", "reduce-scatter", "all-to-all", "collective-permute")
# What takes no time of its own; of the custom calls, those by which buffers change their name.
FREE = {
    "parameter", "constant", "get-tuple-element", "tuple", "bitcast", "after-all", "partition-id",
    "replica-id", "opt-barrier", "add-dependency",
}  # fmt: skip
FREE_CALLS = ("ConcatBitcast", "AllocateBuffer", "AssumeGatherIndicesInBound")
TARGET = re.compile(r'custom_call_target="([^"]*)"')
# Names of the fusions that begin and end a collective, and of the computations of those that run
# beside it; a reduce-scatter is an all-reduce in a computation of the last name.
BEGINS, ENDS, BESIDE = "async-collective-start", "async-collective-done", "async_collective_fusion"
FUSED_SCATTER = "all-reduce-scatter"
# Which chips take part: a list of lists, lists of so many, or named axes of a mesh.
GROUP = re.compile(r"replica_groups=(?:\{\{([\d,]*)\}|\[\d+,(\d+)\])")
MESH_GROUP = re.compile(r"replica_groups=mesh\[([^\]]*)\] \{([^}]*)\}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Rates:
    """What cycles and bytes are divided by."""

    clock_hz: float
    bandwidth_bytes_per_s: float
    interconnect_bytes_per_s: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class ProgramTime:
    """A compiler's estimate of one step, never a measurement.

    Attributes:
        seconds: by term, a name of `TERMS`.
    """

    seconds: dict[str, float]

    @property
    def step_time_s(self) -> float:
        """All terms together."""
        return sum(self.seconds.values())


def program_time(program: Program, rates: Rates) -> ProgramTime:
    """The time of a program's run, from its text alone.

    Raises:
        ValueError: a loop does not say how often it runs.
    """
    return ProgramTime(seconds=_Walk(program, rates).seconds(program.entry))


def is_start(one: Instruction) -> bool:
    """Whether an instruction starts a transfer, which another one ends."""
    return one.opcode.endswith("-start") or one.name.startswith(BEGINS)


def is_done(one: Instruction) -> bool:
    """Whether an instruction ends a transfer that another one has started."""
    return one.opcode.endswith("-done") or one.name.startswith(ENDS)


def end_of(start: Instruction, by_name: dict[str, Instruction]) -> Instruction:
    """The instruction that ends a transfer; the one that starts it where none does."""
    return next((one for one in by_name.values() if start.name in one.operands), start)


def is_free(one: Instruction) -> bool:
    """Whether an instruction moves nothing and takes no time."""
    target = TARGET.search(one.attributes)
    return one.opcode in FREE or bool(target and target[1] in FREE_CALLS)


def collective_bytes(program: Program) -> dict[str, int]:
    """Bytes of the whole arrays that collectives of each kind gather, scatter or reduce.

    One that runs beside several fusions stands in each of them, and counts where it begins.
    """
    return dict(_collective_bytes(program, program.entry))


def _collective_bytes(program: Program, computation: str) -> Counter[str]:
    found: Counter[str] = Counter()
    if computation.startswith(BESIDE):
        return found
    by_name = program.by_name(computation)
    for one in by_name.values():
        if is_done(one):
            continue
        if kind := _collective(one, computation):
            found[kind] += _whole_bytes(kind, one, by_name)
            continue
        n_runs = program.trip_count(one) if one.opcode == "while" else 1
        for called in [*one.called.values(), *one.branches]:
            for inner, n_bytes in _collective_bytes(program, called).items():
                found[inner] += n_runs * n_bytes
    return found


class _Walk:
    """Through the computations that a program runs, in the order of their schedules."""

    def __init__(self, program: Program, rates: Rates):
        self.program, self.rates = program, rates

    def seconds(self, computation: str) -> dict[str, float]:
        """Seconds of each term of one run of a computation."""
        spent = dict.fromkeys(TERMS, 0.0)
        by_name = self.program.by_name(computation)
        busy_until = dict.fromkeys(TERMS, 0.0)
        ends: dict[str, tuple[str, float]] = {}
        for one in by_name.values():
            now = sum(spent.values())
            if is_start(one):
                term, seconds = self._transfer(one, by_name)
                busy_until[term] = max(now, busy_until[term]) + seconds
                ends[one.name] = term, busy_until[term]
            elif is_done(one):
                fused = one.name.startswith(ENDS)
                begun = one.name.replace(ENDS, BEGINS) if fused else one.operands[0]
                term, end = ends.pop(begun, ("others", 0.0))
                spent[term] += max(end - now, 0)
            else:
                for term, seconds in self._blocking(one, by_name).items():
                    spent[term] += seconds
        return spent

    def _blocking(self, one: Instruction, by_name: dict[str, Instruction]) -> dict[str, float]:
        """Seconds of each term of an instruction for whose end the next one waits."""
        if one.opcode == "while":
            n_trips = self.program.trip_count(one)
            body = self.seconds(one.called["body"])
            return {term: n_trips * seconds for term, seconds in body.items()}
        if one.branches:
            return max(map(self.seconds, one.branches), key=lambda spent: sum(spent.values()))
        if one.opcode == "call":
            return self.seconds(one.called["to_apply"])
        return dict([self._alone(one, by_name)])

    def _alone(self, one: Instruction, by_name: dict[str, Instruction]) -> tuple[str, float]:
        """Term and seconds of an instruction that runs by itself."""
        if one.cycles is not None:
            return "compute", one.cycles / self.rates.clock_hz
        if sending_s := self._sending_s(one, by_name):
            return "collectives", sending_s
        if is_free(one):
            return "others", 0.0
        inputs = [by_name[name].n_bytes for name in one.operands]
        if (kind := self._inner(one, "gather")) or self._inner(one, "scatter"):
            rows = [n_bytes for n_bytes in inputs if n_bytes != one.n_bytes]
            n_bytes = 2 * one.n_bytes if kind else sum(rows) + 2 * max(rows, default=0)
            return "gathers", n_bytes / self.rates.bandwidth_bytes_per_s
        return "others", (sum(inputs) + one.n_bytes) / self.rates.bandwidth_bytes_per_s

    def _transfer(self, one: Instruction, by_name: dict[str, Instruction]) -> tuple[str, float]:
        """Term and seconds of a transfer that an instruction starts."""
        if sending_s := self._sending_s(one, by_name):
            return "collectives", sending_s
        return "copies", end_of(one, by_name).n_bytes / self.rates.bandwidth_bytes_per_s

    def _sending_s(
        self, one: Instruction, by_name: dict[str, Instruction], within: str = ""
    ) -> float:
        """Seconds for which a chip sends its part of a collective, or of those inside; else 0."""
        kind = _collective(one, within)
        if kind is None:
            called = one.called.get("calls", "")
            names = self.program.by_name(called) if called in self.program.computations else {}
            return sum(self._sending_s(other, names, called) for other in names.values())
        if (n_chips := _n_chips(one)) == 1:
            return 0.0
        times = 2 if kind == "all-reduce" else 1
        sent_bytes = times * (n_chips - 1) / n_chips * _whole_bytes(kind, one, by_name)
        return sent_bytes / self.rates.interconnect_bytes_per_s

    def _inner(self, one: Instruction, opcode: str) -> bool:
        """Whether an instruction is a gather, or a scatter, or a fusion around one."""
        if one.opcode == opcode:
            return True
        inner = self.program.computations.get(one.called.get("calls", ""), [])
        return any(self._inner(other, opcode) for other in inner)


def _collective(one: Instruction, within: str) -> str | None:
    """The kind of collective that an instruction of a computation is or starts.

    An all-reduce of which a fusion keeps the chip's own part is a reduce-scatter.
    """
    opcode = one.opcode.removesuffix("-start")
    if opcode == "all-reduce" and within.startswith(FUSED_SCATTER):
        return "reduce-scatter"
    return opcode if opcode in COLLECTIVES else None


def _n_chips(one: Instruction) -> int:
    """How many chips a collective is among.

    Raises:
        ValueError: it does not say.
    """
    if group := GROUP.search(one.attributes):
        return int(group[2]) if group[2] else len(group[1].split(","))
    if mesh := MESH_GROUP.search(one.attributes):
        sizes = dict(axis.split("=") for axis in mesh[1].split(","))
        return math.prod(int(sizes[axis]) for axis in mesh[2].split(","))
    raise ValueError(f"a collective must name its replica_groups, but {one.name} does not")


def _whole_bytes(kind: str, one: Instruction, by_name: dict[str, Instruction]) -> int:
    """Bytes of the whole arrays: what an all-gather puts out, what any other takes."""
    taken = sum(by_name[name].n_bytes for name in one.operands)
    if kind != "all-gather":
        return taken
    # What starts a transfer puts out what it takes, too.
    return one.n_bytes - (taken if one.opcode.endswith("-start") else 0)
