"""FLOPs of each kind of block, as counted and as XLA counts the plain form's forward and backward.

    python experiments/blocks/xla_flops.py

Wall time: a minute on one core; writes xla_flops.csv.
Expected: matmuls within 1% of XLA's, and below all that XLA counts by what is no matmul. Found: on
all 84 shapes within 0.6%, but for the delta rule to the last digit (its triangular system is a call
whose work XLA does not count, its gradient a matmul that we do not); on 79 within 1% of XLA's whole
count, on five small scans 1.0 to 1.3% below it.

Nothing is compiled or run: XLA counts the program that it is given, unrolled, on twelve shapes of
each kind. Experts have as many rows as any; attention is plain, in a window too, so that what the
mask leaves out is multiplied.
"""

from __future__ import annotations

import dataclasses
import math
import re
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import pandas as pd

from anybudget.objectives.cost import counts
from anybudget.space.blocks import Attention, Experts, GatedDelta, LatentAttention, Mamba2, Mlp
from anybudget.space.decoder import Block, Decoder
from anybudget.validation.training.blocks import KINDS
from anybudget.validation.training.blocks.forms import Forms, balanced
from anybudget.validation.training.model import rms_norm

HERE = Path(__file__).parent
ROWS = HERE / "xla_flops.csv"
Part = Attention | Experts | GatedDelta | LatentAttention | Mamba2 | Mlp
# Width, sequences and their length: of small models to those of billions.
SIZES = ((512, 4, 512), (1024, 2, 1024), (2048, 1, 2048), (4096, 1, 1024))


def cases() -> list[tuple[str, Part, tuple[int, int, int]]]:
    """Twelve shapes of each kind: three of a part at each of four sizes."""
    found: list[tuple[str, Part, tuple[int, int, int]]] = []
    for size in SIZES:
        d_model = size[0]
        h = d_model // 64
        for i in range(3):
            heads: Any = {"n_heads": h, "n_kv_heads": h >> i, "d_head": (64, 128, 64)[i]}
            window = (128, 256, 384)[i]
            ranks = {"query_rank": (None, 384, 768)[i], "kv_rank": (256, 512, 128)[i]}
            widths = {"d_nope": (64, 128, 32)[i], "d_rope": (32, 64, 32)[i]}
            d_expert, n_experts = d_model * (4, 1, 2)[i], (4, 16, 8)[i]
            found += [
                ("attention", Attention(**heads, gated=i == 2), size),
                ("window", Attention(**heads, window=window), size),
                ("latent", LatentAttention(n_heads=h, **ranks, **widths, d_value=64), size),
                ("mamba2", Mamba2(n_heads=2 * h, d_head=64, d_state=(64, 128, 128)[i],
                                  n_groups=(1, 1, 8)[i], d_conv=4), size),
                ("gated delta", GatedDelta(n_key_heads=h // (2, 4, 2)[i],
                                           n_value_heads=h // (1, 2, 2)[i], d_key=128,
                                           d_value=(128, 128, 64)[i], d_conv=4), size),
                ("mlp", Mlp(d_ff=d_model * (4, 3, 2)[i], gated=i > 0), size),
                ("experts", Experts(n_experts=n_experts, n_per_token=(1, 4, 2)[i],
                                    d_expert=d_expert, gated=i > 0,
                                    d_shared=(0, d_expert, 0)[i]), size),
            ]  # fmt: skip
    return found


def lowered(part: Part, size: tuple[int, int, int]) -> Any:
    """Loss and gradients of a block of one part: a norm, the part, and the residual sum."""
    d_model, *rows = size
    kind = KINDS[type(part)]
    more = {"forms": Forms(grouped=balanced)} if isinstance(part, Experts) else {}

    def loss(params: dict[str, jax.Array], x_btd: jax.Array) -> jax.Array:
        made = kind.apply(part, params, rms_norm(x_btd, params["norm"]), **more)
        return jnp.mean(x_btd + made)

    shapes = kind.param_shapes(part, d_model) | {"norm": (d_model,)}
    params = {name: jax.ShapeDtypeStruct(shape, jnp.float32) for name, shape in shapes.items()}
    x_btd = jax.ShapeDtypeStruct((*rows, d_model), jnp.float32)
    return jax.jit(jax.value_and_grad(loss, argnums=(0, 1))).lower(params, x_btd)


def dot_flops(hlo: str) -> int:
    """2mkn of every dot in a program's text, as often as what it stands in is called."""
    own: dict[str, int] = {}
    calls: dict[str, list[str]] = {}
    for name, body in re.findall(r"^(?:ENTRY )?%?([\w.-]+)[^\n]*\{\n(.*?)^\}", hlo, re.S | re.M):
        defined = re.finditer(r"%?([\w.-]+) = \w+\[([\d,]*)\]", body)
        shapes = {found[1]: [int(n) for n in found[2].split(",") if n] for found in defined}
        dots = re.findall(
            r"%?([\w.-]+) = \S+ dot\(%?([\w.-]+), .*?lhs_contracting_dims=\{([\d,]+)\}", body
        )
        own[name] = sum(
            2 * math.prod(shapes[out]) * math.prod(shapes[left][int(n)] for n in axes.split(","))
            for out, left, axes in dots
        )
        calls[name] = re.findall(r"to_apply=%?([\w.-]+)", body)

    def total(name: str) -> int:
        return own[name] + sum(map(total, calls[name]))

    return total(re.findall(r"^ENTRY %?([\w.-]+)", hlo, re.M)[0])


def counted(part: Part, size: tuple[int, int, int]) -> float:
    """FLOPs of one block, forward and backward, as the product counts them."""
    d_model, batch_size, seq_len = size
    is_mixer = not isinstance(part, Mlp | Experts)
    block = Block(mixer=part if is_mixer else None, feed_forward=None if is_mixer else part)
    model = Decoder(
        d_model=d_model, pattern=(block,), vocab_size=1, tied_embeddings=True,
        seq_len=seq_len, batch_size=batch_size,
    )  # fmt: skip
    parts = counts.flops_by_part(model)
    return counts.total({name: n for name, n in parts.items() if name != "logits"})


def row(name: str, part: Part, size: tuple[int, int, int]) -> dict[str, Any]:
    """One shape: what is counted over XLA's matmuls and over all that XLA counts."""
    program = lowered(part, size)
    ours = counted(part, size)
    by_xla = dot_flops(program.compiler_ir(dialect="hlo").as_hlo_text())
    return {
        "block": name,
        **dict(zip(("d_model", "batch_size", "seq_len"), size, strict=True)),
        "fields": " ".join(f"{n}={v}" for n, v in dataclasses.asdict(part).items()),
        "flops": ours,
        "over_xla_matmuls": ours / by_xla,
        "over_xla_all": ours / program.cost_analysis()["flops"],
    }


def main() -> None:
    """Count all and print each kind's extremes."""
    rows = pd.DataFrame([row(*case) for case in cases()])
    rows.to_csv(ROWS, index=False, float_format="%.6g")
    ratios = rows.groupby("block", sort=False)[["over_xla_matmuls", "over_xla_all"]]
    print(ratios.agg(["min", "max"]).round(4).to_string())


if __name__ == "__main__":
    main()
