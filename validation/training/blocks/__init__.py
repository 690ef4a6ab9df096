"""What blocks beside the dense one compute, a file a kind, as plain as their papers write them.

Each kind has `param_shapes(part, d_model)`, the shape of every parameter by name, and `apply(part,
params, x_btd, forms)`, what it adds to the residual stream. The letters of an array's name are its
axes: b batch, t position, d model width, h heads, g groups that share keys, c width of a head, v
width of a value, s state; z chunks, l and r positions in one; n rows, m copies of rows, e experts,
f hidden width. Norms before a block and residual sums are the decoder's (`model.block`).
"""

from __future__ import annotations

from types import ModuleType

from ....space.blocks import Attention, Experts, GatedDelta, LatentAttention, Mamba2, Mlp
from . import attention, experts, gated_delta, latent, mamba2, mlp

KINDS: dict[type, ModuleType] = {
    Attention: attention,
    LatentAttention: latent,
    Mamba2: mamba2,
    GatedDelta: gated_delta,
    Mlp: mlp,
    Experts: experts,
}
