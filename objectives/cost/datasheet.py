"""The step time of a device of which nothing but its datasheet is known."""

from __future__ import annotations

from typing import NamedTuple

from .features import ATTENTION
from .step_time import StepTimeModel


class Shares(NamedTuple):
    """What steps of several GPUs reached of their datasheets.

    Attributes:
        flops: of the peak, in matmuls.
        memcpys: of the bandwidth, where each operand of a matmul moves once.
        attention: of the peak, in fused attention.
        layer_s: seconds of overhead of a layer in a pass, whatever the GPU.
        host_waits, network_waits: share of what is sent that the step waits for.
        hop_s: seconds of a message's hop.
    """

    flops: float
    memcpys: float
    attention: float
    layer_s: float
    host_waits: float
    network_waits: float
    hop_s: float


# Fitted to 263 steps of six trainers on A100 of 40 and 80 GB, H100, RTX 3090 and RTX 4090, each
# card alike (experiments/published_gpu/cards.py, whose cards.csv has these numbers). Each of the
# five left out, the others say its level within 11%.
REACHED = Shares(
    flops=0.706,
    memcpys=0.411,
    attention=0.288,
    layer_s=4.90e-4,
    host_waits=0.145,
    network_waits=0.481,
    hop_s=1.40e-6,
)


def gpu_model(
    *,
    peak_flops_per_s: float,
    bytes_per_s: float,
    bytes_per_element: int,
    interconnect_bytes_per_s: float | None = None,
    network_bytes_per_s: float | None = None,
) -> StepTimeModel:
    """The step-time model of a GPU as good as others of its datasheet.

    Examples:
        At 1e12 FLOP/s a matmul's FLOP takes 1 / 0.706 of a picosecond.

        >>> model = gpu_model(peak_flops_per_s=1e12, bytes_per_s=1e10, bytes_per_element=2)
        >>> round(1e12 * model.seconds_per_unit["flops"], 2)
        1.42
    """
    seconds = {
        "memcpys": bytes_per_element / (bytes_per_s * REACHED.memcpys),
        "flops": 1 / (peak_flops_per_s * REACHED.flops),
        "layers": REACHED.layer_s,
        "steps": 0.0,
        ATTENTION: 1 / (peak_flops_per_s * REACHED.attention),
    }
    if interconnect_bytes_per_s:
        seconds |= {
            "host_bytes": REACHED.host_waits / interconnect_bytes_per_s,
            "hops": REACHED.hop_s,
        }
    if network_bytes_per_s:
        seconds["network_bytes"] = REACHED.network_waits / network_bytes_per_s
    return StepTimeModel(name="overhead", seconds_per_unit=seconds)
