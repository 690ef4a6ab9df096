"""Bytes through main memory, counted in a program's text."""

import pytest

from anybudget.validation.compiler.hlo.program import parse_program
from anybudget.validation.compiler.hlo.traffic import memory_traffic_bytes

# Ten rows of 100 floats, in main memory and in the chip's own.
FAR, NEAR = "f32[10,100]{1,0:T(8,128)}", "f32[10,100]{1,0:T(8,128)S(1)}"
ROW = "f32[1,100]{1,0:T(1,128)}"
ALL, ONE = 4000, 400
LOOP = """%condition (s: s32[]) -> pred[] {
  %n = s32[] constant(5)
}

%body (s: s32[]) -> s32[] {
  %p = f32[10,100]{1,0} parameter(0)
  %twice = f32[10,100]{1,0} add(%p, %p)
}

"""
SLICED = f"""%sliced (a: f32[10,100], i: s32[]) -> f32[1,100] {{
  %a = {FAR} parameter(0)
  %i = s32[]{{:T(128)S(6)}} parameter(1)
  %same = f32[10,1,100]{{2,1,0}} bitcast(%a)
  ROOT %s = {ROW} dynamic-slice(%same, %i)
}}

"""
UPDATED = f"""%updated (a: f32[10,100], u: f32[1,100], i: s32[]) -> f32[10,100] {{
  %a = {FAR} parameter(0)
  %u = {ROW} parameter(1)
  %i = s32[]{{:T(128)S(6)}} parameter(2)
  ROOT %d = {FAR} dynamic-update-slice(%a, %u, %i, %i)
}}

"""


def traffic(*lines, before=""):
    text = before + "ENTRY %main (x: f32[10,100]) -> f32[10,100] {\n"
    text += f"  %x = {FAR} parameter(0)\n  %i = s32[]{{:T(128)S(6)}} parameter(1)\n"
    return memory_traffic_bytes(
        parse_program(text + "".join(f"  {one}\n" for one in lines) + "}\n")
    )


@pytest.mark.parametrize(
    ("lines", "before", "expected"),
    [
        ([f"%y = {FAR} negate(%x)"], "", 2 * ALL),
        ([f"%y = {NEAR} negate(%x)", f"%z = {NEAR} negate(%y)"], "", ALL),
        ([f"%y = {FAR} bitcast(%x)", f"%t = ({FAR}) tuple(%y)"], "", 0),
        ([f"%y = {ROW} dynamic-slice(%x, %i)"], "", 2 * ONE),
        ([f"%y = {ROW} fusion(%x, %i), kind=kLoop, calls=%sliced"], SLICED, 2 * ONE),
        (
            [f"%r = {ROW} constant(0)", f"%y = {FAR} fusion(%x, %r, %i), calls=%updated"],
            UPDATED,
            2 * ONE,
        ),
        ([f"%y = {FAR} while(%x), condition=%condition, body=%body"], LOOP, 5 * 3 * ALL),
        (
            [
                f"%s = ({NEAR}, {FAR}, u32[]) copy-start(%x)",
                f"%e = {NEAR} copy-done(%s)",
            ],
            "",
            ALL,
        ),
    ],
)  # fmt: skip
def test_what_moves_counts_where_it_is_and_as_often_as_it_runs(lines, before, expected):
    assert traffic(*lines, before=before) == expected


def test_a_fusion_of_several_results_counts_each():
    inner = f"""%two (a: f32[10,100]) -> (f32[10,100], f32[10,100]) {{
  %a = {FAR} parameter(0)
  %b = {FAR} negate(%a)
  %c = {NEAR} exponential(%a)
  ROOT %t = ({FAR}, {NEAR}) tuple(%b, %c)
}}

"""
    line = f"%y = ({FAR}, {NEAR}) fusion(%x), kind=kLoop, calls=%two"
    assert traffic(line, before=inner) == 2 * ALL
