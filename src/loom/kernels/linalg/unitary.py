"""Complex matrices made nearly real by reflections: Hessenberg's form, which is tridiagonal for Hermitian matrices, and
a bidiagonal one; and the products of such reflections.

Layer: kernels. Real and imaginary parts are two matrices by rows; one group works on a matrix, its lanes on 64 columns
or rows at a time. What is left beside the diagonal is real. Invariant: an element's sums run over rows or columns in
ascending order, so that nothing depends on lanes or batches.

Source: Golub and Van Loan, "Matrix Computations", 5.4.8 and 7.4.2; signs and factors as LAPACK's zlarfg.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from loom.core.dtype import DType, u32
from loom.ir.frontend.base.annotations import In, InOut, Out
from loom.ir.frontend.decorator import KernelFunction, kernel
from loom.ir.frontend.intrinsics import barrier, group_id, local_id, select
from loom.kernels.linalg.complexes import LANES, divide, reflect_column, reflection

__all__ = ["LANES", "bidiagonal_complex", "form_reflections", "hessenberg_complex"]


def _squares(re: Any, im: Any, at: Any, step: Any, first: Any, end: Any) -> Any:
    """Return the sum of squares of elements ``first`` to ``end`` of a line."""
    element = re.dtype
    total = element(0)
    for i in range(first, end):
        here = at + i * step
        total = total + (re[here] * re[here] + im[here] * im[here])
    return total


def _scale(re: Any, im: Any, at: Any, step: Any, first: Any, end: Any, br: Any, bi: Any, flip: Any) -> None:
    """Divide elements of a line, their imaginary parts times ``flip``, by a complex number: 64 lanes."""
    lane = local_id()
    for tile in range(0, end - first, LANES):
        i = first + tile + lane
        if i < end:
            here = at + i * step
            vr, vi = divide(re[here], flip * im[here], br, bi)
            re[here], im[here] = vr, vi


def _reflect_row(vr: Any, vi: Any, re: Any, im: Any, v: Any, v_step: Any, x: Any, k: Any, n: Any,
                 tr: Any, ti: Any) -> None:  # fmt: skip
    """Subtract (tr + i ti) (x v) v^H from a row x of n columns; v has 1 in column k and nothing before."""
    sr, si = re[x + k], im[x + k]
    for j in range(k + 1, n):
        a, b = v + j * v_step, x + j
        sr = sr + (vr[a] * re[b] - vi[a] * im[b])
        si = si + (vr[a] * im[b] + vi[a] * re[b])
    sr, si = tr * sr - ti * si, tr * si + ti * sr
    re[x + k] = re[x + k] - sr
    im[x + k] = im[x + k] - si
    for j in range(k + 1, n):
        a, b = v + j * v_step, x + j
        re[b] = re[b] - (vr[a] * sr + vi[a] * si)
        im[b] = im[b] - (vr[a] * si - vi[a] * sr)


@cache
def hessenberg_complex(element: DType) -> KernelFunction:
    """Return the kernel (re, im, factors, n): n by n matrices become Hessenberg's, with a real subdiagonal, in place.

    Reflection k, which has 1 in row k + 1, stays below element k + 1 of column k; its factor's parts are factors[2 k]
    and the next. One group per matrix.
    """

    @kernel(workgroup=LANES, trusted=True)
    def reduce(re: InOut[element], im: InOut[element], factors: Out[element], n: u32):  # type: ignore[valid-type]
        lane, matrix = local_id(), group_id()
        base, first = matrix * n * n, matrix * n * 2
        for k in range(n - 1):
            here = base + (k + 1) * n + k
            ar, ai = re[here], im[here]
            total = _squares(re, im, base + k, n, k + 2, n)
            some, b, tr, ti = reflection(ar, ai, total)
            barrier()
            if lane == 0:
                factors[first + 2 * k] = tr
                factors[first + 2 * k + 1] = ti
                re[here] = b
                im[here] = element(0)
            if some:
                _scale(re, im, base + k, n, k + 2, n, ar - b, ai, element(1))
            barrier()
            if some:
                for tile in range((k + 1) // LANES * LANES, n, LANES):
                    j = tile + lane
                    if j > k and j < n:
                        reflect_column(re, im, re, im, base + k, n, base + j, n, k + 1, n, tr, -ti)
            barrier()
            if some:
                for tile in range(0, n, LANES):
                    i = tile + lane
                    if i < n:
                        _reflect_row(re, im, re, im, base + k, n, base + i * n, k + 1, n, tr, ti)
            barrier()

    reduce.name = f"hessenberg_complex_{element}"
    return reduce


@cache
def bidiagonal_complex(element: DType) -> KernelFunction:
    """Return the kernel (re, im, left, right, n): n by n matrices become real and upper bidiagonal, in place.

    Left reflection k has 1 in row k and stays below it in column k; right reflection k has 1 in column k + 1 and stays
    beside it in row k. The parts of their factors are numbers 2 k and 2 k + 1. One group per matrix.
    """

    @kernel(workgroup=LANES, trusted=True)
    def reduce(re: InOut[element], im: InOut[element], left: Out[element], right: Out[element], n: u32):  # type: ignore[valid-type]
        lane, matrix = local_id(), group_id()
        base, first = matrix * n * n, matrix * n * 2
        for k in range(n):
            here = base + k * n + k
            ar, ai = re[here], im[here]
            total = _squares(re, im, base + k, n, k + 1, n)
            some, b, tr, ti = reflection(ar, ai, total)
            barrier()
            if lane == 0:
                left[first + 2 * k] = tr
                left[first + 2 * k + 1] = ti
                re[here] = b
                im[here] = element(0)
            if some:
                _scale(re, im, base + k, n, k + 1, n, ar - b, ai, element(1))
            barrier()
            if some:
                for tile in range((k + 1) // LANES * LANES, n, LANES):
                    j = tile + lane
                    if j > k and j < n:
                        reflect_column(re, im, re, im, base + k, n, base + j, n, k, n, tr, -ti)
            barrier()
            if k + 1 < n:
                ar, ai = re[here + 1], -im[here + 1]
                total = _squares(re, im, base + k * n, u32(1), k + 2, n)
                some, b, tr, ti = reflection(ar, ai, total)
                barrier()
                if lane == 0:
                    right[first + 2 * k] = tr
                    right[first + 2 * k + 1] = ti
                    re[here + 1] = b
                    im[here + 1] = element(0)
                if some:
                    _scale(re, im, base + k * n, u32(1), k + 2, n, ar - b, ai, element(-1))
                barrier()
                if some:
                    for tile in range((k + 1) // LANES * LANES, n, LANES):
                        i = tile + lane
                        if i > k and i < n:
                            _reflect_row(re, im, re, im, base + k * n, u32(1), base + i * n, k + 1, n, tr, ti)
                barrier()

    reduce.name = f"bidiagonal_complex_{element}"
    return reduce


@cache
def form_reflections(element: DType) -> KernelFunction:
    """Return the kernel (re, im, factors, qr, qi, n, count, lead, step, ahead): products of the first reflections.

    Reflection k has 1 in row k + ahead; its element i is number k lead + i step of its matrix of n rows and columns.
    Groups: tiles of 64 columns, matrices.
    """

    @kernel(workgroup=LANES, trusted=True)
    def form(
        re: In[element], im: In[element], factors: In[element], qr: InOut[element], qi: InOut[element],  # type: ignore[valid-type]
        n: u32, count: u32, lead: u32, step: u32, ahead: u32,
    ):  # fmt: skip
        matrix, j = group_id(1), group_id(0) * LANES + local_id()
        base = matrix * n * n
        if j < n:
            for i in range(n):
                qr[base + i * n + j] = select(i == j, element(1), element(0))
                qi[base + i * n + j] = element(0)
            for turn in range(count):
                k = count - 1 - turn
                at = 2 * (matrix * n + k)
                tr, ti = factors[at], factors[at + 1]
                reflect_column(re, im, qr, qi, base + k * lead, step, base + j, n, k + ahead, n, tr, ti)

    form.name = f"form_reflections_{element}"
    return form
