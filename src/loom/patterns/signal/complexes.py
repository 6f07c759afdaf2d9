"""Complex arrays at the border: numpy's in and out, and tensors.

Layer: patterns. Kernels have no complex numbers: numpy's are viewed as pairs of floats, without a copy. Transforms of
tensors are recorded as ``tensor.fft`` does. Invariant: the elements are never changed here but converted.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from loom.core.arrays import read_complex
from loom.core.conversions import widen
from loom.core.dtype import DType, f32, f64
from loom.core.errors import ArgumentError, DTypeError
from loom.kernels.types import real_type
from loom.patterns.calling.call import Call, Operand
from loom.runtime.port.device import Device
from loom.runtime.registry import device
from loom.tensor import Tensor

__all__ = ["complex_input", "complex_result", "complex_rows", "real_input", "real_rows"]

_PAIR_NBYTES = 8


def complex_input(call: Call, data: Any, where: str) -> Operand:
    """Return complex (or real) numbers as an operand of f32 or f64 in pairs, its last dimension of 2.

    complex64, float32 and float16 become f32; complex128, float64, integers and bools f64.
    """
    array = read_complex(data, where)
    if array is None:
        real = real_input(call, data)
        pairs = np.zeros((*real.shape, 2), real.dtype.numpy)
        pairs[..., 0] = real.memory
        return _aligned(call.input(pairs))
    return _aligned(call.input(array.reshape(-1).view(array.real.dtype).reshape(*array.shape, 2)))


def real_input(call: Call, data: Any, what: str = "data") -> Operand:
    """Return real numbers as an operand of f32 (from f16, bf16 and f32) or f64 (from integers and bools too)."""
    found = call.input(data, what)
    if found.dtype in (f32, f64):
        return _aligned(found)
    wide = widen(found.memory, found.dtype)
    return call.input(wide.astype(real_type(found.dtype).numpy), what)


def _aligned(operand: Operand) -> Operand:
    """Return an operand whose pairs start at multiples of their size, as kernels read both floats at once."""
    if operand.in_host and operand.memory.ctypes.data % _PAIR_NBYTES:
        return Operand(operand.memory.copy(), operand.dtype, operand.storage)
    return operand


def complex_result(call: Call, out: Operand) -> Any:
    """Return pairs to the caller as a complex numpy array."""
    return call.result(out).view(complex_numpy(out.dtype))[..., 0]


def real_rows(x: Tensor, on: str | Device | None, where: str) -> Tensor:
    """Return a tensor of f32 or f64; DTypeError for another, ArgumentError for one on another device than is named."""
    if x.dtype not in (f32, f64):
        raise DTypeError(where, "unsupported dtype", expected="f32 or f64", got=x.dtype, remedy="Convert with astype")
    return _placed(x, on, where)


def complex_rows(x: Tensor, on: str | Device | None, where: str) -> Tensor:
    """Return a tensor of complex numbers, or a real one that cannot be meant as pairs of parts; errors as above."""
    found = _placed(x, on, where) if x.dtype.is_complex else real_rows(x, on, where)
    if x.shape[-1:] == (2,) and not x.dtype.is_complex:
        raise ArgumentError(
            where, "a last axis of 2 real numbers may be one complex number", expected="complex numbers",
            got=x.recipe(),
            remedy="Write tensor.view_as_complex(x) for pairs (re, im), x.astype('c64') for rows of two",
        )  # fmt: skip
    return found


def _placed(x: Tensor, on: str | Device | None, where: str) -> Tensor:
    if on is not None and x.device is not None and device(on) is not x.device:
        raise ArgumentError(where, "the tensor is on another device", expected=device(on).name, got=x.device.name,
                            remedy="Copy it with tensor.array(x, on=..)")  # fmt: skip
    return x


def complex_numpy(element: DType) -> np.dtype[Any]:
    """Return numpy's complex dtype of two such floats."""
    return np.dtype(np.complex64 if element == f32 else np.complex128)
