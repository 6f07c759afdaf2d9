"""``fft``, ``ifft``, ``rfft``, ``irfft``: discrete Fourier transforms of any length, along the last axis.

Layer: patterns. The order of operations (``schedules.fft``, ``kernels.fft``) depends on the length alone; roots are
correctly rounded. The error relative to the root mean square of the result is below eps sqrt(log2 n) for lengths whose
prime factors are 2, 3, 5 and 7, and below 2.5 times that for others (tested; 1.2 times is seen). Invariant: the same
input gives the same bits on every device.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from loom.core.errors import ArgumentError
from loom.core.numbers import whole
from loom.patterns.tensor_rows import answer, row
from loom.runtime.port.device import Device
from loom.tensor import Tensor
from loom.tensor import fft as transforms

__all__ = ["fft", "ifft", "irfft", "rfft"]


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
    return _transform("signal.fft", transforms.fft, data, on, norm=norm)


def ifft(data: Any, *, norm: str = "backward", on: str | Device | None = None) -> Any:
    """Return the inverse of ``fft``: sum over k of x[k] exp(+2 pi i j k / n), times 1/n unless ``norm`` says else.

    Input, result and errors are those of ``fft``. The factor is rounded to the type of the numbers, then multiplied.

    >>> ifft([4.0, 0.0, 0.0, 0.0]).tolist()
    [(1+0j), (1+0j), (1+0j), (1+0j)]
    """
    return _transform("signal.ifft", transforms.ifft, data, on, norm=norm)


@row("fft.rfft", where="signal.rfft")
def rfft(data: Any, *, norm: str = "backward", on: str | Device | None = None) -> Any:
    """Return the n // 2 + 1 first numbers of the transform of real numbers (..., n); the others are conjugates.

    ``data``: float32 and float16 give complex64, float64, integers and bools complex128; a tensor of f32 or f64 gives
    one of c64 or c128, recorded as ``loom.tensor.fft.rfft``. Even lengths are transformed as n / 2 complex numbers.
    Raises EmptyError for n = 0, DTypeError for complex numbers.

    >>> rfft([1.0, 0.0, -1.0, 0.0]).tolist()
    [0j, (2+0j), 0j]
    """


def irfft(data: Any, n: int | None = None, *, norm: str = "backward", on: str | Device | None = None) -> Any:
    """Return the n real numbers (..., n) whose ``rfft`` is ``data`` (..., n // 2 + 1).

    ``n`` is 2 (m - 1), the default, or 2 m - 1 for data of length m. Imaginary parts of the first number, and for an
    even n of the last one, are taken as zero. Raises ArgumentError for another n, else like ``ifft``.

    >>> irfft([0.0, 2.0, 0.0]).tolist()
    [1.0, 0.0, -1.0, 0.0]
    """
    return _transform("signal.irfft", _irfft, data, on, n=n, norm=norm)


def _transform(where: str, twin: Callable[..., Any], data: Any, on: str | Device | None, **options: Any) -> Any:
    """Return what a transform of tensors makes; ArgumentError for a tensor that may be meant as pairs of parts."""
    if isinstance(data, Tensor) and data.shape[-1:] == (2,) and not data.dtype.is_complex:
        raise ArgumentError(
            where, "a last axis of 2 real numbers may be one complex number", expected="complex numbers",
            got=data.recipe(),
            remedy="Write tensor.view_as_complex(x) for pairs (re, im), x.astype('c64') for rows of two",
        )  # fmt: skip
    return answer(where, twin, [data], {"on": on, **options}, complexes=True)


def _irfft(x: Tensor, *, n: int | None, norm: str) -> Tensor:
    m = x.shape[-1] if x.ndim else 0
    if m and n is not None and whole(n, "signal.irfft, n", least=1) // 2 + 1 != m:
        raise ArgumentError(
            "signal.irfft, n", f"data has {m} numbers", expected=f"{2 * m - 2} or {2 * m - 1}", got=n,
            remedy="Cut or pad data to n // 2 + 1",
        )  # fmt: skip
    return transforms.irfft(x, n=n, norm=norm)
