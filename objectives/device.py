"""What a machine can do: its datasheet and, once calibrated, its step-time model."""

from __future__ import annotations

import dataclasses
import math
from typing import Any, Literal

from pydantic import ConfigDict

from ..space.limits import check_size
from .cost.datasheet import gpu_model
from .cost.step_time import StepTimeModel

# Share of a chip's links that a slice without wraparound leaves to its corners.
TPU_SLICE_LINKS = 0.5
# Chips of a TPU host, at most; and of several hosts, neighbours in their torus, among which a layer
# may be split.
TPU_HOST_CHIPS, TPU_NEIGHBOURS = 8, 16
# Share of an accelerator's memory that no step is planned into: counts of memory are off by some
# percent, and drivers and libraries hold some.
HEADROOM = 0.05


@dataclasses.dataclass(frozen=True, kw_only=True)
class Device:
    """One accelerator chip or CPU.

    Examples:
        Eight chips a host; links of 450 GB/s within it, 50 GB/s of the network for each chip.

        >>> device = Device(
        ...     name="toy", kind="gpu", dtype="bfloat16", source="made up", peak_flops_per_s=1e15,
        ...     bandwidth_bytes_per_s=4e12, memory_bytes=80e9, utilisation=0.5,
        ...     interconnect_bytes_per_s=450e9, chips_per_host=8, network_bytes_per_s=50e9,
        ... )
        >>> device.bytes_per_element
        2
        >>> device.host_share(4)
        4
        >>> device.host_share(16)
        8
        >>> device.label
        'toy (datasheet at 50% utilisation, not calibrated)'

    Attributes:
        name: what `--device` calls it.
        kind: `tpu`, `gpu` or `cpu`.
        peak_flops_per_s: dense matmul peak in the compute dtype.
        bandwidth_bytes_per_s: of its main memory.
        memory_bytes: of its main memory.
        dtype: the compute dtype, `bfloat16`, `float16` or `float32`.
        utilisation: the share of its datasheet's rates that a step is assumed to reach as long as
            the device is not calibrated; None: of a GPU what steps reached of those of others
            (`cost.datasheet`), of any other device all.
        source: where the numbers stand.
        step_time: the step-time model, fitted (None: from the datasheet, see `step_time_model`).
        basis: where the step time comes from: its `datasheet`, its compiler's estimates
            (`compiled`), timings that others `published`, or `measured` ones.
        calibration: how the fitted model came about: held-out error, versions, date.
        price_per_hour_usd: US dollars for an hour of it; None: not known.
        interconnect_bytes_per_s: that it sends to other chips over all of its links together, one
            direction; None: not known, so it works alone.
        chips_per_host: how many chips those links reach; None: any number.
        network_bytes_per_s: its share of what its host sends to other hosts, one direction; None:
            not known, so the chips of one host work alone.

    Raises:
        ValueError: a rate, size or price is not positive, `basis` and `step_time` disagree, or
            there is a network but no host.
    """

    __pydantic_config__ = ConfigDict(extra="forbid")

    name: str
    kind: Literal["tpu", "gpu", "cpu"]
    peak_flops_per_s: float
    bandwidth_bytes_per_s: float
    memory_bytes: float
    dtype: Literal["bfloat16", "float16", "float32"]
    source: str
    utilisation: float | None = None
    basis: Literal["datasheet", "compiled", "published", "measured"] = "datasheet"
    step_time: StepTimeModel | None = None
    calibration: dict[str, Any] = dataclasses.field(default_factory=dict)
    price_per_hour_usd: float | None = None
    interconnect_bytes_per_s: float | None = None
    chips_per_host: int | None = None
    network_bytes_per_s: float | None = None

    def __post_init__(self) -> None:
        positive = ("peak_flops_per_s", "bandwidth_bytes_per_s", "memory_bytes")
        links = ("interconnect_bytes_per_s", "chips_per_host", "network_bytes_per_s")
        for name in (*positive, "utilisation", "price_per_hour_usd", *links):
            value = getattr(self, name)
            if value is not None:
                check_size(f"device {self.name!r}: `{name}`", value)
        if self.share > 1:
            raise ValueError(
                f"device {self.name!r}: `utilisation` must be at most 1, but got {self.utilisation}"
            )
        if self.network_bytes_per_s and not self.chips_per_host:
            raise ValueError(
                f"device {self.name!r}: `network_bytes_per_s` needs `chips_per_host`: how many "
                "chips its faster links reach"
            )
        if (self.step_time is None) != (self.basis == "datasheet"):
            raise ValueError(
                f"device {self.name!r}: `step_time` must be given unless `basis` is datasheet, "
                f"but got basis={self.basis!r}"
            )

    @property
    def bytes_per_element(self) -> int:
        """Bytes of one element that a step keeps: a CPU's is float32 between its matmuls."""
        if self.kind == "cpu":
            return 4
        return {"bfloat16": 2, "float16": 2, "float32": 4}[self.dtype]

    @property
    def room_bytes(self) -> float:
        """What a step may need: on an accelerator all but `HEADROOM` of its memory."""
        return self.memory_bytes * (1 - HEADROOM * (self.kind != "cpu"))

    @property
    def share(self) -> float:
        """The utilisation, where one is assumed; else 1."""
        return 1.0 if self.utilisation is None else self.utilisation

    @property
    def as_others(self) -> bool:
        """Whether it is taken to reach what other GPUs do of their datasheets."""
        return self.basis == "datasheet" and self.kind == "gpu" and self.utilisation is None

    @property
    def times_fused_alone(self) -> bool:
        """Whether all steps that it was fitted to had fused attention, so that plain is unknown."""
        of_a_table = self.calibration.get("varied", {}).get("attention")
        return of_a_table == ["fused"] or self.calibration.get("attention") == "fused"

    @property
    def step_time_model(self) -> StepTimeModel:
        """The fitted model, or one with coefficients from the datasheet.

        Uncalibrated at a stated `utilisation`, it is the paper's: an element moves at the bandwidth
        and a FLOP runs at the peak, both at that share, one after the other; a step has no
        overhead. A GPU without is taken to be as good as others of its datasheet.

        Examples:
            2 bytes at half of 4e12 bytes/s are 1e-12 s, a FLOP at half of 1e15/s 2e-15 s.

            >>> device = Device(
            ...     name="toy", kind="gpu", dtype="bfloat16", source="made up", utilisation=0.5,
            ...     peak_flops_per_s=1e15, bandwidth_bytes_per_s=4e12, memory_bytes=80e9,
            ... )
            >>> device.step_time_model.seconds_per_unit
            {'memcpys': 1e-12, 'flops': 2e-15, 'steps': 0.0}
        """
        if self.step_time:
            return self.step_time
        if self.as_others:
            return gpu_model(
                peak_flops_per_s=self.peak_flops_per_s,
                bytes_per_s=self.bandwidth_bytes_per_s,
                bytes_per_element=self.bytes_per_element,
                interconnect_bytes_per_s=self.interconnect_bytes_per_s,
                network_bytes_per_s=self.network_bytes_per_s,
            )
        return StepTimeModel(
            name="paper",
            seconds_per_unit={
                "memcpys": self.bytes_per_element / (self.bandwidth_bytes_per_s * self.share),
                "flops": 1 / (self.peak_flops_per_s * self.share),
                "steps": 0.0,
            },
        )

    @property
    def collective_bytes_per_s(self) -> float:
        """What it sends in a collective, at `utilisation`.

        Of a TPU slice that is no torus (v5e and v6e: with an axis under 16 chips; v4 and v5p: under
        4) the corner chips have half of their links, and all others wait for them.

        Raises:
            ValueError: the interconnect is not known.
        """
        if self.interconnect_bytes_per_s is None:
            raise ValueError(
                f"several chips need a device with `interconnect_bytes_per_s`, but {self.name} has "
                "none; give it in a device file, or ask for one chip"
            )
        links = TPU_SLICE_LINKS if self.kind == "tpu" else 1.0
        return self.interconnect_bytes_per_s * links * self.share

    def host_share(self, n_chips: int) -> int:
        """How many of several chips share a host.

        Raises:
            ValueError: they fill no whole hosts, or there are several hosts and no network.
        """
        if self.chips_per_host is None or n_chips <= self.chips_per_host:
            return n_chips
        if n_chips % self.chips_per_host:
            raise ValueError(
                f"`n_chips` must fill whole hosts of {self.chips_per_host} {self.name}, "
                f"but got {n_chips}"
            )
        if self.network_bytes_per_s is None:
            raise ValueError(
                f"{n_chips} of {self.name} are {n_chips // self.chips_per_host} hosts, but the "
                "device has no `network_bytes_per_s`; give it in a device file"
            )
        return self.chips_per_host

    def layer_splits(self, n_chips: int) -> tuple[int, ...]:
        """Among how many of several hosts' chips a layer may be split, the most first.

        Any power of two of a TPU's neighbours or, where their links were timed, of a host's GPUs.
        """
        if self.kind == "tpu":
            most = TPU_NEIGHBOURS if n_chips > TPU_HOST_CHIPS else 1
        else:
            in_host = self.host_share(n_chips) if self.step_time_model.times_links else n_chips
            most = in_host if in_host < n_chips else 1
        most = math.gcd(n_chips, most)
        return tuple(2**i for i in reversed(range(most.bit_length())) if most % 2**i == 0)

    def gather_s_per_byte(self, n_chips: int) -> float:
        """Seconds for each byte of an array that several chips gather from each other.

        Each chip takes what its host's others have over its links, and its share of what the host
        lacks over the network.

        Examples:
            At 100 bytes/s four chips of a host take 3/4 of an array in 0.0075 s a byte. Over two
            such hosts each also takes a quarter of the other half over 10 bytes/s: 0.0125 s more.

            >>> device = Device(
            ...     name="toy", kind="gpu", dtype="bfloat16", source="made up", memory_bytes=1,
            ...     peak_flops_per_s=1, bandwidth_bytes_per_s=1, interconnect_bytes_per_s=100,
            ...     chips_per_host=4, network_bytes_per_s=10,
            ... )
            >>> device.gather_s_per_byte(4)
            0.0075
            >>> round(device.gather_s_per_byte(8), 9)
            0.02
        """
        in_host = self.host_share(n_chips)
        seconds = (in_host - 1) / in_host / self.collective_bytes_per_s
        if (n_hosts := n_chips // in_host) > 1:
            assert self.network_bytes_per_s
            lacking = (n_hosts - 1) / n_hosts / in_host
            seconds += lacking / (self.network_bytes_per_s * self.share)
        return seconds

    def cost_usd(self, n_chips: int, seconds: float) -> float | None:
        """US dollars for so many of them for so long; None where the price is not known."""
        price = self.price_per_hour_usd
        return None if price is None else price * n_chips * seconds / 3600

    @property
    def label(self) -> str:
        """The name with where its step time comes from, for a line of output."""
        if self.as_others:
            return f"{self.name} (datasheet at what other GPUs reach, not calibrated)"
        if self.basis == "datasheet":
            return f"{self.name} (datasheet at {self.share:.0%} utilisation, not calibrated)"
        return f"{self.name} ({self.basis})"
