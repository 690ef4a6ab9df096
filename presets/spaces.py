"""Reading a search space: the shipped default, a TOML file, and `field=values` on top."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ..files.read import did_you_mean, read_toml
from ..objectives.law.loss_law import LossLaw
from ..space.architecture import BOOL_FIELDS, DEFAULTS, FIELDS
from ..space.block_spaces import MixedSpace, SparseSpace
from ..space.search_space import RULES, Range, SearchSpace
from ..space.sparse import FIELD as EXPERTS

HERE = Path(__file__).parent / "spaces"
# What a space says whose mixers take turns.
PATTERN, MIXED = "pattern", "hybrid"
UNRANKED = (
    f"no law here ranks models in which mixers take turns (`{PATTERN}`): `find` alone takes such a "
    "space and tells their time, memory and tokens; `--space moe` is of models with experts"
)
DEFAULT = "default"
# Spaces that hold what the runs behind a law did not vary; those of a family say all themselves.
GIVE_WAY = (DEFAULT, "cpu", "tpu")
# Where the law does not say: the loss stays within some 2% over it (Kaplan et al. 2020,
# arXiv:2001.08361, figure 5), and beyond it a law without shape would run to a single layer.
ASPECT_RATIO = (10.0, 300.0)
# Of a law that says itself where too wide and too deep begin.
ANY_ASPECT_RATIO = (1.0, 8192.0)
# What speaks of a key that a law holds, under another name.
FREED_BY = {
    "ff_ratio": ("d_ff",),
    "heads_per_kv_head": ("n_heads", "n_kv_heads"),
    "d_head": ("n_heads", "heads_fill_width"),
}
# Sequences of a step, where it is searched: up to so many, or so many doublings.
MOST_SEQUENCES, LEAST_DOUBLINGS = 8192, 6
KEYS = (*FIELDS, EXPERTS, *RULES, "heads_fill_width", PATTERN)
# Lists longer than this are a slip of the pen, such as a step left out of a wide range.
MAX_VALUES = 100_000
# What people may call a space of such models.
ALSO_CALLED = {"mamba": "hybrid", "mamba2": "hybrid", "ssm": "hybrid", "windows": "window"}


def space_names() -> list[str]:
    """Names of the shipped spaces."""
    return sorted(path.stem for path in HERE.glob("*.toml"))


def default_space(kind: str) -> str:
    """Name of the shipped space for a device of some kind."""
    return kind if kind in space_names() else DEFAULT


def load_space(
    name_or_path: str | Path = DEFAULT,
    *,
    settings: Iterable[str] = (),
    aspect_ratio: Range | None = None,
    held: tuple[tuple[str, str], ...] = (),
    batch_sizes: tuple[int, ...] | None = None,
) -> SearchSpace:
    """A search space by name or from a file, and settings on top.

    Args:
        name_or_path: one of `space_names()`, or a TOML file with keys of `SearchSpace`; what it
            leaves out is as in the default.
        settings: `field=values`, each replacing one key; values as in `parse_values`.
        aspect_ratio: the law's range of d_model / n_layers, used where nothing else says; None:
            `ASPECT_RATIO`.
        held: keys and values that the spaces of `GIVE_WAY` give way to, see `evidence`.
        batch_sizes: used where nothing else says; None: an architecture's default.

    Raises:
        ValueError: no such name or file, a key is unknown, a value is not of its kind, or no model
            is valid.
    """
    data = _gathered(name_or_path, settings, batch_sizes)
    if PATTERN in data:
        raise ValueError(UNRANKED)
    said = {key: (value, "the law") for key, value in still_held(held, name_or_path, settings)}
    return _space(data | said, aspect_ratio)


def load_mixed_space(
    name_or_path: str | Path,
    *,
    settings: Iterable[str] = (),
    batch_sizes: tuple[int, ...] | None = None,
) -> MixedSpace:
    """A space in which mixers take turns, by name or from a file; see `load_space`.

    Raises:
        ValueError: as of `load_space`, or the pattern is none.
    """
    data = _gathered(name_or_path, settings, batch_sizes)
    if EXPERTS in data:
        raise ValueError(
            f"`{PATTERN}` and `{EXPERTS}` do not go together, for no one number of parameters says "
            "how large such models are; `predict --config` takes one"
        )
    value, where = data.pop(PATTERN)
    names = value.split(",") if isinstance(value, str) else value
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ValueError(f"{where}: `{PATTERN}` must be names of mixers, but got {value!r}")
    pattern = tuple(name.strip() for name in names)
    return MixedSpace(dense=_space(data, None), pattern=pattern)


def says(key: str, name_or_path: str | Path, settings: Iterable[str]) -> bool:
    """Whether a space or a setting on it has a key; of what cannot be read, no."""
    try:
        return key in _set(settings) or key in read_toml(_path(name_or_path))
    except ValueError:  # told where it is read to be searched
        return False


def _gathered(
    name_or_path: str | Path, settings: Iterable[str], batch_sizes: tuple[int, ...] | None
) -> dict[str, Any]:
    """Of each key what the last to say something said, and who that was."""
    data: dict[str, Any] = {name: (value, "an architecture") for name, value in DEFAULTS.items()}
    if batch_sizes:
        data["batch_size"] = (list(batch_sizes), "the batch's price")
    given, path = _set(settings), _path(name_or_path)
    sources = {path: read_toml(path)}
    if PATTERN in given or PATTERN in sources[path]:
        # What is left out is as in the hybrid, for spaces of dense models have too many
        # architectures to be tried one by one.
        mixed = HERE / f"{MIXED}.toml"
        between = {mixed: read_toml(mixed)}
        sources = sources | between if str(name_or_path) in GIVE_WAY else between | sources
    default = HERE / f"{DEFAULT}.toml"
    for source, said in ({default: read_toml(default)} | sources).items():
        for key, value in said.items():
            data[_known(key, str(source))] = (value, str(source))
    return data | {key: (value, "--set") for key, value in given.items()}


def _space(data: dict[str, Any], aspect_ratio: Range | None) -> SearchSpace:
    ratio = "{}:{}".format(*(aspect_ratio or ASPECT_RATIO))
    data.setdefault("aspect_ratio", (ratio, "the law"))
    kind = SparseSpace if EXPERTS in data else SearchSpace
    return kind(**{key: _parse(key, *value) for key, value in data.items()})


def batch_sizes(least: int) -> tuple[int, ...]:
    """Batches to search, in sequences: doublings of what chips and passes can split.

    The best batch is within a factor of the root of two of one of them, which costs 1.8% more
    tokens than it at the most (`objectives.law.batch_price`).

    >>> batch_sizes(256)
    (256, 512, 1024, 2048, 4096, 8192, 16384)
    """
    most = max(MOST_SEQUENCES, least << LEAST_DOUBLINGS)
    return tuple(least << n for n in range((most // least).bit_length()))


def evidence(law: LossLaw) -> tuple[tuple[str, str], ...]:
    """What a space holds under a law: keys that its runs did not vary, and the values they had.

    Free to choose, a field of which the law knows nothing is chosen for its speed alone.
    """
    held = []
    for name in ("d_head", "gated_mlp", "tied_embeddings", "seq_len"):
        low, high = law.ranges.get(name, (0, 1))
        if low == high:
            held.append((name, str(bool(low)).lower() if name in BOOL_FIELDS else f"{low:.0f}"))
    for name in ("ff_ratio", "heads_per_kv_head"):
        if name in law.ranges:
            low, high = law.ranges[name]
            # A ratio that no step of a width meets is met nearly.
            slack = 1.0 if low.is_integer() else 1.03
            held.append((name, f"{low / slack:.4g}:{high * slack:.4g}"))
    if law.ranges and law.vocab_size:
        held.append(("vocab_size", str(law.vocab_size)))
    return tuple(held)


def still_held(
    held: tuple[tuple[str, str], ...], name_or_path: str | Path, settings: Iterable[str]
) -> list[tuple[str, str]]:
    """Those of `evidence` that neither the space nor a setting says otherwise of."""
    said = set(_set(settings))
    if str(name_or_path) not in GIVE_WAY:
        said |= set(read_toml(_path(name_or_path)))
    freed = {key for key, fields in FREED_BY.items() if said & set(fields)}
    return [(key, value) for key, value in held if key not in said | freed]


def _set(settings: Iterable[str]) -> dict[str, str]:
    values = {}
    for setting in settings:
        key, equals, value = setting.partition("=")
        if not equals:
            raise ValueError(f"--set must be field=values, but got {setting!r}")
        values[_known(key.strip(), "--set")] = value.strip()
    return values


def parse_values(value: Any) -> tuple[int, ...]:
    """Ascending whole numbers from `7`, `[7, 8]`, `"7,8"`, `"low:high"`, `"low:high:step"`.

    Both ends of a range are included; a list may hold ranges.

    Raises:
        ValueError: the text is none of these.
    """
    if isinstance(value, bool) or not isinstance(value, int | str | list):
        raise ValueError("it must be whole numbers")
    if isinstance(value, int):
        return (value,)
    parts = value.split(",") if isinstance(value, str) else value
    if len(parts) != 1 or isinstance(value, list):
        return tuple(sorted({n for part in parts for n in parse_values(part)}))
    try:
        low, *rest = (int(number) for number in value.split(":"))
    except ValueError:
        raise ValueError("it must be whole numbers, or low:high:step") from None
    high = rest[0] if rest else low
    step = rest[1] if len(rest) > 1 else 1
    if len(rest) > 2 or step < 1 or high < low:
        raise ValueError("a range must be low:high:step with low <= high and step >= 1")
    if (high - low) // step >= MAX_VALUES:
        raise ValueError(f"a range must hold at most {MAX_VALUES:,} values")
    return tuple(range(low, high + 1, step))


def _path(name_or_path: str | Path) -> Path:
    names = space_names()
    if name_or_path in names:
        return HERE / f"{name_or_path}.toml"
    path = Path(name_or_path)
    if path.suffix != ".toml":
        other = ALSO_CALLED.get(str(name_or_path))
        meant = f"; did you mean {other}?" if other else did_you_mean(str(name_or_path), names)
        raise ValueError(
            f"no space is called {str(name_or_path)!r}{meant} (a file of your own ends in .toml)"
        )
    return path


def _known(key: str, where: str) -> str:
    if key not in KEYS:
        raise ValueError(f"{where}: unknown key `{key}`{did_you_mean(key, KEYS)}")
    return key


def _parse(key: str, value: Any, where: str) -> Any:
    try:
        if key in BOOL_FIELDS:
            return _parse_bools(value)
        if key == "heads_fill_width":
            flag, *more = _parse_bools(value)
            if more:
                raise ValueError("it must be true or false, one of them")
            return flag
        return _parse_range(value) if key in RULES else parse_values(value)
    except ValueError as error:
        raise ValueError(f"{where}: `{key}`: {error} (got {value!r})") from None


def _parse_bools(value: Any) -> tuple[bool, ...]:
    words = {"true": True, "false": False, True: True, False: False}
    parts = value.split(",") if isinstance(value, str) else value
    parts = parts if isinstance(parts, list) else [parts]
    if not parts or any(not isinstance(p, bool | str) or p not in words for p in parts):
        raise ValueError("it must be true or false, or both")
    return tuple(sorted({words[part] for part in parts}))


def _parse_range(value: Any) -> Range:
    text = ":".join(map(str, value)) if isinstance(value, list) else str(value)
    try:
        low, *rest = (float(number) for number in text.split(":"))
        [high] = rest or [low]
    except ValueError:
        raise ValueError("it must be low:high") from None
    if not 0 <= low <= high or math.isinf(low):
        raise ValueError("it must be low:high with 0 <= low <= high")
    return low, high
