"""Documents of older formats: which generation one is of, and its network.

Layer: nn. Invariant: keys that only one generation has decide.
"""

from __future__ import annotations

from loom.formats.json_text import JsonObject
from loom.nn.spec.base.problems import Place
from loom.nn.spec.older.definition import normal
from loom.nn.spec.older.first import read_first
from loom.nn.spec.older.pieces import Conversion
from loom.nn.spec.older.second import read_second

__all__ = ["read_older"]


def read_older(value: JsonObject, place: Place, *, saved: bool = False) -> Conversion | None:
    """Return the conversion of a document without ``format``, None where it has problems (all noted at ``place``).

    ``saved`` tells a config out of a bundle, which only the first generation has.
    """
    if saved and "layers" in value:
        return read_first(value, place, saved=True)
    keys = {normal(k) for k in value}
    if {"input", "inputs", "nodes"} & keys:
        place.fault("key 'format' is missing", expected="'loom/1'")
        return None
    if value.get("type") in ("loom/bundle", "modelhost/bundle") or "models" in keys:
        place.fault("this is a bundle of models, not a network", remedy="Read it with read_bundle.")
        return None
    if {"rows", "cols", "depth"} & keys and "gridrows" not in keys:
        return read_second(value, place)
    return read_first(value, place)
