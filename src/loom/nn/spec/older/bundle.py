"""Models as the first generation's programs read them: bundles, and the names and order of its safetensors files.

Layer: nn. Invariant: ``read_bundle`` gives back the same bits under the names of a network that computes the same.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from loom.core.arrays import Array
from loom.core.errors import ArgumentError, NotFinite
from loom.nn.spec.bundle import ID, OLDER_KIND, SavedModel
from loom.nn.spec.network import NetworkSpec
from loom.nn.spec.older.pieces import Slot, join_key
from loom.nn.spec.older.weights import NAMES
from loom.nn.spec.older.write import Older, write_as_first
from loom.nn.spec.text import canonical
from loom.nn.spec.values import JsonObject

__all__ = ["from_older_tensors", "older_tensors", "write_older_bundle"]


_WHERE = "loom.Network.save"


def write_older_bundle(model: SavedModel) -> str:
    """Return the text of a bundle of one model, as the first generation writes it (``jsonModelB64``).

    ArgumentError names the layer that it has not; NotFinite for weights that JSON cannot say.
    """
    if not ID.holds(model.id):
        raise ArgumentError(_WHERE, "unusable id of a model", expected=ID.expected, got=ascii(model.id)[:100],
                            remedy="Call it by a short name")  # fmt: skip
    older = write_as_first(model.network, model.id, _WHERE)
    entries: list[dict[str, Any]] = [{} for _ in older.config["layers"]]
    for slot in older.conversion.slots:
        entry = _entry(entries, slot.source)
        for ours, theirs in NAMES[slot.kind].items():
            name = older.names.get(f"{slot.key}.{ours}")
            if name is not None:
                entry[theirs[0]] = _numbers(name, model.weights[name])
    data = json.dumps({"type": "float32", "dtype": "", "layers": entries}).encode()
    weights: JsonObject = {"fmt": "jsonModelB64", "data": base64.b64encode(data).decode("ascii")}
    made: JsonObject = {"id": model.id, "cfg": older.config, "weights": weights}
    return canonical({"type": OLDER_KIND, "version": 1, "models": [made]})


def _entry(entries: list[dict[str, Any]], source: tuple[int, ...]) -> dict[str, Any]:
    """Return the entry of a layer, made with those around it."""
    entry: dict[str, Any] = {}
    for depth, number in enumerate(source):
        if depth:
            entries = entry.setdefault("branch_weights", [])
        while len(entries) <= number:
            entries.append({})
        entry = entries[number]
    return entry


def _numbers(name: str, array: Array) -> list[float]:
    if not np.isfinite(array).all():
        raise NotFinite(f"{_WHERE}, {name!r}", "a weight is not finite", expected="numbers that JSON has",
                        got=f"{np.count_nonzero(~np.isfinite(array))} others", remedy="Save it as Loom's own bundle",
                        )  # fmt: skip
    return np.asarray(array, np.float32).reshape(-1).tolist()  # each number as the double that it is


def older_tensors(model: SavedModel) -> dict[str, Array]:
    """Return the arrays of a safetensors file of the first generation: ``layers.N.weight``, ``.branches.B.`` within.

    A dense layer's weight has the shape (out, in) there and still the order of (in, out). Errors as for the bundle.
    """
    older = write_as_first(model.network, model.id, _WHERE)
    found: dict[str, Array] = {}
    for theirs, ours in _by_their_names(older).items():
        array = np.asarray(model.weights[ours], np.float32)
        found[theirs] = array.reshape(array.shape[::-1]) if _is_dense(theirs, array) else array
    return dict(sorted(found.items()))


def from_older_tensors(network: NetworkSpec, arrays: Mapping[str, Array], where: str) -> dict[str, Array]:
    """Return a network's weights, of arrays as ``older_tensors`` gives them; strange names are left as they are.

    ArgumentError names a layer that the first generation has not.
    """
    older, shapes = write_as_first(network, "model", where), network.parameters()
    ours = _by_their_names(older)
    found = {ours.get(name, name): a for name, a in arrays.items()}
    return {n: a.reshape(shapes[n]) if n in shapes and a.size == np.prod(shapes[n]) else a for n, a in found.items()}


def _is_dense(name: str, array: Array) -> bool:
    return name.endswith(".weight") and array.ndim == 2


def _by_their_names(older: Older) -> dict[str, str]:
    """Return name in their files -> our name."""
    found: dict[str, str] = {}
    for slot in older.conversion.slots:
        for ours in NAMES[slot.kind]:
            name = older.names.get(f"{slot.key}.{ours}")
            if name is not None:
                found[join_key(_prefix(slot), ours)] = name
    return found


def _prefix(slot: Slot) -> str:
    first, *within = slot.source
    return ".".join([f"layers.{first}", *(f"branches.{n}" for n in within)])
