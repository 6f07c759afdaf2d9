"""Element by element: arithmetic, comparisons, functions, choices, conversions, numbers and coordinates.

Layer: export. Invariant: operands are as ONNX broadcasts them; a result that the record has larger is spread.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from loom.core.dtype import DType, bool_, f32, i32, i64, lookup, u64
from loom.export.onnx.emitters.registry import broadcast, emits, refusal, unwrap
from loom.export.onnx.emitters.windows import emit_average, emit_max
from loom.export.onnx.writing.lengths import Length
from loom.export.onnx.writing.records import RecordedValue
from loom.export.onnx.writing.writer import GraphWriter
from loom.onnx.functions import BODIES
from loom.onnx.operatorschemas import operator_types, tensor_type
from loom.tensor.ops.elementwise import CONVERT, COORDINATE, MAPS, NUMBER

__all__ = ["emit_map"]

_STANDARD = {
    "add": "Add", "sub": "Sub", "mul": "Mul", "div": "Div", "idiv": "Div", "abs": "Abs", "min": "Min",
    "max": "Max", "floor": "Floor", "ceil": "Ceil", "rint": "Round", "sqrt": "Sqrt", "eq": "Equal", "lt": "Less",
    "le": "LessOrEqual", "gt": "Greater", "ge": "GreaterOrEqual", "select": "Where", "exp": "Exp", "log": "Log",
    "sin": "Sin", "cos": "Cos", "tan": "Tan", "asin": "Asin", "acos": "Acos", "atan": "Atan", "sinh": "Sinh",
    "cosh": "Cosh", "tanh": "Tanh", "asinh": "Asinh", "acosh": "Acosh", "atanh": "Atanh", "erf": "Erf", "pow": "Pow",
    "sigmoid": "Sigmoid",
}  # fmt: skip
"""Operations whose operator of ONNX is read as they themselves."""
_BITS = {"and": ("And", "BitwiseAnd"), "or": ("Or", "BitwiseOr"), "xor": ("Xor", "BitwiseXor"),
         "not": ("Not", "BitwiseNot")}  # fmt: skip
"""For bools, and for whole numbers."""
_COMPARISONS = frozenset(("eq", "ne", "lt", "le", "gt", "ge"))
_LACKING = frozenset(("mulhi", "popcount", "clz", "dot4_i8", "dot4_u8i8", "dot2_i16", "nextafter", "gamma", "lgamma",
                      "j0", "j1", "y0", "y1"))  # fmt: skip
"""Operations that ONNX has nothing for."""
_Write = Callable[[GraphWriter, list[str], DType], str]


def _rsqrt(w: GraphWriter, names: list[str], dtype: DType) -> str:
    """Write 1 / sqrt(x), of 16 bits in f32, so that it is rounded once."""
    wide = w.cast(names[0], f32) if dtype.storage_only else names[0]
    return w.cast(w.node("Reciprocal", [w.node("Sqrt", [wide])]), dtype)


def _ipow(w: GraphWriter, names: list[str], dtype: DType) -> str:
    """Write a power of whole numbers, in a type that ONNX's takes; what wraps there wraps alike in fewer bits."""
    wide = dtype if dtype in (i32, i64) else i32 if dtype.bits < 32 else i64
    return w.cast(w.node("Pow", [w.cast(n, wide) for n in names]), dtype)


def _ne(w: GraphWriter, names: list[str], _: DType) -> str:
    return w.where_false(w.node("Equal", names, bool_))


def _rest(w: GraphWriter, names: list[str], _: DType) -> str:
    return w.node("Mod", names, fmod=1)


def _neg(w: GraphWriter, names: list[str], dtype: DType) -> str:
    """Write a negation; of numbers without a sign, which ONNX's takes not, as a difference, which wraps alike."""
    if dtype.is_integer and not dtype.is_signed:
        return w.node("Sub", [w.constant(np.array(0, dtype.numpy), dtype), *names])
    return w.node("Neg", names)


def _shift(direction: str) -> _Write:
    def write(w: GraphWriter, names: list[str], dtype: DType) -> str:
        """Write a shift by a count modulo the width; of signed numbers over the bits, or what is left of their sign."""
        unsigned = lookup(f"u{dtype.bits}")
        x, count = names[0], w.node("BitwiseAnd", [names[1], w.constant(np.array(dtype.bits - 1, dtype.numpy), dtype)])
        if not dtype.is_signed:
            return w.node("BitShift", [x, count], direction=direction)
        below = w.node("Less", [x, w.constant(np.array(0, dtype.numpy), dtype)], bool_) if direction == "RIGHT" else ""
        if below:
            x = w.node("Where", [below, w.node("BitwiseNot", [x]), x], dtype)
        moved = w.cast(w.node("BitShift", [w.cast(x, unsigned), w.cast(count, unsigned)], direction=direction), dtype)
        return w.node("Where", [below, w.node("BitwiseNot", [moved]), moved], dtype) if below else moved

    return write


_GELU = {"gelu": "none", "gelu_tanh": "tanh"}
_OTHER: dict[str, _Write] = {
    "relu": lambda w, names, _: w.node("Relu", names[:1]),
    "rsqrt": _rsqrt, "ne": _ne, "neg": _neg, "irem": _rest, "fmod": _rest, "ipow": _ipow, "shl": _shift("LEFT"),
    "shr": _shift("RIGHT"),
}  # fmt: skip


def _write(w: GraphWriter, name: str, names: list[str], dtype: DType) -> str:
    """Write an operation of operands of ``dtype`` and return its name."""
    if name in _OTHER:
        return _OTHER[name](w, names, dtype)
    if name in _BITS:
        return w.node(_BITS[name][0 if dtype.is_bool else 1], names)
    if name in _GELU:
        return w.node("Gelu", names, approximate=_GELU[name])
    if name in _STANDARD:
        return w.node(_STANDARD[name], names, bool_ if name in _COMPARISONS else dtype)
    assert name in BODIES, name
    return w.own(name, names)


def _is_taken(w: GraphWriter, name: str, dtype: DType) -> bool:
    """Return whether an operation of ONNX takes a type of 16 bits; functions of Loom's are computed in f32."""
    if name in BODIES:
        return False
    kind = _STANDARD.get(name) or ("Gelu" if name in _GELU else "Mod" if name == "fmod" else "")
    return not kind or tensor_type(dtype) in operator_types(kind, w.opset, 1 if name == "select" else 0)


def emit_map(w: GraphWriter, value: RecordedValue) -> str:
    """Write an operation element by element."""
    name = value.op.name
    is_lacking = name in _LACKING or (name == "ipow" and value.dtype == u64)
    if is_lacking or not isinstance(value.op.operation, str) or MAPS.get(name) is not value.op:
        raise refusal(value, "ONNX has nothing for it", expected="operations of ONNX", got=name,
                      remedy="Leave it out, or export to C: loom export --to c")  # fmt: skip
    pooled = emit_max(w, value) if name == "max" else emit_average(w, value) if name == "div" else None
    if pooled is not None:
        return pooled
    given = [unwrap(x) for x in value.inputs]
    names = [_operand(w, x) for x in given]
    held = given[-1].dtype
    if held.storage_only and not _is_taken(w, name, held):  # computed in f32 and rounded once, as Loom computes it
        names = [n if w.dtypes[n].is_bool else w.cast(n, f32) for n in names]
        found = w.cast(_write(w, name, names, f32), value.dtype)
    else:
        found = _write(w, name, names, held)
    shape = broadcast([x.shape for x in given])
    return found if shape == value.shape else w.expand(found, value.shape)


def _operand(w: GraphWriter, value: RecordedValue) -> str:
    return w.number(value.attributes[0]) if value.op is NUMBER else w.use(value)


for _operation in MAPS.values():
    emits(_operation)(emit_map)


@emits(NUMBER)
def _number(w: GraphWriter, value: RecordedValue) -> str:
    return w.number(value.attributes[0])


@emits(COORDINATE)
def _coordinate(w: GraphWriter, value: RecordedValue) -> str:
    axis: int = value.attributes[0]
    n = value.shape[axis]
    if isinstance(n, Length):
        scalar = w.node("Reshape", [w.sizes([n]), w.whole()])
        steps = w.node("Range", [w.constant(np.int64(0)), scalar, w.constant(np.int64(1))], i64)
    else:
        steps = w.constant(np.arange(n, dtype=np.int64))
    lengths: list[Any] = [1] * value.ndim
    lengths[axis] = n
    found = w.cast(steps, value.dtype)
    return w.expand(w.reshape(found, lengths) if value.ndim > 1 else found, value.shape)


@emits(CONVERT)
def _convert(w: GraphWriter, value: RecordedValue) -> str:
    x = value.inputs[0]
    name = w.use(x)
    if not value.dtype.is_bool:
        return w.cast(name, value.dtype)
    zero = w.constant(np.array(0, x.dtype.numpy), x.dtype)
    return w.where_false(w.node("Equal", [name, zero], bool_))
