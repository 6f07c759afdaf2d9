"""Where names are that people look for in ``loom``.

Layer: flow, above all that it names. Invariant: what is named exists.
"""

from __future__ import annotations

from importlib import import_module

__all__ = ["where_it_is"]

_FAMILIES = ("stats", "linalg", "signal", "data", "random", "tensor", "flow")
"""Modules of ``loom`` that are searched, in this order."""
_CALLED = {"var": "variance", "stdev": "std"}
"""Names other libraries have for them."""
_PREFIX = "gpu_"


def where_it_is(name: str) -> str:
    """Return a sentence that says where ``name`` is instead, with ``gpu_`` or without; nothing if it is nowhere."""
    if name.startswith("_"):
        return ""
    short = name.removeprefix(_PREFIX)
    for family in _FAMILIES:
        module = import_module(f"loom.{family}" if family in ("tensor", "flow") else f"loom.patterns.{family}")
        for wanted in dict.fromkeys((name, short, _CALLED.get(short, short))):
            if wanted in module.__all__:
                return f"It is loom.{family}.{wanted}"
    return ""
