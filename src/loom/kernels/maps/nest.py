"""Loop nests: what is computed for every index of a shape, of arrays broadcast, permuted or sliced, and numbers.

Layer: kernels. Values are loaded from buffers at an offset and a stride per axis, are numbers, coordinates, or
operations and functions of these; some are stored. ``loops`` writes the kernel of a nest. Invariant: values refer to
earlier ones, and an element of the result depends on the values of its own index alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache
from struct import pack, unpack
from types import FunctionType
from typing import TYPE_CHECKING, Any, cast

from loom.core.dtype import DType
from loom.core.errors import DTypeError
from loom.core.late import late
from loom.core.late.dataclass import dataclass
from loom.ir.kernel import Access
from loom.ir.ops import OPS, Accepts
from loom.kernels.functions import EXACT, FUNCTIONS
from loom.kernels.types import compute_type

if TYPE_CHECKING:
    from loom.ir import constants
else:
    constants = late("loom.ir", "constants")

__all__ = [
    "BY_CONSTANTS",
    "ELEMENTWISE",
    "JOINS",
    "OPERATIONS",
    "Apply",
    "Coordinate",
    "Folded",
    "Given",
    "Load",
    "LoopNest",
    "NestCut",
    "Number",
    "RowCut",
    "Store",
    "Stride",
    "Told",
    "Value",
    "apply_operation",
    "constant_strides",
    "map_nest",
    "number",
    "one_value",
]

BY_CONSTANTS = ("idiv", "irem", "shl", "shr")
"""Operations that are many times faster by a number that the compiler knows."""
OPERATIONS: tuple[str, ...] = tuple(
    name for name, op in OPS.items() if op.is_pure and op.accepts not in (Accepts.NONE, Accepts.SPECIAL, Accepts.ANY)
)
"""Operations of the IR that a map takes by name."""
ELEMENTWISE: tuple[str, ...] = (*OPERATIONS, *FUNCTIONS, *EXACT)
"""Everything a map takes by name."""
JOINS = {"sum": "add", "max": "max", "min": "min"}
"""Folds, and the operations of the IR that join two of their elements."""


@dataclass(frozen=True, slots=True)
class Told:
    """A stride that the kernel gets as a parameter, number ``position`` of those, modulo 2^32."""

    position: int


Stride = int | Told


@dataclass(frozen=True, slots=True)
class Load:
    """The element of a buffer at ``offset`` plus ``strides`` times the index.

    ``begin``: the number of a parameter that is added.
    """

    buffer: int
    offset: int
    strides: tuple[Stride, ...]
    begin: int | None = None


@dataclass(frozen=True, slots=True)
class Number:
    """A number, by the bits it has in the type that ``dtype`` is computed in."""

    bits: int
    dtype: DType

    @property
    def value(self) -> float | int | bool:
        """The Python number."""
        return constants.constant_value(self.bits, compute_type(self.dtype))


@dataclass(frozen=True, slots=True)
class Given:
    """A number that the kernel gets as a parameter: number ``position`` of those."""

    position: int
    dtype: DType


@dataclass(frozen=True, slots=True)
class Coordinate:
    """The index along an axis."""

    axis: int
    dtype: DType


@dataclass(frozen=True, slots=True)
class Apply:
    """One of ``ELEMENTWISE``, a Python function, or "convert", of earlier values.

    ``dtype``: what the result is rounded to; None: that of the first operand that is computed in the result's type.
    """

    operation: str | FunctionType
    operands: tuple[int, ...]
    dtype: DType | None = None


@dataclass(frozen=True, slots=True)
class Folded:
    """What a value's elements along the last axis are folded to: one for each row, of their type.

    ``name``: of ``kernels.fold.lanes.FOLDS``. Only the kernels of ``rows`` know it.
    """

    name: str
    operand: int
    dtype: DType


@dataclass(frozen=True, slots=True)
class Store:
    """A value and where it goes."""

    value: int
    buffer: int
    offset: int
    strides: tuple[Stride, ...]
    begin: int | None = None


Value = Load | Number | Given | Coordinate | Apply | Folded


@dataclass(frozen=True, slots=True)
class LoopNest:
    """What is computed at every index of ``shape``; ``values`` refer to earlier ones by position.

    Lengths are known, or all are 0: those the kernel gets when it runs. The type of a buffer is None if it is that of
    what is stored there, which a function of the user gives.
    """

    shape: tuple[int, ...]
    values: tuple[Value, ...]
    stores: tuple[Store, ...]
    buffers: tuple[tuple[DType | None, Access], ...]

    def merge_axes(self) -> LoopNest:
        """Return the same with as few axes as there can be, at least one."""
        accesses = [v for v in (*self.values, *self.stores) if isinstance(v, (Load, Store))]
        named = {v.axis for v in self.values if isinstance(v, Coordinate)}
        groups: list[list[int]] = []
        for axis, size in enumerate(self.shape):
            if size == 1 and axis not in named:
                continue
            last = groups[-1][-1] if groups else None
            if last is None or {last, axis} & named or not _lie_together(accesses, last, axis, size):
                groups.append([axis])
            else:
                groups[-1].append(axis)
        shape = tuple(math.prod(self.shape[a] for a in group) for group in groups) or (1,)
        last_axes = [group[-1] for group in groups]
        places = {axis: place for place, axis in enumerate(last_axes)}

        def move(value: Load | Store | Coordinate) -> Any:
            if isinstance(value, Coordinate):
                return replace(value, axis=places[value.axis])
            strides = tuple(value.strides[a] for a in last_axes) or (1,)  # one element
            if isinstance(value, Store):  # along an axis of one element any step will do, but 0 looks like a race
                strides = tuple(1 if size == 1 else s for s, size in zip(strides, shape, strict=True))
            return replace(value, strides=strides)

        return self.change_accesses(move, shape)

    def change_accesses(self, change: Callable[[Load | Store | Coordinate], Any], shape: tuple[int, ...]) -> LoopNest:
        """Return the same over another shape, after ``change`` of all that knows of axes."""
        values = tuple(v if isinstance(v, (Number, Given, Apply, Folded)) else change(v) for v in self.values)
        return LoopNest(shape, values, tuple(change(s) for s in self.stores), self.buffers)


def constant_strides(access: Load | Store) -> tuple[int, ...]:
    """Return the strides of an access of which none is told."""
    return cast("tuple[int, ...]", access.strides)


def _lie_together(accesses: Sequence[Load | Store], outer: int, inner: int, size: int) -> bool:
    return all(a.strides[outer] == constant_strides(a)[inner] * size for a in accesses)


def number(value: float | int | bool, dtype: DType) -> Number:
    """Return a number of a dtype."""
    return _number_of_bits(pack("<d", value) if type(value) is float else value, type(value), dtype)


@lru_cache(maxsize=1024)
def _number_of_bits(value: Any, kind: type, dtype: DType) -> Number:
    """Return a number, of a float given by its bits: equal numbers may have different ones."""
    value = unpack("<d", value)[0] if kind is float else value
    return Number(constants.constant_bits(value, compute_type(dtype)), dtype)


def apply_operation(operation: str | FunctionType | DType, operands: tuple[int, ...]) -> Apply:
    """Return an operation, or the conversion to a type, of earlier values."""
    return Apply("convert", operands, operation) if isinstance(operation, DType) else Apply(operation, operands)


def map_nest(values: Sequence[Value], arrays: Sequence[DType]) -> LoopNest:
    """Return the nest, of any length, of values over ``arrays``, element by element; the last one is stored."""
    buffers = (*((dtype, Access.READ) for dtype in arrays), (None, Access.WRITE))
    return LoopNest((0,), tuple(values), (Store(len(values) - 1, len(arrays), 0, (1,)),), buffers)


def one_value(operation: str | FunctionType | DType, operands: Sequence[tuple[DType, bool]]) -> LoopNest:
    """Return the nest of one operation over (dtype, is it an array) operands; DTypeError where it has no meaning."""
    for dtype, _ in operands:
        if operation == "nextafter" and dtype.storage_only:  # that of f32, rounded, is the number itself
            remedy = "Convert with astype"
            raise DTypeError("nextafter", "unsupported dtype", expected="f32 or f64", got=dtype, remedy=remedy)
    values: list[Value] = []
    arrays: list[DType] = []
    for dtype, is_array in operands:
        values.append(Load(len(arrays), 0, (1,)) if is_array else Given(len(values) - len(arrays), dtype))
        arrays += [dtype] * is_array
    return map_nest([*values, apply_operation(operation, tuple(range(len(values))))], arrays)


@dataclass(frozen=True, slots=True)
class NestCut:
    """Lanes of a group, and the rows, or elements a lane, that it takes in ``turns``.

    ``tail``: how many of the last axes the lanes run along. ``threads``: lanes take elements of the whole shape, a
    group's breadth apart; ``twice``: groups that have all of them do not test for each.
    """

    lanes: int
    turns: int = 1
    tail: int = 1
    threads: bool = False
    twice: bool = False


@dataclass(frozen=True, slots=True)
class RowCut:
    """Rows of a group, and how many elements a lane makes before it folds the first; ``held``: all, and keeps them."""

    rows: int
    together: int
    held: bool
