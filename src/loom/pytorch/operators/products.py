"""Products of matrices: layers, sums of products, contractions.

Layer: pytorch. Invariant: an element is added in the order of docs/numerics.md, section 2, then the bias.
"""

from __future__ import annotations

from loom import tensor as lt
from loom.importers.promotion import cast, number, wide
from loom.pytorch.registry import Made, OpCall, operator
from loom.tensor.arrays.tensor import Tensor

__all__: list[str] = []


@operator("linear")
def _linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Made:
    found = lt.matmul(x, weight, transpose_b=weight.ndim > 1, out_dtype=x.dtype)
    return found if bias is None else found + bias


@operator("mm", "bmm", "matmul", "mv", "dot", "vdot", "inner")
def _matmul(call: OpCall) -> Made:
    other = {"mm": "mat2", "bmm": "mat2", "mv": "vec", "dot": "tensor"}.get(call.base, "other")
    a, b = call.tensor(), call.tensor(other)
    if call.base == "vdot" and a.dtype.is_complex:
        a = lt.conj(a)
    if call.base == "inner":
        return lt.matmul(a, b, transpose_b=b.ndim > 1, out_dtype=a.dtype) if a.ndim and b.ndim else a * b
    return lt.matmul(a, b, out_dtype=a.dtype)


@operator("addmm", "baddbmm", "addmv", "addbmm", "addr")
def _addmm(call: OpCall, x: Tensor) -> Made:
    names = {"addmm": ("mat1", "mat2"), "addmv": ("mat", "vec"), "addr": ("vec1", "vec2")}.get(
        call.base, ("batch1", "batch2")
    )
    a, b = (call.tensor(n) for n in names)
    beta, alpha = call.value("beta", 1), call.value("alpha", 1)
    made = lt.reshape(a, (-1, 1)) * b if call.base == "addr" else lt.matmul(a, b, out_dtype=a.dtype)
    if call.base == "addbmm":
        made = lt.sum(made, axis=0)
    made = made if alpha == 1 else made * number(alpha, made.dtype)
    return made if beta == 0 else made + (x if beta == 1 else x * number(beta, x.dtype))


@operator("outer", "ger")
def _outer(a: Tensor, b: Tensor) -> Made:
    return lt.reshape(a, (-1, 1)) * b


@operator("einsum", ignores=("path",))
def _einsum(call: OpCall) -> Made:
    given = call.tensors()
    return lt.cast(lt.einsum(call.value("equation"), *given), given[0].dtype)


@operator("tensordot")
def _tensordot(call: OpCall, a: Tensor, b: Tensor) -> Made:
    axes = tuple(call.axes("dims_self", a.ndim) or ()), tuple(call.axes("dims_other", b.ndim) or ())
    return lt.cast(lt.tensordot(a, b, axes=axes), a.dtype)


@operator("bilinear", "_trilinear")
def _bilinear(call: OpCall) -> Made:
    if call.base == "_trilinear":
        raise call.refusal("it is not done", expected="bilinear")
    a, b, weight = (call.tensor(n) for n in ("input1", "input2", "weight"))
    bias = call.maybe("bias")
    found = lt.einsum("...i,kij,...j->...k", a, weight, b)
    return found if bias is None else found + bias


@operator("cdist", "_cdist_forward", ignores=("compute_mode",))
def _cdist(call: OpCall) -> Made:
    a, b = call.tensor("x1"), call.tensor("x2")
    return lt.cdist(a, b, call.real("p", 2))


@operator("cosine_similarity")
def _cosine_similarity(call: OpCall, a: Tensor, b: Tensor) -> Made:
    shape = a if a.ndim >= b.ndim else b
    a, b = lt.broadcast_arrays(wide(a), wide(b))
    return cast(lt.cosine_similarity(a, b, call.axis("dim", shape.ndim, 1), call.real("eps", 1e-8)), call.out)


@operator("pairwise_distance")
def _pairwise_distance(call: OpCall, a: Tensor, b: Tensor) -> Made:
    return lt.pairwise_distance(a, b, call.real("p", 2), call.real("eps", 1e-6), keepdims=call.flag("keepdim"))


@operator("linalg_cross", "cross")
def _cross(call: OpCall, a: Tensor, b: Tensor) -> Made:
    return lt.linalg.cross(a, b, axis=call.axis("dim", a.ndim, -1))
