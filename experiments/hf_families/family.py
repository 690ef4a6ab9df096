"""One family of `transformers`: the keys of its config, and its models on the meta device."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import re
import signal
from typing import Any

from anybudget.experiments.hf_families.polynomials import EXPERTS, SIZES, TIES, count

# No size of a model, and what no model has.
NO_NUMBER, ODD = re.compile(r"token_id|num_labels"), 61
# A key that a class takes out of what it does not list; positions and labels shape no decoder.
READ = re.compile(r'kwargs\.(?:pop|get)\(\s*"(\w+)"')
NO_SHAPE = re.compile(r"^rope|rotary|theta|labels")
# What a config may say of each layer.
KINDS = ("layer_types", "mlp_layer_types")
FIRST_DENSE = "first_k_dense_replace"
# Blocks of a probed model, where its family has models of so many.
N_LAYERS = 8
# Of families whose default has layers of one kind alone: a config that has all, at `N_LAYERS`.
SHOWN = {
    "bamba": {"attn_layer_indices": [1, 4, 6]},
    "granitemoehybrid": {"layer_types": ["linear_attention", "full_attention"] * (N_LAYERS // 2)},
    "lfm2": {"layer_types": ["conv", "full_attention"] * (N_LAYERS // 2)},
}
# Keys by which a config numbers the layers of one kind: what the others are called, and these.
INDEXED = {
    "bamba": {"attn_layer_indices": ("linear_attention", "full_attention")},
    "lfm2": {"full_attn_idxs": ("conv", "full_attention")},
}
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
# The usual names of what families call otherwise.
USUAL = {
    "intermediate_size": ("n_inner", "ffn_dim", "ffn_hidden_size", "dff", "dim_ff"),
    "max_position_embeddings": ("n_positions",),
    "hidden_size": ("n_embd", "d_model"),
    "num_key_value_heads": ("num_kv_heads",),
    "head_dim": ("dim_head", "attention_head_dim"),
    "num_hidden_layers": ("decoder_layers", "n_layers"),
    "num_attention_heads": ("decoder_attention_heads", "n_heads"),
    "num_experts": ("moe_num_experts",),
    "num_experts_per_tok": ("moe_topk", "moe_k", "top_k_experts"),
}
# Sizes of a family's own are tried too; not what only says which layers are of which kind, or how
# attention looks and tokens are routed.
NO_SIZE = re.compile(
    r"layer|first_k|interval|period|offset|start|end|step$|pattern|freq|topk|top_k|per_tok|window|position"
    r"|_token|_id$|scal|factor|theta|chunk|capacity|predict|n_group$|mtp|beam|length|init|repeat"
)


@dataclasses.dataclass
class Family:
    """One family's config class and what its models are made of.

    Attributes:
        at: the sizes that the probe's models have, by canonical key.
        held: keys that stay as the family has them, since a model hangs on them in a way that is
            no product, or is not built otherwise.
        literals: sides that are the family's own and hang on no size.
    """

    name: str
    config_class: Any
    fields: dict[str, Any]
    own: dict[str, str]  # canonical key -> the family's own
    unlisted: set[str] = dataclasses.field(default_factory=set)
    at: dict[str, int] = dataclasses.field(default_factory=dict)
    held: set[str] = dataclasses.field(default_factory=set)
    literals: set[int] = dataclasses.field(default_factory=set)
    n_layers: int = N_LAYERS

    @classmethod
    def of(cls, name: str) -> Family:
        """By its `model_type`."""
        from transformers.models.auto.configuration_auto import CONFIG_MAPPING

        config_class = CONFIG_MAPPING[name]
        fields = {field.name: field.default for field in dataclasses.fields(config_class)}
        fields = {k: None if v is dataclasses.MISSING else v for k, v in fields.items()}
        known = config_class.attribute_map
        own = {
            canon: mine for canon, mine in known.items() if mine in fields and canon not in fields
        }
        for canon, others in USUAL.items():
            mine = [other for other in others if other in fields]
            if canon not in fields and canon not in own and mine:
                own[canon] = mine[0]
        if "decoder_layers" in fields:
            own |= {"num_hidden_layers": "decoder_layers", "intermediate_size": "decoder_ffn_dim"}
            own["num_attention_heads"] = "decoder_attention_heads"
        family = cls(name, config_class, fields, own)
        family._choose_sizes()
        for key, default in UNLISTED.items():
            if key not in fields and key not in own and family._reads(key):
                fields[key] = default
                family.unlisted.add(key)
                if key in SIZES:
                    family.at[key] = SIZES[key]
        return family

    def _choose_sizes(self) -> None:
        """The probe's sizes where a model is built with them, and else the family's own."""
        sizes = SIZES | TIES.get(self.name, {})
        own = {mine: canon for canon, mine in self.names.items()}
        wanted = {own.get(key, key) for key in self.fields} & set(sizes)
        experts = [key for key in EXPERTS if key in wanted]
        wanted -= set(experts[1:])
        self.at = {key: sizes[key] for key in wanted}
        own_sizes, large = {}, 1013
        for key, default in self.fields.items():
            canon = own.get(key, key)
            if canon not in sizes and type(default) is int and not NO_SIZE.search(key):
                own_sizes[canon] = large = next_prime(large)
        self.at |= own_sizes
        for key in [None, *(key for key in self.at if key not in sizes)]:
            self.at.pop(key or "", None)  # a size of the family's own may be tied to others
            if self._built():
                return
        # One after another, where a model has it; widths before what must divide them.
        tried, self.at = {key: sizes[key] for key in wanted} | own_sizes, {}
        for n_layers in (N_LAYERS, self.fields.get(self.mine("num_hidden_layers"))):
            self.n_layers = n_layers or N_LAYERS
            if self._built():
                break
        for key in sorted(tried, key=lambda key: (key not in SIZES, key)):
            self.at[key] = tried[key]
            if not self._built():
                self.hold(key)

    def hold(self, key: str) -> None:
        """Leave a key as the family has it from here on."""
        self.held.add(key)
        default = self.fields.get(self.mine(key))
        self.at.pop(key, None)
        if isinstance(default, int) and default > 0:
            self.at[key] = default

    @property
    def free(self) -> list[str]:
        """Canonical keys of the sizes that a config may say otherwise."""
        return sorted(key for key in self.at if key not in self.held)

    def _built(self) -> bool:
        try:
            return bool(self.build({}))
        except Exception:
            return False

    def _reads(self, key: str) -> bool:
        try:
            return count(self.build({key: SIZES.get(key, True)})) != count(self.build({}))
        except Exception:
            return False

    @property
    def names(self) -> dict[str, str]:
        """The usual names of what it calls otherwise, one each."""
        usual = {mine: canon for canon, mine in self.own.items()}
        return {c: mine for mine, c in usual.items() if c in SIZES or c in (*USUAL, *EXPERTS)}

    @property
    def aliases(self) -> dict[str, str]:
        """What the config class itself takes for a key of its own."""
        known = sorted(self.config_class.attribute_map.items())
        taken = {alias: mine for alias, mine in known if mine in self.fields}
        taken |= {key: mine for key, mine in self.swallowed.items() if isinstance(mine, str)}
        # What it is kept as, and saved, may have no field of its own.
        return taken | {
            kept: key for key, kept in known if key in self.fields and kept not in taken
        }

    @functools.cached_property
    def swallowed(self) -> dict[str, Any]:
        """What the config class takes without listing it: another name, or a value that it reads.

        By key the name that it is another of, or the value that leaves a config as it is without
        it, None where none does.
        """
        mapped = self.config_class.attribute_map
        found: dict[str, Any] = {}
        read, unchanged = self._read_besides, self._saved({})
        for key in sorted((usual_numbers() | read) - {*self.fields, *mapped, *mapped.values()}):
            changed = self._saved({key: ODD})
            if changed == unchanged or (changed is None and key not in read):
                continue
            same = [mine for mine in self.fields if changed and self._saved({mine: ODD}) == changed]
            nothing = [n for n in (*range(9), True, False) if self._saved({key: n}) == unchanged]
            found[key] = next(iter([*same, *nothing]), None)
        return found

    @functools.cached_property
    def _read_besides(self) -> set[str]:
        """What the class takes out of what it does not list, by its source."""
        text = "".join(
            inspect.getsource(one)
            for one in self.config_class.__mro__
            if one.__module__.startswith("transformers.models")
        )
        return {key for key in READ.findall(text) if not NO_SHAPE.search(key)}

    def _saved(self, given: dict[str, Any]) -> dict[str, Any] | None:
        """The config that the class makes of this, without what was given in vain."""
        try:
            saved = self.config_class(**given).to_dict()
        except Exception:
            return None
        return {key: value for key, value in saved.items() if key in self._saved_keys}

    @functools.cached_property
    def _saved_keys(self) -> set[str]:
        return set(self.config_class().to_dict())

    def mine(self, key: str) -> str:
        """The family's own name of a canonical key."""
        return key if key in self.fields else self.own.get(key, key)

    def default(self, key: str) -> Any:
        """What its class has where a config does not say a key, or says null."""
        mine = self.mine(key)
        if self.fields.get(mine) is not None:
            return self.fields[mine]
        try:
            return said(self.configured({mine: None}), mine)
        except Exception:  # it must be said
            return None

    def configured(self, changes: dict[str, Any]) -> Any:
        """A config at the probe's sizes, changed."""
        sizes = {self.mine(key): self.at[key] for key in self.free}
        layers = self.mine("num_hidden_layers")
        if self.n_layers != self.fields.get(layers):
            sizes[layers] = self.n_layers
        if self.fields.get(FIRST_DENSE) == 0:  # blocks of both kinds, for a config may have them
            sizes[FIRST_DENSE] = 2
        if changes.get(layers, self.n_layers) == N_LAYERS == sizes.get(layers):
            sizes |= SHOWN.get(self.name, {})
        unlisted = {key for key in changes if changes[key] is None and key in self.unlisted}
        given = {key: n for key, n in (sizes | changes).items() if key not in unlisted}
        return self.config_class(**given)

    def build(self, changes: dict[str, Any]) -> dict[str, tuple[int, ...]]:
        """Shapes by name of a model at the probe's sizes, changed; tied weights once."""
        import torch
        from transformers import AutoModelForCausalLM

        signal.alarm(120)
        try:
            config = self.configured(changes)
            with torch.device("meta"):
                model = AutoModelForCausalLM.from_config(config)
            self.class_name, self.config = type(model).__name__, config
            self.kinds = {name: listed for name in KINDS if (listed := getattr(config, name, None))}
            if FIRST_DENSE in self.fields and KINDS[1] not in self.kinds:
                depth = getattr(config, self.mine("num_hidden_layers"))
                dense = min(getattr(config, FIRST_DENSE), depth)
                self.kinds[KINDS[1]] = ["dense"] * dense + ["sparse"] * (depth - dense)
            return {name: tuple(p.shape) for name, p in model.named_parameters()}
        finally:
            signal.alarm(0)


def said(config: Any, key: str) -> Any:
    """What a config says of a key; None where it does not, or not of all layers at once."""
    try:
        return getattr(config, key, None)
    except Exception:  # transformers keeps it by layer
        return None


@functools.cache
def usual_numbers() -> set[str]:
    """Keys that are whole numbers in some family's config, and two that are in none's any more."""
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    classes = [CONFIG_MAPPING[name] for name in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES]
    fields = [field for one in classes for field in dataclasses.fields(one)]
    names = {field.name for field in fields if type(field.default) is int}
    return {"n_embed", "block_ff_dim"} | {name for name in names if not NO_NUMBER.search(name)}


def next_prime(n: int) -> int:
    """The least prime above a number."""
    return next(p for p in range(n + 1, 2 * n) if all(p % q for q in range(2, int(p**0.5) + 1)))
