"""Models with experts: as fields, as a pattern of blocks, and as a space."""

import pytest

from anybudget.objectives.cost import counts, memory
from anybudget.objectives.cost.execution import Execution
from anybudget.presets.spaces import load_space
from anybudget.space.blocks import Attention, Experts
from anybudget.space.decoder import Block, Decoder
from anybudget.space.mesh import flat, least, size_of
from anybudget.space.sparse import SparseArchitecture, is_sparse

SPACE = load_space(
    "moe", settings=["d_model=512:640:64", "n_experts=2,8", "batch_size=4", "d_head=64"]
)


def test_a_space_has_each_dense_model_with_each_number_of_experts():
    assert SPACE.n_architectures == 2 * SPACE.dense.n_architectures
    meshes = list(SPACE.blocks())
    assert sum(map(size_of, meshes)) == SPACE.n_architectures
    together = flat(meshes)
    assert set(together.n_experts.tolist()) == {2.0, 8.0}
    assert least(together).n_experts == 2
    assert not is_sparse(least(next(SPACE.dense.blocks())))


def test_positions_are_models_with_experts():
    first, last = SPACE.decode({}), SPACE.decode(dict.fromkeys(SPACE.free_coordinates, 1.0))
    assert isinstance(first, SparseArchitecture)
    assert (first.n_experts, last.n_experts) == (2, 8)
    for arch in (first, last):
        assert SPACE.decode(SPACE.encode(arch)) == arch
    assert "n_experts = 8 is the upper end of its range" in SPACE.bounds(last)


def test_parameters_are_those_of_the_paper_beside_router_and_norms():
    """Equations 9 and 10 of arXiv:2502.05172."""
    arch = SPACE.decode(dict.fromkeys(SPACE.free_coordinates, 1.0))
    d, n, experts = arch.d_model, arch.n_layers, arch.n_experts
    more = n * d * experts + (2 * n + 1) * d
    assert counts.n_params(arch) == 2 * d * 50_257 + (4 + 9 * experts) * n * d**2 + more
    assert counts.n_active_params(arch) == 2 * d * 50_257 + 13 * n * d**2 + more


def test_it_costs_what_the_pattern_of_its_blocks_does():
    arch = SPACE.decode({})
    mixer = Attention(n_heads=arch.n_heads, n_kv_heads=arch.n_kv_heads, d_head=arch.d_head)
    fed = Experts(n_experts=arch.n_experts, n_per_token=1, d_expert=arch.d_ff, gated=True)
    pattern = (Block(mixer=mixer, feed_forward=fed),) * arch.n_layers
    names = ("d_model", "vocab_size", "tied_embeddings", "seq_len", "batch_size")
    same = Decoder(pattern=pattern, **{name: getattr(arch, name) for name in names})
    for execution in (Execution(attention="fused"), Execution(remat="layer", n_accumulation=2)):
        for of in (counts.flops_per_step, counts.memcpys_per_step):
            assert of(arch, execution) == of(same, execution)
        given = {"bytes_per_element": 2, "kind": "gpu"}
        found, expected = (memory.memory_bytes(m, execution, **given) for m in (arch, same))
        assert found == expected


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("n_experts=1,2", "`n_experts` must be from 2 to .* but got 1; leave it out for dense"),
        ("n_experts=two", "`n_experts`: it must be whole numbers"),
    ],
)
def test_what_is_no_number_of_experts(setting, message):
    with pytest.raises(ValueError, match=message):
        load_space("moe", settings=[setting])
