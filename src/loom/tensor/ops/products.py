"""Products of matrices and contractions.

Layer: tensor. Transposed operands are read where they are; other views are packed first. Invariant: the order of sums
is that of ``kernels.matmul.tiles``, whatever the batch.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from loom.core.dtype import DType, f32
from loom.core.errors import ArgumentError, DTypeError, ShapeError
from loom.core.given import flag, text
from loom.core.promotion import promote
from loom.kernels.maps.nest import number
from loom.kernels.types import PRODUCTS, product_types
from loom.schedules.matmul import Multiplication, is_better_turned, record_matmul
from loom.tensor.draft import BufferView, Draft
from loom.tensor.graph import Node, NodeKind, NodeT, TensorOp, make, require_tensor
from loom.tensor.layout import StridedLayout, row_major
from loom.tensor.ops.elementwise import apply, cast
from loom.tensor.ops.joining import copy_into, fill
from loom.tensor.ops.parts import join, part_of
from loom.tensor.ops.reductions import sum_of
from loom.tensor.ops.views import permute, reshape, transpose

__all__ = ["MATMUL", "einsum", "matmul", "multiply"]


def _swap(access: StridedLayout) -> StridedLayout:
    order = [*range(len(access.shape) - 2), len(access.shape) - 1, len(access.shape) - 2]
    return access.permute(order)


def _accepts(access: StridedLayout) -> bool:
    return access.is_packed or _swap(access).is_packed


def _record(node: Node, draft: Draft, operands: Sequence[BufferView], out: Any) -> None:
    a, b = node.inputs
    m, k, n = a.shape[-2], a.shape[-1], b.shape[-1]
    if node.size == 0:
        return
    if k == 0:
        fill(draft, out, node.size, number(0, node.dtype))
        return
    flipped = [not o.access.is_packed for o in operands]
    element, (short,) = a.dtype, node.attributes
    types = product_types(element, node.dtype, short=short)
    left, right = operands[0].buffer, operands[1].buffer
    what = Multiplication(m, n, k, types, flipped[0], flipped[1], a.shape[:-2], b.shape[:-2])
    if is_better_turned(draft.device.caps, what):
        turned = draft.device.allocate(node.nbytes)
        record_matmul(draft, right, left, turned, Multiplication(n, m, k, types, not flipped[1], not flipped[0]))
        copy_into(draft, BufferView(turned, row_major((n, m)).permute((1, 0))), out, (m, n), (0, 0), (1, 1), node.dtype)
        return
    record_matmul(draft, left, right, out, what)


MATMUL = TensorOp("matmul", NodeKind.KERNEL, record=_record, accepts=_accepts)


def multiply(a: NodeT, b: NodeT, short: bool) -> NodeT:
    """Return the product of matrices, batches broadcast; ``short`` rounds the operands first."""
    if b.ndim == 2 and a.ndim > 2:  # one matrix of many rows, whose gradient is one product as well
        rows = math.prod(a.shape[:-1])
        flat = make(MATMUL, [reshape(a, (rows, a.shape[-1])), b], (rows, b.shape[-1]), PRODUCTS[a.dtype][0], (short,))
        return reshape(flat, (*a.shape[:-1], b.shape[-1]))
    shape = (*np.broadcast_shapes(a.shape[:-2], b.shape[:-2]), a.shape[-2], b.shape[-1])
    return make(MATMUL, [a, b], shape, PRODUCTS[a.dtype][0], (short,))


def matmul(a: NodeT, b: NodeT, *, transpose_a: bool = False, transpose_b: bool = False,
           precision: str | None = None) -> NodeT:  # fmt: skip
    """Return the matrix product of ``a`` (.., m, k) and ``b`` (.., k, n), batches broadcast, vectors as in numpy.

    Types as in ``gpu_matmul``: floats keep theirs (f16 and bf16 are added in f32), small integers give 32 bits.
    ``transpose_a`` and ``transpose_b`` exchange the last two axes first. ``precision="x12"`` rounds f32 operands to
    12 significant bits first. Of complex operands the parts are multiplied: re = a.re b.re - a.im b.im and im =
    a.re b.im + a.im b.re, each product summed by itself; a real operand has no second part. Raises ShapeError and
    DTypeError.
    """
    for x in (a, b):
        require_tensor(x, "matmul")
    dtype = promote("matmul", [a.dtype, b.dtype])
    if dtype.is_complex:
        return _complex_product(a, b, dtype.part, transpose_a=transpose_a, transpose_b=transpose_b, precision=precision)
    if dtype not in PRODUCTS:
        raise DTypeError("matmul", "unsupported operands", expected="tensors of numbers", got=dtype,
                         remedy="Convert with astype")  # fmt: skip
    a, b = cast(a, dtype), cast(b, dtype)
    if (
        not (precision is None or isinstance(precision, str))
        or precision not in (None, "x12")
        or (precision and a.dtype != f32)
    ):
        raise ArgumentError("matmul, precision", "unknown", expected="None, or 'x12' for f32", got=repr(precision),
                            remedy="Leave it out")  # fmt: skip
    given = a.shape, b.shape
    rows, columns = a.ndim == 1, b.ndim == 1
    a = reshape(a, (1, *a.shape)) if rows else a
    b = reshape(b, (*b.shape, 1)) if columns else b
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
        np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    except ValueError:
        raise ShapeError(
            "matmul",
            "the batches do not broadcast",
            expected="equal leading dimensions, or 1, or none",
            got=f"{given[0]} @ {given[1]}",
            remedy="Reshape one operand",
        ) from None
    found = multiply(a, b, precision is not None)
    shape = (*found.shape[:-2], *(() if rows else found.shape[-2:-1]), *(() if columns else found.shape[-1:]))
    return reshape(found, shape)


def _complex_product(a: Any, b: Any, dtype: DType, **options: Any) -> Any:
    """Return the product of matrices of which one is complex at least, of the products of their parts."""
    (a_re, a_im), (b_re, b_im) = (
        [cast(part_of(x, k), dtype) for k in (0, 1)] if x.dtype.is_complex else [cast(x, dtype), None] for x in (a, b)
    )
    if a_im is None or b_im is None:
        left, right = (a_re, b_im) if a_im is None else (a_im, b_re)
        return join(matmul(a_re, b_re, **options), matmul(left, right, **options))
    re = apply("sub", matmul(a_re, b_re, **options), matmul(a_im, b_im, **options))
    return join(re, apply("add", matmul(a_re, b_im, **options), matmul(a_im, b_re, **options)))


# contraction


def einsum(subscripts: str, *operands: NodeT) -> NodeT:
    """Return the contraction that ``subscripts`` tells ("bik,bkj->bij"), as ``numpy.einsum``, operands left to right.

    Each step is a sum over axes that one operand alone has, then a batched matrix product over those that two share.
    Raises ArgumentError and ShapeError.
    """
    for x in operands:
        require_tensor(x, "einsum")
    inputs, output = _parse(subscripts, operands)
    found, letters = _reduce(operands[0], inputs[0], set(output).union(*inputs[1:]))
    for n, (x, own) in enumerate(zip(operands[1:], inputs[1:], strict=True), start=2):
        later = set(output).union(*inputs[n:])
        x, own = _reduce(x, own, later | set(letters))
        found, letters = _contract(found, letters, x, own, later)
    found, letters = _reduce(found, letters, set(output))
    return permute(found, [letters.index(c) for c in output]) if len(output) > 1 else found


def _parse(subscripts: str, operands: Sequence[NodeT]) -> tuple[list[str], str]:
    left, arrow, output = text(subscripts, "einsum, subscripts").replace(" ", "").partition("->")
    inputs = left.split(",")
    if not arrow:
        letters = "".join(inputs)
        output = "".join(sorted(c for c in set(letters) if letters.count(c) == 1))
    known = set("".join(inputs))
    wrong = (
        len(inputs) != len(operands) or not operands or len(set(output)) < len(output) or not set(output) <= known
        or any(len(set(i)) < len(i) or not all(c.isalpha() for c in i) for i in inputs)
    )  # fmt: skip
    if wrong:
        raise ArgumentError(
            "einsum",
            "unusable subscripts",
            expected="'ij,jk->ik': letters for each operand, none twice in one",
            got=repr(subscripts),
            remedy="Name every axis once per operand",
        )
    sizes: dict[str, int] = {}
    for x, own in zip(operands, inputs, strict=True):
        if x.ndim != len(own) or any(sizes.setdefault(c, n) != n for c, n in zip(own, x.shape, strict=True)):
            raise ShapeError(
                "einsum",
                f"the shapes do not fit {subscripts!r}",
                expected=f"{len(own)} axes, one length per letter",
                got=[t.shape for t in operands],
                remedy="Check letters and shapes",
            )
    return inputs, output


def _reduce(x: NodeT, letters: str, needed: set[str]) -> tuple[NodeT, str]:
    """Sum over letters that nothing else needs."""
    axes = tuple(a for a, c in enumerate(letters) if c not in needed)
    return (sum_of(x, axes) if axes else x), "".join(c for c in letters if c in needed)


def _contract(a: NodeT, a_letters: str, b: NodeT, b_letters: str, later: set[str]) -> tuple[NodeT, str]:
    """Return the product of two operands, summed over letters that both have and nothing later needs."""
    sizes = dict(zip(a_letters + b_letters, a.shape + b.shape, strict=True))
    shared = [c for c in a_letters if c in b_letters]
    batch = [c for c in shared if c in later]
    inner = [c for c in shared if c not in later]
    rows = [c for c in a_letters if c not in shared]
    columns = [c for c in b_letters if c not in shared]

    def shape_as(x: NodeT, own: str, *groups: list[str]) -> NodeT:
        order = [own.index(c) for g in (batch, *groups) for c in g]
        return reshape(
            permute(x, order), (*(sizes[c] for c in batch), *(math.prod(sizes[c] for c in g) for g in groups))
        )

    product = matmul(shape_as(a, a_letters, rows, inner), shape_as(b, b_letters, inner, columns))
    result = [*batch, *rows, *columns]
    return reshape(product, tuple(sizes[c] for c in result)), "".join(result)
