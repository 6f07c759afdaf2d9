"""What comes before and after the stages of a transform: real signals, chirps, padding, products.

Layer: kernels. Lanes run along a row of the result, groups along rows. Complex numbers are pairs in memory or two
planes (``stages.Form``). Invariant: element i of a result is one fixed expression of elements of the operands.

Sources: Cooley, Lewis and Welch, "The fast Fourier transform algorithm: programming considerations in the
calculation of sine, cosine and Laplace transforms" (1970) for real signals; Bluestein, "A linear filtering
approach to the computation of discrete Fourier transform" (1970).
"""

from __future__ import annotations

from functools import cache

from loom.core.dtype import DType, bool_, u32
from loom.ir.frontend.base.annotations import In, Out
from loom.ir.frontend.decorator import KernelFunction, kernel
from loom.ir.frontend.intrinsics import global_id, group_id, select
from loom.kernels.fft.butterflies import conjugate_multiply, multiply
from loom.kernels.fft.stages import LANES, Form, load, store, swap_parts

__all__ = [
    "chirp_in", "chirp_out", "cut", "hermitian", "keep_half", "multiply_spectra", "pad", "real_after", "real_before",
    "real_parts", "reverse", "spectrum_product",
]  # fmt: skip


@cache
def chirp_in(element: DType, source: Form) -> KernelFunction:
    """Return the kernel (x, chirp, out, n, size, rows, swap): planes of x[i] chirp[i], zero from n to ``size``.

    ``swap`` exchanges re and im of x.
    """

    @kernel(workgroup=LANES, trusted=True)
    def multiply_in(
        x: In[source.storage_type(element)],
        chirp: In[element],
        out: Out[element],
        n: u32,
        size: u32,
        rows: u32,
        swap: bool_,
    ):  # type: ignore[valid-type]
        i, row = global_id(0), group_id(1)
        at, plane = row * size + i, rows * size
        if i < n:
            value = swap_parts(load(x, row * n + i, rows * n, source), swap)
            store(out, at, plane, Form.PLANES, multiply(value, (chirp[i], chirp[i + n])))
        elif i < size:
            out[at] = element(0)
            out[at + plane] = element(0)

    multiply_in.name = f"fft_chirp_in_{element}_{source.value}"
    return multiply_in


@cache
def multiply_spectra(element: DType) -> KernelFunction:
    """Return the kernel (x, factors, out, size, rows): x[i] factors[i] in planes, re and im exchanged."""

    @kernel(workgroup=LANES, trusted=True)
    def multiply_exchanged(x: In[element], factors: In[element], out: Out[element], size: u32, rows: u32):  # type: ignore[valid-type]
        i, row = global_id(0), group_id(1)
        at, plane = row * size + i, rows * size
        if i < size:
            re, im = multiply((x[at], x[at + plane]), (factors[i], factors[i + size]))
            store(out, at, plane, Form.PLANES, (im, re))

    multiply_exchanged.name = f"fft_multiply_{element}"
    return multiply_exchanged


@cache
def chirp_out(element: DType, target: Form) -> KernelFunction:
    """Return the kernel (x, chirp, out, n, size, rows, swap, scale): x[i] chirp[i] scale, x being exchanged planes.

    ``swap`` exchanges re and im of the result.
    """

    @kernel(workgroup=LANES, trusted=True)
    def multiply_out(
        x: In[element], chirp: In[element], out: Out[target.storage_type(element)],  # type: ignore[valid-type]
        n: u32, size: u32, rows: u32, swap: bool_, scale: element,  # type: ignore[valid-type]
    ):  # fmt: skip
        i, row = global_id(0), group_id(1)
        at, plane = row * size + i, rows * size
        if i < n:
            re, im = multiply((x[at + plane], x[at]), (chirp[i], chirp[i + n]))
            store(out, row * n + i, rows * n, target, swap_parts((re * scale, im * scale), swap))

    multiply_out.name = f"fft_chirp_out_{element}_{target.value}"
    return multiply_out


@cache
def real_after(element: DType, target: Form) -> KernelFunction:
    """Return the kernel (z, roots, out, h, rows, scale): the h + 1 first of a real signal's 2 h numbers.

    z, in planes, is the transform of x[2 j] + i x[2 j + 1], and roots[k] = exp(-2 pi i k / 2 h). The spectra of
    even and odd elements are e = (z[k] + conj z[h-k]) / 2 and o = (z[k] - conj z[h-k]) / 2 i; the result is
    (e + roots[k] o) scale.
    """

    @kernel(workgroup=LANES, trusted=True)
    def combine(
        z: In[element], roots: In[element], out: Out[target.storage_type(element)],  # type: ignore[valid-type]
        h: u32, rows: u32, scale: element,  # type: ignore[valid-type]
    ):  # fmt: skip
        k, row = global_id(0), group_id(1)
        plane = rows * h
        if k <= h:
            here, there = row * h + select(k == h, u32(0), k), row * h + select(k == 0, u32(0), h - k)
            re, im, other_re, other_im = z[here], z[here + plane], z[there], z[there + plane]
            e_re, e_im = (re + other_re) * 0.5, (im - other_im) * 0.5
            odd = (im + other_im) * 0.5, (other_re - re) * 0.5
            o_re, o_im = multiply(odd, (roots[k], roots[k + h + 1]))
            both = (e_re + o_re) * scale, (e_im + o_im) * scale  # pyright: ignore[reportUnknownVariableType] - a kernel
            store(out, row * (h + 1) + k, rows * (h + 1), target, both)

    combine.name = f"rfft_after_{element}_{target.value}"
    return combine


@cache
def real_before(element: DType, source: Form) -> KernelFunction:
    """Return the kernel (x, roots, out, h, rows): exchanged planes of (e + i o), the reverse of ``real_after``.

    e = x[k] + conj x[h-k] and o = (x[k] - conj x[h-k]) conj(roots[k]), the imaginary parts of x[0] and x[h] being
    taken as zero.
    """

    @kernel(workgroup=LANES, trusted=True)
    def split(x: In[source.storage_type(element)], roots: In[element], out: Out[element], h: u32, rows: u32):  # type: ignore[valid-type]
        k, row = global_id(0), group_id(1)
        at, plane = row * h + k, rows * h
        if k < h:
            first, width = row * (h + 1), rows * (h + 1)
            re, im = load(x, first + k, width, source)
            other_re, other_im = load(x, first + h - k, width, source)
            im, other_im = select(k == 0, element(0), im), select(k == 0, element(0), other_im)
            odd = conjugate_multiply((re - other_re, im + other_im), (roots[k], roots[k + h + 1]))
            value = im - other_im + odd[0], re + other_re - odd[1]
            store(out, at, plane, Form.PLANES, value)

    split.name = f"irfft_before_{element}_{source.value}"
    return split


@cache
def hermitian(element: DType, source: Form) -> KernelFunction:
    """Return the kernel (x, out, n, rows): exchanged planes of all n (odd) numbers, of which x has (n + 1) / 2."""

    @kernel(workgroup=LANES, trusted=True)
    def complete(x: In[source.storage_type(element)], out: Out[element], n: u32, rows: u32):  # type: ignore[valid-type]
        k, row = global_id(0), group_id(1)
        if k < n:
            half = n // 2 + 1
            re, im = load(x, row * half + min(k, n - k), rows * half, source)
            im = select(k == 0, element(0), select(k < half, im, -im))
            store(out, row * n + k, rows * n, Form.PLANES, (im, re))

    complete.name = f"irfft_hermitian_{element}_{source.value}"
    return complete


@cache
def keep_half(element: DType, target: Form) -> KernelFunction:
    """Return the kernel (x, out, n, kept, rows, scale): the first ``kept`` of n numbers in planes, times ``scale``."""

    @kernel(workgroup=LANES, trusted=True)
    def shorten(x: In[element], out: Out[target.storage_type(element)], n: u32, kept: u32, rows: u32, scale: element):  # type: ignore[valid-type]
        k, row = global_id(0), group_id(1)
        if k < kept:
            at = row * n + k
            store(out, row * kept + k, rows * kept, target, (x[at] * scale, x[at + rows * n] * scale))

    shorten.name = f"fft_keep_{element}_{target.value}"
    return shorten


@cache
def real_parts(element: DType) -> KernelFunction:
    """Return the kernel (x, out, count, scale): x[i] scale for the first ``count`` elements."""

    @kernel(workgroup=LANES, trusted=True)
    def scale_parts(x: In[element], out: Out[element], count: u32, scale: element):  # type: ignore[valid-type]
        i = global_id()
        if i < count:
            out[i] = x[i] * scale

    scale_parts.name = f"fft_real_parts_{element}"
    return scale_parts


@cache
def pad(element: DType) -> KernelFunction:
    """Return the kernel (x, out, n, size, before, first): row ``first`` + g of ``out``, ``size`` long, is row g of x.

    ``before`` zeros come first, and as many after as fit.
    """

    @kernel(workgroup=LANES, trusted=True)
    def copy_padded(x: In[element], out: Out[element], n: u32, size: u32, before: u32, first: u32):  # type: ignore[valid-type]
        i, row = global_id(0), group_id(1)
        if i < size:
            value = element(0)
            if i >= before and i - before < n:
                value = x[row * n + (i - before)]
            out[(first + row) * size + i] = value

    copy_padded.name = f"pad_{element}"
    return copy_padded


@cache
def spectrum_product(element: DType) -> KernelFunction:
    """Return the kernel (x, out, width): product of the two rows of x, ``width`` numbers in planes each."""

    @kernel(workgroup=LANES, trusted=True)
    def product(x: In[element], out: Out[element], width: u32):  # type: ignore[valid-type]
        k = global_id()
        if k < width:
            a = x[k], x[k + 2 * width]
            b = x[k + width], x[k + 3 * width]
            store(out, k, width, Form.PLANES, multiply(a, b))

    product.name = f"spectrum_product_{element}"
    return product


@cache
def reverse(element: DType) -> KernelFunction:
    """Return the kernel (x, out, n): out[i] = x[n - 1 - i]."""

    @kernel(workgroup=LANES, trusted=True)
    def copy_reversed(x: In[element], out: Out[element], n: u32):  # type: ignore[valid-type]
        i = global_id()
        if i < n:
            out[i] = x[n - 1 - i]

    copy_reversed.name = f"reverse_{element}"
    return copy_reversed


@cache
def cut(element: DType) -> KernelFunction:
    """Return the kernel (x, out, first, length): ``length`` elements from ``first`` on."""

    @kernel(workgroup=LANES, trusted=True)
    def piece(x: In[element], out: Out[element], first: u32, length: u32):  # type: ignore[valid-type]
        i = global_id()
        if i < length:
            out[i] = x[first + i]

    piece.name = f"cut_{element}"
    return piece
