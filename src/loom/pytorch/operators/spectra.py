"""Fourier transforms, and numbers of two parts: complex ones made, taken apart, turned.

Layer: pytorch. Source: the docstrings of ``torch.fft``. Invariant: a transform is that of ``loom.tensor.fft``, of the
lengths, axes and norm that PyTorch tells.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from loom import tensor as lt
from loom.pytorch.registry import Made, OpCall, operator
from loom.tensor.arrays.tensor import Tensor

__all__: list[str] = []

operator("view_as_real")(lt.view_as_real)
operator("complex")(lt.complex)
_LINES = ("fft", "ifft", "rfft", "irfft", "hfft", "ihfft")
_PLANES = ("fft2", "ifft2", "rfft2", "irfft2", "fftn", "ifftn", "rfftn", "irfftn")


@operator(*(f"fft_{name}" for name in _LINES))
def _line(call: OpCall, x: Tensor) -> Made:
    n = call.integer("n") if call.has("n") else call.value("n")
    transform: Any = getattr(lt.fft, call.base.removeprefix("fft_"))
    return transform(x, n=n, axis=call.axis("dim", x.ndim, -1), norm=call.value("norm") or "backward")


@operator(*(f"fft_{name}" for name in _PLANES))
def _plane(call: OpCall, x: Tensor) -> Made:
    norm, name = call.value("norm") or "backward", call.base.removeprefix("fft_")
    sizes = call.integers("s") if call.has("s") else call.value("s")
    axes = call.axes("dim", x.ndim)
    if axes is None:
        axes = tuple(range(x.ndim - (x.ndim if sizes is None else len(sizes)), x.ndim))
    transform: Any = getattr(lt.fft, name.replace("2", "n"))
    if sizes is not None:
        last = 2 * (x.shape[axes[-1]] - 1) if name.startswith("irfft") else x.shape[axes[-1]]
        own = [*(x.shape[a] for a in axes[:-1]), last]
        sizes = [m if n == -1 else n for n, m in zip(sizes, own, strict=True)]
    return transform(x, s=sizes, axes=axes, norm=norm)


@operator("fft_fftshift", "fft_ifftshift")
def _shift(call: OpCall, x: Tensor) -> Made:
    axes = call.axes("dim", x.ndim) or tuple(range(x.ndim))
    move: Any = lt.fft.fftshift if call.base == "fft_fftshift" else lt.fft.ifftshift
    return move(x, axes=axes)


@operator("fft_fftfreq", "fft_rfftfreq")
def _frequencies(call: OpCall) -> Made:
    find: Any = np.fft.fftfreq if call.base == "fft_fftfreq" else np.fft.rfftfreq
    return lt.cast(call.array(find(call.integer("n"), call.real("d", 1.0))), call.out)


@operator("view_as_complex")
def _as_complex(x: Tensor) -> Made:
    return lt.complex(x[..., 0], x[..., 1])


@operator("polar")
def _polar(size: Tensor, angle: Tensor) -> Made:
    return lt.complex(size * angle.map("cos"), size * angle.map("sin"))


@operator("real", "imag", "angle")
def _part(call: OpCall, x: Tensor) -> Made:
    if not x.dtype.is_complex:
        if call.base == "angle":
            raise call.refusal("of real numbers", expected="complex ones", got=x.dtype)
        return x
    return getattr(lt, call.base)(x)


@operator("_conj", "conj", "conj_physical")
def _conj(x: Tensor) -> Made:
    return lt.conj(x) if x.dtype.is_complex else x
