"""One family of `transformers`: the keys of its config, and its models on the meta device."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import re
import signal
from typing import Any

from anybudget.experiments.hf_families.polynomials import EXPERTS, SIZES, TIES, count
from anybudget.experiments.hf_families.usual import (
    FIRST_DENSE,
    INDEXED,
    KINDS,
    N_LAYERS,
    NO_SIZE,
    SHOWN,
    SPARSE_STEP,
    UNLISTED,
    USUAL,
    next_prime,
    usual_numbers,
)

# What no size of a model is.
ODD = 61
# A key that a class takes out of what it does not list; positions and labels shape no decoder.
READ = re.compile(r'kwargs\.(?:pop|get)\(\s*"(\w+)"')
NO_SHAPE = re.compile(r"^rope|rotary|theta|labels")


@dataclasses.dataclass
class Family:
    """One family's config class and what its models are made of.

    Attributes:
        at: the sizes that the probe's models have, by canonical key.
        held: keys that stay as the family has them, since a model hangs on them in a way that is
            no product, or is not built otherwise.
        literals: sides that are the family's own and hang on no size.
        firsts: by a flag the size that sides are to be looked for before all others.
        blended: whether which layers have experts hangs on how many are dense first or between.
        deep: whether a side outside may be so many for each layer.
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
    firsts: dict[str, str | None] = dataclasses.field(default_factory=dict)
    deep: bool = False
    blended: bool = True

    @classmethod
    def of(cls, name: str) -> Family:
        """By its `model_type`."""
        from transformers.models.auto.configuration_auto import CONFIG_MAPPING

        config_class = CONFIG_MAPPING[name]
        fields = {field.name: field.default for field in dataclasses.fields(config_class)}
        fields = {k: None if v is dataclasses.MISSING else v for k, v in fields.items()}
        depth = "num_hidden_layers"
        if (
            depth in vars(config_class)
            and depth not in fields
            and KINDS[0] in (config_class.attribute_map)
        ):  # as many as its list has
            fields[depth] = len(said(config_class(), KINDS[0]))
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
            sized = key in SIZES and key in family._read_besides
            if key not in fields and key not in own and (sized or family._reads(key)):
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

    @property
    def sizes(self) -> dict[str, int]:
        """The sizes of the probe's models, with how many layers they have."""
        return self.at | {"num_hidden_layers": self.n_layers}

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

    @functools.cached_property
    def unsaid(self) -> bool:
        """Whether its class has no list of layers for any depth, so that a config must say it."""
        (key,) = SHOWN.get(self.name, {"": []})
        if key in INDEXED.get(self.name, {}):
            return False
        depth = self.mine("num_hidden_layers")
        lists = [said(self.config_class(**{depth: n}), key) if key else [] for n in (5, 7)]
        return lists[0] == lists[1] and bool(key)

    @property
    def names(self) -> dict[str, str]:
        """The usual names of what it calls otherwise, one each."""
        usual = {mine: canon for canon, mine in self.own.items()}
        return {
            c: mine for mine, c in usual.items() if c in SIZES or c in (*USUAL, *EXPERTS, *KINDS)
        }

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
        for key, usual in ((FIRST_DENSE, 0), (SPARSE_STEP, 1)):
            if (
                self.blended and self.fields.get(self.mine(key)) == usual
            ):  # blocks of both kinds, as a config may
                sizes[self.mine(key)] = 2
        depth, shown = changes.get(layers, self.n_layers), SHOWN.get(self.name, {})
        if self.unsaid:
            shown = {key: (kinds * depth)[:depth] for key, kinds in shown.items()}
        if self.unsaid or depth == N_LAYERS == sizes.get(layers):
            sizes |= shown
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
            if self.blended and KINDS[1] not in self.kinds:
                self.kinds |= self._sparse(config)
            return {name: tuple(p.shape) for name, p in model.named_parameters()}
        finally:
            signal.alarm(0)

    def _sparse(self, config: Any) -> dict[str, list[str]]:
        """Which layers have experts, by how many are dense before them or between."""
        depth = getattr(config, self.mine("num_hidden_layers"))
        if (key := self.mine(FIRST_DENSE)) in self.fields:
            first, step = getattr(config, key), 1
        elif (key := self.mine(SPARSE_STEP)) in self.fields:
            first, step = 0, getattr(config, key)
        else:
            return {}
        sparse = [i >= first and (i + 1) % step == 0 for i in range(depth)]
        return {KINDS[1]: ["sparse" if one else "dense" for one in sparse]}


def said(config: Any, key: str) -> Any:
    """What a config says of a key; None where it does not, or not of all layers at once."""
    try:
        return getattr(config, key, None)
    except Exception:  # transformers keeps it by layer
        return None
