import pytest

from anybudget.validation.compiler.hlo.flops import matmul_flops
from anybudget.validation.compiler.hlo.program import parse_program


def program(*lines):
    text = "".join(f"  {line}\n" for line in lines)
    return parse_program(f"ENTRY %main (x: s32[]) -> s32[] {{\n{text}}}\n")


# (shapes of both operands, the matmul as a TPU's compiler writes it, its FLOPs by hand)
MATMULS = {
    "plain": (
        ("bf16[2048,256]", "bf16[256,1024]"),
        "bf16[2048,1024] convolution(%a, %b), dim_labels=bf_io->bf",
        2 * 2048 * 256 * 1024,
    ),
    "left transposed": (
        ("bf16[2048,256]", "bf16[2048,1024]"),
        "bf16[256,1024] convolution(%a, %b), dim_labels=fb_io->bf",
        2 * 2048 * 256 * 1024,
    ),
    # 8 sequences and 4 heads, 256 positions, heads of 64.
    "batches by base dilation": (
        ("bf16[8,4,256,64]", "bf16[8,4,256,64]"),
        "bf16[8,4,256,256] convolution(%a, %b), window={size=8x4 stride=7x3 lhs_dilate=8x4}, "
        "dim_labels=01bf_01oi->01bf",
        2 * 8 * 4 * 256 * 256 * 64,
    ),
    "batches by padding": (
        ("bf16[8,4,256,256]", "bf16[8,4,64,256]"),
        "bf16[8,4,256,64] convolution(%a, %b), window={size=8x4 stride=8x4 pad=7_7x3_3 "
        "lhs_dilate=7x3 rhs_reversal=1x1}, dim_labels=01bf_01oi->01bf",
        2 * 8 * 4 * 256 * 256 * 64,
    ),
    # Twelve heads of 64 split out of one matmul's output.
    "an output axis as a window": (
        ("bf16[8,256,256,1]", "bf16[12,64,256,1]"),
        "bf16[8,256,12,64] convolution(%a, %b), "
        "window={size=1x12 pad=0_0x11_11 rhs_reversal=0x1}, dim_labels=0bf1_1oi0->0b1f",
        2 * 8 * 256 * 256 * 12 * 64,
    ),
    "a dot": (
        ("f32[2048,256]", "f32[256,1024]"),
        "f32[2048,1024] dot(%a, %b), lhs_contracting_dims={1}, rhs_contracting_dims={0}",
        2 * 2048 * 256 * 1024,
    ),
}


@pytest.mark.parametrize("name", MATMULS)
def test_flops_of_a_matmul_are_2mkn_however_it_is_written(name):
    shapes, written, flops = MATMULS[name]
    operands = [f"%{x} = {shape} parameter(0)" for x, shape in zip("ab", shapes, strict=True)]
    assert matmul_flops(program(*operands, f"ROOT %c = {written}")) == flops


def test_a_loop_counts_as_often_as_it_runs_and_a_fusion_counts_what_is_in_it():
    text = """%condition (s: s32[]) -> pred[] {
  %n = s32[] constant(9)
}

%fused (a: f32[4,8]) -> f32[4,4] {
  %a = f32[4,8] parameter(0)
  ROOT %d = f32[4,4] dot(%a, %a), lhs_contracting_dims={1}, rhs_contracting_dims={1}
}

%body (y: f32[4,8]) -> f32[4,4] {
  %y = f32[4,8] parameter(0)
  ROOT %f = f32[4,4] fusion(%y), kind=kOutput, calls=%fused
}

ENTRY %main (x: f32[4,8]) -> f32[4,4] {
  %x = f32[4,8] parameter(0)
  %once = f32[4,4] fusion(%x), kind=kOutput, calls=%fused
  ROOT %loop = f32[4,4] while(%x), condition=%condition, body=%body
}
"""
    assert matmul_flops(parse_program(text)) == 10 * 2 * 4 * 8 * 4
