"""Products of int8 layers at inference: sums, bias, rounding and relu as one kernel, over weights packed once.

Layer: nn. Invariant: the integers are those of ``record.IntegerPass.place`` over ``record.product``; where a sum could
leave i32 the layer is recorded as it is trained.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from loom import tensor
from loom.core.arrays import Array
from loom.core.dtype import i8
from loom.kernels.matmul.integers import EACH
from loom.nn.integer.record import HELD, IntegerPass, Quantity, most_of
from loom.nn.integer.weights import shift_by
from loom.schedules.matmul.integers import IntegerProduct, record_integers
from loom.tensor import Tensor
from loom.tensor.record.graph import NodeKind, TensorOp, make

__all__ = ["multiply_and_round"]

_MOST_SUM = 1 << 30
_MOST_SHIFT = 29


def _record(node: Any, draft: Any, operands: Any, out: Any) -> None:
    if node.size:
        record_integers(draft, operands[0].buffer, out, node.shape[0], node.attributes[0], node.dtype)


PRODUCT = TensorOp("integer_product", NodeKind.KERNEL, record=_record)


def multiply_and_round(
    rec: IntegerPass, x: Quantity, rows: Callable[[], Tensor], name: str, weights: Array, bits: int, *, relu: bool
) -> Quantity | None:
    """Return rounded sums (rows, n) of ``rows``, (rows, k) of ``x``, and int8 ``weights`` (k, n), or None."""
    held = rec.weights[f"{name}.weight"]
    if rec.kind != "infer" or x.q.dtype != i8 or held.q.dtype != i8:
        return None
    assert isinstance(x.e, int)
    assert isinstance(held.e, int)
    e = x.e + held.e
    shift = max(rec.exponent_of_output(name) - e, 0)
    bias = np.zeros(weights.shape[1], np.int64)
    if f"{name}.bias" in rec.weights:
        own = rec.weights[f"{name}.bias"]
        assert isinstance(own.e, int)
        bias = shift_by(own.q.numpy().astype(np.int64), own.e - e)
    bound = np.abs(weights.astype(np.int64)).sum(0) * most_of(7) + np.abs(bias)
    if shift > _MOST_SHIFT or int(bound.max(initial=0)) >= _MOST_SUM:
        return None
    most = most_of(bits)
    what = IntegerProduct(weights, bias.astype(np.int32), shift, 0 if relu else -most, most)
    given = rows()
    rest = -len(weights) % EACH
    whole = tensor.pad(given, [(0, 0), (0, rest)]) if rest else given
    found: Any = make(PRODUCT, [whole], (given.shape[0], weights.shape[1]), HELD[bits], (what,))
    return Quantity(found, e + shift)
