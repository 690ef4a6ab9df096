"""The same decoders in plain PyTorch: eager, with its fused attention, a loop over experts."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from anybudget.space.blocks import Attention, Experts, Mamba2, Mlp
from anybudget.space.decoder import Decoder
from anybudget.validation.training.blocks.decoder import BALANCE

CHUNK = 256
Weights = nn.ParameterDict


class TorchDecoder(nn.Module):
    """A decoder with the weights of one of ours."""

    def __init__(self, arch: Decoder, params: dict[str, Any]) -> None:
        super().__init__()
        self.arch = arch
        self.parts = [
            part for block in arch.pattern for part in (block.mixer, block.feed_forward) if part
        ]
        self.weights = nn.ModuleList(
            nn.ParameterDict({name: nn.Parameter(_tensor(name, x)) for name, x in own.items()})
            for parts in params["blocks"]
            for own in parts
        )
        self.embedding = nn.Parameter(torch.tensor(np.asarray(params["embedding"])))
        self.final_norm = nn.Parameter(torch.tensor(np.asarray(params["final_norm"])))

    def forward(self, tokens_bt: Tensor) -> Tensor:
        """What training lowers."""
        x, uneven = self.embedding[tokens_bt[:, :-1]], torch.zeros(())
        for part, own in zip(self.parts, self.weights, strict=True):
            assert isinstance(own, nn.ParameterDict)
            normed = _norm(x, own["norm"])
            if isinstance(part, Attention):
                x = x + attention(part, own, normed)
            elif isinstance(part, Mamba2):
                x = x + mamba2(part, own, normed)
            elif isinstance(part, Mlp):
                hidden = functional.linear(normed, own["mlp_up"])
                gate = functional.silu(functional.linear(normed, own["mlp_gate"]))
                x = x + functional.linear(hidden * gate, own["mlp_down"])
            elif isinstance(part, Experts):
                added, uneven_here = experts(part, own, normed)
                x, uneven = x + added, uneven + uneven_here
        logits = functional.linear(_norm(x, self.final_norm), self.embedding)
        each = functional.cross_entropy(logits.flatten(0, 1), tokens_bt[:, 1:].flatten())
        return each + BALANCE * uneven


def _tensor(name: str, array: Any) -> Tensor:
    """A weight as `nn.Linear` has it, (out, in); experts' are one array of many."""
    values = torch.tensor(np.asarray(array))
    is_linear = values.ndim > 1 and name != "taps"
    return values.transpose(-1, -2).contiguous() if is_linear else values


def _norm(x: Tensor, gain: Tensor) -> Tensor:
    return functional.rms_norm(x, (x.shape[-1],), gain, eps=1e-6)


def attention(mixer: Attention, own: Weights, x: Tensor) -> Tensor:
    """Fused, causal; with a mask where there is a window."""
    b, t, _ = x.shape
    made = functional.linear(x, own["qkv"]).view(b, t, -1, mixer.d_head).transpose(1, 2)
    q, k, v = made.split([mixer.n_heads, mixer.n_kv_heads, mixer.n_kv_heads], dim=1)
    mask = None
    if mixer.window is not None and mixer.window < t:
        ago = torch.arange(t)[:, None] - torch.arange(t)
        mask = (ago >= 0) & (ago < mixer.window)
    out = functional.scaled_dot_product_attention(
        _rotate(q), _rotate(k), v, attn_mask=mask, is_causal=mask is None
    )
    return functional.linear(out.transpose(1, 2).reshape(b, t, -1), own["attention_output"])


def _rotate(x: Tensor) -> Tensor:
    half = x.shape[-1] // 2
    angle = torch.arange(x.shape[2])[:, None] * 10_000.0 ** (-torch.arange(half) / half)
    cos, sin = angle.cos(), angle.sin()
    first, second = x.chunk(2, dim=-1)
    return torch.cat([first * cos - second * sin, second * cos + first * sin], dim=-1)


def experts(part: Experts, own: Weights, x: Tensor) -> tuple[Tensor, Tensor]:
    """Each expert in turn takes its rows, and none is dropped; and how uneven the router is."""
    rows = x.flatten(0, 1)
    scores = functional.linear(rows, own["router"])
    best, chosen = scores.topk(part.n_per_token, dim=-1)
    share = best.softmax(dim=-1)
    out = torch.zeros_like(rows)
    for e in range(part.n_experts):
        row, rank = torch.where(chosen == e)
        mine = rows[row]
        hidden = functional.linear(mine, own["experts_up"][e])
        hidden = hidden * functional.silu(functional.linear(mine, own["experts_gate"][e]))
        made = functional.linear(hidden, own["experts_down"][e])
        out = out.index_add(0, row, share[row, rank, None] * made)
    taken = torch.bincount(chosen.flatten(), minlength=part.n_experts) / chosen.numel()
    uneven = part.n_experts * (taken * scores.softmax(dim=-1).mean(dim=0)).sum()
    return out.view_as(x), uneven


def mamba2(mixer: Mamba2, own: Weights, x: Tensor) -> Tensor:
    """Chunks as matmuls, states between them one after the other; one group of heads."""
    b, t, _ = x.shape
    h, c, s = mixer.n_heads, mixer.d_head, mixer.d_state
    gate, channels, step = functional.linear(x, own["scan_in"]).split(
        [h * c, mixer.n_channels, h], dim=-1
    )
    convolved = functional.conv1d(
        channels.transpose(1, 2),
        own["taps"].t()[:, None],
        own["taps_bias"],
        padding=mixer.d_conv - 1,
        groups=mixer.n_channels,
    )
    channels = functional.silu(convolved[..., :t].transpose(1, 2))
    inputs, write, read = channels.split([h * c, s, s], dim=-1)
    inputs = inputs.view(b, t, h, c)
    step = functional.softplus(step + own["step_bias"])
    out = _scan(inputs * step[..., None], -own["log_decay"].exp() * step, write, read)
    out = (out + own["skip"][:, None] * inputs).flatten(2) * functional.silu(gate)
    return functional.linear(_norm(out, own["scan_norm"]), own["scan_out"])


def _scan(x: Tensor, log_kept: Tensor, write: Tensor, read: Tensor) -> Tensor:
    b, t, h, c = x.shape
    n = min(CHUNK, t)
    x, write, read = (a.unflatten(1, (-1, n)) for a in (x, write, read))
    kept = log_kept.unflatten(1, (-1, n)).permute(0, 3, 1, 2).cumsum(dim=-1)  # b h z l
    between = kept[..., :, None] - kept[..., None, :]
    past = torch.ones(n, n, dtype=torch.bool).tril()
    decay = between.masked_fill(~past, -torch.inf).exp()
    scores = torch.einsum("bzls,bzrs->bzlr", read, write)
    out = torch.einsum("bzlr,bhzlr,bzrhc->bzlhc", scores, decay, x)
    to_end = (kept[..., -1:] - kept).exp()
    added = torch.einsum("bzls,bhzl,bzlhc->bzhcs", write, to_end, x)
    whole = kept[..., -1].exp()
    state, before = torch.zeros_like(added[:, 0]), []
    for z in range(added.shape[1]):
        before.append(state)
        state = whole[:, :, z, None, None] * state + added[:, z]
    states = torch.stack(before, dim=1)
    out = out + torch.einsum("bzls,bzhcs,bhzl->bzlhc", read, states, kept.exp())
    return out.reshape(b, t, h, c)
