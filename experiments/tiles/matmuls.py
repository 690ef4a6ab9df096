"""What do 8-bit matmuls cost on each TPU generation, by its own compiler, against bfloat16?

Command: python experiments/tiles/matmuls.py
Wall time: 2 minutes on one core.
Expected: half of bfloat16 where a generation's datasheet promises twice its rate: int8 on v5e, v5p
and v6e, both 8-bit floats on Ironwood. Found: so, in the larger shape (v6e .75); besides,
float8_e5m2 is as cheap as int8 on v5e, v5p and v6e and float8_e4m3fn no cheaper than bfloat16
there, nor is int8 on Ironwood.

Compiles one matmul of each shape for one device of each generation and writes the cycles that the
compiler estimates to matmuls.csv, over those of bfloat16 and of the matrix units' peak. int8
accumulates in int32, everything else puts out bfloat16. Cycles that are no estimate (2^63 - 1)
leave an empty cell. Nothing was measured on a chip.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import pandas as pd

from anybudget.validation.compiler.cache import versions
from anybudget.validation.compiler.compile import compiler_environment
from anybudget.validation.compiler.hlo.program import parse_program
from anybudget.validation.compiler.topology import GENERATIONS, parse_topology

TABLE = Path(__file__).parent / "matmuls.csv"
CHIPS = ("v5e:1x1", "v5p:1x1x1", "v6e:1x1", "tpu7x:1x1x1")
# Rows, width and MLP width of a small and of a middling model.
SHAPES = ((2048, 1024, 4096), (4096, 4096, 4096))
DTYPES = ("bfloat16", "int8", "float8_e5m2", "float8_e4m3fn")


def compiled_cycles(chip: str) -> pd.DataFrame:
    """Every shape and dtype, in this process, whose environment is the compiler's."""
    import jax
    import jax.numpy as jnp
    from jax.experimental import topologies
    from jax.sharding import SingleDeviceSharding

    topology = parse_topology(chip)
    device = topologies.get_topology_desc(**topology.description).devices[0]
    rows = []
    for m, k, n in SHAPES:
        for dtype in DTYPES:

            def operand(*shape: int, dtype: str = dtype) -> jax.ShapeDtypeStruct:
                return jax.ShapeDtypeStruct(shape, dtype, sharding=SingleDeviceSharding(device))

            out = jnp.int32 if dtype == "int8" else jnp.bfloat16
            matmul = jax.jit(lambda a, b, out=out: jax.lax.dot(a, b, preferred_element_type=out))
            compiled = matmul.lower(operand(m, k), operand(k, n)).compile()
            program = parse_program(compiled.as_text() or "")
            known = [one.cycles for one in program.computations[program.entry] if one.cycles]
            peak = 2 * m * k * n / GENERATIONS[topology.generation].flops_per_cycle
            rows.append(
                {"chip": chip, "m": m, "k": k, "n": n, "dtype": dtype}
                | {"cycles": sum(known) or None, "over_peak_bfloat16": sum(known) / peak or None}
            )
    table = pd.DataFrame(rows)
    plain = table[table.dtype == "bfloat16"].set_index(["m", "k", "n"]).cycles
    over = table.cycles / plain.loc[list(zip(table.m, table.k, table.n, strict=True))].to_numpy()
    return table.assign(over_bfloat16=over, versions=";".join(map(" ".join, versions().items())))


def main() -> None:
    """A process for each generation, whose environment its compiler reads; then the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--chip", help="compile for one and print the rows")
    if chip := parser.parse_args().chip:
        compiled_cycles(chip).to_csv(sys.stdout, index=False)
        return
    tables = []
    for chip in CHIPS:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "rows.csv"
            with path.open("w") as out:
                subprocess.run(
                    [sys.executable, __file__, "--chip", chip],
                    env=compiler_environment(parse_topology(chip), folder),
                    stdout=out,
                    check=True,
                )
            tables.append(pd.read_csv(path))
        print(tables[-1].drop(columns="versions").round(3).to_string(index=False), flush=True)
    pd.concat(tables).to_csv(TABLE, index=False, float_format="%.5g")


if __name__ == "__main__":
    main()
