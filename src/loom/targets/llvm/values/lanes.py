"""How a value is held across the lanes of a vector: once, as a start and stride, or lane by lane.

Layer: targets. ``analyse_lanes`` decides before code is generated; the generator follows it. Invariant:
a stride is claimed only if lane l holds ``base + stride * l`` in the value's own wrapping arithmetic.

Source: the "linear" values of Karrenberg and Hack, "Whole-Function Vectorization" (CGO 2011).
"""

from __future__ import annotations

from dataclasses import field
from typing import Any

from loom.core.late.dataclass import dataclass
from loom.ir.constants import constant_value
from loom.ir.kernel import Block, For, Instr, Kernel, Space, Variable, walk
from loom.ir.ops import Effect
from loom.ir.passes.uniformity import Uniformity

__all__ = ["Lanes", "Shapes", "analyse_lanes", "lane_dimensions"]

Stride = int | None
"""0: equal in all lanes; n: lane l holds base + n l; None: held lane by lane."""


@dataclass(frozen=True, slots=True)
class Lanes:
    """A value in generated code: a scalar (stride known) or a vector (stride None)."""

    value: Any
    stride: Stride


class _Unset:
    """Bottom of the lattice: not reached yet."""


_UNSET = _Unset()


@dataclass(slots=True)
class Shapes:
    """The stride of each value and variable.

    ``likely`` has the stride that values held lane by lane mostly have, but for the edges of what they count: it is
    worth a look at run time whether all lanes do.
    """

    values: dict[Instr, Stride] = field(default_factory=dict[Instr, Stride])
    variables: dict[Variable, Stride] = field(default_factory=dict[Variable, Stride])
    likely: dict[Instr, int] = field(default_factory=dict[Instr, int])


def lane_dimensions(workgroup: tuple[int, int, int], width: int) -> tuple[Stride, Stride, Stride]:
    """Return the stride of the local id along each dimension within a vector of ``width`` lanes."""
    x, y, z = workgroup
    if width == 1:
        return (0, 0, 0)
    if x % width == 0 or (y == 1 and z == 1):
        return (1, 0, 0)
    return (0 if x == 1 else None, 0 if y == 1 else None, 0 if z == 1 else None)


def analyse_lanes(kernel: Kernel, width: int, uniformity: Uniformity) -> Shapes:
    """Return the shapes of all values for vectors of ``width`` lanes."""
    analysis = _LaneAnalysis(kernel, width, uniformity)
    while True:
        before = dict(analysis.variables)
        analysis.sweep(kernel.body)
        if analysis.variables == before:
            break
    known = {v: s for v, s in analysis.variables.items() if not isinstance(s, _Unset)}
    values = {i: 0 if isinstance(s, _Unset) else s for i, s in analysis.values.items()}
    shapes = Shapes(values, {v: known.get(v, 0) for v in kernel.variables})
    if width > 1:
        _guess_strides(kernel, shapes)
    return shapes


class _LaneAnalysis:
    def __init__(self, kernel: Kernel, width: int, uniformity: Uniformity) -> None:
        self.width = width
        self.uniformity = uniformity
        self.dimensions = lane_dimensions(kernel.workgroup, width)
        self.values: dict[Instr, Any] = {}
        self.variables: dict[Variable, Any] = dict.fromkeys(kernel.variables, _UNSET)

    def sweep(self, body: Block) -> None:
        """Visit what lanes compute, in its order."""
        for s in walk(body):
            if isinstance(s, Instr):
                self.instr(s)
            elif isinstance(s, For):
                start, step = self.values[s.start], self.values[s.step]
                self.values[s.index] = start if step == 0 else self.join_unset(step)

    def join_unset(self, step: Any) -> Any:
        return _UNSET if step is _UNSET else None

    def instr(self, s: Instr) -> None:
        if s.op.name == "set":
            self.assign(s.attr, self.values[s.args[0]])
        elif s.dtype is not None:
            self.values[s] = 0 if self.width == 1 else self.stride(s)

    def assign(self, variable: Variable, stride: Any) -> None:
        if stride is _UNSET:
            return
        known = self.variables[variable]
        if variable in self.uniformity.masked_variables and self.width > 1:
            self.variables[variable] = None
        elif known is _UNSET:
            self.variables[variable] = stride
        elif known != stride:
            self.variables[variable] = None

    def stride(self, s: Instr) -> Any:
        name = s.op.name
        if name in ("global_id", "local_id"):
            return self.dimensions[int(s.attr)]
        if s.op.effect is Effect.IDENTITY or name == "const":
            return 0
        if name == "get":
            return self.variables[s.attr]
        if s.op.effect is Effect.ATOMIC:
            return None
        strides = [self.values[a] for a in s.args]
        if name == "load":
            private = s.memory is not None and s.memory.space is Space.PRIVATE
            return None if private or s in self.uniformity.varying or strides != [0] else 0
        if any(t is _UNSET for t in strides):
            return _UNSET if all(t is not None for t in strides) else None
        if all(t == 0 for t in strides):
            return 0
        if s.dtype is None or not s.dtype.is_integer or s.dtype.is_vector or any(t is None for t in strides):
            return None
        return _integer_stride(s, strides)


def _integer_stride(s: Instr, strides: list[int]) -> Stride:
    """Stride of an integer operation on operands that all have one."""
    name = s.op.name
    if name == "add":
        return strides[0] + strides[1]
    if name == "sub":
        return strides[0] - strides[1]
    if name in ("mul", "shl"):
        return _scale(s, strides)
    source = s.args[0]
    if name == "bitcast" and source.type.is_integer:
        return strides[0]
    if name == "convert" and source.type.is_integer:
        # widening is exact only where no lane wrapped: the ids themselves, never sums of them
        is_id = source.op.name in ("global_id", "local_id")
        return strides[0] if s.type.bits <= source.type.bits or is_id else None
    return None


def _scale(s: Instr, strides: list[int]) -> Stride:
    a, b = s.args
    if s.op.name == "mul" and b.op.name != "const":
        a, b = b, a
        strides = strides[::-1]
    if b.op.name != "const":
        return None
    factor = int(constant_value(b.attr, b.type))
    if s.op.name == "shl":
        factor = 1 << (factor & (s.type.bits - 1))
    scaled = strides[0] * factor
    return scaled if abs(scaled) < 1 << 31 else None


_EDGES = {"select": (1, 2), "min": (0, 1), "max": (0, 1), "irem": (0,), "and": (0, 1)}
"""Operations that leave most lanes alone: which operands they hand on."""


def _guess_strides(kernel: Kernel, shapes: Shapes) -> None:
    """Fill ``shapes.likely``: strides of integers as they are where no conditional, clamp or remainder cuts in."""
    variables: dict[Variable, int] = {}
    known = -1
    while known != len(variables):  # what a loop carries is known in the second sweep
        known = len(variables)
        for s in walk(kernel.body):
            if not isinstance(s, Instr):
                continue
            if s.op.name == "set":
                _guess_variable(s, shapes, variables)
            elif (
                s.dtype is not None and s.dtype.is_integer and not s.dtype.is_vector and shapes.values.get(s, 0) is None
            ):
                stride = variables.get(s.attr) if s.op.name == "get" else _likely(s, shapes)
                if stride is not None:
                    shapes.likely[s] = stride


def _guess_variable(s: Instr, shapes: Shapes, variables: dict[Variable, int]) -> None:
    stride = _either(s.args[0], shapes)
    if stride and s.attr.dtype.is_integer:
        variables.setdefault(s.attr, stride)


def _either(value: Instr, shapes: Shapes) -> int | None:
    """Return the stride of a value, or the likely one, or None."""
    stride = shapes.values.get(value, 0)
    return stride if stride is not None else shapes.likely.get(value)


def _likely(s: Instr, shapes: Shapes) -> int | None:
    if not s.op.is_pure:
        return None
    strides = [_either(a, shapes) for a in s.args]
    handed = _EDGES.get(s.op.name)
    if handed is not None:
        found = [strides[position] for position in handed]
        return next((stride for stride in found if stride), None)
    known = [stride for stride in strides if stride is not None]
    if len(known) < len(strides):
        return None
    if s.op.name == "convert" and s.args[0].type.is_integer:
        return known[0]
    return _integer_stride(s, known)
