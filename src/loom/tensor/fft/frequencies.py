"""Frequencies of spectra, and spectra with frequency 0 in the middle. Layer: tensor.

Invariant: frequency k of n with spacing d is k / (n d), computed in f64 and rounded once.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from loom.core.dtype import dtype_of
from loom.core.errors import DTypeError
from loom.core.numbers import real, whole
from loom.tensor.arrays.tensor import Tensor, array
from loom.tensor.ops.joining import concat
from loom.tensor.ops.views import normal_axes, take_slices

__all__ = ["fftfreq", "fftshift", "ifftshift", "rfftfreq"]


def fftfreq(n: int, /, *, d: float = 1.0, dtype: Any = None, device: Any = None) -> Tensor:
    """Return the n frequencies of ``fft``, in cycles per unit of the spacing ``d``: 0 first, negative ones last.

    ``dtype``: f32 (None) or f64.

    >>> fftfreq(4, d=0.5).tolist()
    [0.0, 0.5, -1.0, -0.5]
    """
    n = whole(n, "fft.fftfreq, n", least=1)
    return _scale(np.concatenate([np.arange((n + 1) // 2), np.arange(-(n // 2), 0)]), n, d, dtype, device, "fftfreq")


def rfftfreq(n: int, /, *, d: float = 1.0, dtype: Any = None, device: Any = None) -> Tensor:
    """Return the n // 2 + 1 frequencies of ``rfft``, as ``fftfreq`` does.

    >>> rfftfreq(4, d=0.5).tolist()
    [0.0, 0.5, 1.0]
    """
    n = whole(n, "fft.rfftfreq, n", least=1)
    return _scale(np.arange(n // 2 + 1), n, d, dtype, device, "rfftfreq")


def _scale(k: Any, n: int, d: float, dtype: Any, device: Any, name: str) -> Tensor:
    wanted = dtype_of("f32" if dtype is None else dtype, f"fft.{name}, dtype")
    if not wanted.is_float:
        raise DTypeError(f"fft.{name}, dtype", "frequencies are floats", expected="f32 or f64", got=wanted,
                         remedy="Leave dtype out")  # fmt: skip
    spacing = real(d, f"fft.{name}, d")
    with np.errstate(all="ignore"):
        return array(k / (n * np.float64(spacing)), wanted, on=device)


def fftshift(x: Tensor, /, *, axes: Any = None) -> Tensor:
    """Return a spectrum with frequency 0 in the middle of axes (None: all).

    >>> from loom import tensor
    >>> fftshift(tensor.array([0, 1, 2, -2, -1])).tolist()
    [-2, -1, 0, 1, 2]
    """
    return _shift(x, axes, "fft.fftshift", back=False)


def ifftshift(x: Tensor, /, *, axes: Any = None) -> Tensor:
    """Return what ``fftshift`` made as it was.

    >>> from loom import tensor
    >>> ifftshift(tensor.array([-2, -1, 0, 1, 2])).tolist()
    [0, 1, 2, -2, -1]
    """
    return _shift(x, axes, "fft.ifftshift", back=True)


def _shift(x: Tensor, axes: Any, where: str, *, back: bool) -> Tensor:
    for axis in normal_axes(x, axes, where):
        n = x.shape[axis]
        at = n // 2 if back else n - n // 2
        if 0 < at < n:
            starts = [at if a == axis else 0 for a in range(x.ndim)]
            sizes = [(*x.shape[:axis], m, *x.shape[axis + 1 :]) for m in (n - at, at)]
            step = [1] * x.ndim
            x = concat([take_slices(x, starts, step, sizes[0]), take_slices(x, [0] * x.ndim, step, sizes[1])], axis)
    return x
