"""Operators between floats and quantised whole numbers.

Layer: onnx. Invariant: rounded half to even, then saturated, as ONNX says; whole numbers exactly.
"""

from __future__ import annotations

from loom import tensor as lt
from loom.onnx.registry import Made, NodeCall, operator
from loom.tensor.arrays.tensor import Tensor

__all__: list[str] = []


def _spread(call: NodeCall, part: Tensor, x: Tensor) -> Tensor:
    """Return scales or zero points as they go with the elements: one, one along an axis, or one for each block."""
    axis, block = call.integer("axis", 1), call.integer("block_size", 0)
    if part.ndim == 0 or (part.ndim == 1 and part.shape[0] == 1 and not block):
        return lt.reshape(part, ())
    axis = call.axis(axis, x.ndim)
    if not block:
        if part.ndim != 1 or part.shape[0] != x.shape[axis]:
            raise call.refusal("not a scale for each part", expected=x.shape[axis], got=part.shape)
        return lt.reshape(part, (-1, *(1,) * (x.ndim - 1 - axis)))
    cut = tuple(slice(0, n) for n in x.shape)
    return lt.repeat(part, block, axis=axis)[cut]


@operator("QuantizeLinear", since=10, ignores=("saturate",))
def _quantize_linear(call: NodeCall, x: Tensor, scale: Tensor, zero: Tensor | None) -> Made:
    asked = call.element("output_dtype", 0) if call.integer("output_dtype", 0) else None
    held = call.element("precision") if call.integer("precision", 0) else None
    dtype = zero.dtype if zero is not None else asked or lt.uint8
    wide = held or (lt.float32 if x.dtype.bits < 64 else x.dtype)
    spread = _spread(call, lt.cast(scale, wide), x)
    whole = lt.round(lt.cast(x, wide) / spread)
    if zero is not None:
        whole = whole + _spread(call, lt.cast(zero, wide), x)
    return lt.cast(lt.clip(whole, dtype.minimum, dtype.maximum), dtype)


@operator("DequantizeLinear", since=10)
def _dequantize_linear(call: NodeCall, x: Tensor, scale: Tensor, zero: Tensor | None) -> Made:
    asked = call.element("output_dtype") if call.integer("output_dtype", 0) else None
    whole = lt.cast(x, "i32")
    if zero is not None:
        whole = whole - _spread(call, lt.cast(zero, "i32"), x)
    found = lt.cast(whole, "f32") * _spread(call, lt.cast(scale, "f32"), x)
    return lt.cast(found, asked or scale.dtype)
