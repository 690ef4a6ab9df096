"""What a TPU copies between layouts, and what it keeps on the chip."""

import dataclasses

import pytest

from anybudget.objectives.cost.execution import Execution
from anybudget.objectives.cost.features import units_by_part
from anybudget.space.architecture import Architecture


@pytest.mark.parametrize(
    ("d_model", "n_layers", "d_ff", "relaid"),
    [
        (1024, 1, 2730, True),
        (1024, 1, 2816, False),
        # A multiple of 8 is padded nowhere once the axes are swapped.
        (1024, 1, 2752, False),
        # Layers are padded to the 1, 2, 4 or 8 rows of a tile.
        (1024, 3, 2730, False),
        (1024, 4, 2730, True),
        (1024, 8, 2730, True),
        # 1408 * 576 are padded as little with the layers apart.
        (576, 1, 1341, False),
    ],
)
def test_weights_change_their_layout_where_it_would_be_padded(d_model, n_layers, d_ff, relaid):
    shape = {"d_model": d_model, "n_layers": n_layers, "d_ff": d_ff, "gated_mlp": True}
    parts = units_by_part("relaid", Architecture.from_shape(**shape))
    weights = d_model * d_ff  # whatever the layers: those of several are stacked again anyway
    assert parts["mlp_up"] == relaid * 2 * weights
    assert parts["mlp_down"] == relaid * weights
    assert parts["qkv"] == parts["attention_output"] == 0


@pytest.mark.parametrize(
    ("seq_len", "batch_size", "attention", "counts"),
    [
        (1000, 4, "plain", False),
        (1004, 4, "plain", True),
        (1004, 8, "plain", False),
        (1004, 4, "fused", False),
    ],
)
def test_few_sequences_that_end_within_a_tile_fill_it_badly(seq_len, batch_size, attention, counts):
    shape = {"d_model": 512, "n_layers": 2, "n_heads": 8, "batch_size": batch_size}
    arch = Architecture.from_shape(**shape, seq_len=seq_len)
    parts = units_by_part("unaligned", arch, Execution(attention=attention), kind="tpu")
    assert sum(parts.values()) == counts * 3 * 2 * batch_size * 8 * seq_len * 1024


def test_a_small_embedding_that_is_looked_up_stays_on_the_chip():
    shape = {"d_model": 1024, "n_layers": 1, "tied_embeddings": False}
    for vocab_size, spilled in ((4096, 0), (5120, 2**20)):
        arch = Architecture.from_shape(**shape, vocab_size=vocab_size)
        assert units_by_part("spilled_lookup", arch) == {"embedding": spilled}
    assert units_by_part("spilled_lookup", dataclasses.replace(arch, tied_embeddings=True)) == {
        "embedding": 0
    }
