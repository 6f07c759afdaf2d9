"""Models as the first generation's programs read them: bundles, and the names and order of its safetensors files.

Layer: nn. Invariant: ``read_bundle`` gives back the same bits under the names of a network that computes the same.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from loom.core.arrays import Array
from loom.core.errors import ArgumentError, NotFinite, near_matches
from loom.formats.json_text import JsonObject, base64_text, canonical
from loom.nn.spec.network import NetworkSpec
from loom.nn.spec.older.numbers import SCALES, STORED_TYPES, to_stored
from loom.nn.spec.older.pieces import Slot, join_key
from loom.nn.spec.older.weights import NAMES
from loom.nn.spec.older.write import write_as_first
from loom.nn.spec.older.writing import Older
from loom.nn.spec.snapshot import ID, OLDER_KIND, SavedModel

__all__ = ["from_older_tensors", "older_tensors", "write_first_bundle", "write_older_bundle"]


_WHERE = "loom.Network.save"


def write_older_bundle(model: SavedModel) -> str:
    """Return the text of a bundle of one model, as the first generation writes it (``jsonModelB64``).

    Args:
        model: Saved model.

    Raises:
        ArgumentError: A layer that the first generation has not; an unusable id.
        NotFinite: A weight is NaN or infinite, which JSON cannot say.
    """
    return write_first_bundle(model)[0]


def write_first_bundle(
    model: SavedModel, *, element: str | None = None, lossy: bool = False
) -> tuple[str, tuple[str, ...]]:
    """Return the same text, and what changed.

    Weights that the type cuts (integers and float4 say -1 to 1) are a loss, which is refused unless ``lossy``.

    Args:
        model: Saved model.
        element: Type of ``STORED_TYPES`` that weights are packed as (``multiPrecisionB64``); None: none.
        lossy: Whether what is lost is noted instead of refused, where something near can be said.

    Raises:
        ArgumentError: The first generation stores no such type; an unusable id; a layer that it has not, or a loss,
            unless ``lossy``.
        NotFinite: A weight is NaN or infinite, which JSON cannot say.
    """
    if element is not None and element not in STORED_TYPES:
        raise ArgumentError(_WHERE, "the first generation stores no such type", expected=", ".join(STORED_TYPES),
                            got=element, remedy=near_matches(element, STORED_TYPES) or "Choose one of them",
                            )  # fmt: skip
    if not ID.holds(model.id):
        raise ArgumentError(_WHERE, "unusable id of a model", expected=ID.expected, got=ascii(model.id)[:100],
                            remedy="Call it by a short name")  # fmt: skip
    older = write_as_first(model.network, model.id, _WHERE, weights=model.weights, lossy=lossy)
    notes, shapes = list(older.notes), older.conversion.network.parameters()
    entries: list[dict[str, Any]] = [{} for _ in older.config["layers"]]
    for slot in older.conversion.slots:
        entry = _entry(entries, slot.source)
        for ours, theirs in NAMES[slot.kind].items():
            full = f"{slot.key}.{ours}"
            if full in shapes and -1 not in slot.source:
                name = older.names.get(full, full)
                array = model.weights[name] if full in older.names else np.zeros(shapes[full], np.float32)
                entry[theirs[0]] = _numbers(name, array, element, notes, lossy)
    told = {"type": "float32", "dtype": ""} if element is None else {"dtype": element, "scale": SCALES.get(element, 1)}
    data = json.dumps({**told, "layers": entries}).encode()
    form = "jsonModelB64" if element is None else "multiPrecisionB64"
    weights: JsonObject = {"fmt": form, "data": base64_text(data)}
    made: JsonObject = {"id": model.id, "cfg": older.config, "weights": weights}
    return canonical({"type": OLDER_KIND, "version": 1, "models": [made]}), tuple(notes)


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


def _numbers(name: str, array: Array, element: str | None, notes: list[str], lossy: bool) -> list[float] | str:
    if not np.isfinite(array).all():
        raise NotFinite(f"{_WHERE}, {name!r}", "a weight is not finite", expected="numbers that JSON has",
                        got=f"{np.count_nonzero(~np.isfinite(array))} others", remedy="Save it as Loom's own bundle",
                        )  # fmt: skip
    if element is None:
        return np.asarray(array, np.float32).reshape(-1).tolist()  # each number as the double that it is
    data, most, is_cut = to_stored(element, np.asarray(array, np.float64).reshape(-1))
    if is_cut and not lossy:
        raise ArgumentError(f"{_WHERE}, {name!r}", f"{element} cuts some of its numbers", expected="sizes of at most 1",
                            got=f"{np.abs(array).max():.6g}", remedy="Choose a float, or lose it: loom convert --lossy",
                            )  # fmt: skip
    if most or is_cut:
        notes.append(f"{name}: {'lost: cut, ' if is_cut else ''}largest change {most:.3g}")
    return base64_text(data)


def older_tensors(model: SavedModel, *, lossy: bool = False) -> tuple[dict[str, Array], tuple[str, ...]]:
    """Return the arrays of a safetensors file of the first generation, and what changed.

    They are called ``layers.N.weight``, ``.branches.B.`` within. A dense layer's weight has the shape (out, in) there
    and still the order of (in, out).

    Args:
        model: Saved model.
        lossy: Whether what is lost is noted instead of refused, where something near can be said.

    Raises:
        ArgumentError: A layer that the first generation has not; a loss, unless ``lossy``.
    """
    older = write_as_first(model.network, model.id, _WHERE, weights=model.weights, lossy=lossy)
    shapes = older.conversion.network.parameters()
    found: dict[str, Array] = {}
    for theirs, ours in _by_their_names(older).items():
        held = model.weights[ours] if ours in model.weights else np.zeros(shapes[ours])
        array = np.asarray(held, np.float32)
        found[theirs] = array.reshape(array.shape[::-1]) if _is_dense(theirs, array) else array
    return dict(sorted(found.items())), older.notes


def from_older_tensors(network: NetworkSpec, arrays: Mapping[str, Array], where: str) -> dict[str, Array]:
    """Return a network's weights of arrays of the first generation; strange names are left as they are.

    Args:
        network: Description of a network.
        arrays: Arrays as ``older_tensors`` gives them.
        where: Beginning of errors' texts.

    Raises:
        ArgumentError: A layer that the first generation has not.
    """
    older, shapes = write_as_first(network, "model", where), network.parameters()
    ours = _by_their_names(older)
    found = {ours.get(name, name): a for name, a in arrays.items()}
    found = {
        n: a for n, a in found.items() if n in shapes or n not in older.conversion.network.parameters() or np.any(a)
    }  # zeros of a bias that the network has not
    return {n: a.reshape(shapes[n]) if n in shapes and a.size == np.prod(shapes[n]) else a for n, a in found.items()}


def _is_dense(name: str, array: Array) -> bool:
    return name.endswith(".weight") and array.ndim == 2


def _by_their_names(older: Older) -> dict[str, str]:
    """Return name in their files -> our name."""
    found: dict[str, str] = {}
    for slot in older.conversion.slots:
        for ours in NAMES[slot.kind]:
            full = f"{slot.key}.{ours}"
            if full in older.conversion.network.parameters():
                found[join_key(_prefix(slot), ours)] = older.names.get(full, full)
    return found


def _prefix(slot: Slot) -> str:
    first, *within = slot.source
    return ".".join([f"layers.{first}", *(f"branches.{n}" for n in within)])
