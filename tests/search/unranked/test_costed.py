"""What of a model that no law ranks is said: time, memory, and what sets it apart."""

import json

import pytest

from anybudget import api

# Each of a Nemotron-H's layers is one part: a mixer or a feed-forward, and no pair of them.
ONE_PART = {
    "model_type": "nemotron_h",
    "hidden_size": 512,
    "intermediate_size": 1024,
    "hybrid_override_pattern": "ME*-M",
    "num_attention_heads": 8,
    "num_key_value_heads": 2,
    "head_dim": 64,
    "mamba_num_heads": 16,
    "mamba_head_dim": 64,
    "n_routed_experts": 8,
    "moe_intermediate_size": 512,
    "moe_shared_expert_intermediate_size": 512,
    "vocab_size": 8192,
}


@pytest.mark.parametrize(
    ("letters", "said"), [("ME*-M", "state-space layers, experts"), ("*-", "")]
)
def test_layers_of_one_part_are_costed(tmp_path, letters, said):
    path = tmp_path / "config.json"
    path.write_text(json.dumps(ONE_PART | {"hybrid_override_pattern": letters}))
    found = api.predict("1h", device="h100-sxm", config=path)
    assert found.n_steps > 0
    warned = " ".join(found.warnings)
    assert "no law for this" in warned
    assert (said or "blocks that are not alike") in warned
