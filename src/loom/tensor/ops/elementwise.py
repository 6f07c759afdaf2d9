"""Element by element: operations, functions, comparisons, choices and conversions.

Layer: tensor. One record each: the name ``kernels.maps.nest`` knows it by. Invariant: operands
are made one shape, numbers among them being repeated, and one dtype (the condition of ``where`` apart).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

from loom.core.arrays import read_as
from loom.core.dtype import DType, bool_, dtype_of, f32
from loom.core.errors import ArgumentError, DTypeError, ShapeError
from loom.core.given import is_scalar
from loom.core.late import late
from loom.core.numbers import Setting, Size
from loom.core.promotion import as_float, promote
from loom.ir.ops import OPS, Accepts
from loom.kernels.functions import EXACT, FUNCTIONS, function
from loom.kernels.maps.nest import Number, number
from loom.tensor.ops.parts import join
from loom.tensor.ops.views import BROADCAST
from loom.tensor.record.graph import Node, NodeKind, NodeT, TensorOp, make, require_tensor
from loom.tensor.record.layout import broadcast_shapes

__all__ = [
    "CONVERT",
    "MAPS",
    "OPERATIONS",
    "apply",
    "as_number",
    "cast",
    "common_shape",
    "constant",
    "coordinate",
    "split_number",
    "where",
]

NUMBER = TensorOp("number", NodeKind.NUMBER)
COORDINATE = TensorOp("coordinate", NodeKind.NUMBER)


_LEAST_LARGEST = 65504.0
"""The largest number of f16: no float type makes one up to it infinite."""


def as_number(value: Any, dtype: DType, where: str) -> Number:
    """Return a number of a dtype; DTypeError for none, or one that does not fit (``core.arrays``)."""
    if is_scalar(value):
        value = value.item()
    fits = isinstance(value, bool) if dtype.is_bool else isinstance(value, (int, float) if dtype.is_float else int)
    if not fits:
        raise DTypeError(where, f"{value!r} does not become {dtype}", expected="a tensor, or a number that fits",
                         got=type(value).__name__, remedy="Use tensor.array, or astype on the tensor")  # fmt: skip
    is_plain = dtype.minimum <= value <= dtype.maximum if dtype.is_integer else abs(value) <= _LEAST_LARGEST
    if not is_plain:
        read_as(value, dtype, where)  # says what is wrong
    return number(value, dtype)


def split_number(value: Any, where: str) -> tuple[float, float]:
    """Return the parts of a number of Python's or numpy's; DTypeError for anything else."""
    if is_scalar(value):
        value = value.item()
    if not isinstance(value, (int, float, complex)):
        raise DTypeError(where, f"{value!r} does not become a complex number", expected="a number",
                         got=type(value).__name__, remedy="Use tensor.array, or astype on the tensor")  # fmt: skip
    return (value.real, value.imag) if isinstance(value, complex) else (value, 0.0)


def constant(value: complex, dtype: DType, like: NodeT, where: str = "tensor") -> NodeT:
    """Return a tensor of no dimension that holds a number; DTypeError for one that does not fit."""
    if dtype.is_complex:
        return join(*(constant(half, dtype.part, like, where) for half in split_number(value, where)))
    told = (value,) if type(value) in _SYMBOLS else ()
    return type(like)(NUMBER, (), (), dtype, (as_number(value, dtype, where), *told))


def coordinate(shape: tuple[int, ...], axis: int, dtype: DType, like: NodeT) -> NodeT:
    """Return the tensor of every element's index along an axis."""
    return type(like)(COORDINATE, (), shape, dtype, (axis,))


_OPERATIONS = [
    name for name, op in OPS.items()
    if op.is_pure and op.accepts not in (Accepts.NONE, Accepts.SPECIAL, Accepts.ANY)
]  # fmt: skip
MAPS: dict[str, TensorOp] = {
    name: TensorOp(name, NodeKind.MAP, operation=name) for name in (*_OPERATIONS, "select", *FUNCTIONS, *EXACT)
}
MAPS["relu"] = TensorOp("relu", NodeKind.MAP, operation="max")
"""All operations by name. Relu is one: its derivative is known from its result, so that its operand is not kept."""
OPERATIONS = tuple(name for name in MAPS if name not in ("select", "relu"))
"""Every operation and elementary function that ``Tensor.map`` takes by name."""
_OF_FLOATS = frozenset(
    (*FUNCTIONS, *(n for n in EXACT if n != "ipow"), *(n for n in _OPERATIONS if OPS[n].accepts is Accepts.FLOAT))
)
"""Operations that integers and bools are made floats for."""
_REAL = (float, int)
_SYMBOLS = (Size, Setting)
"""Numbers of templates: a node of one keeps it beside its bits, with its expression."""
_COMPARISONS = frozenset(("eq", "ne", "lt", "le", "gt", "ge"))


def apply(name: str, *operands: Any) -> Any:
    """Return an operation of tensors and numbers, broadcast, as a tensor; ShapeError and DTypeError name it."""
    if len(operands) != _arity(name):
        raise ArgumentError(name, "another number of operands", expected=_arity(name), got=len(operands),
                            remedy="Give each operand once")  # fmt: skip
    typed = _match_types(name, operands)
    if typed is None:
        return COMPLEX.apply_complex(name, operands)
    shape = common_shape(name, typed)
    first = typed[0].dtype
    _check_dtype(name, first)
    result = bool_ if name in _COMPARISONS else first
    return make(MAPS[name], [_spread(t, shape) for t in typed], shape, result)


def where(condition: NodeT, a: Any, b: Any) -> NodeT:
    """Return ``a`` where the condition holds, else ``b``.

    Args:
        condition: Tensor of bools.
        a: Tensor, or a number beside one.
        b: Tensor, or a number beside one; shapes broadcast as numpy's.

    Raises:
        ArgumentError: An operand is no tensor.
        DTypeError: An operand is no number; the condition is no bool.
        ShapeError: The shapes do not broadcast.
    """
    require_tensor(condition, "where")
    if condition.dtype != bool_:
        raise DTypeError("where", "the condition is no bool", expected="bool", got=condition.dtype,
                         remedy="Compare, for example x != 0")  # fmt: skip
    matched = _match_types("where", (a, b), like=condition)
    if matched is None:
        return COMPLEX.apply_complex("where", (condition, a, b))
    typed = [condition, *matched]
    shape = common_shape("where", typed)
    return make(MAPS["select"], [_spread(t, shape) for t in typed], shape, typed[1].dtype)


CONVERT = TensorOp("convert", NodeKind.MAP, operation="convert")


def cast(x: NodeT, dtype: Any) -> NodeT:
    """Return the tensor in another dtype: floats to integers truncate and saturate, NaN gives 0.

    Args:
        x: Tensor of any shape.
        dtype: Dtype of the result, as a Loom or numpy dtype or its name; None: the rule of the function.

    Raises:
        ArgumentError: An operand is no tensor.
        DTypeError: There is no such dtype.
    """
    require_tensor(x, "astype")
    if x.dtype is dtype:  # what is asked most
        return x
    wanted = dtype_of(dtype, "astype")
    if x.dtype == wanted:
        return x
    if wanted.is_complex or x.dtype.is_complex:
        return COMPLEX.cast_complex(x, wanted)
    return make(CONVERT, [x], x.shape, wanted)


COMPLEX = late("loom.tensor.complexes", "arithmetic")
"""``apply`` and ``cast`` of complex numbers, which are made of those of real ones."""


def _match_types(name: str, operands: Sequence[Any], like: Node | None = None) -> list[Any] | None:
    """Return operands as tensors of the one dtype in which they meet (``core.promotion``); None if it is complex."""
    a, b = operands[0], operands[-1]
    if isinstance(a, Node) and len(operands) < 3:  # what is asked most
        dtype = a.dtype
        if dtype.is_float or not (dtype.is_complex or name in _OF_FLOATS):
            if isinstance(b, Node):
                if b.dtype is dtype:
                    return [*operands]
            elif dtype.is_float and type(b) in _REAL:
                return [a, constant(b, dtype, a, name)]
    tensors = [o for o in operands if isinstance(o, Node)]
    if not tensors and like is None:
        raise DTypeError(name, "no tensor among the operands", expected="at least one tensor",
                         got=", ".join(type(o).__name__ for o in operands), remedy="Use tensor.array")  # fmt: skip
    dtype = promote(name, [t.dtype for t in tensors], [o for o in operands if not isinstance(o, Node)])
    if dtype.is_complex:
        return None
    if name in _OF_FLOATS:
        dtype = as_float(dtype)
    maker = tensors[0] if tensors else like
    assert maker is not None
    return [cast(o, dtype) if isinstance(o, Node) else constant(o, dtype, maker, name) for o in operands]


@cache
def _arity(name: str) -> int:
    if name in FUNCTIONS or name in EXACT:
        return function(name).arity
    return 3 if name == "select" else OPS["max" if name == "relu" else name].arity


def _spread(x: NodeT, shape: tuple[int, ...]) -> NodeT:
    """Return an operand repeated to the common shape."""
    return x if x.shape == shape else make(BROADCAST, [x], shape, x.dtype)


def common_shape(name: str, typed: Sequence[Node]) -> tuple[int, ...]:
    """Return the shape to which tensors broadcast; ShapeError names the operation."""
    found = typed[0].shape
    if len(typed) == 1 or (len(typed) == 2 and (typed[1].shape == found or not typed[1].shape)):  # what is asked most
        return found
    shapes = {t.shape for t in typed} - {()}
    if len(shapes) < 2:
        return shapes.pop() if shapes else ()
    try:
        return broadcast_shapes(*(t.shape for t in typed))
    except ValueError:
        raise ShapeError(
            name, "the shapes do not broadcast", expected="equal lengths, or 1, along every axis from the last on",
            got=" and ".join(str(t.shape) for t in typed), remedy="Reshape one, or check which axis is which",
        ) from None  # fmt: skip


@cache
def _check_dtype(name: str, dtype: DType) -> None:
    held = f32 if dtype.storage_only else dtype
    if name in FUNCTIONS or name in EXACT:
        known = function(name).definitions
        narrow = name != "nextafter"  # the number beside one depends on the type: that of f32, rounded, is itself
        fits = held in known and (narrow or held == dtype)
        expected = " or ".join(map(str, known)) + ", f16, bf16" * narrow
    else:
        accepts = OPS["max" if name == "relu" else name].accepts
        fits, expected = accepts.allows(held), accepts.value
    if not fits:
        raise DTypeError(name, "unsupported dtype", expected=expected, got=dtype, remedy="Convert with astype")
