"""Imports in the middle of themselves: a finalizer, or a handler of signals, that asks for a module half loaded.

Layer: core. Loom's modules load when they are first needed. What comes in the middle of such a load in the same thread
finds half a module, and Python's words for that blame a circle of imports. Invariant: it is refused in Loom's words.
"""

from __future__ import annotations

import sys

from loom.core.errors import StateError

__all__ = ["refuse_half_loaded"]


def refuse_half_loaded(module: str, where: str) -> None:
    """Raise StateError if a module is being loaded by the calling thread.

    Args:
        module: The module's name.
        where: Of the call, for the error.

    Raises:
        StateError: It is half loaded.
    """
    spec = getattr(sys.modules.get(module), "__spec__", None)
    if getattr(spec, "_initializing", False):
        raise StateError(
            where,
            "it is called in the middle of loading what it needs, by a finalizer or a handler of signals",
            expected="calls that come later",
            got=f"half of {module}",
            remedy="Call it once before anything that may call it at any moment is set up",
        ) from None
