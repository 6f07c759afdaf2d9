"""Complex arrays at the border: numpy's in and out, and pairs of floats for arrays on a device.

Layer: patterns. Kernels have no complex numbers: a tensor of floats holds them as pairs, in a last dimension of 2;
numpy arrays are viewed so, without a copy; tensors of c64 and c128 are recorded as ``tensor.fft`` does. Invariant: the
elements are never changed here but converted.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from loom.core.arrays import read_complex
from loom.core.conversions import widen
from loom.core.dtype import DType, f32, f64
from loom.core.errors import ArgumentError, ShapeError
from loom.patterns.calling.call import Call, Operand
from loom.runtime.device import Device
from loom.runtime.registry import device
from loom.tensor import Tensor

__all__ = ["complex_input", "complex_result", "placed", "real_input"]

_PAIR_NBYTES = 8


def complex_input(call: Call, data: Any, where: str) -> Operand:
    """Return complex (or real) numbers as an operand of f32 or f64 in pairs, its last dimension of 2.

    complex64, float32 and float16 become f32; complex128, float64, integers and bools f64.
    """
    if isinstance(data, Tensor):
        found = call.input(data, allowed=(f32, f64))
        if not found.shape or found.shape[-1] != 2:
            raise ShapeError(
                where, "complex numbers on a device are pairs (re, im)", expected="a last dimension of 2",
                got=found.shape, remedy="Stack the parts along a last axis",
            )  # fmt: skip
        return found
    array = read_complex(data, where)
    if array is None:
        real = real_input(call, data)
        pairs = np.zeros((*real.shape, 2), real.dtype.numpy)
        pairs[..., 0] = real.memory
        return _aligned(call.input(pairs))
    return _aligned(call.input(array.reshape(-1).view(array.real.dtype).reshape(*array.shape, 2)))


def real_input(call: Call, data: Any, what: str = "data") -> Operand:
    """Return real numbers as an operand of f32 (from f16, bf16 and f32) or f64 (from integers and bools too)."""
    if isinstance(data, Tensor):
        return call.input(data, what, allowed=(f32, f64))
    found = call.input(data, what)
    if found.dtype in (f32, f64):
        return _aligned(found)
    wide = widen(found.memory, found.dtype)
    return call.input(wide.astype(np.float32 if found.dtype.storage_only else np.float64), what)


def _aligned(operand: Operand) -> Operand:
    """Return an operand whose pairs start at multiples of their size, as kernels read both floats at once."""
    if operand.in_host and operand.memory.ctypes.data % _PAIR_NBYTES:
        return Operand(operand.memory.copy(), operand.dtype, operand.storage)
    return operand


def complex_result(call: Call, out: Operand) -> Any:
    """Return pairs to the caller: a tensor of pairs if an input was one, else a complex numpy array."""
    found = call.result(out)
    if isinstance(found, Tensor):
        return found
    return found.view(complex_numpy(out.dtype))[..., 0]


def placed(x: Tensor, on: str | Device | None, where: str) -> Tensor:
    """Return a tensor; ArgumentError if it is on another device than the one named."""
    if on is not None and x.device is not None and device(on) is not x.device:
        raise ArgumentError(where, "the tensor is on another device", expected=device(on).name, got=x.device.name,
                            remedy="Copy it with tensor.array(x, on=..)")  # fmt: skip
    return x


def complex_numpy(element: DType) -> np.dtype[Any]:
    """Return numpy's complex dtype of two such floats."""
    return np.dtype(np.complex64 if element == f32 else np.complex128)
