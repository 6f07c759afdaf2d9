"""Which format a document is in.

Layer: nn. Invariant: ``format`` decides where it stands; otherwise keys that only one generation has.
"""

from __future__ import annotations

from typing import Any

from loom.core.errors import near_matches
from loom.nn.spec.older.definition import normal
from loom.nn.spec.older.first import read_first
from loom.nn.spec.older.pieces import Conversion
from loom.nn.spec.older.second import read_second
from loom.nn.spec.problems import Place, shown
from loom.nn.spec.reader import FORMAT, read_network

__all__ = ["read_any"]


def read_any(value: Any, place: Place) -> Conversion | None:
    """Return the network of a document of any format, noting what is wrong at ``place``."""
    if not isinstance(value, dict):
        place.wrong("an object", value)
        return None
    if "format" in value:
        if value["format"] != FORMAT:
            near = near_matches(str(value["format"])[:100], [FORMAT])
            place.at("format").fault("unknown format", expected=f"'{FORMAT}'", got=shown(value["format"]), remedy=near)
            return None
        network = read_network(value, place)
        return None if network is None else Conversion(network=network)
    keys = {normal(k) for k in value}
    if {"input", "inputs", "nodes"} & keys:
        place.fault("key 'format' is missing", expected=f"'{FORMAT}'")
        return None
    if value.get("type") in ("loom/bundle", "modelhost/bundle") or "models" in keys:
        place.fault("this is a bundle of models, not a network", remedy="Read it with read_bundle.")
        return None
    if {"rows", "cols", "depth"} & keys and "gridrows" not in keys:
        return read_second(value, place)
    return read_first(value, place)
