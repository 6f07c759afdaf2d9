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
from loom.patterns.axis import rows_of
from loom.patterns.calling.call import Call, Operand
from loom.patterns.signal.design import MOST_ORDER
from loom.runtime.chain import Chain
from loom.runtime.memory.storage import HostSlot
from loom.runtime.port.device import Device

__all__ = ["filtfilt", "lfilter", "sosfilt"]


def lfilter(b: Any, a: Any, data: Any, *, axis: int = -1, on: str | Device | None = None) -> Any:
    """Return ``data`` filtered along an axis: a[0] y[i] = sum of b[k] x[i - k] minus sum of a[k] y[i - k].

    ``b`` and ``a``: up to 65 numbers, divided by a[0] in f64 and rounded to the dtype once. ``data``: f32 or f64 of any
    shape; elements before the first are zero. The transposed direct form II, as in scipy. ArgumentError, DTypeError.

    >>> lfilter([1.0], [1.0, -0.5], [1.0, 0.0, 0.0]).tolist()
    [1.0, 0.5, 0.25]
    """
    call = Call("signal.lfilter", on)
    return _filter(call, call.input(data, allowed=(f32, f64)), axis, *_ratio("signal.lfilter", b, a))


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
        call = Call(where, on)
        found = _filter(call, call.input(found, allowed=(f32, f64)), axis, *_ratio(where, section[:3], section[3:]))
    return found


def filtfilt(b: Any, a: Any, data: Any, *, axis: int = -1, on: str | Device | None = None) -> Any:
    """Return ``data`` filtered forwards and then backwards, so that no frequency is delayed.

    The ends are prolonged by 3 max(len(a), len(b)) elements, mirrored about the end points, and the filter starts in
    the state of a constant signal, as in scipy (F. Gustafsson, 1996). ShapeError for a signal that is not longer.
    """
    where = "signal.filtfilt"
    call = Call(where, on)
    x = call.input(data, allowed=(f32, f64))
    top, bottom = _ratio(where, b, a)
    edge = 3 * len(top)
    along = rows_of(x.shape, axis, where)
    if along.n <= edge:
        raise ShapeError(where, "too short a signal", expected=f"more than {edge} elements", got=along.n,
                         remedy="Use lfilter, or a filter of a lower order")  # fmt: skip
    axis = axis % len(x.shape)
    rows = np.moveaxis(x.memory, axis, 0)
    left, right = 2 * rows[:1] - rows[edge:0:-1], 2 * rows[-1:] - rows[-2 : -(edge + 2) : -1]
    long = np.moveaxis(np.concatenate([left, rows, right]), 0, axis)
    start = _resting(top, bottom)
    for backwards in (False, True):
        wide = Operand(np.ascontiguousarray(long), x.dtype)
        ends = np.take(long, [-1 if backwards else 0], axis).reshape(1, -1)
        inner = Call(where, on)
        state = (
            np.ascontiguousarray(start[:, None].astype(x.kind) * ends)
            if len(start)
            else np.zeros((0, ends.size), x.kind)
        )
        long = inner.result(_run(inner, wide, axis, top, bottom, state, backwards=backwards))
    cut = np.moveaxis(np.moveaxis(long, axis, 0)[edge:-edge], 0, axis)
    out = call.output(x.shape, x.dtype, like=x)
    out.write(np.ascontiguousarray(cut))
    return call.result(out)


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


def _filter(call: Call, x: Operand, axis: int, b: np.ndarray[Any, Any], a: np.ndarray[Any, Any]) -> Any:
    state = np.zeros((len(a) - 1, max(1, math.prod(x.shape) // max(1, rows_of(x.shape, axis, call.name).n))), x.kind)
    return call.result(_run(call, x, axis, b, a, state, backwards=False))


def _run(
    call: Call, x: Operand, axis: int, b: np.ndarray[Any, Any], a: np.ndarray[Any, Any], state: np.ndarray[Any, Any],
    *, backwards: bool,
) -> Operand:  # fmt: skip
    along = rows_of(x.shape, axis, call.name)
    out = call.output(x.shape, x.dtype, like=x)
    if not x.size:
        return out
    kind = np.dtype(x.dtype.numpy)
    order, lanes = len(a) - 1, along.results
    feedback = bool(a[1:].any())
    memory = state.astype(kind) if order else np.zeros(1, kind)
    given = [Operand(np.ascontiguousarray(side.astype(kind)), x.dtype) for side in (b, a)]

    def record(chain: Chain, *slots: HostSlot) -> None:
        params = [along.n, along.inner, lanes, order, int(backwards)]
        chain.dispatch(filter_recursively(x.dtype, feedback), slots, params, groups=-(-lanes // LANES))

    key = (call.name, x.dtype, x.size, along.n, along.inner, order, backwards, feedback)
    call.run(key, record, x, out, *given, Operand(memory, x.dtype))
    return out
