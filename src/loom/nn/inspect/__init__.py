"""What a network is and does: blueprints, activity of layers, differences, diagrams, methods.

Layer: nn. Invariant: to look at a network changes none of its bits.

Stability: new.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from loom.core.names import missing_name

_WHERE = {
    "ActivityStats": "activity", "LayerEvent": "activity", "Observation": "activity", "observe": "activity",
    "NetworkDiff": "difference", "SpecChange": "difference", "WeightChange": "difference", "diff_models": "difference",
    "diagram_of": "diagram",
    "has_method": "methods", "list_methods": "methods", "method_signature": "methods", "methods_json": "methods",
    "methods_of": "methods",
    "Blueprint": "blueprint", "LayerBlueprint": "blueprint", "blueprint_of": "blueprint",
}  # fmt: skip
__all__ = list(_WHERE)


def __getattr__(name: str) -> Any:
    if name in _WHERE:
        return getattr(import_module(f"loom.nn.inspect.{_WHERE[name]}"), name)
    raise missing_name("loom.nn.inspect", name, __all__)
