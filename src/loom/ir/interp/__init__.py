"""The reference interpreter: what kernels mean, in numpy, and the debugger built on it.

Layer: ir. ``interpret`` runs a whole dispatch. Inside: ``dispatch`` cuts it in batches of workgroups
(``batch``: their state; ``masks``: which lanes are active; ``binding``: its arguments). ``control`` runs
blocks and loops; ``operations``, ``memory`` (on ``cells``) and ``host`` the operations. ``checks`` and
``races`` watch accesses; ``reorder`` runs a dispatch again in another order; ``worklimit`` ends one early.
``tracing`` and ``session`` are the debugger, switched on by ``debugger``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from loom.ir.interp.debugger import Debug, current_debug, debug

if TYPE_CHECKING:
    from loom.ir.interp.dispatch import HANDLERS, interpret
    from loom.ir.interp.options import Options

__all__ = ["HANDLERS", "Debug", "Options", "current_debug", "debug", "interpret"]


def __getattr__(name: str) -> Any:
    """Load the interpreter itself when it is first needed; every launch asks only for the debug switch."""
    if name not in ("HANDLERS", "Options", "interpret"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from loom.ir.interp import dispatch

    return getattr(dispatch, name)
