"""One family of `transformers`: the keys of its config, and its models on the meta device."""

from __future__ import annotations

import dataclasses
import signal
from typing import Any

from anybudget.experiments.hf_families.polynomials import EXPERTS, N_LAYERS, SIZES, TIES, count

# What a config may say of each layer.
KINDS = ("layer_types", "mlp_layer_types")
# What a model may read although its config does not list it.
UNLISTED = {
    "head_dim": None,
    "num_key_value_heads": None,
    "attention_bias": False,
    "mlp_bias": False,
    "use_bias": False,
    "qkv_bias": False,
    "add_cross_attention": False,
}


@dataclasses.dataclass
class Family:
    """One family's config class and what its models are made of."""

    name: str
    config_class: Any
    fields: dict[str, Any]
    own: dict[str, str]  # canonical key -> the family's own
    unlisted: set[str] = dataclasses.field(default_factory=set)

    @classmethod
    def of(cls, name: str) -> Family:
        """By its `model_type`."""
        from transformers.models.auto.configuration_auto import CONFIG_MAPPING

        config_class = CONFIG_MAPPING[name]
        fields = {field.name: field.default for field in dataclasses.fields(config_class)}
        fields = {k: None if v is dataclasses.MISSING else v for k, v in fields.items()}
        own = {canon: mine for canon, mine in config_class.attribute_map.items() if mine in fields}
        for canon, others in {
            "intermediate_size": ("n_inner", "ffn_dim", "ffn_hidden_size", "dff", "dim_ff"),
            "max_position_embeddings": ("n_positions",),
            "hidden_size": ("n_embd", "d_model"),
            "num_key_value_heads": ("num_kv_heads",),
            "head_dim": ("dim_head", "attention_head_dim"),
            "num_hidden_layers": ("decoder_layers", "n_layers"),
            "num_attention_heads": ("decoder_attention_heads", "n_heads"),
        }.items():
            mine = [other for other in others if other in fields]
            if canon not in fields and canon not in own and mine:
                own[canon] = mine[0]
        if "decoder_layers" in fields:
            own |= {"num_hidden_layers": "decoder_layers", "intermediate_size": "decoder_ffn_dim"}
            own["num_attention_heads"] = "decoder_attention_heads"
        family = cls(name, config_class, fields, own)
        for key, default in UNLISTED.items():
            if key not in fields and key not in own:
                without = count(family.build({}))
                try:
                    differs = count(family.build({key: SIZES.get(key, True)})) != without
                except Exception:
                    differs = False
                if differs:
                    fields[key] = default
                    family.unlisted.add(key)
        return family

    @property
    def keys(self) -> set[str]:
        """Canonical keys of the sizes that the family has; one name for the experts."""
        has = {key for key in SIZES if key in self.fields or key in self.own}
        experts = [key for key in EXPERTS if key in self.fields] or [
            key for key in EXPERTS if key in has
        ]
        has -= set(EXPERTS) - set(experts[:1])
        return has | {"num_hidden_layers"}

    @property
    def aliases(self) -> list[str]:
        """Canonical keys that the config class itself takes for the family's own."""
        known = self.config_class.attribute_map
        return sorted(key for key, mine in self.own.items() if known.get(key) == mine)

    def mine(self, key: str) -> str:
        """The family's own name of a canonical key."""
        return key if key in self.fields else self.own.get(key, key)

    def build(self, changes: dict[str, Any]) -> dict[str, tuple[int, ...]]:
        """Shapes by name of a model at the probe's sizes, changed; tied weights once."""
        import torch
        from transformers import AutoModelForCausalLM

        sizes = {self.mine(key): SIZES[key] for key in self.keys if key in SIZES}
        sizes |= TIES.get(self.name, {})
        sizes[self.mine("num_hidden_layers")] = N_LAYERS
        unlisted = {key for key in changes if changes[key] is None and key in self.unlisted}
        sizes = {key: n for key, n in (sizes | changes).items() if key not in unlisted}
        signal.alarm(120)
        try:
            config = self.config_class(**sizes)
            self.labels = [
                tuple(kinds[i] for name in KINDS if (kinds := getattr(config, name, None)))
                for i in range(N_LAYERS)
            ]
            if "first_k_dense_replace" in self.fields and not getattr(config, KINDS[1], None):
                dense = getattr(config, "first_k_dense_replace", 0)
                kinds = [("dense",)] * dense + [("sparse",)] * (N_LAYERS - dense)
                self.labels = [a + b for a, b in zip(self.labels, kinds, strict=True)]
            with torch.device("meta"):
                model = AutoModelForCausalLM.from_config(config)
            self.class_name = type(model).__name__
            return {name: tuple(p.shape) for name, p in model.named_parameters()}
        finally:
            signal.alarm(0)
