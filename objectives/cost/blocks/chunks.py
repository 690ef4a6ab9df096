"""Sequences cut into chunks, within which a scan is matmuls."""

from __future__ import annotations

from typing import Any


def chunks_of(arch: Any, most: int) -> tuple[Any, Any]:
    """Chunks of all sequences, the last of each filled up, and the positions of one."""
    length = min(most, arch.seq_len)
    return arch.batch_size * -(-arch.seq_len // length), length
