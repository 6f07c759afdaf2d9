"""The reference interpreter: what kernels mean, in numpy, and the debugger built on it.

Layer: ir. ``interpret`` runs a whole dispatch. Inside: ``dispatch`` cuts it in batches of workgroups
(``batch``: their state; ``masks``: which lanes are active; ``binding``: its arguments). ``control`` runs
blocks and loops; ``operations``, ``memory`` (on ``cells``) and ``host`` the operations. ``checks`` and
``races`` watch accesses. ``tracing`` and ``session`` are the debugger, switched on by ``debugger``.
"""

from loom.ir.interp.debugger import Debug, current_debug, debug
from loom.ir.interp.dispatch import HANDLERS, interpret
from loom.ir.interp.options import Options

__all__ = ["HANDLERS", "Debug", "Options", "current_debug", "debug", "interpret"]
