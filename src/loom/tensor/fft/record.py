"""Fourier transforms as operations of the record, along the last axis; their derivatives are transforms.

Layer: tensor. The schedule is ``schedules.fft``, the one that ``loom.signal`` uses. Invariant: the bits are those of
``loom.signal``'s transforms of the same rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from loom.core.dtype import complex_of
from loom.kernels.fft.stages import Form
from loom.schedules.fft import Ends, Signals, record_inverse_real, record_real, record_transform
from loom.tensor.ops.elementwise import constant
from loom.tensor.ops.joining import concat
from loom.tensor.ops.parts import part_of
from loom.tensor.ops.views import broadcast_to
from loom.tensor.record.draft import BufferView, Draft
from loom.tensor.record.graph import Node, NodeKind, NodeT, TensorOp, make
from loom.tensor.record.vjps import derivative

__all__ = ["from_half", "to_half", "transform"]


def _job(node: Node, draft: Draft, n: int) -> Signals:
    return Signals(draft, draft.home, node.dtype.part, node.size // n)


def _record_transform(node: Node, draft: Draft, operands: Sequence[BufferView], out: Any) -> None:
    inverse, scale = node.attributes
    n, source = node.shape[-1], Form.PAIRS if node.inputs[0].dtype.is_complex else Form.REAL
    ends = Ends(source, Form.PAIRS, swap_in=inverse, swap_out=inverse)
    record_transform(_job(node, draft, n), operands[0].buffer, out, n, ends, scale)


def _record_to_half(node: Node, draft: Draft, operands: Sequence[BufferView], out: Any) -> None:
    (scale,), n = node.attributes, node.inputs[0].shape[-1]
    record_real(_job(node, draft, n // 2 + 1), operands[0].buffer, out, n, Form.PAIRS, scale)


def _record_from_half(node: Node, draft: Draft, operands: Sequence[BufferView], out: Any) -> None:
    (scale,), n = node.attributes, node.shape[-1]
    record_inverse_real(_job(node, draft, n), operands[0].buffer, out, n, Form.PAIRS, scale)


TRANSFORM = TensorOp("fft", NodeKind.KERNEL, record=_record_transform, takes_complex=True)
TO_HALF = TensorOp("rfft", NodeKind.KERNEL, record=_record_to_half, takes_complex=True)
FROM_HALF = TensorOp("irfft", NodeKind.KERNEL, record=_record_from_half, takes_complex=True)


def transform(x: NodeT, scale: float, *, inverse: bool) -> NodeT:
    """Return the transform of rows, complex or real ones of f32 or f64, times ``scale``."""
    return make(TRANSFORM, [x], x.shape, complex_of(x.dtype), (inverse, scale))


def to_half(x: NodeT, scale: float) -> NodeT:
    """Return the n // 2 + 1 first numbers of the transform of real rows of n, times ``scale``."""
    return make(TO_HALF, [x], (*x.shape[:-1], x.shape[-1] // 2 + 1), complex_of(x.dtype), (scale,))


def from_half(x: NodeT, n: int, scale: float) -> NodeT:
    """Return the n real numbers whose transform begins with rows of n // 2 + 1, times n ``scale``."""
    return make(FROM_HALF, [x], (*x.shape[:-1], n), x.dtype.part, (scale,))


@derivative(TRANSFORM)
def _transform(node: Any, g: Any) -> list[Any]:
    inverse, scale = node.attributes
    found = transform(g, scale, inverse=not inverse)
    return [found if node.inputs[0].dtype.is_complex else part_of(found, 0)]


@derivative(TO_HALF)
def _to_half(node: Any, g: Any) -> list[Any]:
    n = node.inputs[0].shape[-1]
    return [from_half(_weigh(g, n, 0.5), n, node.attributes[0])]


@derivative(FROM_HALF)
def _from_half(node: Any, g: Any) -> list[Any]:
    return [_weigh(to_half(g, node.attributes[0]), g.shape[-1], 2.0)]


def _weigh(half: Any, n: int, factor: float) -> Any:
    """Return half a spectrum with those numbers times a factor that stand for two of the whole."""
    count, like = n // 2 + 1, part_of(half, 0)
    own = 1 + (n % 2 == 0 and n > 1)
    runs = [(1, 1.0), (count - own, factor), (own - 1, 1.0)]
    parts = [broadcast_to(constant(value, like.dtype, like), (size,)) for size, value in runs if size]
    return half * concat(parts)
