"""Networks with weights, and where a training stopped: its facts, the arrays that it changes, their form in a bundle.

Layer: nn. Invariant: arrays of a training that the network's own weights are, are kept once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import Any

from loom.core.arrays import Array
from loom.core.late.dataclass import dataclass
from loom.core.narrow import StoredArray
from loom.formats.json_tensors import read_tensor, write_tensor
from loom.formats.json_text import JsonObject, JsonValue
from loom.nn.spec.base.problems import Place
from loom.nn.spec.base.rules import Text
from loom.nn.spec.network import NetworkSpec

__all__ = ["ID", "OLDER_KIND", "SavedModel", "Snapshot", "read_training", "write_training"]


_TYPES = ("f32", "f64", "f16", "u16", "u32")
"""Those of weights (bf16 as its 16 bits), of an optimiser's state, and of the step's number."""
_WEIGHTS = "weights/"
OLDER_KIND = "modelhost/bundle"
"""The type of bundles of the first generation."""
ID = Text(1000)
"""What a model may be called."""


@dataclass(frozen=True, slots=True, eq=False)
class Snapshot:
    """A training between two steps; ``arrays`` are named ``weights/...``, ``state/...`` and ``best/...``."""

    facts: Mapping[str, Any]
    arrays: Mapping[str, Array]

    def without(self, weights: Mapping[str, Array]) -> Snapshot:
        """Return it without those of its weights that are bit for bit the network's."""
        own = {n for n, a in weights.items() if _same(self.arrays.get(_WEIGHTS + n), a)}
        return Snapshot(self.facts, {n: a for n, a in self.arrays.items() if n.removeprefix(_WEIGHTS) not in own})

    def complete(self, weights: Mapping[str, Array]) -> Snapshot:
        """Return it with the network's weights in place of those that it lacks."""
        return Snapshot(self.facts, {_WEIGHTS + n: a for n, a in weights.items()} | dict(self.arrays))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SavedModel:
    """A network with its weights: ``weights`` maps each name of ``parameters()`` and ``state()`` to an array.

    ``training``: where its training stopped, None if the bundle does not say. ``stored``: the weights that are in a
    type of storage; ``weights`` has their numbers.
    """

    id: str
    network: NetworkSpec
    weights: Mapping[str, Array]
    warnings: tuple[str, ...] = ()
    training: Snapshot | None = None
    stored: Mapping[str, StoredArray] = field(default_factory=dict[str, StoredArray])


def _same(one: Array | None, other: Array) -> bool:
    return one is not None and one.dtype == other.dtype and one.tobytes() == other.tobytes()


def read_training(value: JsonValue, place: Place) -> Snapshot | None:
    """Return what a bundle has of a training; problems are noted at ``place``."""
    told = value if isinstance(value, dict) and set(value) == {"facts", "tensors"} else {}
    facts, tensors = told.get("facts"), told.get("tensors")
    if not isinstance(facts, dict) or not isinstance(tensors, dict):
        place.wrong("an object with facts and tensors, both objects", value)
        return None
    here = place.at("tensors")
    found = {name: read_tensor(each, _TYPES, here.at(name).note) for name, each in tensors.items()}
    return Snapshot(facts, {name: a for name, a in found.items() if a is not None})


def write_training(snapshot: Snapshot) -> JsonObject:
    """Return the form in a bundle."""
    tensors: JsonObject = {name: write_tensor(array) for name, array in snapshot.arrays.items()}
    return {"facts": dict(snapshot.facts), "tensors": tensors}
