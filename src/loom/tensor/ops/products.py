"""Products of matrices.

Layer: tensor. Transposed operands are read where they are; other views are packed first. Invariant: the order of sums
is that of ``kernels.matmul.tiles``, whatever the batch.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from loom.core.dtype import DType, dtype_of
from loom.core.errors import DTypeError, ShapeError
from loom.core.given import flag
from loom.core.promotion import promote
from loom.kernels.maps.nest import number
from loom.kernels.types import PRODUCTS, product_types
from loom.schedules.matmul import Multiplication, is_better_turned, record_matmul
from loom.tensor.ops.elementwise import apply, cast
from loom.tensor.ops.fast import asks_fast, multiply_fast, swap_axes
from loom.tensor.ops.joining import copy_into, fill
from loom.tensor.ops.parts import join, part_of
from loom.tensor.ops.precision import precision_of
from loom.tensor.ops.views import transpose, with_shape
from loom.tensor.record.draft import BufferView, Draft
from loom.tensor.record.graph import Node, NodeKind, NodeT, TensorOp, make, require_tensor
from loom.tensor.record.layout import StridedLayout, broadcast_shapes, row_major

__all__ = ["MATMUL", "matmul", "multiply", "record_product"]


def _accepts(access: StridedLayout) -> bool:
    return access.is_packed or swap_axes(access).is_packed


def _record(node: Node, draft: Draft, operands: Sequence[BufferView], out: Any) -> None:
    a, b = node.inputs
    m, k, n = a.shape[-2], a.shape[-1], b.shape[-1]
    if node.size == 0:
        return
    if k == 0:
        fill(draft, out, node.size, number(0, node.dtype))
        return
    flipped = [not o.access.is_packed for o in operands]
    element, (precision,) = a.dtype, node.attributes
    types = product_types(element, node.dtype, precision=precision)
    what = Multiplication(m, n, k, types, flipped[0], flipped[1], a.shape[:-2], b.shape[:-2])
    record_product(draft, operands[0].buffer, operands[1].buffer, out, what)


def record_product(draft: Draft, left: Any, right: Any, out: Any, what: Multiplication) -> None:
    """Record a product of packed matrices, the transposed one and a copy where that is faster."""
    if not is_better_turned(draft.device.caps, what):
        record_matmul(draft, left, right, out, what)
        return
    m, n, dtype = what.m, what.n, what.types.result
    turned = draft.device.allocate(m * n * dtype.nbytes)
    other = Multiplication(n, m, what.k, what.types, not what.transpose_b, not what.transpose_a)
    record_matmul(draft, right, left, turned, other)
    copy_into(draft, BufferView(turned, row_major((n, m)).permute((1, 0))), out, (m, n), (0, 0), (1, 1), dtype)


MATMUL = TensorOp("matmul", NodeKind.KERNEL, record=_record, accepts=_accepts)


def multiply(a: NodeT, b: NodeT, precision: str, result: DType | None = None) -> NodeT:
    """Return the product of matrices, batches broadcast; ``precision``: a name, or ""."""
    result = PRODUCTS[a.dtype][0] if result is None else result
    if b.ndim == 2 and a.ndim > 2:  # one matrix of many rows, whose gradient is one product as well
        rows = math.prod(a.shape[:-1])
        flat = make(MATMUL, [with_shape(a, (rows, a.shape[-1])), b], (rows, b.shape[-1]), result, (precision,))
        return with_shape(flat, (*a.shape[:-1], b.shape[-1]))
    shape = (*broadcast_shapes(a.shape[:-2], b.shape[:-2]), a.shape[-2], b.shape[-1])
    return make(MATMUL, [a, b], shape, result, (precision,))


def matmul(a: NodeT, b: NodeT, *, transpose_a: bool = False, transpose_b: bool = False,
           precision: str | None = None, guarantee: Any = None, out_dtype: Any = None) -> NodeT:  # fmt: skip
    """Return the matrix product of ``a`` (.., m, k) and ``b`` (.., k, n), batches broadcast, vectors as in numpy.

    The result is that of ``gpu_matmul``: floats keep the operands' common dtype (f16 and bf16 are added in f32),
    integers of 8 and 16 bits give i32 or u32, wider ones their own and wrap. Of complex operands the parts are
    multiplied: re = a.re b.re - a.im b.im and im = a.re b.im + a.im b.re, each product summed by itself; a real operand
    has no second part. ``guarantee="fast"`` takes f32, f16 and bf16 on a device of CUDA; of its bits nothing is
    promised, and the result and all that is made of it say so (``x.guarantee``).

    Args:
        a: Tensor (.., m, k), or a vector.
        b: Tensor (.., k, n), or a vector.
        transpose_a: Whether the last two axes of ``a`` are exchanged first.
        transpose_b: Whether the last two axes of ``b`` are exchanged first.
        precision: "x12", "q8", "q12", "q24" or "full", of both gradients too; None: of ``with loom.precision(..)``.
        guarantee: "fast": by cuBLAS, without a promise of bits, of both gradients too; None: BIT_EXACT.
        out_dtype: Another dtype that such a product has: f32 for f16, i64 for integers; None: the rule above.

    Raises:
        ArgumentError: An operand is no tensor; a number is not usable there; there is no such option.
        DTypeError: There is no such dtype; operands that do not give ``out_dtype``; unsupported operands.
        ShapeError: A number is no matrix; the inner dimensions differ; the batches do not broadcast.
    """
    for x in (a, b):
        require_tensor(x, "matmul")
    fast = asks_fast(guarantee, precision, "matmul")
    dtype = promote("matmul", [a.dtype, b.dtype])
    usual = PRODUCTS.get(dtype, (dtype,))[0]
    wanted = usual if out_dtype is None else dtype_of(out_dtype, "matmul, out_dtype")
    if wanted != dtype and wanted not in PRODUCTS.get(dtype, ()):
        allowed = dict.fromkeys((dtype, *PRODUCTS.get(dtype, ())))
        raise DTypeError("matmul, out_dtype", f"{dtype} operands do not give {wanted}", got=wanted, remedy="Convert it",
                         expected=" or ".join(map(str, allowed)))  # fmt: skip
    if dtype.is_complex and not fast:
        return _complex_product(a, b, dtype.part, transpose_a=transpose_a, transpose_b=transpose_b, precision=precision)
    if dtype not in PRODUCTS:
        raise DTypeError("matmul", "unsupported operands", expected="tensors of numbers", got=dtype,
                         remedy="Convert with astype")  # fmt: skip
    a, b = cast(a, dtype), cast(b, dtype)
    name = precision_of(precision, dtype, "matmul")
    given = a.shape, b.shape
    rows, columns = a.ndim == 1, b.ndim == 1
    a = with_shape(a, (1, *a.shape)) if rows else a
    b = with_shape(b, (*b.shape, 1)) if columns else b
    if not a.ndim or not b.ndim:
        raise ShapeError(
            "matmul",
            "a number is no matrix",
            expected="at least 1 dimension",
            got=f"{given[0]} @ {given[1]}",
            remedy="Multiply with *",
        )
    a = transpose(a) if flag(transpose_a, "matmul, transpose_a") else a
    b = transpose(b) if flag(transpose_b, "matmul, transpose_b") else b
    if a.shape[-1] != b.shape[-2]:
        raise ShapeError(
            "matmul",
            "the inner dimensions differ",
            expected=f"{a.shape[-1]} rows of b for as many columns of a",
            got=f"{given[0]} @ {given[1]}",
            remedy="Transpose one, or check which comes first",
        )
    try:
        broadcast_shapes(a.shape[:-2], b.shape[:-2])
    except ValueError:
        raise ShapeError(
            "matmul",
            "the batches do not broadcast",
            expected="equal leading dimensions, or 1, or none",
            got=f"{given[0]} @ {given[1]}",
            remedy="Reshape one operand",
        ) from None
    result = wanted if wanted in PRODUCTS[dtype] else PRODUCTS[dtype][0]
    product = multiply_fast(a, b, result) if fast else multiply(a, b, name, result)
    found = cast(product, wanted)
    shape = (*found.shape[:-2], *(() if rows else found.shape[-2:-1]), *(() if columns else found.shape[-1:]))
    return with_shape(found, shape)


def _complex_product(a: Any, b: Any, dtype: DType, **options: Any) -> Any:
    """Return the product of matrices of which one is complex at least, of the products of their parts."""
    a_parts, b_parts = ([cast(p, dtype) for p in _parts_of(x)] for x in (a, b))
    products: list[list[Any]] = [[matmul(p, q, **options) for q in b_parts] for p in a_parts]
    if len(a_parts) == len(b_parts):
        (re, im), (other, rest) = products
        return join(apply("sub", re, rest), apply("add", im, other))
    re, im = products[0] if len(a_parts) == 1 else [row[0] for row in products]
    return join(re, im)


def _parts_of(x: Any) -> list[Any]:
    return [part_of(x, k) for k in (0, 1)] if x.dtype.is_complex else [x]
