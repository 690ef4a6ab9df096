"""What is said of a prediction before it is believed."""

import dataclasses
import math

import pytest

from anybudget.objectives.cost.execution import Execution, Remat
from anybudget.objectives.cost.memory import memory_bytes
from anybudget.objectives.cost.step_time import MODELS, StepTimeModel
from anybudget.objectives.flags import flags, of_training
from anybudget.space.architecture import Architecture

ARCH = Architecture.from_shape(d_model=128, n_layers=4, vocab_size=1000, seq_len=64, batch_size=4)


def flags_of(objective, **changes):
    """Flags under a law that expects less than a guess among the few tokens of ARCH."""
    changed = dataclasses.replace(objective, **changes)
    mild = dataclasses.replace(changed, law=dataclasses.replace(changed.law, A=1.0, B=1.0))
    return flags(mild, ARCH, mild.predict(ARCH))


def test_a_plain_case_has_no_flags(roomy):
    assert flags_of(roomy) == []


def test_flag_faster_than_the_device(roomy):
    mild = dataclasses.replace(roomy, law=dataclasses.replace(roomy.law, A=1.0, B=1.0))
    (flag,) = flags(mild, ARCH, dataclasses.replace(mild.predict(ARCH), step_time_s=1e-6))
    assert flag.startswith("faster than can be: steps at ")


def test_flag_does_not_fit(objective):
    (flag,) = flags_of(objective, device=dataclasses.replace(objective.device, memory_bytes=2e6))
    assert flag.startswith("does not fit: ")
    assert flag.endswith(" of 0.0 GB on toy")


@pytest.mark.parametrize(
    ("limits", "what"),
    [
        ({"n_params_range": (1e7, 1e9)}, "parameters"),
        ({"n_tokens_range": (1e10, 1e12)}, "tokens"),
        ({"aspect_ratio_range": (40.0, 109.0)}, "d_model / n_layers"),
    ],
)
def test_flag_outside_the_law(roomy, limits, what):
    (flag,) = flags_of(roomy, law=dataclasses.replace(roomy.law, **limits))
    assert flag.startswith("outside the law: ")
    assert f" {what}, fitted on " in flag


def test_flag_far_above_the_law(roomy):
    (flag,) = flags_of(roomy, law=dataclasses.replace(roomy.law, n_params_range=(1e3, 1e4)))
    assert flag.startswith("a guess: ")
    assert " parameters, fitted on 1e+03 to 1e+04" in flag


def test_flag_another_vocabulary(roomy):
    assert flags_of(roomy, law=dataclasses.replace(roomy.law, vocab_size=ARCH.vocab_size)) == []
    (flag,) = flags_of(roomy, law=dataclasses.replace(roomy.law, vocab_size=50257))
    assert flag.endswith(
        "but toy-law was fitted on losses over 50,257: its level means nothing here"
    )


def test_flag_worse_than_guessing(roomy):
    guess = math.log(ARCH.vocab_size)
    for excess, flagged in ((-0.01, False), (0.01, True)):
        certain = dataclasses.replace(roomy.law, E=guess + excess)
        flag = flags_of(roomy, law=dataclasses.replace(certain, alpha=5.0, beta=5.0))
        assert [text.startswith("worse than guessing: ") for text in flag] == [True] * flagged


def test_flag_few_steps(roomy):
    law = dataclasses.replace(roomy.law, n_tokens_range=(1.0, 1e10))
    short = dataclasses.replace(roomy, law=law)
    assert flags_of(short, time_budget_s=1000.5 * float(roomy.predict(ARCH).step_time_s)) == []
    (flag,) = flags_of(short, time_budget_s=999.5 * float(roomy.predict(ARCH).step_time_s))
    assert flag.startswith("only 999 optimizer steps (under 1,000)")


def test_flag_many_epochs(roomy):
    tokens = float(roomy.predict(ARCH).n_tokens)
    assert flags_of(roomy, data_limit_tokens=tokens / 4) == []
    assert flags_of(roomy, data_limit_tokens=tokens / 4.5) == [
        "4.5 epochs over the data (more than 4)"
    ]


@pytest.mark.parametrize(
    ("n_params", "epochs", "best"),
    [(1e8, 45, None), (1e8, 47, 46), (4e8, 13, 12), (6e7, 1e3, None)],
)
def test_flag_learning_by_heart(roomy, n_params, epochs, best):
    limited = dataclasses.replace(roomy, data_limit_tokens=1e8)
    first, *told = of_training(limited, n_params, 5000, epochs * 1e8)
    assert ("give nearly all" in first) == (epochs == 1e3)
    assert [f"best after some {best} epochs" in text for text in told] == [True] * bool(best)


def test_fused_attention_is_faster_and_needs_less_and_says_that_nothing_was_timed(roomy):
    accelerator = dataclasses.replace(roomy.device, kind="gpu", utilisation=1.0)
    plain = dataclasses.replace(roomy, device=accelerator, attention="plain")
    fused = dataclasses.replace(plain, attention="fused")
    arch = dataclasses.replace(ARCH, seq_len=2048)
    slow, fast = (one.predict(arch) for one in (plain, fused))
    assert fast.step_time_s < slow.step_time_s
    assert fast.memory_bytes < slow.memory_bytes
    saved = 1 - fast.step_time_s / slow.step_time_s
    assert any(f"take {saved:.0%} off each step" in flag for flag in flags(plain, arch, slow))
    assert any("counted, not timed" in flag for flag in flags(fused, arch, fast))
    assert (plain.machine, fused.machine) == ("toy", "toy, fused attention")
    model = accelerator.step_time_model
    seconds = model.seconds_per_unit | {"attention": 1e-12}
    timed = dataclasses.replace(
        accelerator,
        basis="measured",
        step_time=dataclasses.replace(model, seconds_per_unit=seconds),
    )
    fused = dataclasses.replace(fused, device=timed)
    assert not [flag for flag in flags(fused, arch, fused.predict(arch)) if "attention" in flag]
    alone = dataclasses.replace(timed, calibration={"varied": {"attention": ["fused"]}})
    unlike = dataclasses.replace(plain, device=alone)
    assert any("was not timed on toy" in flag for flag in flags(unlike, arch, slow))


def test_on_a_cpu_attention_is_told_only_where_it_runs_in_blocks_that_were_not_timed(roomy):
    short, long = (dataclasses.replace(ARCH, seq_len=seq_len) for seq_len in (128, 2048))
    for arch, n_told in ((short, 0), (long, 1)):
        told = [flag for flag in flags(roomy, arch, roomy.predict(arch)) if "attention" in flag]
        assert len(told) == n_told
    assert roomy.machine == "toy"


def test_fused_attention_on_a_tpu_says_which_heads_a_kernel_may_refuse(roomy):
    device = dataclasses.replace(roomy.device, kind="tpu")
    fused = dataclasses.replace(roomy, device=device, attention="fused")
    for n_heads, told in ((4, True), (2, False)):
        arch = Architecture.from_shape(d_model=256, n_layers=2, n_heads=n_heads)
        found = [flag for flag in flags(fused, arch, fused.predict(arch)) if "not timed" in flag]
        assert len(found) == 1
        assert ("heads of 64 are padded to 128s" in found[0]) is told


def test_what_fusing_saves_is_said_of_the_step_that_is_predicted(roomy):
    """Plain attention must run blocks again where fused attention need not."""
    arch = dataclasses.replace(ARCH, seq_len=2048)
    fits = memory_bytes(arch, Execution(attention="fused"), bytes_per_element=4, kind="gpu")
    device = dataclasses.replace(roomy.device, kind="gpu", memory_bytes=1.07 * fits)
    plain = dataclasses.replace(
        roomy, device=device, attention="plain", micro_batch_size=ARCH.batch_size
    )
    fused = dataclasses.replace(plain, attention="fused")
    slow, fast = (one.predict(arch) for one in (plain, fused))
    assert slow.execution.remat != fast.execution.remat == Remat.NONE
    saved = 1 - fast.step_time_s / slow.step_time_s
    assert any(f"take {saved:.0%} off each step" in flag for flag in flags(plain, arch, slow))


def test_flag_off_the_tiles(roomy):
    seconds = dict.fromkeys(MODELS["on_chip"], 0.0) | {"roofline_flops": 1e-15, "relaid": 1e-11}
    model = StepTimeModel(name="on_chip", seconds_per_unit=seconds, ridge=1.0)
    device = dataclasses.replace(roomy.device, step_time=model, basis="compiled")
    asked = dataclasses.replace(roomy, device=device)
    off = dataclasses.replace(ARCH, d_ff=513)
    said = [flag for flag in flags(asked, off, asked.predict(off)) if "tiles" in flag]
    assert len(said) == 1
    assert said[0].startswith("off the tiles: d_ff 513: 640 is faster, its steps ")
    on = dataclasses.replace(ARCH, d_ff=520)
    assert not any("tiles" in flag for flag in flags(asked, on, asked.predict(on)))


def test_flag_that_a_run_of_days_on_several_chips_is_not_steps_alone(chips):
    day = dataclasses.replace(chips, time_budget_s=86_400.0)
    assert any("all of the time is steps here" in flag for flag in flags_of(day))
    for less in ({"n_chips": 1}, {"time_budget_s": 86_399.0}):
        assert not any("all of the time" in flag for flag in flags_of(day, **less))
