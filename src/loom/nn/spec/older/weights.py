"""Weights of first-generation bundles: which array of which layer is which of ours.

Layer: nn. Invariant: an array that is missing, strange or of another size is a problem; nothing is cut or padded.
"""

from __future__ import annotations

import numpy as np

from loom.core.arrays import Array
from loom.formats.json_text import JsonObject, JsonValue, brief
from loom.nn.spec.base.fields import IGNORED
from loom.nn.spec.base.problems import Place
from loom.nn.spec.base.shapes import count
from loom.nn.spec.base.text import from_base64, load
from loom.nn.spec.older.definition import normal
from loom.nn.spec.older.names import kind_of
from loom.nn.spec.older.numbers import SCALES, STORED_TYPES, from_list, from_stored
from loom.nn.spec.older.pieces import Conversion, Slot

__all__ = ["NAMES", "read_old_weights"]

_PLAIN, _PACKED = "jsonModelB64", "multiPrecisionB64"
_CONV = {"weight": ("kernel",), "bias": ("conv_bias", "biases")}
_DENSE = {"weight": ("kernel",), "bias": ("biases",)}
_NORM = {"gamma": ("gamma",), "beta": ("beta",)}
NAMES: dict[str, dict[str, tuple[str, ...]]] = {
    "dense": _DENSE,
    "stitch": _DENSE,
    "conv1d": _CONV,
    "conv2d": _CONV,
    "multi_head_attention": {
        **{f"{x}_weight": (f"{x}_weights",) for x in "qkv"},
        **{f"{x}_bias": (f"{x}_bias",) for x in "qkv"},
        "o_weight": ("output_weight",),
        "o_bias": ("output_bias",),
    },
    "rnn": {name: (name,) for name in ("weight_ih", "weight_hh", "bias_h")},
    "lstm": {
        **{f"weight_{x}h_{g}": (f"weight_{x}{g}",) for x in "ih" for g in "ifgo"},
        **{f"bias_{g}": (f"bias_{g}",) for g in "ifgo"},
    },
    "layer_norm": _NORM,
    "rms_norm": _NORM,
    "swiglu": {
        **{f"{x}_weight": (f"{x}_weights",) for x in ("gate", "up", "down")},
        **{f"{x}_bias": (f"{x}_bias",) for x in ("gate", "up", "down")},
    },
    "kmeans": {"centers": ("cluster_centers",)},
    "embedding": {"weight": ("embedding_weights",)},
    "softmax": {},
}
"""Type -> our name of a weight -> names that older files have for it."""


def read_old_weights(
    value: JsonObject, config: JsonValue, found: Conversion, place: Place, notes: list[str]
) -> dict[str, Array]:
    """Return name -> float32 array of all the network's weights; problems are noted at ``place``.

    ``config`` is what ``found`` was made of: it says how many layers are within which.
    """
    _only(value, ("fmt", "data"), place)
    form = str(value["fmt"])
    if form not in (_PLAIN, _PACKED):
        place.at("fmt").unknown("format of weights", form, (_PLAIN, _PACKED, "loom/1"))
        return {}
    here = place.at("data")
    raw = from_base64(value.get("data"), here)
    inner = None if raw is None else load(raw, here)
    if inner is None:
        return {}
    layers = inner.get("layers") if isinstance(inner, dict) else None
    if not isinstance(inner, dict) or not isinstance(layers, list):
        here.wrong("an object with layers", inner)
        return {}
    kind = _element_type(inner, form == _PACKED, here)
    _only(inner, ("type", "dtype", "scale", "layers"), here)
    _match_layers(config, "layers", layers, here.at("layers"))
    if kind is None:
        return {}
    _note_scale(inner.get("scale"), kind, here, notes)
    wanted = found.network.parameters()
    arrays: dict[str, Array] = {}
    for slot in found.slots:
        arrays |= _of_slot(slot, layers, wanted, kind, here.at("layers"))
    for name, shape in wanted.items():
        if name not in arrays and _is_of_gate(name):
            notes.append(f"{place.path}: the file has no '{name}' (older files never have a gate's): zeros")
            arrays[name] = np.zeros(shape, np.float32)
    return arrays


def _only(value: JsonObject, known: tuple[str, ...], place: Place) -> None:
    """Note keys that are none of ``known``."""
    for key in value:
        if key not in known and key not in IGNORED:
            place.at(key).unknown("key", key, known)


def _match_layers(config: JsonValue, name: str, entries: JsonValue, place: Place) -> None:
    """Note weights of layers that the config has not, at any depth, and what is said of a layer that it is not."""
    layers = _within(config, name)
    if not isinstance(entries, list):
        place.wrong("a list of the layers' weights", entries)
        return
    if len(entries) > len(layers):
        place.fault("there are weights of more layers than the network has", expected=len(layers), got=len(entries))
    for i, (layer, entry) in enumerate(zip(layers, entries, strict=False)):
        if isinstance(entry, dict) and "branch_weights" in entry:
            inner = "branches" if _within(layer, "branches") else "attached_layer"
            _match_layers(layer, inner, entry["branch_weights"], place.at(i, "branch_weights"))


def _within(config: JsonValue, name: str) -> list[JsonValue]:
    """Return the layers under a key of a config, met in any spelling; one stands for a list of one."""
    found = [v for k, v in config.items() if normal(k) == normal(name)] if isinstance(config, dict) else []
    first = found[0] if found else None
    if isinstance(first, (list, tuple)):
        return [*first]
    return [] if first is None else [first]


def _note_scale(scale: JsonValue, kind: str, place: Place, notes: list[str]) -> None:
    """Note a scale other than the type's own, which is what numbers are read by."""
    if scale not in (None, 0, 1, SCALES.get(kind)):
        notes.append(f"{place.path}: 'scale' {brief(scale)} is not used: numbers of {kind} have a scale of their own")


def _element_type(inner: JsonObject, is_packed: bool, place: Place) -> str | None:
    if not is_packed:
        if inner.get("type", "float32") not in ("float32", ""):
            place.at("type").wrong("'float32'", inner["type"])
            return None
        return "list"
    kind = inner.get("dtype")
    if not isinstance(kind, str):
        place.at("dtype").wrong("the name of an element type", kind)
        return None
    if kind not in STORED_TYPES:
        place.at("dtype").unknown("element type", kind, STORED_TYPES)
        return None
    return kind


def _is_of_gate(name: str) -> bool:
    return "gate" in name.split(".")


def _of_slot(
    slot: Slot, layers: list[JsonValue], wanted: dict[str, tuple[int, ...]], kind: str, place: Place
) -> dict[str, Array]:
    """Return the arrays of one layer of the older network."""
    if -1 in slot.source:
        return {}  # within a gate
    entry, here = _entry(slot.source, layers, place)
    prefix = f"{slot.key}."
    own = {n[len(prefix) :]: s for n, s in wanted.items() if n.startswith(prefix)}
    names = NAMES.get(slot.kind, {})
    is_known = slot.kind in NAMES
    used = {name: shape for name, shape in own.items() if (name in names if is_known else "." not in name)}
    if not isinstance(entry, dict):
        if used:
            here.wrong("an object of weights", entry)
        return {}
    arrays: dict[str, Array] = {}
    for name, shape in used.items():
        theirs = names.get(name, (name,))
        key = next((k for k in theirs if entry.get(k)), None)
        if key is None:
            here.fault(f"weight {brief(theirs[0])} is missing", expected=f"{count(shape)} numbers")
            continue
        array = _numbers(entry[key], count(shape), kind, here.at(key))
        if array is not None:
            arrays[prefix + name] = array.reshape(shape)
    _note_rest(entry, slot.kind, {k for name in used for k in names.get(name, (name,))}, here)
    return arrays


def _note_rest(entry: JsonObject, kind: str, known: set[str], place: Place) -> None:
    """Note what an entry has that is no weight of its layer; empty arrays, zeros and false stand for nothing."""
    for key, value in entry.items():
        here = place.at(key)
        if key == "type" and value != "" and kind_of(value, here) not in (None, kind):
            here.fault("the weights are of another layer", expected=f"'{kind}'", got=brief(value))
        if key in (*known, "type", "branch_weights", *IGNORED) or value in (None, 0, "", [], False):
            continue
        if key == "beta" and isinstance(value, list) and not any(value):
            continue  # of an rms norm, which has none
        here.unknown("weight", key, known)


def _entry(source: tuple[int, ...], entries: JsonValue, place: Place) -> tuple[JsonValue, Place]:
    """Return what the file has for a layer, and where."""
    here = place.at(source[0])
    if not isinstance(entries, list) or source[0] >= len(entries):
        return None, here
    entry = entries[source[0]]
    if len(source) == 1:
        return entry, here
    within = entry.get("branch_weights") if isinstance(entry, dict) else None
    return _entry(source[1:], within, here.at("branch_weights"))


def _numbers(value: JsonValue, n: int, kind: str, place: Place) -> Array | None:
    if kind != "list":
        data = from_base64(value, place)
        return None if data is None else from_stored(kind, data, n, place)
    array = from_list(value, place)
    if array is not None and len(array) != n:
        place.fault("the number of weights does not match", expected=n, got=len(array))
        return None
    return array
