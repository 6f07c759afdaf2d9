"""Operators that multiply: matrices, einsum, determinants, attention's parts by their bodies.

Layer: onnx. Invariant: products of integers are exact, those of floats in Loom's order.
"""

from __future__ import annotations

from typing import Any

from loom import tensor as lt
from loom.onnx.registry import Made, NodeCall, operator
from loom.tensor.arrays.tensor import Tensor

__all__: list[str] = []


def integer_product(a: Tensor, b: Tensor) -> Tensor:
    """Return the product of whole numbers in i32, as ONNX has it."""
    return lt.matmul(lt.cast(a, "i32"), lt.cast(b, "i32"), out_dtype="i32")


@operator("MatMul")
def _matmul(call: NodeCall, a: Tensor, b: Tensor) -> Made:
    if not a.ndim or not b.ndim or a.shape[-1] != b.shape[-2 if b.ndim > 1 else 0]:
        raise call.refusal("the shapes do not fit", expected="a[.., k] and b[.., k, n]", got=f"{a.shape}, {b.shape}")
    return lt.matmul(a, b)


@operator("Gemm", since=1, ignores=("broadcast",))
def _gemm(call: NodeCall, a: Tensor, b: Tensor, c: Tensor | None) -> Made:
    alpha, beta = call.real("alpha", 1.0), call.real("beta", 1.0)
    if a.ndim != 2 or b.ndim != 2:
        raise call.refusal("not matrices", expected=2, got=(a.ndim, b.ndim))
    found = lt.matmul(a, b, transpose_a=call.flag("transA"), transpose_b=call.flag("transB"))
    found = found if alpha == 1 else _scale(call, found, alpha)
    if c is None:
        return found
    return found + (c if beta == 1 else _scale(call, c, beta))


def _scale(call: NodeCall, x: Tensor, factor: float) -> Tensor:
    if x.dtype.is_float:
        return x * factor
    if factor != int(factor):
        raise call.refusal("a fraction of whole numbers", expected="a whole factor", got=factor)
    return x * int(factor)


@operator("Einsum", since=12)
def _einsum(call: NodeCall) -> Made:
    return lt.einsum(call.text("equation", "").replace(" ", ""), *call.tensors())


operator("Det", since=11)(lt.linalg.det)


@operator("MatMulInteger", since=10)
def _matmul_integer(call: NodeCall) -> Made:
    a, b = lt.cast(call.tensor(0), "i32"), lt.cast(call.tensor(1), "i32")
    zero_a, zero_b = call.maybe(2), call.maybe(3)
    if zero_a is not None:
        a = a - _along(lt.cast(zero_a, "i32"), rows=True)
    if zero_b is not None:
        b = b - lt.cast(zero_b, "i32")
    return integer_product(a, b)


def _along(zero: Tensor, *, rows: bool) -> Tensor:
    return lt.expand_dims(zero, -1) if rows and zero.ndim == 1 and zero.shape[0] > 1 else zero


@operator("QLinearMatMul", since=10)
def _qlinear_matmul(call: NodeCall) -> Made:
    a, sa, za, b, sb, zb, sy, zy = (call.tensor(i) for i in range(8))
    left = lt.cast(a, "i32") - _along(lt.cast(za, "i32"), rows=True)
    right = lt.cast(b, "i32") - lt.cast(zb, "i32")
    found: Any = integer_product(left, right)
    scale = lt.cast(_along(sa, rows=True), "f32") * lt.cast(sb, "f32") / lt.cast(sy, "f32")
    whole = lt.round(lt.cast(found, "f32") * scale) + lt.cast(zy, "f32")
    return lt.cast(lt.clip(whole, zy.dtype.minimum, zy.dtype.maximum), zy.dtype)
