"""``gpu_segment_scan``: running operations that start anew with each segment.

Layer: patterns. Invariant: a result depends on the elements of its own segment and on the positions of marks.
"""

from __future__ import annotations

from typing import Any

from loom.core.errors import DTypeError, ShapeError
from loom.core.given import flag
from loom.patterns.operand_kinds import require_ndim
from loom.patterns.own_operations import Operation
from loom.patterns.scan import check_operation
from loom.patterns.tensor_rows import row
from loom.runtime.port.device import Device
from loom.schedules.axis import Rows
from loom.schedules.scan import record_marks, record_scan, scanning_of
from loom.tensor import Tensor
from loom.tensor.record.draft import Draft
from loom.tensor.record.graph import Node

__all__ = ["gpu_segment_scan"]


def _record(draft: Draft, node: Node, data: Any, ids: Any, out: Any) -> None:
    n, marks = node.size, node.inputs[1].dtype
    if n:
        begins = ids if marks.is_bool else record_marks(draft, ids, marks, n)
        (scanning,) = node.attributes[0]
        record_scan(draft, data, out, Rows(1, n), scanning, begins)


_SCAN = Operation("gpu_segment_scan", _record)


def _scan(x: Tensor, marks: Tensor, op: str = "sum", *, exclusive: bool = False) -> Tensor:
    before = flag(exclusive, "gpu_segment_scan, exclusive")
    require_ndim(x, 1, "gpu_segment_scan")
    require_ndim(marks, 1, "gpu_segment_scan, segments")
    check_operation(op, "gpu_segment_scan")
    if marks.dtype.is_float and marks.size:
        raise DTypeError("gpu_segment_scan, segments", "neither marks nor numbers of segments",
                         expected="bools or integers", got=marks.dtype, remedy="Convert them")  # fmt: skip
    if marks.size != x.size:
        raise ShapeError("gpu_segment_scan, segments", "another length than data", expected=x.size, got=marks.size,
                         remedy="Give one for each element")  # fmt: skip
    scanning = scanning_of(op, x.dtype, exclusive=before)
    return _SCAN([x, marks], x.shape, scanning.result, scanning)


@row(_scan, 2, apart=(1,))
def gpu_segment_scan(
    data: Any, segments: Any, op: str = "sum", *, exclusive: bool = False, on: str | Device | None = None
) -> Any:
    """Return the running ``op`` ("sum", "product", "min", "max") of a vector, anew in each segment.

    ``segments`` has the length of ``data``: bools mark the first element of each segment (the first element of
    all begins one anyway); integers are numbers of segments, and a new one begins where a number differs from the
    one before it. With ``exclusive`` each segment starts from the identity. Dtypes, identities and NaN as for
    ``gpu_scan``: a NaN lasts until its segment ends.

    Order of floats: the tree of ``gpu_scan`` over pairs (mark, value) with the operator
    (f, a) . (g, b) = (f or g, b if g else a op b); the tree does not move with the segments, so that the bits of
    a segment depend on where it begins. Raises ShapeError for other shapes, DTypeError for marks that are floats,
    ArgumentError for another ``op``.

    >>> gpu_segment_scan([1, 2, 3, 4], [7, 7, 9, 9]).tolist()
    [1, 3, 3, 7]
    >>> gpu_segment_scan([1, 2, 3, 4], [True, False, True, False], exclusive=True).tolist()
    [0, 1, 0, 3]
    """
