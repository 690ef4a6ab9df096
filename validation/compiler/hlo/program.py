"""An optimized XLA program's text as instructions: what runs, in which order, how often."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Iterator

COMPUTATION = re.compile(r"(ENTRY )?%([\w.\-]+) \(.*\) -> .* \{$")
NAMED = re.compile(r"\s+(?:ROOT )?%([\w.\-]+) = (.*)")
ARRAY = re.compile(r"(pred|token|[a-z]+(\d+)\w*)\[([\d,]*)\](?:\{([^}]*)\})?")
# In an array's layout: a memory of the chip's own, for vectors (1) or scalars (6).
ON_CHIP = re.compile(r"S\([1-9]")
OPERAND = re.compile(r"%([\w.\-]+)")
CALLED = re.compile(r"(calls|to_apply|body|condition)=%([\w.\-]+)")
BRANCHES = re.compile(r"(?:branch_computations=\{([^}]*)\}|(?:true|false)_computation=(%[\w.\-]+))")
KNOWN_TRIPS = re.compile(r'"known_trip_count":\{"n":"(\d+)"\}')
INDEX = re.compile(r"\bindex=(\d+)")
CYCLES = re.compile(r'"estimated_cycles":"(\d+)"')
# What the compiler of v5p and Ironwood writes where it has no estimate, of scatters among others.
NO_ESTIMATE = 2**63 - 1


@dataclasses.dataclass(frozen=True, kw_only=True)
class Array:
    """One array of a shape: its element's bits, the lengths of its axes, and where it is."""

    bits: int
    axes: tuple[int, ...]
    is_on_chip: bool = False

    @property
    def n_elements(self) -> int:
        """All of them, without the padding of tiles."""
        return math.prod(self.axes)

    @property
    def n_bytes(self) -> int:
        """Of the elements."""
        return self.n_elements * self.bits // 8


@dataclasses.dataclass(frozen=True, kw_only=True)
class Instruction:
    """One instruction: `%name = shape opcode(arguments), attributes`.

    Attributes:
        operands: names of the instructions that it reads.
    """

    name: str
    shape: str
    opcode: str
    arguments: str
    attributes: str

    @property
    def operands(self) -> list[str]:
        """Names of the instructions that it reads."""
        return OPERAND.findall(self.arguments)

    @property
    def arrays(self) -> list[Array]:
        """What it puts out, a tuple's arrays one after the other."""
        return [
            Array(
                bits=int(bits or 8),
                axes=tuple(int(n) for n in axes.split(",") if n),
                is_on_chip=bool(ON_CHIP.search(layout)),
            )
            for kind, bits, axes, layout in ARRAY.findall(self.shape)
            if kind != "token"
        ]

    @property
    def n_bytes(self) -> int:
        """Of all that it puts out."""
        return sum(array.n_bytes for array in self.arrays)

    @property
    def is_on_chip(self) -> bool:
        """Whether all that it puts out stays in the chip's own memory."""
        return all(array.is_on_chip for array in self.arrays)

    @property
    def cycles(self) -> int | None:
        """The compiler's estimate, where it has one."""
        found = CYCLES.search(self.attributes)
        return int(found[1]) if found and int(found[1]) != NO_ESTIMATE else None

    @property
    def called(self) -> dict[str, str]:
        """The computations that it runs, by their role: calls, to_apply, body, condition."""
        return dict(CALLED.findall(self.attributes))

    @property
    def branches(self) -> list[str]:
        """The computations of which it runs one."""
        return OPERAND.findall(" ".join(map(" ".join, BRANCHES.findall(self.attributes))))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Program:
    """A scheduled program.

    Attributes:
        entry: name of the computation that runs.
        computations: name -> its instructions, in the order in which they run.
    """

    entry: str
    computations: dict[str, list[Instruction]]

    def by_name(self, computation: str) -> dict[str, Instruction]:
        """A computation's instructions by name."""
        return {one.name: one for one in self.computations[computation]}

    def trip_count(self, loop: Instruction) -> int:
        """How often a `while` runs its body.

        It follows from the constants that its condition compares with and that its body adds.

        Raises:
            ValueError: the program does not say.
        """
        if known := KNOWN_TRIPS.search(loop.attributes):
            return int(known[1])
        constants = [
            int(one.arguments)
            for one in self._all_within(loop.called["condition"])
            if one.opcode == "constant" and re.fullmatch(r"\d+", one.arguments)
        ]
        if len(constants) != 1:
            raise ValueError(
                f"a loop's condition must compare with one constant, but that of {loop.name} "
                f"has {constants}"
            )
        return -(-constants[0] // self._stride(loop))

    def _stride(self, loop: Instruction) -> int:
        """What a loop's counter grows by, 1 where its body does not say.

        It is 2 where the compiler made two steps one.
        """
        condition = self.computations[loop.called["condition"]]
        counters = [INDEX.search(one.attributes) for one in condition]
        places = [int(found[1]) for found in counters if found]
        body = self.computations.get(loop.called["body"], [])
        if len(places) != 1 or not body or body[-1].opcode != "tuple":
            return 1
        by_name = {one.name: one for one in body}
        counter = by_name[body[-1].operands[places[0]]]
        added = [by_name[name] for name in counter.operands if counter.opcode == "add"]
        return next((int(one.arguments) for one in added if one.opcode == "constant"), 1)

    def _all_within(self, computation: str) -> Iterator[Instruction]:
        """A computation's instructions and those of the computations that they run."""
        for one in self.computations[computation]:
            yield one
            for called in one.called.values():
                yield from self._all_within(called)


def parse_program(text: str) -> Program:
    """The program that a compiled step's text describes.

    Raises:
        ValueError: the text has no ENTRY computation.
    """
    computations: dict[str, list[Instruction]] = {}
    entry, current = None, None
    for line in text.splitlines():
        if (named := NAMED.match(line)) and current is not None:
            current.append(_instruction(named[1], named[2]))
        elif begins := COMPUTATION.match(line):
            current = computations.setdefault(begins[2], [])
            entry = begins[2] if begins[1] else entry
    if entry is None:
        raise ValueError("a compiled program's text must have an ENTRY computation, but has none")
    return Program(entry=entry, computations=computations)


def _instruction(name: str, definition: str) -> Instruction:
    ends = _closing(definition) if definition.startswith("(") else definition.index(" ")
    shape, rest = definition[:ends].strip(), definition[ends:].strip()
    opcode, _, rest = rest.partition("(")
    ends = _closing("(" + rest) - 1
    return Instruction(
        name=name,
        shape=shape,
        opcode=opcode,
        arguments=rest[: ends - 1],
        attributes=rest[ends:],
    )


def _closing(text: str) -> int:
    """Behind the parenthesis that closes the text's first character."""
    depth = 0
    for i, character in enumerate(text):
        depth += (character == "(") - (character == ")")
        if not depth:
            return i + 1
    raise ValueError(f"a parenthesis is not closed: {text[:80]}")
