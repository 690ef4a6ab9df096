"""What the compiler's process is asked, and what is made of its answer, without the compiler."""

import gzip
import importlib.util
import json
import subprocess

import pytest

from anybudget.objectives.cost.counts import flops_per_step, n_params
from anybudget.objectives.cost.execution import Execution
from anybudget.show.terminal.compiled import show_compiled
from anybudget.space.architecture import Architecture
from anybudget.validation.compiler import compile as compile_module
from anybudget.validation.compiler.compile import compile_all, compile_for, compiler_environment
from anybudget.validation.compiler.plan import keep_plan
from anybudget.validation.compiler.step import out_of_memory
from anybudget.validation.compiler.topology import parse_topology

ARCH = Architecture.from_shape(d_model=64, n_layers=1, vocab_size=256, seq_len=128, batch_size=4)
CHIP, SLICE = parse_topology("v5e:1x1"), parse_topology("v5e:2x2")
PROGRAM = """ENTRY %main (x: f32[256,256]) -> f32[256,256] {
  %x = f32[256,256] parameter(0)
  %d = f32[256,256] dot(%x, %x), lhs_contracting_dims={1}, rhs_contracting_dims={0}, \
backend_config={"window_config":{"estimated_cycles":"1503000"}}
  ROOT %r = f32[256,256] all-reduce(%d), replica_groups={CHIPS}
}
"""
ANSWER = {
    "status": "ok",
    "memory_bytes": 10**6,
    "flops": 4e7,
    "bytes_accessed": 8e5,
    "compile_s": 60.0,
}
NEED = {"status": "out_of_memory", "memory_bytes": 35 * 10**9}


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


@pytest.fixture
def answer(monkeypatch):
    """Let the compiler's process answer as told; returns what it was started with."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name)

    def tell(data, returncode=0, stderr=""):
        calls = []

        def run(command, *, env, timeout, **kwargs):
            calls.append((json.loads(command[-2]), env, timeout))
            folder = compile_module.Path(command[-1])
            if data:
                (folder / "answer.json").write_text(json.dumps(data))
                with gzip.open(folder / "program.hlo.gz", "wt") as file:
                    chips = "{0,1,2,3}" if calls[-1][0]["topology"] == SLICE.name else "{0}"
                    file.write(PROGRAM.replace("CHIPS", chips))
            return subprocess.CompletedProcess(command, returncode, "", stderr)

        monkeypatch.setattr(subprocess, "run", run)
        return calls

    return tell


def test_one_chip_has_the_programs_numbers_beside_ours(answer):
    calls = answer(ANSWER)
    step = compile_for(ARCH, CHIP, Execution(), timeout_s=5)
    assert step.fits
    assert step.compiler["flops_per_step"] == 4e7
    assert step.compiler["matmul_flops"] == 2 * 256**3
    assert step.compiler["memory_bytes"] == 10**6
    assert step.time
    assert step.time.seconds["compute"] == pytest.approx(1e-3, rel=1e-3)
    assert step.analytic["flops_per_step"] == flops_per_step(ARCH)
    request, environment, timeout = calls[0]
    assert request["architecture"] == ARCH.as_dict()
    assert request["execution"] == Execution().named()
    assert environment["TPU_SKIP_MDS_QUERY"] == "1"
    assert timeout == 5
    compile_for(ARCH, CHIP, Execution())
    assert len(calls) == 1


def test_a_step_is_compiled_as_if_a_chip_had_less_memory(answer):
    calls = answer(ANSWER)
    compile_for(ARCH, CHIP, Execution())
    compile_for(ARCH, CHIP, Execution(), within_bytes=CHIP.device.memory_bytes - 5e9)
    flags = [environment.get("LIBTPU_INIT_ARGS") for _, environment, _ in calls]
    assert flags == [None, "--xla_tpu_user_reserved_hbm_bytes=5000000000"]


@pytest.mark.parametrize(
    ("batch_size", "scan_layers", "predicted"),
    [(40, False, "yes"), (70, False, "run again in part"), (70, True, "no"), (100, False, "no")],
)
def test_what_the_compiler_must_press_into_memory_is_said_to_run_again(
    answer, batch_size, scan_layers, predicted
):
    answer(ANSWER)
    arch = Architecture.from_shape(d_model=1536, n_layers=4, seq_len=512, batch_size=batch_size)
    step = compile_for(arch, CHIP, Execution(scan_layers=scan_layers))
    assert step.analytic_fits == (predicted != "no")
    (table,) = (line for line in show_compiled([step]) if not isinstance(line, str))
    assert list(table.columns[2].cells)[-1] == predicted


def test_each_chip_of_a_slice_has_its_share_of_the_batch(answer):
    answer(ANSWER)
    step = compile_for(ARCH, SLICE, Execution())
    assert step.analytic["matmul_flops"] == flops_per_step(ARCH) / 4
    assert step.collective_bytes == {"all-reduce": 4 * 256**2}
    shown = [line for line in show_compiled([step]) if isinstance(line, str)]
    assert "collectives: all-reduce 0.000262 GB" in shown
    # Weights of the layer and of the logits in bfloat16, the lookup's and the norms' in float32.
    n_weights, n_embedding, n_norms = 12 * 64**2, 256 * 64, 3 * 64
    expected = 2 * (n_weights + n_embedding) + 4 * (n_embedding + n_norms)
    assert step.analytic["all_reduce_bytes"] == expected
    shared = compile_for(ARCH, SLICE, Execution(sharding="full"))
    assert shared.analytic["all_reduce_bytes"] == 4 * (n_norms + n_embedding)
    assert shared.analytic["reduce_scatter_bytes"] == 2 * (n_weights + n_embedding)
    assert shared.analytic["memory_bytes"] < step.analytic["memory_bytes"]
    assert shared.analytic["step_time_s"] != step.analytic["step_time_s"]


def test_a_loop_over_layers_leaves_out_what_the_compiler_counts_once(answer):
    answer(ANSWER)
    step = compile_for(ARCH, CHIP, Execution(scan_layers=True))
    assert step.compiler["flops_per_step"] is step.compiler["bytes_accessed"] is None
    assert step.compiler["matmul_flops"] == 2 * 256**3


def write_plan(folder):
    """What the compiler writes on its way."""
    dump = folder / "dump"
    dump.mkdir()
    name = "module_0000.jit_train_step.cl_1"
    report = "Memory Space: default (color=0)\nTotal bytes: 77 (77B)\n\nMemory Space: vmem"
    (dump / f"{name}.after_optimizations-memory-usage-report.txt").write_text(report)
    text = PROGRAM.replace("CHIPS", "{0}")
    (dump / f"{name}.after_optimizations_after_buffer_assignment.txt").write_text(text)


def test_after_the_time_what_was_planned_is_the_answer(answer, monkeypatch):
    answer(ANSWER)

    def too_slow(command, **kwargs):
        write_plan(compile_module.Path(command[-1]))
        raise subprocess.TimeoutExpired(command, 2)

    monkeypatch.setattr(subprocess, "run", too_slow)
    step = compile_for(ARCH, CHIP, Execution(), timeout_s=2)
    assert (step.memory_bytes, step.matmul_flops) == (77, 2 * 256**3)
    assert step.fits
    assert step.time is step.flops is None
    assert any("no step time" in line for line in show_compiled([step]) if isinstance(line, str))
    # The plan is kept as a plan: it is no answer to a question for the time.
    answer(None, returncode=1)
    kept = compile_for(ARCH, CHIP, Execution(), with_time=False)
    assert kept.memory_bytes == 77
    with pytest.raises(ValueError, match="failed"):
        compile_for(ARCH, CHIP, Execution())


def test_a_plan_is_whole_once_its_program_is(tmp_path):
    assert keep_plan(tmp_path) is None
    write_plan(tmp_path)
    text = next(tmp_path.rglob("*after_buffer_assignment.txt"))
    whole = text.read_text()
    for end in (0, 10, len(whole) // 2, whole.rindex("}")):
        text.write_text(whole[:end])
        assert keep_plan(tmp_path) is None
    text.write_text(whole)
    assert keep_plan(tmp_path) == 77


def test_what_does_not_fit_is_an_answer(answer):
    answer(NEED)
    step = compile_for(ARCH, CHIP, Execution())
    assert not step.fits
    assert step.as_dict()["compiler"]["memory_bytes"] == 35 * 10**9
    assert step.as_dict()["compiler"]["step_time_s"] is None
    assert step.as_dict()["basis"] == "compiler estimate"
    list(show_compiled([step]))


def test_the_bytes_needed_stand_in_the_complaint():
    complaint = "RESOURCE_EXHAUSTED: XLA:TPU compile permanent error. Ran out of memory in "
    complaint += "memory space hbm. Used 33.50G of 15.75G hbm. Exceeded hbm capacity by 17.75G."
    assert out_of_memory(complaint) == {
        "status": "out_of_memory",
        "memory_bytes": int(33.5 * 2**30),
    }
    complaint = "RESOURCE_EXHAUSTED: Ran out of memory on HBM, the total memory required for HLO "
    complaint += "temporaries (16.25G) exceeds available HBM (15.75G)."
    assert out_of_memory(complaint)["memory_bytes"] == int(16.25 * 2**30)
    with pytest.raises(ValueError, match="the compiler refused the step: INTERNAL"):
        out_of_memory("INTERNAL: something else")


def test_without_the_compiler_it_says_what_to_install(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"not installed; pip install -e '\.\[tpu\]'"):
        compile_for(ARCH, CHIP, Execution())


def test_a_compiler_that_fails_or_hangs_is_a_mistake_in_one_line(answer, monkeypatch):
    answer(None, returncode=1, stderr="Traceback\nRuntimeError: no such topology\n")
    with pytest.raises(ValueError, match=r"failed \(exit code 1\): RuntimeError: no such topology"):
        compile_for(ARCH, CHIP, Execution())

    def hang(command, **kwargs):
        raise subprocess.TimeoutExpired(command, 2)

    monkeypatch.setattr(subprocess, "run", hang)
    with pytest.raises(ValueError, match="not even planned memory in 2 s; give more with"):
        compile_for(ARCH, CHIP, Execution(), timeout_s=2)


def test_the_compilers_environment_has_no_flags_of_the_users(monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", "--xla_dump_to=here")
    monkeypatch.setenv("HOME", "kept")
    environment = compiler_environment(parse_topology("v6e:1x1"), "logs")
    assert "XLA_FLAGS" not in environment
    assert environment["HOME"] == "kept"
    assert environment["TPU_LOG_DIR"] == "logs"
    assert environment["TPU_ACCELERATOR_TYPE"] == "v6e-4"


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"fields": {"d_model": 64}}, "`n_layers` is missing; give --n-layers, or --result DIR"),
        (
            {"fields": {"d_model": 64, "n_layers": 1}, "how": {"sharding": "all"}},
            "`sharding` must be data, full or",
        ),
        (
            {"fields": {"d_model": 64, "n_layers": 1}, "how": {"remat": "all"}},
            "`remat` must be none,",
        ),
        ({"fields": {"d_model": 64, "n_layers": 1, "batch_size": 3}}, "multiple of the 4 chips"),
        (
            {"fields": {"d_model": 64, "n_layers": 1}, "how": {"attention": "x"}},
            "must be plain or fused",
        ),
        (
            {"fields": {"d_model": 64, "n_layers": 1}, "how": {"attention": "fused"}},
            "compiled for one chip",
        ),
    ],
)
def test_mistakes_are_said_before_anything_is_compiled(answer, options, complaint):
    calls = answer(ANSWER)
    with pytest.raises(ValueError, match=complaint):
        compile_all("v5e:2x2", **options)
    assert calls == []


def test_a_result_already_says_the_architecture(tmp_path):
    with pytest.raises(ValueError, match="a result already says `d_model`"):
        compile_all("v5e:1x1", fields={"d_model": 64}, result=tmp_path)


def test_of_fused_attention_memory_alone_is_told(answer):
    calls = answer(ANSWER)
    fields = {"d_model": 256, "n_layers": 2, "seq_len": 2048, "batch_size": 1}
    plain, fused = (
        compile_all("v5e:1x1", fields=fields, how={"attention": attention})[0]
        for attention in ("plain", "fused")
    )
    asked = [(call[0]["execution"]["attention"], call[0]["stage"]) for call in calls]
    assert asked == [("plain", "program"), ("fused", "plan")]
    known = {name for name, value in fused.compiler.items() if value is not None}
    assert known == {"memory_bytes"}
    for name in ("matmul_flops", "traffic_bytes", "memory_bytes", "step_time_s"):
        assert fused.analytic[name] < plain.analytic[name]
    assert any("no FLOPs, bytes or step time" in str(line) for line in show_compiled([fused]))


@pytest.mark.extra
@pytest.mark.skipif(importlib.util.find_spec("libtpu") is None, reason="needs the extra `tpu`")
def test_the_real_compiler_takes_fused_attention():
    arch = Architecture.from_shape(
        d_model=512, n_layers=2, vocab_size=8192, seq_len=1024, batch_size=16
    )
    step = compile_for(arch, CHIP, Execution(attention="fused"), with_time=False)
    assert step.memory_bytes == pytest.approx(step.analytic["memory_bytes"], rel=0.1)


@pytest.mark.extra
@pytest.mark.skipif(importlib.util.find_spec("libtpu") is None, reason="needs the extra `tpu`")
def test_the_real_compiler_plans_a_step_with_exactly_the_matmuls_that_we_count():
    step = compile_for(ARCH, CHIP, Execution(), with_time=False)
    assert step.matmul_flops == flops_per_step(ARCH)
    # At least the state: weights and two moments in float32.
    assert 12 * n_params(ARCH) < step.memory_bytes < 100 * n_params(ARCH)
