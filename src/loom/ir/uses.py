"""Which operations take a value for a number, and how: what only mixes its bits is none of them.

Layer: ir. Invariant: a sum or a product takes nothing for a number; what it gives may be.
"""

from __future__ import annotations

from collections.abc import Iterator

from loom.ir.kernel import Instr, Statement
from loom.ir.ops import Effect

__all__ = ["number_uses"]

_USES = {
    **dict.fromkeys(("lt", "le", "gt", "ge"), "compared"),
    **dict.fromkeys(("min", "max"), "clamped"),
    **dict.fromkeys(("idiv", "irem"), "divided"),
    "convert": "converted",
}


def number_uses(s: Statement) -> Iterator[tuple[Instr, str]]:
    """Yield the values that a statement takes for numbers, and how."""
    if not isinstance(s, Instr):
        return
    if s.memory is not None or s.name == "within":
        if s.args and (s.name in ("load", "store", "within") or s.op.effect is Effect.ATOMIC):
            yield s.args[0], "used as an index"
    elif s.name in _USES and not (s.name == "convert" and s.type.is_integer and s.type.bits <= s.args[0].type.bits):
        yield from ((value, _USES[s.name]) for value in s.args)
