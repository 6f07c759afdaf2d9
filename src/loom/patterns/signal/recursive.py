"""``lfilter``, ``sosfilt``, ``filtfilt``: recursive (IIR) filters.

Layer: patterns. One lane follows one row, as each result needs those before it. Invariant: a row gives the bits it
gives alone.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from loom.core.arrays import read_array
from loom.core.conversions import convert
from loom.core.dtype import f32, f64
from loom.core.errors import ArgumentError, ShapeError
from loom.kernels.fft.recursive import filter_recursively
from loom.kernels.fft.stages import LANES
from loom.kernels.maps.nest import number
from loom.patterns.array_calls import Arrays
from loom.patterns.axis import rows_of
from loom.patterns.given import as_given, read_any
from loom.patterns.operand_kinds import require_dtype
from loom.patterns.own_operations import Operation
from loom.patterns.signal.design import MOST_ORDER
from loom.patterns.tensor_rows import answer
from loom.runtime.port.device import Device
from loom.tensor import Tensor
from loom.tensor.ops.elementwise import cast
from loom.tensor.ops.joining import copy_into, fill
from loom.tensor.record.draft import BufferView, Draft
from loom.tensor.record.graph import Node
from loom.tensor.record.layout import row_major

__all__ = ["filtfilt", "lfilter", "sosfilt"]


def lfilter(b: Any, a: Any, data: Any, *, axis: int = -1, on: str | Device | None = None) -> Any:
    """Return ``data`` filtered along an axis: a[0] y[i] = sum of b[k] x[i - k] minus sum of a[k] y[i - k].

    ``b`` and ``a``: up to 65 numbers, divided by a[0] in f64 and rounded to the dtype once. ``data``: f32 or f64 of any
    shape; elements before the first are zero. The transposed direct form II, as in scipy. ArgumentError, DTypeError.

    >>> lfilter([1.0], [1.0, -0.5], [1.0, 0.0, 0.0]).tolist()
    [1.0, 0.5, 0.25]
    """
    return _filter("signal.lfilter", data, axis, on, *_ratio("signal.lfilter", b, a))


def sosfilt(sos: Any, data: Any, *, axis: int = -1, on: str | Device | None = None) -> Any:
    """Return ``data`` filtered by second-order sections (n, 6), rows of b0 b1 b2 a0 a1 a2, one after the other.

    >>> sosfilt([[1.0, 0.0, 0.0, 1.0, -0.5, 0.0]], [1.0, 0.0, 0.0]).tolist()
    [1.0, 0.5, 0.25]
    """
    where = "signal.sosfilt"
    sections = _numbers(sos, f"{where}, sos")
    if sections.ndim != 2 or sections.shape[1] != 6 or not len(sections):
        raise ShapeError(f"{where}, sos", "not sections", expected="(n, 6)", got=sections.shape,
                         remedy='Take those of butter(.., output="sos")')  # fmt: skip
    found: Any = data
    for section in sections:
        found = _filter(where, found, axis, on, *_ratio(where, section[:3], section[3:]))
    return found


def filtfilt(b: Any, a: Any, data: Any, *, axis: int = -1, on: str | Device | None = None) -> Any:
    """Return ``data`` filtered forwards and then backwards, so that no frequency is delayed.

    The ends are prolonged by 3 max(len(a), len(b)) elements, mirrored about the end points, and the filter starts in
    the state of a constant signal, as in scipy (F. Gustafsson, 1996). ShapeError for a signal that is not longer.
    """
    where = "signal.filtfilt"
    call = Arrays(where, on, data)
    x, dtype = read_any(where, data, on)
    require_dtype(dtype, (f32, f64), where)
    place = call.device if call.of_tensors else on
    top, bottom = _ratio(where, b, a)
    edge = 3 * len(top)
    along = rows_of(x.shape, axis, where)
    if along.n <= edge:
        raise ShapeError(where, "too short a signal", expected=f"more than {edge} elements", got=along.n,
                         remedy="Use lfilter, or a filter of a lower order")  # fmt: skip
    axis = axis % x.ndim
    rows = np.moveaxis(x, axis, 0)
    left, right = 2 * rows[:1] - rows[edge:0:-1], 2 * rows[-1:] - rows[-2 : -(edge + 2) : -1]
    long = np.moveaxis(np.concatenate([left, rows, right]), 0, axis)
    start = _resting(top, bottom)
    top, bottom = top.astype(x.dtype), bottom.astype(x.dtype)
    for backwards in (False, True):
        ends = np.take(long, [-1 if backwards else 0], axis).reshape(1, -1)
        state = start[:, None].astype(x.dtype) * ends
        long = _filter(where, np.ascontiguousarray(long), axis, place, top, bottom, state, backwards=backwards)
    cut = np.moveaxis(np.moveaxis(long, axis, 0)[edge:-edge], 0, axis)
    return as_given(data, np.ascontiguousarray(cut))


def _resting(b: np.ndarray[Any, Any], a: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return the state of a filter that a constant 1 has gone through for ever."""
    left = b[1:] - a[1:] * b[0]
    if not len(left):
        return left
    first = math.fsum(left.tolist()) / math.fsum(a.tolist())
    below = [math.fsum(a[: k + 1].tolist()) for k in range(len(left))]
    return np.array([below[k] * first - math.fsum(left[:k].tolist()) for k in range(len(left))])


def _numbers(given: Any, where: str) -> np.ndarray[Any, Any]:
    memory, found = read_array(given, where)
    return convert(memory, found, f64, where)


def _ratio(where: str, b: Any, a: Any) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Return numbers above and below, of one length, the first below being 1."""
    both = [np.atleast_1d(_numbers(side, f"{where}, {name}")) for side, name in ((b, "b"), (a, "a"))]
    for name, side in zip("ba", both, strict=True):
        if side.ndim != 1 or not 1 <= side.size <= MOST_ORDER + 1 or not np.isfinite(side).all():
            raise ArgumentError(f"{where}, {name}", "not a filter's numbers",
                                expected=f"1 to {MOST_ORDER + 1} finite numbers", got=repr(side.tolist())[:80],
                                remedy="Take second-order sections, and sosfilt")  # fmt: skip
    if both[1][0] == 0:
        raise ArgumentError(f"{where}, a", "the first number is zero", expected="any other", got=0.0,
                            remedy="Leave leading zeros out")  # fmt: skip
    size = max(side.size for side in both)
    above, below = (np.pad(side, (0, size - side.size)) / both[1][0] for side in both)
    return above, below


def _filter(
    where: str, data: Any, axis: int, on: str | Device | None, b: np.ndarray[Any, Any], a: np.ndarray[Any, Any],
    state: np.ndarray[Any, Any] | None = None, *, backwards: bool = False,
) -> Any:  # fmt: skip
    """Return data filtered along an axis, from a state (order, rows) or from rest."""
    order, options = len(a) - 1, {"axis": axis, "backwards": backwards, "feedback": bool(a[1:].any()), "on": on}
    names = ("data", "b", "a", "state")
    operands = [data, b, a] if state is None or not order else [data, b, a, state]
    return answer(where, _filter_rows, operands, options, names, apart=(1, 2, 3))


def _filter_rows(
    x: Tensor, b: Tensor, a: Tensor, state: Tensor | None = None, *, axis: int, backwards: bool,
    feedback: bool,
) -> Tensor:  # fmt: skip
    require_dtype(x.dtype, (f32, f64), "signal.lfilter")
    rows = rows_of(x.shape, axis, "signal.lfilter")
    held = [state] if state is not None else []
    return _RECURSIVE([x, cast(b, x.dtype), cast(a, x.dtype), *held], x.shape, x.dtype, rows, backwards, feedback)


def _record(draft: Draft, node: Node, x: Any, b: Any, a: Any, *others: Any) -> None:
    (rows, backwards, feedback), dtype, lanes = node.attributes[0], node.dtype, node.attributes[0][0].results
    if not node.size:
        return
    order = node.inputs[1].size - 1
    size, given = max(1, order * lanes), node.inputs[3:]
    state = draft.device.allocate(size * dtype.nbytes)  # the filter's to change
    if given:
        copy_into(draft, BufferView(others[0], row_major((size,))), state, (size,), (0,), (1,), dtype)
    else:
        fill(draft, state, size, number(0.0, dtype))
    params = [rows.n, rows.inner, lanes, order, int(backwards)]
    buffers = [x, others[-1], b, a, state]
    draft.dispatch(filter_recursively(dtype, feedback), buffers, params, groups=-(-lanes // LANES))


_RECURSIVE = Operation("lfilter", _record)
