"""TPU topologies by name, as their compiler takes them, and what of a chip its cycles rest on."""

from __future__ import annotations

import dataclasses
import math
import re
from typing import Any

from ...files.read import did_you_mean
from ...objectives.cost.step_time import StepTimeModel
from ...objectives.device import Device
from ...presets.devices import load_device

# Features whose time is the main memory's, and those of no rate of the chip.
OF_MEMORY: tuple[str, ...] = ("params", "stacked", "relaid", "spilled_lookup")
OVERHEAD: tuple[str, ...] = ("layers", "steps")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Generation:
    """One TPU generation.

    Attributes:
        device: the preset of one chip.
        accelerator_type: what the compiler's library wants in `TPU_ACCELERATOR_TYPE`.
        n_axes: of the torus that its chips form.
        wraps_at: an axis of a multiple of so many chips is a ring, a shorter one a line.
        flops_per_cycle: of one chip's matrix units in bfloat16: 2 for a multiply-add, by the
            units of all cores, by the square of their side.
        link_bytes_per_s: of one link between neighbours, one way.
        devices_per_chip: into which JAX divides a chip; `device` and all numbers above are of one.
        like: a compiled preset of alike matrix units, which few steps of this generation move.
    """

    device: str
    accelerator_type: str
    n_axes: int
    wraps_at: int
    flops_per_cycle: int
    link_bytes_per_s: float
    devices_per_chip: int = 1
    like: str | None = None


# Cores, matrix units, ports and two-way bandwidth per chip: Google Cloud documentation, pages
# "TPU v4", "TPU v5e", "TPU v5p" and "TPU v6e"; a link is the bandwidth over twice the ports.
GENERATIONS = {
    "v4": Generation(
        device="tpu-v4",
        accelerator_type="v4-8",
        n_axes=3,
        wraps_at=4,
        flops_per_cycle=2 * 8 * 128**2,
        link_bytes_per_s=50e9,
    ),
    "v5e": Generation(
        device="tpu-v5e-datasheet",
        accelerator_type="v5litepod-4",
        n_axes=2,
        wraps_at=16,
        flops_per_cycle=2 * 4 * 128**2,
        link_bytes_per_s=50e9,
    ),
    "v5p": Generation(
        device="tpu-v5p-datasheet",
        accelerator_type="v5p-8",
        n_axes=3,
        wraps_at=4,
        flops_per_cycle=2 * 8 * 128**2,
        link_bytes_per_s=100e9,
    ),
    "v6e": Generation(
        device="tpu-v6e-datasheet",
        accelerator_type="v6e-4",
        n_axes=2,
        wraps_at=16,
        flops_per_cycle=2 * 4 * 256**2,
        link_bytes_per_s=100e9,
    ),
    # Page "TPU7x (Ironwood)". It does not tell the matrix units: with four of 256 a core, a matmul
    # of 4096 cubed takes 1.2 times what they need at least, with two it would take less
    # (experiments/tiles/matmuls.csv).
    "tpu7x": Generation(
        device="tpu-v7x-datasheet",
        accelerator_type="tpu7x-8",
        n_axes=3,
        wraps_at=4,
        flops_per_cycle=2 * 4 * 256**2,
        link_bytes_per_s=50e9,
        devices_per_chip=2,
        like="tpu-v6e",
    ),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Topology:
    """Chips of one generation in a grid, for example `v5e:2x2` or `v5p:2x2x1`.

    Attributes:
        generation: a key of `GENERATIONS`.
        axes: chips along each axis.

    Raises:
        ValueError: no such generation, or not the axes that it has.
    """

    generation: str
    axes: tuple[int, ...]

    def __post_init__(self) -> None:
        if self.generation not in GENERATIONS:
            near = did_you_mean(self.generation, GENERATIONS)
            raise ValueError(f"no TPU generation is called {self.generation!r}{near}")
        n_axes = GENERATIONS[self.generation].n_axes
        if len(self.axes) != n_axes or min(self.axes) < 1:
            one = "x".join("1" * n_axes)
            raise ValueError(
                f"a {self.generation} topology has {n_axes} axes of 1 chip or more, as "
                f"{self.generation}:{one}, but got {'x'.join(map(str, self.axes))}"
            )

    @property
    def name(self) -> str:
        """As it is written on the command line."""
        return f"{self.generation}:{'x'.join(map(str, self.axes))}"

    @property
    def n_chips(self) -> int:
        """Devices in the whole grid; of a single chip one alone, whatever it is divided into."""
        n_chips = math.prod(self.axes)
        return n_chips * GENERATIONS[self.generation].devices_per_chip if n_chips > 1 else 1

    @property
    def device(self) -> Device:
        """One chip, from its datasheet."""
        return load_device(GENERATIONS[self.generation].device)

    @property
    def prior(self) -> StepTimeModel | None:
        """The model of the generation that this one is like, by both datasheets' rates."""
        like = GENERATIONS[self.generation].like
        return scaled_to(self.device, load_device(like)) if like else None

    @property
    def clock_hz(self) -> float:
        """Cycles per second, so that all matrix units together make the datasheet's peak."""
        return self.device.peak_flops_per_s / GENERATIONS[self.generation].flops_per_cycle

    @property
    def interconnect_bytes_per_s(self) -> float:
        """What a chip sends at most: a link each way along a ring, one along a line."""
        generation = GENERATIONS[self.generation]
        n_links = sum(1 + (n % generation.wraps_at == 0) for n in self.axes if n > 1)
        return n_links * generation.link_bytes_per_s

    @property
    def description(self) -> dict[str, Any]:
        """Arguments of `jax.experimental.topologies.get_topology_desc`.

        A single chip is no slice that can be rented, so the compiler must be told its bounds.
        """
        one_chip = {"chips_per_host_bounds": (1, 1, 1)} if self.n_chips == 1 else {}
        return {"platform": "tpu", "topology_name": self.name} | one_chip


def scaled_to(chip: Device, known: Device) -> StepTimeModel:
    """A chip's model if it did all as another does, as many times as fast as its rates are."""
    model = known.step_time_model
    slower = known.peak_flops_per_s / chip.peak_flops_per_s
    slower_memory = known.bandwidth_bytes_per_s / chip.bandwidth_bytes_per_s
    factors: dict[str, float] = dict.fromkeys(OF_MEMORY, slower_memory)
    factors |= dict.fromkeys(OVERHEAD, 1.0)
    seconds = {
        name: each * factors.get(name, slower) for name, each in model.seconds_per_unit.items()
    }
    ridge = model.ridge * slower_memory / slower
    return dataclasses.replace(model, seconds_per_unit=seconds, ridge=ridge)


def parse_topology(name: str) -> Topology:
    """The topology of a name.

    Raises:
        ValueError: it is not GENERATION:AXES, or there is no such topology.
    """
    match = re.fullmatch(r"(\w+):(\d+(?:x\d+)*)", name)
    if not match:
        raise ValueError(
            "a topology is a TPU generation and its chips, as v5e:1x1, v5e:2x2 or v5p:2x2x1, "
            f"but got {name!r}"
        )
    return Topology(generation=match[1], axes=tuple(int(n) for n in match[2].split("x")))
