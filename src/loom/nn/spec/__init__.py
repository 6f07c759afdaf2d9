"""Network documents: JSON parsed, checked and converted to a frozen ``NetworkSpec``; its shapes and its weights' names.

Layer: nn, of which it is the lowest part: it imports ``loom.core`` alone and computes nothing. Invariant: what
``parse`` returns is sound, and ``parse(to_json(network)) == network``.

Stability: stable.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from loom.core.names import missing_name
from loom.nn.spec.base.activations import Activation
from loom.nn.spec.base.layer import LAYERS, Layer, Part, Shape, Shared
from loom.nn.spec.base.meaning import Meaning, NumberKind
from loom.nn.spec.base.problems import Problem
from loom.nn.spec.document import check, convert, parse, to_document, to_json, with_scaling
from loom.nn.spec.layers import NAMES
from loom.nn.spec.network import Input, NetworkSpec, NodeSpec, ProductPrecision
from loom.nn.spec.older.pieces import Conversion, Slot

if TYPE_CHECKING:
    from loom.nn.spec.older.bundle import from_older_tensors, older_tensors, write_first_bundle, write_older_bundle
    from loom.nn.spec.older.write import write_as_first
    from loom.nn.spec.older.write_second import write_second
    from loom.nn.spec.savedmodels import read_bundle, write_bundle
    from loom.nn.spec.schema import json_schema
    from loom.nn.spec.snapshot import SavedModel, Snapshot

_LATE = {
    **dict.fromkeys(("from_older_tensors", "older_tensors"), "older.bundle"),
    **dict.fromkeys(("write_first_bundle", "write_older_bundle"), "older.bundle"),
    "write_as_first": "older.write",
    "write_second": "older.write_second",
    "json_schema": "schema",
    **dict.fromkeys(("read_bundle", "write_bundle"), "savedmodels"),
    **dict.fromkeys(("SavedModel", "Snapshot"), "snapshot"),
}
"""What few processes need, and where it is."""
__all__ = [
    "LAYERS", "Activation", "Conversion", "Input", "Layer", "Meaning", "NetworkSpec", "NodeSpec", "NumberKind", "Part",
    "Problem", "ProductPrecision", "SavedModel", "Shape", "Shared", "Slot", "Snapshot", "check", "convert",
    "from_older_tensors", "json_schema", "older_tensors", "parse", "read_bundle", "to_document", "to_json",
    "with_scaling", "write_as_first", "write_bundle", "write_first_bundle", "write_older_bundle", "write_second",
]  # fmt: skip
__all__ += list(NAMES)


def __getattr__(name: str) -> Any:
    """Return a layer's config, or what a field of one holds, by the name of its class: ``Dense``, ``Variant``."""
    if name in NAMES:
        return NAMES[name]
    if name in _LATE:
        return getattr(import_module(f"{__name__}.{_LATE[name]}"), name)
    raise missing_name("loom.nn.spec", name, __all__)


def __dir__() -> list[str]:
    return sorted(__all__)
