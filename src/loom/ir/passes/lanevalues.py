"""Evaluates index expressions for all lanes of one workgroup at once, as offsets plus unknown terms.

Layer: ir. A ``LaneValue`` is ``offsets[lane] + sum of coefficient * unknown``, where an unknown is any
value equal in all lanes (a parameter, the group's id, a loop counter). Two values with equal unknowns
can be compared lane by lane. Invariant: a value this module cannot describe exactly is None.
"""

from __future__ import annotations

from typing import Any, TypeAlias, cast

import numpy as np

from loom.core.dtype import DType
from loom.core.late.dataclass import dataclass
from loom.ir.constants import constant_value
from loom.ir.kernel import For, If, Instr, Kernel, Variable, While, operations, walk_blocks

__all__ = ["LaneEvaluator", "LaneValue", "Lanes", "difference", "is_group"]

Lanes: TypeAlias = np.ndarray[Any, Any]
"""A number or a bool for each lane of a workgroup."""
_Unknowns = frozenset[tuple[Any, int]]
_EXACT = 1 << 62
"""Offsets beyond this are not followed."""
_WORD_BITS = 32


@dataclass(frozen=True, slots=True)
class LaneValue:
    """``offsets`` holds one int64 per lane; ``unknowns`` pairs each unknown with its coefficient."""

    offsets: Lanes
    unknowns: _Unknowns

    @property
    def is_known(self) -> bool:
        """True when no unknown is involved."""
        return not self.unknowns


def _combine(a: _Unknowns, b: _Unknowns, sign: int) -> _Unknowns:
    total: dict[Any, int] = dict(a)
    for key, coefficient in b:
        total[key] = total.get(key, 0) + sign * coefficient
    return frozenset((k, c) for k, c in total.items() if c)


def difference(a: LaneValue, b: LaneValue) -> LaneValue:
    """Return ``a - b`` lane by lane."""
    return LaneValue(a.offsets - b.offsets, _combine(a.unknowns, b.unknowns, -1))


def is_group(key: object) -> bool:
    """Tell whether an unknown is the number of the group along a dimension, which is the key's second part."""
    return isinstance(key, tuple) and cast("tuple[object, ...]", key)[0] == "group"


class LaneEvaluator:
    """Evaluates values in program order; ``assign`` and ``forget`` keep the variables current."""

    def __init__(self, kernel: Kernel) -> None:
        x, y, _ = kernel.workgroup
        lane = np.arange(kernel.lanes, dtype=np.int64)
        self.local = (lane % x, lane // x % y, lane // (x * y))
        self.workgroup = kernel.workgroup
        self.zeros = np.zeros(kernel.lanes, np.int64)
        self.variables: dict[Variable, LaneValue | None] = {}
        self.values: dict[Instr, LaneValue | None] = {}
        self._targets: dict[If | For | While, set[Variable]] = {}

    def value(self, instr: Instr) -> LaneValue | None:
        """Return what is known of a value computed earlier."""
        return self.values.get(instr)

    def compute(self, instr: Instr) -> None:
        """Evaluate an operation in program order."""
        self.values[instr] = self._evaluate(instr)

    def assign(self, variable: Variable, value: Instr) -> None:
        """A variable takes a value in all lanes."""
        self.variables[variable] = self.values.get(value)

    def forget(self, variable: Variable) -> None:
        """A variable may have changed in a way not followed."""
        self.variables.pop(variable, None)

    def forget_inside(self, s: If | For | While) -> None:
        """Forget the variables that are set inside a statement."""
        targets = self._targets.get(s)
        if targets is None:
            targets = {each.attr for each in operations(*walk_blocks(s)) if each.op.name == "set"}
            self._targets[s] = targets
        for variable in targets:
            self.forget(variable)

    def unknown(self, key: Any) -> LaneValue:
        """A value equal in all lanes and otherwise unknown."""
        return LaneValue(self.zeros, frozenset([(key, 1)]))

    def _evaluate(self, s: Instr) -> LaneValue | None:
        if s.dtype is None or s.dtype.is_vector or s.dtype.is_float:
            return None
        name = s.op.name
        if name == "const":
            value = int(constant_value(s.attr, s.dtype))
            return LaneValue(self.zeros + value, frozenset()) if abs(value) < _EXACT else None
        if name == "local_id":
            return LaneValue(self.local[int(s.attr)], frozenset())
        if name == "global_id":
            group = frozenset([(("group", s.attr), self.workgroup[int(s.attr)])])
            return LaneValue(self.local[int(s.attr)], group)
        if name in ("group_id", "num_groups", "param", "length"):
            key = ("group", s.attr) if name == "group_id" else (name, s.attr, s.memory)
            return self.unknown(key)
        if name == "get":
            return self.variables.get(s.attr)
        if name == "convert" or (name == "bitcast" and s.args[0].type.is_integer):
            return self._convert(s)
        args = [self.values.get(a) for a in s.args]
        known = [a for a in args if a is not None]
        if len(known) < len(args) or not s.op.is_pure:
            return None
        return self._pure(s, known)

    def _convert(self, s: Instr) -> LaneValue | None:
        source: DType = s.args[0].type
        if not source.is_integer or not s.type.is_integer or s.type.bits < source.bits:
            return None
        found = self.values.get(s.args[0])
        if found is not None and found.is_known:
            return LaneValue(found.offsets.astype(source.numpy).astype(s.type.numpy).astype(np.int64), frozenset())
        if source.bits < _WORD_BITS and source.is_signed and not s.type.is_signed:
            return None  # another number, unless it is wide enough to wrap where all do
        return found

    def _pure(self, s: Instr, args: list[LaneValue]) -> LaneValue | None:
        name = s.op.name
        if all(a.is_known for a in args) and s.op.evaluate is not None and name != "bitcast":
            operands = [a.offsets.astype(v.type.numpy) for a, v in zip(args, s.args, strict=True)]
            with np.errstate(all="ignore"):
                result = s.op.evaluate(*operands)
            exact = result.dtype.itemsize < 8 or (abs(result.astype(np.float64)) < _EXACT).all()
            return LaneValue(result.astype(np.int64), frozenset()) if exact else None
        if s.type.bits < _WORD_BITS:  # which wraps elsewhere than a longer one that it may become
            return None
        if name in ("add", "sub"):
            a, b = args
            if name == "sub":
                return difference(a, b)
            return LaneValue(a.offsets + b.offsets, _combine(a.unknowns, b.unknowns, 1))
        if name in ("mul", "shl"):
            return self._scale(args[0], args[1], s.type.bits if name == "shl" else None)
        return None

    def _scale(self, a: LaneValue, b: LaneValue, shift_width: int | None) -> LaneValue | None:
        """Multiply by a constant, or shift by one (modulo ``shift_width``)."""
        if shift_width is None and not b.is_known:
            a, b = b, a
        if not b.is_known or (b.offsets != b.offsets[0]).any():
            return None
        factor = int(b.offsets[0])
        if shift_width is not None:
            factor = 1 << (factor % shift_width)
        if abs(factor) * max(1, int(abs(a.offsets).max())) >= _EXACT:
            return None
        unknowns = frozenset((k, c * factor) for k, c in a.unknowns if factor)
        return LaneValue(a.offsets * factor, unknowns)
