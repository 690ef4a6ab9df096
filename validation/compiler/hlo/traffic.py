"""Bytes that a compiled program moves through the chip's main memory.

The compiler's own count, "bytes accessed", includes what stays on the chip, and has a loop's body
once. Here an instruction counts what it reads and writes of arrays that the compiler left in main
memory (an array's layout says where it is), a loop as often as it runs, and of an array that is
only sliced or updated in place, the slice.
"""

from __future__ import annotations

from collections.abc import Iterator

from .program import Instruction, Program
from .time import end_of, is_done, is_free, is_start

SLICES = ("dynamic-slice", "slice", "gather")
# What changes its first operand in place, with the operand that holds the new values.
UPDATES = {"dynamic-update-slice": 1, "scatter": 2}


def memory_traffic_bytes(program: Program) -> int:
    """Bytes read from and written to main memory in one run."""
    return _traffic(program, program.entry)


def _traffic(program: Program, computation: str) -> int:
    by_name = program.by_name(computation)
    total = 0
    for one in by_name.values():
        if one.opcode == "while":
            total += program.trip_count(one) * _traffic(program, one.called["body"])
        elif one.branches:
            total += max(_traffic(program, branch) for branch in one.branches)
        elif one.opcode == "call":
            total += _traffic(program, one.called["to_apply"])
        elif is_start(one):
            total += _moved(one, by_name)
        elif not is_free(one) and not is_done(one):
            total += _read(program, one, by_name) + _written(program, one, by_name)
    return total


def _moved(start: Instruction, by_name: dict[str, Instruction]) -> int:
    """Of a transfer that an instruction starts: it moves what it puts out in the end."""
    done = end_of(start, by_name)
    from_memory = any(not by_name[name].is_on_chip for name in start.operands[:1])
    return done.n_bytes * (from_memory + (not done.is_on_chip))


def _read(program: Program, one: Instruction, by_name: dict[str, Instruction]) -> int:
    total = 0
    for place, name in enumerate(one.operands):
        if not by_name[name].is_on_chip:
            total += min(_used(program, one, place, by_name), by_name[name].n_bytes)
    return total


def _used(program: Program, one: Instruction, place: int, by_name: dict[str, Instruction]) -> int:
    """Bytes that an instruction, or a fusion's inside, uses of an operand."""
    if one.opcode in SLICES and place == 0:
        return one.n_bytes
    if one.opcode in UPDATES and place == 0:
        return 0
    if one.opcode == "fusion":
        inner = program.by_name(one.called["calls"])
        source = next(i for i in inner.values() if _is_parameter(i, place))
        return sum(_used(program, *user, inner) for user in _users(source, inner))
    return by_name[one.operands[place]].n_bytes


def _users(
    source: Instruction, by_name: dict[str, Instruction]
) -> Iterator[tuple[Instruction, int]]:
    """Who uses an array inside a fusion, and as which operand, whatever it is called meanwhile."""
    for one in by_name.values():
        for place, name in enumerate(one.operands):
            if name == source.name and one.opcode == "bitcast":
                yield from _users(one, by_name)
            elif name == source.name:
                yield one, place


def _written(program: Program, one: Instruction, by_name: dict[str, Instruction]) -> int:
    sizes = _new_bytes(program, one, by_name)
    return sum(
        min(size, array.n_bytes)
        for size, array in zip(sizes, one.arrays, strict=True)
        if not array.is_on_chip
    )


def _new_bytes(program: Program, one: Instruction, by_name: dict[str, Instruction]) -> list[int]:
    """New bytes of each array that an instruction puts out, fewer where it is changed in place."""
    while one.opcode == "bitcast":
        one = by_name[one.operands[0]]
    if one.opcode in UPDATES and len(one.arrays) == 1:
        return [by_name[one.operands[UPDATES[one.opcode]]].n_bytes]
    if one.opcode == "fusion":
        inner = program.by_name(one.called["calls"])
        last = list(inner.values())[-1]
        results = [inner[name] for name in last.operands] if last.opcode == "tuple" else [last]
        return [size for result in results for size in _new_bytes(program, result, inner)]
    return [array.n_bytes for array in one.arrays]


def _is_parameter(one: Instruction, index: int) -> bool:
    return one.opcode == "parameter" and one.arguments == str(index)
