"""Where a training stopped: numbers and texts (facts), and the arrays that it changes; and their form in a bundle.

Layer: nn. Invariant: every bit that is written is read; arrays that the network's own weights are, are kept once.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from math import prod
from typing import Any, TypeGuard

import numpy as np

from loom.core.arrays import Array
from loom.core.dataclass import dataclass
from loom.core.dtype import lookup
from loom.nn.spec.base.problems import Place
from loom.nn.spec.base.text import from_base64
from loom.nn.spec.base.values import JsonObject, JsonValue

__all__ = ["Snapshot", "read_tensor", "read_training", "write_tensor", "write_training"]


_TYPES = ("f32", "f64", "f16", "u16", "u32")
"""Those of weights (bf16 as its 16 bits), of an optimiser's state, and of the step's number."""
_WEIGHTS = "weights/"


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


def _same(one: Array | None, other: Array) -> bool:
    return one is not None and one.dtype == other.dtype and one.tobytes() == other.tobytes()


def read_training(value: JsonValue, place: Place) -> Snapshot | None:
    """Return what a bundle has of a training; problems are noted at ``place``."""
    facts, tensors = (value["facts"], value["tensors"]) if _has(value, "facts", "tensors") else (None, None)
    if not isinstance(facts, dict) or not isinstance(tensors, dict):
        place.wrong("an object with facts and tensors, both objects", value)
        return None
    here = place.at("tensors")
    found = {name: read_tensor(each, here.at(name), _TYPES) for name, each in tensors.items()}
    return Snapshot(facts, {name: a for name, a in found.items() if a is not None})


def _has(value: JsonValue, *keys: str) -> TypeGuard[JsonObject]:
    """Tell whether a value is an object of these keys and no others."""
    return isinstance(value, dict) and set(value) == set(keys)


def write_training(snapshot: Snapshot) -> JsonObject:
    """Return the form in a bundle."""
    tensors: JsonObject = {name: write_tensor(array) for name, array in snapshot.arrays.items()}
    return {"facts": dict(snapshot.facts), "tensors": tensors}


def read_tensor(
    value: JsonValue, place: Place, types: tuple[str, ...], expected: tuple[int, ...] | None = None
) -> Array | None:
    """Return the array of ``{"dtype", "shape", "data"}``, of one of ``types`` and the shape expected, if one is.

    Problems are noted at ``place``.
    """
    if not _has(value, "dtype", "shape", "data"):
        place.wrong("an object with dtype, shape and data", value)
        return None
    kind, sizes = value["dtype"], value["shape"]
    if not isinstance(kind, str) or kind not in types:
        place.at("dtype").wrong("one of " + ", ".join(types), kind)
        return None
    shape = [n for n in sizes if type(n) is int and n >= 0] if isinstance(sizes, list) else None
    if shape is None or shape != sizes:
        place.at("shape").wrong("a list of sizes", sizes)
        return None
    if expected is not None and shape != list(expected):
        place.at("shape").fault("the weight has another shape", expected=list(expected), got=shape)
        return None
    data = from_base64(value["data"], place.at("data"))
    if data is None:
        return None
    dtype: np.dtype[Any] = lookup(kind).numpy.newbyteorder("<")
    wanted = dtype.itemsize * prod(shape)
    if len(data) != wanted:
        place.at("data").fault("the number of bytes does not match", expected=wanted, got=len(data))
        return None
    return np.frombuffer(data, dtype).astype(dtype.newbyteorder("=")).reshape(shape)


def write_tensor(array: Array) -> JsonObject:
    """Return ``{"dtype", "shape", "data"}``: base64 of the little-endian bytes, row-major."""
    kinds = {lookup(name).numpy: name for name in (*_TYPES, "u8", "u64")}
    data = array.astype(array.dtype.newbyteorder("<")).tobytes()
    return {"dtype": kinds[array.dtype], "shape": [*array.shape], "data": base64.b64encode(data).decode("ascii")}
