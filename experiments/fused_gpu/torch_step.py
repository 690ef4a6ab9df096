"""The same model's training step in PyTorch: `torch.compile`, fused attention, Adam."""

from __future__ import annotations

import time

import torch
from torch import nn
from torch.nn import functional

from anybudget.space.architecture import Architecture


def version() -> str:
    """Of PyTorch."""
    return f"torch {torch.__version__}"


class Block(nn.Module):
    """Attention and a plain MLP, each after a norm and added to the stream."""

    def __init__(self, arch: Architecture):
        super().__init__()
        self.n_heads, self.d_head = arch.n_heads, arch.d_head
        width = arch.n_heads * arch.d_head
        self.norms = nn.ModuleList(nn.RMSNorm(arch.d_model) for _ in range(2))
        self.qkv = nn.Linear(arch.d_model, 3 * width, bias=False)
        self.out = nn.Linear(width, arch.d_model, bias=False)
        self.up = nn.Linear(arch.d_model, arch.d_ff, bias=False)
        self.down = nn.Linear(arch.d_ff, arch.d_model, bias=False)

    def forward(self, x_btd: torch.Tensor, turn: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        """The stream after the block."""
        b, t, _ = x_btd.shape
        heads = self.qkv(self.norms[0](x_btd)).view(b, t, 3, self.n_heads, self.d_head)
        q, k, v = heads.permute(2, 0, 3, 1, 4)
        attended = functional.scaled_dot_product_attention(
            turned(q, turn), turned(k, turn), v, is_causal=True
        )
        x_btd = x_btd + self.out(attended.transpose(1, 2).reshape(b, t, -1))
        return x_btd + self.down(functional.gelu(self.up(self.norms[1](x_btd))))


def turned(x: torch.Tensor, turn: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
    """Pairs of a head turned by their position."""
    cosine, sine = turn
    low, high = x.chunk(2, dim=-1)
    both = torch.cat([low * cosine - high * sine, high * cosine + low * sine], dim=-1)
    return both.to(x.dtype)


class Decoder(nn.Module):
    """Tied embedding, blocks, a norm; its forward pass is the loss."""

    def __init__(self, arch: Architecture):
        super().__init__()
        self.embedding = nn.Embedding(arch.vocab_size, arch.d_model)
        self.blocks = nn.ModuleList(Block(arch) for _ in range(arch.n_layers))
        self.norm = nn.RMSNorm(arch.d_model)
        half = arch.d_head // 2
        rates = 10_000 ** (-torch.arange(half) / half)
        angles = torch.outer(torch.arange(arch.seq_len), rates)
        self.register_buffer("cosine", angles.cos())
        self.register_buffer("sine", angles.sin())

    def forward(self, tokens_bt: torch.Tensor) -> torch.Tensor:
        """Mean loss of the next token."""
        x_btd = self.embedding(tokens_bt[:, :-1])
        for block in self.blocks:
            x_btd = block(x_btd, (self.cosine, self.sine))
        logits = functional.linear(self.norm(x_btd), self.embedding.weight)
        return functional.cross_entropy(logits.flatten(0, 1).float(), tokens_bt[:, 1:].flatten())


def torch_step_s(arch: Architecture, seconds: float, *, toy: bool = False) -> float:
    """Seconds of one optimizer step, over as many as fit in some seconds, after three.

    Args:
        arch: the model, with a plain MLP and tied embeddings.
        seconds: to time for.
        toy: without compiling, which takes longer than a test may.
    """
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.manual_seed(0)
    model = Decoder(arch).to(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
    run = model if toy else torch.compile(model)
    shape = (arch.batch_size, arch.seq_len + 1)
    tokens = torch.randint(arch.vocab_size, shape, device=device)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(device, torch.bfloat16):
            loss = run(tokens)
        loss.backward()
        optimizer.step()

    def finish() -> None:
        if device == "cuda":
            torch.cuda.synchronize()

    for _ in range(3):
        step()
    finish()
    n_steps, began = 0, time.perf_counter()
    while not n_steps or (time.perf_counter() - began) < seconds:
        for _ in range(5):
            step()
        finish()
        n_steps += 5
    return (time.perf_counter() - began) / n_steps
