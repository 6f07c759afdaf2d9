"""Elimination and reflections of complex matrices, whose real and imaginary parts are two matrices by rows.

Layer: kernels. One group works on a matrix, its lanes on 64 columns at a time. The pivot of a column is the element
whose parts have the largest sum of magnitudes, the highest row on ties. Invariant: an element's sums run over rows in
ascending order, so that nothing depends on lanes or batches.

Source: Golub and Van Loan, "Matrix Computations", 3.4.1 and 5.2.1; LAPACK's zgetf2 and zgeqr2 for pivots and signs;
R. L. Smith, "Algorithm 116: Complex division" (1962).
"""

from __future__ import annotations

from functools import cache
from typing import Any

from loom.core.dtype import DType, u32
from loom.ir.frontend.base.annotations import In, InOut, Out
from loom.ir.frontend.decorator import KernelFunction, kernel
from loom.ir.frontend.intrinsics import barrier, group_id, local_id, select, sqrt
from loom.kernels.linalg.qr import lifts
from loom.kernels.linalg.rotations import hypot

__all__ = ["LANES", "divide", "eliminate_complex", "form_complex", "reflect_column", "reflect_complex", "reflection"]

LANES = 64


def divide(ar: Any, ai: Any, br: Any, bi: Any) -> Any:
    """Return the quotient's parts; the divisor's larger part is taken out first."""
    is_real = abs(br) >= abs(bi)
    big, small = select(is_real, br, bi), select(is_real, bi, br)
    q = small / big
    scale = big + small * q
    re = select(is_real, ar + ai * q, ar * q + ai)
    im = select(is_real, ai - ar * q, ai * q - ar)
    return re / scale, im / scale


def reflection(ar: Any, ai: Any, total: Any) -> tuple[Any, Any, Any, Any]:
    """Return, of an element and the squares of those after it: whether there is a reflection, what it makes of the
    element, and the parts of its factor.
    """
    zero = total.dtype(0)
    some = total != 0 or ai != 0
    length = sqrt(ar * ar + ai * ai + total)
    b = select(some, select(ar < 0, length, -length), ar)
    return some, b, select(some, (b - ar) / b, zero), select(some, -ai / b, zero)


@cache
def eliminate_complex(element: DType) -> KernelFunction:
    """Return the kernel (re, im, out, n): the pivots of n by n matrices, in place, and what is made of them.

    ``out`` of a matrix: n magnitudes of pivots, the determinant's parts, those of its direction (0 if it is 0). One
    group per matrix.
    """

    @kernel(workgroup=LANES, trusted=True)
    def eliminate(re: InOut[element], im: InOut[element], out: Out[element], n: u32):  # type: ignore[valid-type]
        lane, matrix = local_id(), group_id()
        base, first = matrix * n * n, matrix * (n + 4)
        dr, di, sr, si = element(1), element(0), element(1), element(0)
        for k in range(n):
            most, place = element(-1), u32(k)
            for i in range(k, n):
                size = abs(re[base + i * n + k]) + abs(im[base + i * n + k])
                if size > most:
                    most, place = size, i
            barrier()
            for tile in range(0, n, LANES):
                j = tile + lane
                if j < n and place != k:
                    a, b = base + k * n + j, base + place * n + j
                    xr, xi = re[a], im[a]
                    re[a], im[a] = re[b], im[b]
                    re[b], im[b] = xr, xi
            barrier()
            pr, pi = re[base + k * n + k], im[base + k * n + k]
            size = hypot(pr, pi)
            if lane == 0:
                out[first + k] = size
            if place != k:
                dr, di, sr, si = -dr, -di, -sr, -si
            dr, di = dr * pr - di * pi, dr * pi + di * pr
            ur = select(size == 0, size, pr / size)
            ui = select(size == 0, size, pi / size)
            sr, si = sr * ur - si * ui, sr * ui + si * ur
            if size != 0:
                for tile in range(0, n - k - 1, LANES):
                    i = k + 1 + tile + lane
                    if i < n:
                        at = base + i * n + k
                        qr, qi = divide(re[at], im[at], pr, pi)
                        re[at], im[at] = qr, qi
            barrier()
            for i in range(k + 1, n):
                fr, fi = re[base + i * n + k], im[base + i * n + k]
                for tile in range((k + 1) // LANES * LANES, n, LANES):
                    j = tile + lane
                    if j > k and j < n:
                        a, b = base + i * n + j, base + k * n + j
                        re[a], im[a] = re[a] - (fr * re[b] - fi * im[b]), im[a] - (fr * im[b] + fi * re[b])
            barrier()
        if lane == 0:
            out[first + n] = dr
            out[first + n + 1] = di
            out[first + n + 2] = sr
            out[first + n + 3] = si

    eliminate.name = f"eliminate_complex_{element}"
    return eliminate


@cache
def reflect_complex(element: DType) -> KernelFunction:
    """Return the kernel (re, im, factors, m, n): m by n matrices become R, and below it the reflections.

    Reflection k has 1 in row k and factors[2 k], factors[2 k + 1] as its factor's parts; the diagonal of R is real. One
    group per matrix. What is largest is to be about 1.
    """
    least, up = lifts(element)

    @kernel(workgroup=LANES, trusted=True)
    def reflect(re: InOut[element], im: InOut[element], factors: Out[element], m: u32, n: u32):  # type: ignore[valid-type]
        lane, matrix = local_id(), group_id()
        base, first = matrix * m * n, matrix * min(m, n) * 2
        for k in range(min(m, n)):
            ar, ai = re[base + k * n + k], im[base + k * n + k]
            total = element(0)
            for i in range(k + 1, m):
                at = base + i * n + k
                total = total + (re[at] * re[at] + im[at] * im[at])
            lift, lower = element(1), element(1)
            if ar * ar + ai * ai + total < least:  # a column far below the largest: its squares would vanish
                lift, lower, total = element(up), element(1 / up), element(0)
                for i in range(k + 1, m):
                    at = base + i * n + k
                    yr, yi = re[at] * lift, im[at] * lift
                    total = total + (yr * yr + yi * yi)
                ar, ai = ar * lift, ai * lift
            some, b, tr, ti = reflection(ar, ai, total)
            barrier()
            if lane == 0:
                factors[first + 2 * k] = tr
                factors[first + 2 * k + 1] = ti
                re[base + k * n + k] = b * lower
                im[base + k * n + k] = element(0)
            if some:
                for tile in range(0, m - k - 1, LANES):
                    i = k + 1 + tile + lane
                    if i < m:
                        at = base + i * n + k
                        vr, vi = divide(re[at] * lift, im[at] * lift, ar - b, ai)
                        re[at], im[at] = vr, vi
            barrier()
            for tile in range((k + 1) // LANES * LANES, n, LANES):
                j = tile + lane
                if j > k and j < n:
                    reflect_column(re, im, re, im, base + k, n, base + j, n, k, m, tr, -ti)
            barrier()

    reflect.name = f"reflect_complex_{element}"
    return reflect


def reflect_column(vr: Any, vi: Any, re: Any, im: Any, v: Any, v_step: Any, x: Any, step: Any, k: Any, m: Any,
             tr: Any, ti: Any) -> None:  # fmt: skip
    """Subtract (tr + i ti) v (v^H x) from a column x of m rows; v has 1 in row k and nothing above."""
    sr, si = re[x + k * step], im[x + k * step]
    for i in range(k + 1, m):
        a, b = v + i * v_step, x + i * step
        sr = sr + (vr[a] * re[b] + vi[a] * im[b])
        si = si + (vr[a] * im[b] - vi[a] * re[b])
    sr, si = tr * sr - ti * si, tr * si + ti * sr
    re[x + k * step] = re[x + k * step] - sr
    im[x + k * step] = im[x + k * step] - si
    for i in range(k + 1, m):
        a, b = v + i * v_step, x + i * step
        re[b] = re[b] - (vr[a] * sr - vi[a] * si)
        im[b] = im[b] - (vr[a] * si + vi[a] * sr)


@cache
def form_complex(element: DType) -> KernelFunction:
    """Return the kernel (re, im, factors, qr, qi, m, n, columns): the first columns of the product of reflections.

    Groups: tiles of 64 columns, matrices.
    """

    @kernel(workgroup=LANES, trusted=True)
    def form(
        re: In[element], im: In[element], factors: In[element], qr: InOut[element], qi: InOut[element],  # type: ignore[valid-type]
        m: u32, n: u32, columns: u32,
    ):  # fmt: skip
        matrix, j = group_id(1), group_id(0) * LANES + local_id()
        base, own, count = matrix * m * n, matrix * m * columns, min(m, n)
        if j < columns:
            for i in range(m):
                qr[own + i * columns + j] = select(i == j, element(1), element(0))
                qi[own + i * columns + j] = element(0)
            for turn in range(count):
                k = count - 1 - turn
                at = 2 * (matrix * count + k)
                tr, ti = factors[at], factors[at + 1]
                reflect_column(re, im, qr, qi, base + k, n, own + j, columns, k, m, tr, ti)

    form.name = f"form_complex_{element}"
    return form
