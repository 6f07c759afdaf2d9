"""``gpu_matmul``: products of matrices, of batches of them, and of vectors, in the canonical order.

Layer: patterns. The order is that of ``kernels.matmul.tiles``. Invariant: an element of the result depends on its row,
its column and k alone, never on the other rows, the batch, transposes or the machine.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from loom import tensor
from loom.core.dtype import DType
from loom.core.errors import ArgumentError, ShapeError
from loom.core.given import is_int
from loom.core.numerics import Guarantee
from loom.patterns.tensor_rows import row
from loom.runtime.port.device import Device
from loom.tensor import Tensor
from loom.tensor.ops.views import reshape

__all__ = ["gpu_matmul"]

_WHERE = "gpu_matmul"
_MOST_ELEMENTS = 0xFFFF_FFFF


def _matmul(
    a: Any, b: Any, m: Any = None, n: Any = None, k: Any = None, *, transpose_a: bool = False,
    transpose_b: bool = False, **options: Any,
) -> Tensor:  # fmt: skip
    if any(side is not None for side in (m, n, k)):
        m, n, k = (_count(value, name) for value, name in zip((m, n, k), "mnk", strict=True))
        a = _matrix(a, "a", (m, k), transpose=transpose_a is True)
        b = _matrix(b, "b", (k, n), transpose=transpose_b is True)
    try:
        found = tensor.matmul(a, b, transpose_a=transpose_a, transpose_b=transpose_b, **options)
    except (ArgumentError, ShapeError):
        _require_matrix(a, "a", transpose=transpose_a is True)
        _require_matrix(b, "b", transpose=transpose_b is True)
        raise
    if found.size > _MOST_ELEMENTS:
        raise ShapeError(_WHERE, "too many elements in the result", expected="less than 2^32", got=found.shape,
                         remedy="Multiply in parts of rows")  # fmt: skip
    return found


def _require_matrix(x: object, name: str, *, transpose: bool) -> None:
    """ShapeError for a number, and for a vector that is to be turned."""
    ndim = getattr(x, "ndim", 0)
    if not ndim or (ndim == 1 and transpose):
        raise ShapeError(
            f"{_WHERE}, {name}", "a vector has no transpose" if ndim else "a number is no matrix",
            expected="at least 2 dimensions" if ndim else "at least 1 dimension",
            got=f"shape {getattr(x, 'shape', ())}",
            remedy=f"Leave transpose_{name} out" if ndim else "Multiply with gpu_mul",
        )  # fmt: skip


def _matrix(x: Tensor, name: str, sides: tuple[int, int], *, transpose: bool) -> Tensor:
    """Return a flat operand as a matrix; ShapeError if its size is another."""
    if x.size != sides[0] * sides[1]:
        letters = "m k" if name == "a" else "k n"
        raise ShapeError(
            f"{_WHERE}, {name}", f"not a flat matrix of {sides[0]} x {sides[1]}",
            expected=f"{letters} = {sides[0] * sides[1]} elements", got=x.size, remedy="Check m, n and k",
        )  # fmt: skip
    return reshape(x, sides[::-1] if transpose else sides)


def _count(value: Any, name: str) -> int:
    """Return m, n or k as an int; a whole float may stand for it (docs/guide/flow.md, "Numbers")."""
    number: Any = value
    if isinstance(value, (float, np.floating)) and float(number).is_integer():
        value = number = int(number)
    if not is_int(value) or number < 0:
        raise ArgumentError(
            f"{_WHERE}, {name}", "not a size", expected="m, n and k as whole numbers of at least 0",
            got=repr(number), remedy="Pass all three for flat operands, none otherwise",
        )  # fmt: skip
    return int(number)


@row(_matmul, 2, complexes=True)
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
