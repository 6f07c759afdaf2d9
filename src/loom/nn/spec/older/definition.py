"""A layer of an older document, as both generations say it: kind, numbers, layers within.

Layer: nn. Invariant: a value of 0, an empty list and an empty text mean the same as a missing key, as in the original.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import field
from typing import Any

from loom.core.late.dataclass import dataclass
from loom.formats.json_text import JsonValue, brief
from loom.nn.spec.base.activations import Activation
from loom.nn.spec.base.fields import IGNORED
from loom.nn.spec.base.limits import MOST_LAYERS
from loom.nn.spec.base.problems import Place
from loom.nn.spec.base.rules import BAD, Rule, Whole

__all__ = [
    "Definition", "Notes", "Pairs", "Rules", "fold", "fold_layer", "normal", "read_cells", "read_keys", "read_list",
]  # fmt: skip

Pairs = dict[str, tuple[JsonValue, Place]]
"""Key as we spell it -> its value, and where that stands."""
Rules = Mapping[str, Rule | None]
"""Key -> what it may hold; None: who reads it says."""


@dataclass(slots=True)
class Notes:
    """Warnings of one conversion, in the order they arose."""

    texts: list[str] = field(default_factory=list[str])

    def add(self, place: Place, what: str) -> None:
        """Note what a conversion changes."""
        text = f"{place.path}: {what}"
        if text not in self.texts:
            self.texts.append(text)


@dataclass(frozen=True, slots=True, kw_only=True)
class Definition:
    """One layer: ``kind`` is its type in ``loom/1``, ``values`` what is given under the first generation's names."""

    kind: str
    place: Place
    activation: Activation
    values: Mapping[str, Any]
    branches: tuple[Definition, ...] = ()
    gate: Definition | None = None
    attached: Definition | None = None
    stored: Any = None
    """What a second-generation layer says of its weights (``second_weights.Stored``)."""

    def first(self, *names: str) -> Any:
        """Return the first of these values that is given and not 0, else None."""
        return next((self.values[n] for n in names if self.values.get(n)), None)

    def need(self, *names: str) -> Any:
        """Return the same, or note that it is missing (then None)."""
        found = self.first(*names)
        if found is None:
            self.place.fault(f"key '{names[0]}' is missing", expected=f"a number above 0, for {self.kind}")
        return found


def normal(key: str) -> str:
    """Return a key without its spelling: ``gridRows``, ``GridRows`` and ``grid_rows`` are one key."""
    return key.lower().replace("_", "")


def fold(value: JsonValue, place: Place, known: Iterable[str], what: str = "an object") -> Pairs:
    """Return the object under the names of ``known``; keys that are none, or twice there, are noted."""
    if not isinstance(value, dict):
        place.wrong(what, value)
        return {}
    names = {normal(k): k for k in known}
    made: Pairs = {}
    for key, each in value.items():
        name = names.get(normal(key))
        if name is None:
            if key not in IGNORED:
                place.at(key).unknown("key", key, known)
        elif name in made:
            place.at(key).fault(f"key {brief(name)} is there in another spelling too", remedy="Keep one of them.")
        else:
            made[name] = (each, place.at(key))
    return made


def fold_layer(value: JsonValue, place: Place, known: Iterable[str]) -> Pairs | None:
    """Return a layer object as ``fold`` does; None, noted, without a type or if the network has too many layers."""
    if not place.count_layer():
        return None
    pairs = fold(value, place, known, "a layer object")
    if not isinstance(value, dict):
        return None
    if "type" not in pairs:
        place.fault("key 'type' is missing", expected="a layer type, such as dense")
        return None
    return pairs


def read_keys(pairs: Pairs, rules: Rules) -> dict[str, Any]:
    """Return the values of the keys that have a rule; null means missing; what is unusable is noted and left out."""
    read: dict[str, Any] = {}
    for name, (value, place) in pairs.items():
        rule = rules.get(name)
        if rule is not None and value is not None:
            read[name] = rule.read(value, place)
    return {name: value for name, value in read.items() if value is not BAD}


def read_list(pairs: Pairs, key: str, place: Place) -> list[tuple[JsonValue, Place]]:
    """Return the layers of a list of at least one; none, which is noted, if it is unusable."""
    raw, here = pairs.get(key, (None, place.at(key)))
    if isinstance(raw, (list, tuple)) and raw:
        return [(each, here.at(i)) for i, each in enumerate(raw)]
    here.wrong("a list of at least one layer", raw)
    return []


def read_cells(raw: Sequence[JsonValue], place: Place) -> tuple[dict[str, int], ...]:
    """Return the places of branches in a grid."""
    return tuple(read_keys(fold(v, place.at(i), _CELL), _CELL) for i, v in enumerate(raw))


_CELL = {n: Whole(0, MOST_LAYERS) for n in ("branch_index", "target_row", "target_col", "target_layer")}
