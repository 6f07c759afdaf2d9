"""``gpu_matmul``: products of matrices, of batches of them, and of vectors, in the canonical order.

Layer: patterns. The order is that of ``kernels.matmul.tiles``. Invariant: an element of the result depends on its row,
its column and k alone, never on the other rows, the batch, transposes or the machine.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from loom.core.dtype import DType, dtype_of
from loom.core.errors import ArgumentError, DTypeError, ShapeError
from loom.core.given import flag
from loom.core.late.dataclass import dataclass
from loom.core.numerics import Guarantee
from loom.kernels.precisions import FULL
from loom.kernels.types import PRODUCTS, ProductTypes, product_types
from loom.patterns.calling.call import Call, Operand
from loom.patterns.calling.fallback import falls_back
from loom.patterns.calling.prepared import prepare
from loom.patterns.calling.workspace import workspace
from loom.runtime.chain import Chain
from loom.runtime.memory.storage import HostSlot
from loom.runtime.plans.library import DenseProduct, library_kernel, require_fast
from loom.runtime.port.device import Device
from loom.schedules.matmul import Multiplication, record_matmul
from loom.tensor import Tensor
from loom.tensor.ops.fast import asks_fast, dense_product
from loom.tensor.ops.precision import precision_of

__all__ = ["gpu_matmul", "matmul_types"]

_WHERE = "gpu_matmul"
_MOST_ELEMENTS = 0xFFFF_FFFF
_KEPT_NBYTES = 1 << 24
"""Scratch memory of at most this size stays with a program; more is asked for anew in each call."""


@falls_back("matmul", 2, where=_WHERE)
def gpu_matmul(
    a: Any,
    b: Any,
    m: int | None = None,
    n: int | None = None,
    k: int | None = None,
    *,
    transpose_a: bool = False,
    transpose_b: bool = False,
    precision: str | None = None,
    guarantee: str | Guarantee | None = None,
    out_dtype: DType | str | None = None,
    on: str | Device | None = None,
) -> Any:
    """Return the matrix product of ``a`` (..., m, k) and ``b`` (..., k, n), of shape (..., m, n).

    Leading dimensions are batches and broadcast; a vector counts as one row of ``a`` or column of ``b``, as in
    ``numpy.matmul``. With ``m``, ``n`` and ``k`` the operands are flat, of m k and k n elements. ``transpose_a`` and
    ``transpose_b`` say that the last two dimensions are stored the other way round.

    Both operands have one dtype, or meet in one as in ``loom.tensor.matmul``. f32 and f64 keep it, each product and
    sum rounded; f16 and bf16 are multiplied and added in f32 and rounded once; i8, u8, i16 and i32 give i32; u16
    and u32 give u32; i64 and u64 keep it; integers wrap. ``out_dtype`` may be f32 for f16 and bf16, and the 64-bit
    type for integers, to which they are then converted first (u8 gives u64). ``precision="x12"`` rounds f32
    operands to 12 significant bits first; "q8", "q12" and "q24" turn blocks of 128 k of operands of f32, f16 or
    bf16 into whole numbers of 8, 12 and 24 bits, whose products are added exactly (docs/numerics.md, section 2);
    None is that of a ``with loom.precision(..)`` around the call, else "full". k of 0 gives zeros.
    ``guarantee="fast"``: by cuBLAS, of f32, f16 and bf16 on a device of CUDA; of the bits nothing is promised, and
    a tensor that is returned says so (``x.guarantee``); None and "exact": as all else. Raises ShapeError,
    DTypeError, ArgumentError, and DeviceError where nothing fast exists.

    >>> gpu_matmul([[1.0, 2.0], [3.0, 4.0]], [[1.0], [10.0]]).tolist()
    [[21.0], [43.0]]
    >>> gpu_matmul([1, 2, 3, 4], [1, 10], 2, 1, 2).tolist()
    [[21], [43]]

    The order of sums: ``kernels.matmul.tiles``.
    """
    call = Call(_WHERE, on)
    x, y = _operands(call, a, b)
    fast = asks_fast(guarantee, precision, _WHERE)
    types = matmul_types(x.dtype, out_dtype, FULL if fast else precision)
    transposes = flag(transpose_a, f"{_WHERE}, transpose_a"), flag(transpose_b, f"{_WHERE}, transpose_b")
    given = m, n, k
    is_flat = any(each is not None for each in given)
    shapes = _flat_shapes(x, y, given, transposes) if is_flat else _Shapes(x.shape, y.shape)
    what = _describe(shapes, types, *transposes)
    call_fast = _fast_call(call, what) if fast else None
    out = call.output(_checked(shapes.result(what)), types.result, like=x)
    if out.size:
        if what.k and call_fast is not None:
            _run_fast(call, call_fast, x, y, out)
        elif what.k:
            _run(call, what, x, y, out)
        else:
            out.write(0)
    found = call.result(out)
    if fast and isinstance(found, Tensor):
        found.is_fast = True
    return found


def _fast_call(call: Call, what: Multiplication) -> DenseProduct:
    """Return what a library is to multiply; errors where there is none."""
    types = what.types
    found = dense_product(
        (what.m, what.n, what.k), (types.element, types.result), (what.transpose_a, what.transpose_b), what.a_batch,
        what.b_batch, _WHERE,
    )  # fmt: skip
    require_fast(found, call.device, _WHERE)
    return found


def _run_fast(call: Call, what: DenseProduct, x: Operand, y: Operand, out: Operand) -> None:
    def record(chain: Chain, *slots: HostSlot) -> None:
        chain.dispatch(library_kernel(what), slots, groups=1)

    call.run((f"{_WHERE}, fast", what), record, x, y, out)


def matmul_types(operand: DType, result: DType | str | None = None, precision: str | None = None) -> ProductTypes:
    """Return the types that operands of a dtype are multiplied in; DTypeError or ArgumentError if there are none."""
    allowed = PRODUCTS.get(operand)
    if allowed is None:
        raise DTypeError(
            _WHERE, "unsupported dtype", expected="one of " + ", ".join(map(str, PRODUCTS)), got=operand,
            remedy="Convert first, for example with array.astype",
        )  # fmt: skip
    name = precision_of(precision, operand, _WHERE)
    wanted = allowed[0] if result is None else dtype_of(result, f"{_WHERE}, out_dtype")
    if wanted not in allowed:
        raise DTypeError(
            f"{_WHERE}, out_dtype", f"{operand} operands do not give {wanted}",
            expected=" or ".join(map(str, allowed)), got=wanted, remedy="Convert the operands or the result",
        )  # fmt: skip
    return product_types(operand, wanted, precision=name)


def _operands(call: Call, a: Any, b: Any) -> tuple[Operand, Operand]:
    """Take both operands; the numbers of a list are of the dtype of the other operand."""
    if isinstance(a, (list, tuple)) and not isinstance(b, (list, tuple)):
        y = call.input(b, "b")
        x = call.input(a, "a", dtype=y.dtype)
    else:
        x = call.input(a, "a")
        y = call.input(b, "b", dtype=x.dtype)
    if x.dtype != y.dtype:
        raise DTypeError(
            _WHERE, "operands of different types", expected=f"one dtype for a and b, such as {x.dtype}",
            got=f"{x.dtype} and {y.dtype}", remedy="Convert one with astype",
        )  # fmt: skip
    return x, y


@dataclass(frozen=True, slots=True)
class _Shapes:
    """Shapes of the operands as given; ``flat`` is the shape of the result in the flat form."""

    a: tuple[int, ...]
    b: tuple[int, ...]

    def result(self, what: Multiplication) -> tuple[int, ...]:
        """Return the shape of the result: a vector's own dimension is left out."""
        rows = () if len(self.a) == 1 else (what.m,)
        columns = () if len(self.b) == 1 else (what.n,)
        return (*what.batch, *rows, *columns)


def _flat_shapes(x: Operand, y: Operand, given: tuple[Any, Any, Any], transposes: tuple[bool, bool]) -> _Shapes:
    """Return the shapes that m, n and k give to flat operands; ShapeError if their sizes do not fit."""
    m, n, k = (_count(value, name) for value, name in zip(given, "mnk", strict=True))
    for operand, name, sides in ((x, "a", (m, k)), (y, "b", (k, n))):
        if operand.size != math.prod(sides):
            letters = "m k" if name == "a" else "k n"
            raise ShapeError(
                f"{_WHERE}, {name}", f"not a flat matrix of {sides[0]} x {sides[1]}",
                expected=f"{letters} = {math.prod(sides)} elements", got=operand.size, remedy="Check m, n and k",
            )  # fmt: skip
    transpose_a, transpose_b = transposes
    return _Shapes((k, m) if transpose_a else (m, k), (n, k) if transpose_b else (k, n))


def _checked(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape of a result; ShapeError if no buffer can hold that many elements."""
    if math.prod(shape) > _MOST_ELEMENTS:
        raise ShapeError(
            _WHERE, "too many elements in the result", expected="less than 2^32", got=shape,
            remedy="Multiply in parts of rows",
        )  # fmt: skip
    return shape


def _count(value: Any, name: str) -> int:
    """Return m, n or k as an int; a whole float may stand for it (docs/guide/flow.md, "Numbers")."""
    number: Any = value
    if isinstance(value, (float, np.floating)) and float(number).is_integer():
        value = number = int(number)
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or number < 0:
        raise ArgumentError(
            f"{_WHERE}, {name}", "not a size", expected="m, n and k as whole numbers of at least 0",
            got=repr(number), remedy="Pass all three for flat operands, none otherwise",
        )  # fmt: skip
    return int(number)


def _describe(shapes: _Shapes, types: ProductTypes, transpose_a: bool, transpose_b: bool) -> Multiplication:
    """Return what is multiplied; ShapeError if the shapes do not fit."""
    for shape, name, transpose in ((shapes.a, "a", transpose_a), (shapes.b, "b", transpose_b)):
        if not shape or (len(shape) == 1 and transpose):
            raise ShapeError(
                f"{_WHERE}, {name}", "a vector has no transpose" if shape else "a number is no matrix",
                expected="at least 2 dimensions" if shape else "at least 1 dimension", got=f"shape {shape}",
                remedy=f"Leave transpose_{name} out" if shape else "Multiply with gpu_mul",
            )  # fmt: skip
    a = (1, *shapes.a) if len(shapes.a) == 1 else shapes.a
    b = (*shapes.b, 1) if len(shapes.b) == 1 else shapes.b
    m, k = a[-1:-3:-1] if transpose_a else a[-2:]
    b_k, n = b[-1:-3:-1] if transpose_b else b[-2:]
    if k != b_k:
        raise ShapeError(
            _WHERE, "the inner dimensions differ", expected=f"{k} rows of b for {k} columns of a",
            got=f"{_matrix(shapes.a, transpose_a)} @ {_matrix(shapes.b, transpose_b)}",
            remedy="Transpose one, or check which operand comes first",
        )  # fmt: skip
    try:
        if a[:-2] and b[:-2]:
            np.broadcast_shapes(a[:-2], b[:-2])
    except ValueError:
        raise ShapeError(
            _WHERE, "the batches do not broadcast", expected="equal leading dimensions, or 1, or none",
            got=f"{shapes.a} @ {shapes.b}", remedy="Reshape one operand",
        ) from None  # fmt: skip
    return Multiplication(m, n, k, types, transpose_a, transpose_b, a[:-2], b[:-2])


def _matrix(shape: tuple[int, ...], transpose: bool) -> str:
    return f"{shape} transposed" if transpose else str(shape)


def _run(call: Call, what: Multiplication, x: Operand, y: Operand, out: Operand) -> None:
    """Run the program of a multiplication, with scratch memory of this call where it needs much."""

    def record(chain: Chain) -> list[HostSlot]:
        left, right, result = (HostSlot(operand.nbytes) for operand in (x, y, out))
        fresh: list[HostSlot] = []

        def allocate(nbytes: int) -> Any:
            if nbytes <= _KEPT_NBYTES:
                return chain.device.allocate(nbytes)
            fresh.append(HostSlot(nbytes))
            return fresh[-1]

        record_matmul(chain, left, right, result, what, allocate=allocate)
        return [left, right, result, *fresh]

    types = what.types
    key = (
        _WHERE, what.m, what.n, what.k, what.transpose_a, what.transpose_b, what.a_batch, what.b_batch,
        types.element.name, types.result.name, types.precision,
    )  # fmt: skip
    prepared = prepare(key, call.device, record)
    with workspace([slot.nbytes for slot in prepared.slots[3:]], call.device) as scratch:
        call.start(prepared, x, y, out, *scratch)
