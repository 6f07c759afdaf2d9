"""Which part of a second-generation layer's one array of weights is which array of ours.

Layer: nn. Invariant: ``split`` undoes ``join``; matrices stand there as (out, in), here as (in, out), so that turning
one moves bits and computes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from loom.core.arrays import Array
from loom.core.late.dataclass import dataclass
from loom.formats.json_text import JsonValue
from loom.nn.spec.base.problems import Place
from loom.nn.spec.base.shapes import count
from loom.nn.spec.base.text import from_base64
from loom.nn.spec.older.definition import Definition
from loom.nn.spec.older.packed import decode
from loom.nn.spec.older.pieces import Conversion

__all__ = ["Stored", "has_weights", "join", "read_stored"]

_TURNED = ("weight", "q_weight", "k_weight", "v_weight", "o_weight", "gate_weight", "up_weight", "down_weight")
_ORDER: dict[str, tuple[str, ...]] = {
    "dense": ("weight",),
    "conv1d": ("weight",),
    "conv2d": ("weight",),
    "multi_head_attention": (*(f"{x}_weight" for x in "qkvo"), *(f"{x}_bias" for x in "qkvo")),
    "rnn": ("weight_ih", "weight_hh", "bias_h"),
    "lstm": tuple(f"{name}_{gate}" for gate in "ifgo" for name in ("weight_ih", "weight_hh", "bias")),
    "swiglu": (*(f"{x}_weight" for x in ("gate", "up", "down")), *(f"{x}_bias" for x in ("gate", "up", "down"))),
    "layer_norm": ("gamma", "beta"),
    "rms_norm": ("gamma",),
    "embedding": ("weight",),
    "kmeans": ("centers",),
}
"""Type -> our names of its weights, in the order of the array."""


@dataclass(frozen=True, slots=True)
class Stored:
    """What a layer says of its weights: base64, the element type, and what a code is multiplied by."""

    data: JsonValue
    kind: str
    scale: float
    place: Place


def has_weights(kind: str) -> bool:
    """Tell whether layers of a type keep an array of weights."""
    return kind in _ORDER


def _is_turned(kind: str, name: str) -> bool:
    return name in _TURNED and kind not in ("conv1d", "conv2d", "embedding")


def join(kind: str, weights: Mapping[str, Array], shapes: Mapping[str, tuple[int, ...]]) -> Array:
    """Return a layer's weights as its one array, f64; those that it has not here, by their shapes there, are zeros."""
    made: list[Array] = []
    for name in _ORDER[kind]:
        array = np.asarray(weights[name], np.float64) if name in weights else np.zeros(shapes[name])
        made.append((array.T if _is_turned(kind, name) else array).reshape(-1))
    return np.concatenate(made)


def _split(kind: str, flat: Array, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Array]:
    made: dict[str, Array] = {}
    at = 0
    for name in _ORDER[kind]:
        shape = shapes[name]
        part = flat[at : at + count(shape)]
        at += count(shape)
        turned = part.reshape(shape[::-1]).T if _is_turned(kind, name) else part.reshape(shape)
        made[name] = np.ascontiguousarray(turned)
    return made


def read_stored(definitions: tuple[Definition, ...], found: Conversion, notes: list[str]) -> dict[str, Array]:
    """Return name -> float32 array of all weights, of what layers keep of them; {} if none does.

    A layer without, where others have them, is noted: its weights start anew.
    """
    slots = [(slot, _definition(definitions, slot.source)) for slot in found.slots if slot.kind in _ORDER]
    if not any(d.stored for _, d in slots):
        return {}
    wanted, made = found.network.parameters(), dict[str, Array]()
    for slot, d in slots:
        prefix = f"{slot.key}."
        own = {n.removeprefix(prefix): s for n, s in wanted.items() if n.startswith(prefix)}
        own = {n: s for n, s in own.items() if n in _ORDER[slot.kind]}
        if d.stored is None:
            notes.append(f"{d.place.path}: the file has no weights of this layer: they start anew")
            continue
        made |= {prefix + n: a for n, a in _read(d.stored, slot.kind, own).items()}
    return made


def _read(stored: Stored, kind: str, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Array]:
    data = from_base64(stored.data, stored.place)
    if data is None:
        return {}
    total = sum(count(shape) for shape in shapes.values())
    flat = decode(stored.kind, data, total, stored.scale, stored.place)
    return {} if flat is None else _split(kind, flat, shapes)


def _definition(definitions: tuple[Definition, ...], source: tuple[int, ...]) -> Definition:
    found = definitions[source[0]]
    return found if len(source) == 1 else _definition(found.branches, source[1:])
