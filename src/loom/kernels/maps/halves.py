"""Functions of f16 and bf16, correctly rounded, from those of f32.

Layer: kernels. A result of f32 that lies on the midpoint of two numbers of 16 bits, or just across it, may be rounded
to the wrong one. Which inputs these are is known, as all were tried (``tools/fit/halves.py``); there the result is
moved by a few units in the last place towards the true value before it is rounded. Invariant: a function of one
operand, applied by its name to f16 or bf16, gives the number nearest to the true value, halves to even.
"""

from __future__ import annotations

from loom.core.dtype import DType, u32
from loom.ir.builder import Builder
from loom.ir.kernel import Instr
from loom.kernels.functions.coefficients import halves

__all__ = ["MIRRORED", "emit_moved", "steps_of"]

_EVEN = ("cos", "cosh", "j0")
_ODD = ("asin", "asinh", "atan", "atanh", "cbrt", "erf", "j1", "sin", "sinh", "tan", "tanh")
MIRRORED = frozenset((*_EVEN, *_ODD))
"""Functions that are even or odd, bit for bit: their rows are of sizes of inputs."""


def steps_of(name: str, dtype: DType) -> list[tuple[float, float, int]]:
    """Return the rows of a function: first and last input, and the units that results between them are moved by."""
    numbers: tuple[float, ...] = getattr(halves, f"{name}_{dtype}".upper(), ())
    return [(numbers[k], numbers[k + 1], int(numbers[k + 2])) for k in range(0, len(numbers), 3)]


def emit_moved(b: Builder, name: str, x: Instr, result: Instr, dtype: DType) -> Instr:
    """Emit what makes the f32 ``result`` of function ``name`` of ``x`` round correctly to ``dtype``, of which x is."""
    rows = steps_of(name, dtype)
    if not rows:
        return result
    size = b.emit("abs", x) if name in MIRRORED else x
    step = b.const(0, u32)
    for first, last, units in rows:
        inside = b.emit("ge" if first != last else "eq", size, b.const(first, x.type))
        if first != last:
            inside = b.emit("and", inside, b.emit("le", size, b.const(last, x.type)))
        step = b.emit("select", inside, b.const(units % 2**32, u32), step)
    moved = b.emit("add", b.emit("bitcast", result, dtype=u32), step)
    return b.emit("bitcast", moved, dtype=result.type)
