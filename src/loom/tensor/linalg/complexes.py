"""Linear algebra of complex matrices: by their parts, or as real matrices of twice the size.

Layer: tensor. A system of complex equations is the real one of the blocks (re, -im; im, re), and so is the inverse; the
Cholesky factor is that of the matrix in which each element is a block (re, -im; im, re) of its own. Determinants and QR
have kernels (``kernels.linalg.complexes``). Gradients are by parts: that of a real loss by re plus i times that by im.
Invariant: operands are c64 or c128.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from loom.core.dtype import DType
from loom.core.errors import ArgumentError
from loom.kernels.linalg.complexes import LANES, eliminate_complex, form_complex, reflect_complex
from loom.kernels.linalg.unitary import bidiagonal_complex, form_reflections, hessenberg_complex
from loom.tensor.complexes.functions import conj
from loom.tensor.linalg.nodes import part, put
from loom.tensor.linalg.operands import mt, safe_scale, triu
from loom.tensor.ops.elementwise import apply
from loom.tensor.ops.joining import concat, copy_into, stack
from loom.tensor.ops.parts import join, part_of
from loom.tensor.ops.reductions import sum_of
from loom.tensor.ops.views import permute, reshape, routed
from loom.tensor.record.draft import BufferView, Draft
from loom.tensor.record.graph import Node, NodeKind, TensorOp, make

__all__ = [
    "adjoint", "as_blocks", "as_columns", "complex_bidiagonal", "complex_det", "complex_factors", "complex_hessenberg",
    "complex_slogdet", "from_columns", "from_interleaved", "interleave",
]  # fmt: skip


def adjoint(x: Any) -> Any:
    """Return the conjugate transposed matrices, real ones transposed."""
    return conj(mt(x)) if x.dtype.is_complex else mt(x)


def as_blocks(x: Any) -> Any:
    """Return the real matrices (re, -im; im, re)."""
    re, im = part_of(x, 0), part_of(x, 1)
    return concat([concat([re, -im], -1), concat([im, re], -1)], -2)


def as_columns(x: Any) -> Any:
    """Return the real matrices (re; im)."""
    return concat([part_of(x, 0), part_of(x, 1)], -2)


def from_columns(x: Any, columns: int) -> Any:
    """Return complex matrices of the first columns of real ones (re; im)."""
    n = x.shape[-2] // 2
    return join(x[..., :n, :columns], x[..., n:, :columns])


def interleave(x: Any) -> Any:
    """Return real matrices in which every element is a block (re, -im; im, re)."""
    re, im = part_of(x, 0), part_of(x, 1)
    *batch, m, n = x.shape
    blocks = stack([stack([re, -im], -1), stack([im, re], -1)], -2)  # (.., m, n, row, column)
    lead = len(batch)
    order = [*range(lead), lead, lead + 2, lead + 1, lead + 3]
    return reshape(permute(blocks, order), (*batch, 2 * m, 2 * n))


def from_interleaved(x: Any) -> Any:
    """Return the complex matrices of such real ones."""
    return join(x[..., 0::2, 0::2], x[..., 1::2, 0::2])


def _copy(draft: Draft, operands: Sequence[BufferView], like: Node) -> list[Any]:
    """Record copies of real operands that kernels may overwrite."""
    found = [draft.device.allocate(like.nbytes) for _ in operands]
    for operand, memory in zip(operands, found, strict=True):
        copy_into(draft, operand, memory, like.shape, [0] * like.ndim, [1] * like.ndim, like.dtype)
    return found


def _record_det(node: Node, draft: Draft, operands: Sequence[BufferView], out: Any) -> None:
    n, batch = node.inputs[0].shape[-1], math.prod(node.shape[:-1])
    re, im = _copy(draft, operands, node.inputs[0])
    draft.dispatch(eliminate_complex(node.dtype), [re, im, out], [n], groups=batch)


def _record_qr(node: Node, draft: Draft, operands: Sequence[BufferView], out: Any) -> None:
    (m, n), (columns,) = node.inputs[0].shape[-2:], node.attributes
    batch, dtype = math.prod(node.shape[:-1]), node.dtype
    re, im = _copy(draft, operands, node.inputs[0])
    factors = draft.device.allocate(2 * batch * min(m, n) * dtype.nbytes)
    qr, qi = (draft.device.allocate(batch * m * columns * dtype.nbytes) for _ in range(2))
    draft.dispatch(reflect_complex(dtype), [re, im, factors], [m, n], groups=batch)
    groups = -(-columns // LANES), batch
    draft.dispatch(form_complex(dtype), [re, im, factors, qr, qi], [m, n, columns], groups=groups)
    first = 0
    for source, size in ((qr, m * columns), (qi, m * columns), (re, m * n), (im, m * n)):
        put(draft, source, dtype, out, node, first, size)
        first += size


def _form_product(draft: Draft, parts: Sequence[Any], factors: Any, dtype: DType, batch: int, n: int,
                  shape: Sequence[int]) -> list[Any]:  # fmt: skip
    """Record the product of reflections: ``shape`` has their number, how they lie, and how far ahead they begin."""
    made = [draft.device.allocate(batch * n * n * dtype.nbytes) for _ in range(2)]
    groups = -(-n // LANES), batch
    draft.dispatch(form_reflections(dtype), [*parts, factors, *made], [n, *shape], groups=groups)
    return made


def _record_hessenberg(node: Node, draft: Draft, operands: Sequence[BufferView], out: Any) -> None:
    n, batch, dtype = node.inputs[0].shape[-1], math.prod(node.shape[:-1]), node.dtype
    parts = _copy(draft, operands, node.inputs[0])
    factors = draft.device.allocate(2 * batch * n * dtype.nbytes)
    draft.dispatch(hessenberg_complex(dtype), [*parts, factors], [n], groups=batch)
    basis = _form_product(draft, parts, factors, dtype, batch, n, (n - 1, 1, n, 1))
    for k, source in enumerate((*parts, *basis)):
        put(draft, source, dtype, out, node, k * n * n, n * n)


def _record_bidiagonal(node: Node, draft: Draft, operands: Sequence[BufferView], out: Any) -> None:
    n, batch, dtype = node.inputs[0].shape[-1], math.prod(node.shape[:-1]), node.dtype
    parts = _copy(draft, operands, node.inputs[0])
    left, right = (draft.device.allocate(2 * batch * n * dtype.nbytes) for _ in range(2))
    draft.dispatch(bidiagonal_complex(dtype), [*parts, left, right], [n], groups=batch)
    bases = _form_product(draft, parts, left, dtype, batch, n, (n, 1, n, 0))
    bases += _form_product(draft, parts, right, dtype, batch, n, (n - 1, n, 1, 1))
    for k, source in enumerate((parts[0], *bases)):
        put(draft, source, dtype, out, node, k * n * n, n * n)


_HESSENBERG = TensorOp("hessenberg form of complex matrices", NodeKind.KERNEL, record=_record_hessenberg)
_BIDIAGONAL = TensorOp("bidiagonal form of complex matrices", NodeKind.KERNEL, record=_record_bidiagonal)
_DET = TensorOp("det of complex matrices", NodeKind.KERNEL, record=_record_det)
_QR = TensorOp("qr of complex matrices", NodeKind.KERNEL, record=_record_qr)


def _pivots(x: Any) -> Any:
    n = x.shape[-1]
    return make(_DET, [part_of(x, 0), part_of(x, 1)], (*x.shape[:-2], n + 4), x.dtype.part)


def complex_det(x: Any, inverse: Any) -> Any:
    """Return determinants of matrices that are not empty; ``inverse`` is the function that inverts."""
    raw, n = _pivots(x), x.shape[-1]

    def vjp(node: Any, g: Any) -> list[Any]:
        scale = reshape(g * conj(node), (*g.shape, 1, 1))
        return [adjoint(inverse(node.inputs[0])) * scale]

    return routed(join(raw[..., n], raw[..., n + 1]), [x], vjp)


def complex_slogdet(x: Any, inverse: Any) -> tuple[Any, Any]:
    """Return directions of determinants and logarithms of their magnitudes."""
    raw, n = _pivots(x), x.shape[-1]

    def refuse(_node: Any, _g: Any) -> list[Any]:
        raise ArgumentError("linalg.slogdet", "no gradient", expected="that of logabsdet", got="that of a complex sign",
                            remedy="Use linalg.det")  # fmt: skip

    def vjp(node: Any, g: Any) -> list[Any]:
        whole = adjoint(inverse(node.inputs[0]))
        scale = reshape(g, (*g.shape, 1, 1))
        return [join(part_of(whole, 0) * scale, part_of(whole, 1) * scale)]

    size = sum_of(apply("log", raw[..., :n]), -1)
    return routed(join(raw[..., n + 2], raw[..., n + 3]), [x], refuse), routed(size, [x], vjp)


def _scale(x: Any) -> tuple[Any, Any, Any]:
    """Return the parts of matrices times powers of two that keep squares in range, and those."""
    re, im = part_of(x, 0), part_of(x, 1)
    scale = safe_scale(concat([re, im], -1), (-2, -1))
    return re * scale, im * scale, scale


def complex_hessenberg(x: Any) -> tuple[Any, Any, Any, Any]:
    """Return H's parts, whose subdiagonal is real, unitary Q and a scale: x = Q H Q^H / scale; not differentiable.

    Of H what is below the subdiagonal is not to be read.
    """
    *parts, scale = _scale(x)
    n = x.shape[-1]
    raw = make(_HESSENBERG, parts, (*x.shape[:-2], 4 * n * n), x.dtype.part)
    hr, hi, qr, qi = (part(raw, k * n * n, (n, n)) for k in range(4))
    return hr, hi, join(qr, qi), scale


def complex_bidiagonal(x: Any) -> tuple[Any, Any, Any, Any]:
    """Return Q, real B, P and a scale with x = Q B P^H / scale; B is its diagonal and the one above, no more."""
    *parts, scale = _scale(x)
    n = x.shape[-1]
    raw = make(_BIDIAGONAL, parts, (*x.shape[:-2], 5 * n * n), x.dtype.part)
    b, qr, qi, pr, pi = (part(raw, k * n * n, (n, n)) for k in range(5))
    return join(qr, qi), b, join(pr, pi), scale


def complex_factors(x: Any, columns: int) -> tuple[Any, Any]:
    """Return Q of so many columns, and R, of matrices that are not empty, without gradients."""
    m, n = x.shape[-2:]
    *parts, scale = _scale(x)
    total = 2 * (m * columns + m * n)
    raw = make(_QR, parts, (*x.shape[:-2], total), x.dtype.part, (columns,))
    first = m * columns
    q = join(part(raw, 0, (m, columns)), part(raw, first, (m, columns)))
    r = join(part(raw, 2 * first, (m, n)) / scale, part(raw, 2 * first + m * n, (m, n)) / scale)
    return q, triu(r[..., :columns, :])
