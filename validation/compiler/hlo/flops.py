"""FLOPs of the matmuls in a compiled program, with the loops run as often as they are.

The compiler's own count has a loop's body once, so that a step whose layers are a loop would seem
to do the work of one. Matmuls are convolutions to a TPU's compiler: their batch axes are windows
of which most positions fall between the elements, and these do not count, as in the compiler.
"""

from __future__ import annotations

import functools
import math
import re

from .program import Array, Instruction, Program

LABELS = re.compile(r"dim_labels=(\w+)_(\w+)->(\w+)")
WINDOW = re.compile(r"window=\{([^}]*)\}")
GROUPS = re.compile(r"batch_group_count=(\d+)")
CONTRACTED = re.compile(r"lhs_contracting_dims=\{([\d,]*)\}")


def matmul_flops(program: Program) -> int:
    """FLOPs of all matmuls and convolutions of one run, 2 for a multiply-add."""
    return _flops(program, program.entry)


def _flops(program: Program, computation: str) -> int:
    by_name = program.by_name(computation)
    total = 0
    for one in by_name.values():
        n_runs = program.trip_count(one) if one.opcode == "while" else 1
        if one.opcode in ("convolution", "dot"):
            count = _convolution_flops if one.opcode == "convolution" else _dot_flops
            total += count(one, *(by_name[name].arrays[0] for name in one.operands))
        total += n_runs * sum(_flops(program, called) for called in one.called.values())
        total += max((_flops(program, branch) for branch in one.branches), default=0)
    return total


def _dot_flops(one: Instruction, left: Array, right: Array) -> int:
    contracted = CONTRACTED.search(one.attributes)
    axes = [int(axis) for axis in contracted[1].split(",") if axis] if contracted else []
    return 2 * one.arrays[0].n_elements * math.prod(left.axes[axis] for axis in axes)


def _convolution_flops(one: Instruction, image: Array, kernel: Array) -> int:
    labels = LABELS.search(one.attributes)
    assert labels, one.name
    of_image, of_kernel, of_output = (
        dict(zip(letters, array.axes, strict=True))
        for letters, array in zip(labels.groups(), (image, kernel, one.arrays[0]), strict=True)
    )
    found = WINDOW.search(one.attributes)
    window = dict(part.split("=") for part in found[1].split()) if found else {}
    pairs = 1
    for axis in sorted(letter for letter in of_output if letter.isdigit()):
        sizes = of_image[axis], of_kernel[axis], of_output[axis]
        pairs *= _pairs(
            *sizes,
            **{
                key: value.split("x")[int(axis)]
                for key, value in window.items()
                if key in ("stride", "pad", "lhs_dilate", "rhs_dilate")
            },
        )
    groups = GROUPS.search(one.attributes)
    flops = 2 * of_output["b"] * of_output["f"] * of_kernel["i"] * pairs
    return flops // (int(groups[1]) if groups else 1)


@functools.cache
def _pairs(
    n_image: int,
    n_kernel: int,
    n_output: int,
    stride: str = "1",
    pad: str = "0_0",
    lhs_dilate: str = "1",
    rhs_dilate: str = "1",
) -> int:
    """Along one axis, how many products there are of an element of the image and of the kernel."""
    step, every, apart = int(stride), int(lhs_dilate), int(rhs_dilate)
    before = int(pad.split("_")[0])
    places = (i * step + k * apart - before for i in range(n_output) for k in range(n_kernel))
    return sum(0 <= place <= (n_image - 1) * every and place % every == 0 for place in places)
