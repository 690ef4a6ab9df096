import pytest

from anybudget.validation.compiler.hlo.program import parse_program

# Nested loops: the outer's constant stands in a fusion, the inner's count is written on it.
LOOPS = """HloModule jit_step, is_scheduled=true

%compare_fusion (p.1: s32[], p.2: s32[]) -> pred[] {
  %p.1 = s32[]{:T(128)} parameter(0)
  %p.2 = s32[]{:T(128)} parameter(1)
  ROOT %lt = pred[]{:T(512)} compare(%p.1, %p.2), direction=LT
}

%outer_condition (state.1: (s32[], f32[8])) -> pred[] {
  %state.1 = (s32[]{:T(128)}, f32[8]{0:T(128)}) parameter(0)
  %constant.1 = s32[]{:T(128)} constant(9)
  %i = s32[]{:T(128)} get-tuple-element(%state.1), index=0
  ROOT %less = pred[]{:T(512)} fusion(%i, %constant.1), kind=kLoop, calls=%compare_fusion
}

%silent_condition (state.2: (s32[], f32[8])) -> pred[] {
  %state.2 = (s32[]{:T(128)}, f32[8]{0:T(128)}) parameter(0)
  %i.2 = s32[]{:T(128)} get-tuple-element(%state.2), index=0
  ROOT %same = pred[]{:T(512)} compare(%i.2, %i.2), direction=LT
}

ENTRY %main.7 (x: f32[8]) -> f32[8] {
  %x = f32[8]{0:T(128)} parameter(0), metadata={op_name="x (of the user) -> {"}
  %start = ((f32[2,8]{1,0:T(2,128)}), /*index=1*/bf16[1,8]{1,0:T(1,128)(2,1)S(1)}, s32[]{:S(2)}) \
slice-start(%x), slice={[0:1], [0:8]}
  %outer = (s32[]{:T(128)}, f32[8]{0:T(128)}) while(%start), condition=%outer_condition, body=%body
  %inner = (s32[], f32[8]) while(%outer), condition=%silent_condition, body=%body, \
backend_config={"known_trip_count":{"n":"4"}}
  %endless = (s32[], f32[8]) while(%outer), condition=%silent_condition, body=%body
  %either = f32[8] conditional(%x, %x, %x), branch_computations={%body, %other}
  ROOT %fusion.1 = f32[8]{0:T(128)} fusion(%x, %outer), kind=kLoop, calls=%body, \
backend_config={"window_config":{"estimated_cycles":"1859","iteration_bounds":["1"]}}
}
"""


@pytest.fixture(scope="module")
def program():
    return parse_program(LOOPS)


@pytest.fixture(scope="module")
def entry(program):
    return program.by_name(program.entry)


def test_instructions_are_in_order_with_what_they_read(program, entry):
    assert program.entry == "main.7"
    names = ["x", "start", "outer", "inner", "endless", "either", "fusion.1"]
    assert list(entry) == names
    assert entry["fusion.1"].operands == ["x", "outer"]
    assert entry["fusion.1"].called == {"calls": "body"}
    assert entry["outer"].called == {"condition": "outer_condition", "body": "body"}
    assert entry["either"].branches == ["body", "other"]


def test_cycles_only_where_the_compiler_wrote_them(entry):
    assert entry["fusion.1"].cycles == 1859
    assert entry["outer"].cycles is None


def test_the_largest_number_of_cycles_is_no_estimate():
    program = parse_program(LOOPS.replace("1859", str(2**63 - 1)))
    assert program.by_name(program.entry)["fusion.1"].cycles is None


def test_bytes_of_nested_shapes_with_tiles_and_comments(entry):
    arrays = entry["start"].arrays
    assert [array.axes for array in arrays] == [(2, 8), (1, 8), ()]
    assert [array.n_bytes for array in arrays] == [64, 16, 4]
    assert entry["start"].opcode == "slice-start"


def test_trip_counts_come_from_the_condition_or_stand_on_the_loop(program, entry):
    assert program.trip_count(entry["outer"]) == 9
    assert program.trip_count(entry["inner"]) == 4


def test_a_loop_that_makes_two_steps_at_once_runs_half_as_often():
    program = parse_program("""%condition (s: (f32[8], u32[])) -> pred[] {
  %limit = u32[] constant(9)
  %s = (f32[8], u32[]) parameter(0)
  %i = u32[] get-tuple-element(%s), index=1
  ROOT %less = pred[] compare(%i, %limit), direction=LT
}

%body (s: (f32[8], u32[])) -> (f32[8], u32[]) {
  %s = (f32[8], u32[]) parameter(0)
  %x = f32[8] get-tuple-element(%s), index=0
  %i = u32[] get-tuple-element(%s), index=1
  %two = u32[] constant(2)
  %next = u32[] add(%i, %two)
  ROOT %out = (f32[8], u32[]) tuple(%x, %next)
}

ENTRY %main (x: f32[8]) -> f32[8] {
  %loop = (f32[8], u32[]) while(%start), condition=%condition, body=%body
}
""")
    assert program.trip_count(program.by_name("main")["loop"]) == 5


def test_a_loop_that_does_not_say_how_often_is_refused(program, entry):
    with pytest.raises(ValueError, match="that of endless has \\[\\]"):
        program.trip_count(entry["endless"])


def test_a_text_without_entry_is_refused():
    with pytest.raises(ValueError, match="must have an ENTRY computation"):
        parse_program("HloModule nothing\n")
