"""``fft``, ``ifft``, ``rfft``, ``irfft``: discrete Fourier transforms of any length, along the last axis.

Layer: patterns. The order of operations (``schedules.fft``, ``kernels.fft``) depends on the length alone; roots are
correctly rounded. The error relative to the root mean square of the result is below eps sqrt(log2 n) for lengths whose
prime factors are 2, 3, 5 and 7, and below 2.5 times that for others (tested; 1.2 times is seen). Invariant: the same
input gives the same bits on every device.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from loom.core.dtype import complex_of
from loom.core.errors import ArgumentError, DTypeError, EmptyError, ShapeError
from loom.kernels.fft.stages import Form
from loom.patterns.calling.call import Call
from loom.patterns.calling.fallback import falls_back
from loom.patterns.signal.complexes import complex_input, complex_result, complex_rows, real_input, real_rows
from loom.runtime.chain import Chain
from loom.runtime.memory.storage import HostSlot
from loom.runtime.port.device import Device
from loom.schedules.fft import Ends, Signals, norm_scale, record_inverse_real, record_real, record_transform
from loom.tensor import Tensor
from loom.tensor.fft.record import from_half, to_half, transform

__all__ = ["fft", "ifft", "irfft", "rfft"]


@falls_back("fft.fft", where="signal.fft", errors=(DTypeError, ShapeError))
def fft(data: Any, *, norm: str = "backward", on: str | Device | None = None) -> Any:
    """Return the discrete Fourier transform along the last axis: sum over j of x[j] exp(-2 pi i j k / n).

    ``data``: complex or real numbers (..., n), n at least 1; complex64, float32 and float16 give complex64,
    anything else complex128. A tensor of c64, c128, f32 or f64 gives one of c64 or c128, recorded as
    ``loom.tensor.fft.fft``. ArgumentError for a real one of n = 2, which may be meant as pairs (re, im).
    ``norm``: "backward" (no factor here, 1/n in ``ifft``), "ortho" (1/sqrt(n) in both) or "forward" (1/n here).
    Raises EmptyError for n = 0, DTypeError or ShapeError for other input.

    >>> fft([1.0, 0.0, -1.0, 0.0]).tolist()
    [0j, (2+0j), 0j, (2+0j)]
    """
    return _complex("signal.fft", data, norm, on, inverse=False)


@falls_back("fft.ifft", where="signal.ifft", errors=(DTypeError, ShapeError))
def ifft(data: Any, *, norm: str = "backward", on: str | Device | None = None) -> Any:
    """Return the inverse of ``fft``: sum over k of x[k] exp(+2 pi i j k / n), times 1/n unless ``norm`` says else.

    Input, result and errors are those of ``fft``. The factor is rounded to the type of the numbers, then multiplied.

    >>> ifft([4.0, 0.0, 0.0, 0.0]).tolist()
    [(1+0j), (1+0j), (1+0j), (1+0j)]
    """
    return _complex("signal.ifft", data, norm, on, inverse=True)


@falls_back("fft.rfft", where="signal.rfft", errors=(DTypeError, ShapeError))
def rfft(data: Any, *, norm: str = "backward", on: str | Device | None = None) -> Any:
    """Return the n // 2 + 1 first numbers of the transform of real numbers (..., n); the others are conjugates.

    ``data``: float32 and float16 give complex64, float64, integers and bools complex128; a tensor of f32 or f64 gives
    one of c64 or c128, recorded as ``loom.tensor.fft.rfft``. Even lengths are transformed as n / 2 complex numbers.
    Raises EmptyError for n = 0, DTypeError for complex numbers.

    >>> rfft([1.0, 0.0, -1.0, 0.0]).tolist()
    [0j, (2+0j), 0j]
    """
    where = "signal.rfft"
    if isinstance(data, Tensor):
        given = real_rows(data, on, where)
        return to_half(given, norm_scale(where, norm, _length(where, given.shape), inverse=False))
    call = Call(where, on)
    x = real_input(call, data)
    n = _length(where, x.shape)
    out = call.output((*x.shape[:-1], n // 2 + 1, 2), x.dtype)
    scale = norm_scale(where, norm, n, inverse=False)
    rows = math.prod(x.shape[:-1])

    def record(chain: Chain, source: HostSlot, target: HostSlot) -> None:
        job = Signals(chain, chain.device, x.dtype, rows)
        record_real(job, source, target, n, Form.PAIRS, scale)

    if rows:
        call.run((where, x.dtype, rows, n, scale), record, x, out)
    return complex_result(call, out)


@falls_back("fft.irfft", where="signal.irfft", errors=(DTypeError, ShapeError))
def irfft(data: Any, n: int | None = None, *, norm: str = "backward", on: str | Device | None = None) -> Any:
    """Return the n real numbers (..., n) whose ``rfft`` is ``data`` (..., n // 2 + 1).

    ``n`` is 2 (m - 1), the default, or 2 m - 1 for data of length m. Imaginary parts of the first number, and for an
    even n of the last one, are taken as zero. Raises ArgumentError for another n, else like ``ifft``.

    >>> irfft([0.0, 2.0, 0.0]).tolist()
    [1.0, 0.0, -1.0, 0.0]
    """
    where = "signal.irfft"
    if isinstance(data, Tensor):
        given = complex_rows(data, on, where)
        length = _real_length(where, n, _length(where, given.shape))
        given = given if given.dtype.is_complex else given.astype(complex_of(given.dtype))
        return from_half(given, length, norm_scale(where, norm, length, inverse=True))
    call = Call(where, on)
    x = complex_input(call, data, where)
    m = _length(where, x.shape[:-1])
    size = _real_length(where, n, m)
    out = call.output((*x.shape[:-2], size), x.dtype)
    scale = norm_scale(where, norm, size, inverse=True)
    rows = math.prod(x.shape[:-2])

    def record(chain: Chain, source: HostSlot, target: HostSlot) -> None:
        job = Signals(chain, chain.device, x.dtype, rows)
        record_inverse_real(job, source, target, size, Form.PAIRS, scale)

    if rows:
        call.run((where, x.dtype, rows, size, scale), record, x, out)
    return call.result(out)


def _complex(where: str, data: Any, norm: str, on: str | Device | None, *, inverse: bool) -> Any:
    if isinstance(data, Tensor):
        given = complex_rows(data, on, where)
        return transform(given, norm_scale(where, norm, _length(where, given.shape), inverse=inverse), inverse=inverse)
    call = Call(where, on)
    x = complex_input(call, data, where)
    n, rows = _length(where, x.shape[:-1]), math.prod(x.shape[:-2])
    scale = norm_scale(where, norm, n, inverse=inverse)
    out = call.output(x.shape, x.dtype)

    def record(chain: Chain, source: HostSlot, target: HostSlot) -> None:
        job = Signals(chain, chain.device, x.dtype, rows)
        ends = Ends(Form.PAIRS, Form.PAIRS, swap_in=inverse, swap_out=inverse)
        record_transform(job, source, target, n, ends, scale)

    if rows:
        call.run((where, x.dtype, rows, n, scale), record, x, out)
    return complex_result(call, out)


def _length(where: str, shape: tuple[int, ...]) -> int:
    """Return the length of the last axis, which must have elements."""
    if not shape:
        raise ShapeError(where, "one number has no axis", expected="at least 1 dimension", got=0, remedy="Pass a row")
    if not shape[-1]:
        raise EmptyError(
            where, "no elements to transform", expected="at least 1 along the last axis", got=0,
            remedy="Check for emptiness first",
        )  # fmt: skip
    return shape[-1]


def _real_length(where: str, n: int | None, m: int) -> int:
    if n is None and m == 1:
        return 1
    if n is None:
        return 2 * (m - 1)
    if isinstance(n, bool) or not isinstance(n, (int, np.integer)):
        raise DTypeError(f"{where}, n", "not a whole number", expected="an int or None", got=repr(n), remedy="Round it")
    if n < 1 or n // 2 + 1 != m:
        raise ArgumentError(
            f"{where}, n", f"data has {m} numbers", expected=f"{2 * m - 2} or {2 * m - 1}", got=n,
            remedy="Cut or pad data to n // 2 + 1",
        )  # fmt: skip
    return int(n)
