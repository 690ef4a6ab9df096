import pytest

from anybudget.validation.compiler.hlo.program import parse_program
from anybudget.validation.compiler.hlo.time import Rates, collective_bytes, program_time

# So that cycles are microseconds, a kilobyte of memory 1 µs and of the interconnect 10 µs.
RATES = Rates(clock_hz=1e6, bandwidth_bytes_per_s=1e9, interconnect_bytes_per_s=1e8)
CYCLES = 'backend_config={{"window_config":{{"estimated_cycles":"{}"}}}}'


def priced(name, cycles, operands="%x"):
    """An instruction with an estimate."""
    return f"  %{name} = f32[250] copy({operands}), {CYCLES.format(cycles)}\n"


def entry(*lines):
    return (
        "ENTRY %main (x: f32[250]) -> f32[250] {\n  %x = f32[250] parameter(0)\n"
        + "".join(line if line.endswith("\n") else f"  {line}\n" for line in lines)
        + "}\n"
    )


def time_of(text):
    return program_time(parse_program(text), RATES)


def microseconds(text):
    """Terms that are not 0."""
    return {term: pytest.approx(1e6 * s) for term, s in time_of(text).seconds.items() if s}


def test_cycles_over_the_clock_and_not_those_inside_a_fusion():
    text = f"%inner (y: f32[250]) -> f32[250] {{\n{priced('hidden', 1000, '')}}}\n\n"
    fusion = f"%b = f32[250] fusion(%a), kind=kLoop, calls=%inner, {CYCLES.format(4)}"
    text += entry(priced("a", 3), fusion, "ROOT %c = f32[250] bitcast(%b)")
    assert microseconds(text) == {"compute": 7}


def test_loops_nest():
    text = f"""%condition (s: s32[]) -> pred[] {{
  %n = s32[] constant(5)
}}

%row (s: s32[]) -> s32[] {{
{priced("a", 2, "")}}}

%grid (s: s32[]) -> s32[] {{
{priced("b", 1, "")}  %in = s32[] while(%b), condition=%condition, body=%row
}}

""" + entry("%out = s32[] while(%x), condition=%condition, body=%grid")
    assert microseconds(text) == {"compute": 5 * (1 + 5 * 2)}


def test_the_longest_branch_counts():
    text = f"%small (s: s32[]) -> s32[] {{\n{priced('a', 2, '')}}}\n\n"
    text += f"%large (s: s32[]) -> s32[] {{\n{priced('b', 9, '')}}}\n\n"
    text += entry("%c = s32[] conditional(%x, %x), branch_computations={%small, %large}")
    assert microseconds(text) == {"compute": 9}


START = "%start{0} = (f32[{1}], f32[{1}], u32[]) copy-start(%x)"
DONE = "%done{0} = f32[{1}] copy-done(%start{0})"


@pytest.mark.parametrize(("cycles", "waited"), [(1, 3), (3, 1), (4, 0), (9, 0)])
def test_only_the_wait_for_an_asynchronous_copy_counts(cycles, waited):
    text = entry(START.format(1, 1000), priced("a", cycles), DONE.format(1, 1000))
    assert time_of(text).seconds["copies"] == pytest.approx(1e-6 * waited)
    assert time_of(text).step_time_s == pytest.approx(1e-6 * (cycles + waited))


def test_copies_queue_behind_each_other():
    # 4 µs and 2 µs of copying while 1 µs is computed: the second waits for the first.
    text = entry(
        START.format(1, 1000), START.format(2, 500), priced("a", 1), DONE.format(2, 500),
        DONE.format(1, 1000),
    )  # fmt: skip
    assert microseconds(text) == {"compute": 1, "copies": 5}


def test_a_gather_counts_its_rows_and_not_its_table():
    text = """%inner (t: f32[99999], i: s32[250]) -> f32[250] {
  %rows = f32[250] gather(%t, %i), offset_dims={1}
}

""" + entry("%table = f32[99999] parameter(1)", "%i = s32[250] parameter(2)",
            "%g = f32[250] fusion(%table, %i), kind=kCustom, calls=%inner")  # fmt: skip
    assert microseconds(text) == {"gathers": 2}


def test_a_scatter_reads_its_rows_and_reads_and_writes_as_many_of_the_result():
    text = entry(
        "%table = f32[99999] parameter(1)",
        "%i = s32[25] parameter(2)",
        "%s = f32[99999] scatter(%table, %i, %x)",
    )
    assert microseconds(text) == {"gathers": 0.1 + 1 + 2}


def test_what_has_no_estimate_reads_and_writes_all_of_it():
    call = '%k = f32[500] custom-call(%x), custom_call_target="tpu_custom_call"'
    assert microseconds(entry(call)) == {"others": 1 + 2}
    free = '%k = f32[500] custom-call(%x), custom_call_target="ConcatBitcast"'
    assert microseconds(entry(free)) == {}


COLLECTIVES = {
    # Of 4 chips each sends 3/4 of the whole array, and twice that of a reduced one.
    "%r = f32[250] all-reduce(%x), replica_groups={{0,1,2,3}}": (
        "all-reduce", 1000, 2 * 0.75 * 10,
    ),
    "%r = f32[1000] all-gather(%x), replica_groups=[1,4]<=[4], dimensions={0}": (
        "all-gather", 4000, 0.75 * 40,
    ),
    "%r = f32[500] all-reduce(%x), replica_groups=mesh['a'=4,'b'=2,'c'=9] {'a','b'}": (
        "all-reduce", 1000, 2 * 7 / 8 * 10,
    ),
    "%r = f32[125] reduce-scatter(%x), replica_groups={{0,1}}": (
        "reduce-scatter", 1000, 0.5 * 10,
    ),
}  # fmt: skip


@pytest.mark.parametrize("line", COLLECTIVES)
def test_collectives_by_bytes_over_the_interconnect(line):
    kind, n_bytes, expected = COLLECTIVES[line]
    assert microseconds(entry(line)) == {"collectives": expected}
    assert collective_bytes(parse_program(entry(line))) == {kind: n_bytes}


def test_an_asynchronous_collective_hides_behind_the_compute_and_counts_once():
    text = entry(
        "%s = (f32[250], f32[1000]) all-gather-start(%x), replica_groups=[1,4]<=[4]",
        priced("a", 22),
        "%d = f32[1000] all-gather-done(%s)",
    )
    assert microseconds(text) == {"compute": 22, "collectives": 8}
    assert collective_bytes(parse_program(text)) == {"all-gather": 4000}


def test_collectives_in_a_loop_count_as_often_as_it_runs():
    text = """%condition (s: s32[]) -> pred[] {
  %n = s32[] constant(5)
}

%body (y: f32[250]) -> f32[250] {
  %y = f32[250] parameter(0)
  %r = f32[250] all-reduce(%y), replica_groups={{0,1}}
}

""" + entry("%out = f32[250] while(%x), condition=%condition, body=%body")
    assert collective_bytes(parse_program(text)) == {"all-reduce": 5000}
    assert microseconds(text) == {"collectives": 5 * 10}


def test_collectives_of_several_arrays_and_those_inside_an_asynchronous_call():
    text = """%scattered (y: f32[1000]) -> f32[250] {
  %y = f32[1000] parameter(0)
  ROOT %in = f32[250] reduce-scatter(%y), replica_groups={{0,1,2,3}}, dimensions={0}
}

""" + entry(
        "%z = f32[500] parameter(1)",
        "%r = (f32[250], f32[500]) all-reduce(%x, %z), replica_groups={{0,1,2,3}}",
        "%g = (f32[1000], f32[2000]) all-gather(%x, %z), replica_groups={{0,1,2,3}}",
        "%s = ((f32[1000]), f32[250], s32[]) async-start(%g), calls=%scattered",
        "%d = f32[250] async-done(%s)",
    )
    program = parse_program(text)
    whole = {"all-reduce": 3000, "all-gather": 12_000, "reduce-scatter": 4000}
    assert collective_bytes(program) == whole
    sent = 2 * 0.75 * 30 + 0.75 * 120 + 0.75 * 40
    assert microseconds(text) == {"collectives": sent}


def test_a_collective_beside_fusions_counts_once_and_where_it_is_waited_for():
    gather = "%g = f32[1000] all-gather(%y), channel_id=7, replica_groups=[1,4]<=[4]"
    text = "".join(
        f"%{name} (y: f32[250]) -> f32[1000] {{\n  %y = f32[250] parameter(0)\n  {gather}\n}}\n\n"
        for name in ("begins", "async_collective_fusion.3", "ends")
    ) + entry(
        "%async-collective-start.3 = f32[1000] fusion(%x), kind=kCustom, calls=%begins",
        "%b = f32[250] fusion(%x), kind=kOutput, calls=%async_collective_fusion.3, "
        + CYCLES.format(22),
        "%async-collective-done.3 = f32[1000] fusion(%b), kind=kCustom, calls=%ends",
    )
    # Of 30 µs of sending, 22 are computed beside.
    assert microseconds(text) == {"compute": 22, "collectives": 8}
    assert collective_bytes(parse_program(text)) == {"all-gather": 4000}


def test_an_all_reduce_of_which_a_part_is_kept_is_a_reduce_scatter():
    text = """%all-reduce-scatter.2 (y: f32[250]) -> f32[125] {
  %y = f32[250] parameter(0)
  %whole = f32[250] all-reduce(%y), channel_id=1, replica_groups={{0,1}}
  ROOT %own = f32[125] dynamic-slice(%whole, %y), dynamic_slice_sizes={125}
}

""" + entry(
        "%r = f32[125] fusion(%x), kind=kCustom, calls=%all-reduce-scatter.2",
        "%s = f32[125] fusion(%x), kind=kCustom, calls=%all-reduce-scatter.2",
    )
    assert collective_bytes(parse_program(text)) == {"reduce-scatter": 2000}
    assert microseconds(text) == {"collectives": 2 * 0.5 * 10}
