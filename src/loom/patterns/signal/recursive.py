"""``lfilter``, ``sosfilt``, ``filtfilt``: recursive (IIR) filters, and ``butter``, which designs them.

Layer: patterns. One lane follows one row, as each result needs those before it. Invariant: a row gives the bits it
gives alone.
"""

from __future__ import annotations

import math
from typing import Any, cast

import numpy as np

from loom.core.arrays import read_array
from loom.core.conversions import convert
from loom.core.dtype import f32, f64
from loom.core.errors import ArgumentError, ShapeError, near_matches
from loom.core.given import is_array, is_list
from loom.core.numbers import real, whole
from loom.kernels.fft.recursive import filter_recursively
from loom.kernels.fft.stages import LANES
from loom.patterns.axis import rows_of
from loom.patterns.calling.call import Call, Operand
from loom.runtime.chain import Chain
from loom.runtime.device import Device
from loom.runtime.storage import HostSlot

__all__ = ["butter", "filtfilt", "lfilter", "sosfilt"]

_BANDS = ("lowpass", "highpass", "bandpass", "bandstop")
_MOST_ORDER = 64


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
        if side.ndim != 1 or not 1 <= side.size <= _MOST_ORDER + 1 or not np.isfinite(side).all():
            raise ArgumentError(f"{where}, {name}", "not a filter's numbers",
                                expected=f"1 to {_MOST_ORDER + 1} finite numbers", got=repr(side.tolist())[:80],
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
    memory = state.astype(kind) if order else np.zeros(1, kind)
    given = [Operand(np.ascontiguousarray(side.astype(kind)), x.dtype) for side in (b, a)]

    def record(chain: Chain, *slots: HostSlot) -> None:
        params = [along.n, along.inner, lanes, order, int(backwards)]
        chain.dispatch(filter_recursively(x.dtype), slots, params, groups=-(-lanes // LANES))

    key = (call.name, x.dtype, x.size, along.n, along.inner, order, backwards)
    call.run(key, record, x, out, *given, Operand(memory, x.dtype))
    return out


# design


def butter(order: int, cutoff: Any, band: str = "lowpass", *, rate: float = 2.0, output: str = "ba") -> Any:
    """Return a Butterworth filter (S. Butterworth, 1930): numbers b and a, or second-order sections (output="sos").

    ``cutoff``: the frequency of half the power, two of them for a band, between 0 and ``rate`` / 2. The analogue poles
    are moved by the bilinear transform, the frequencies being warped first. The numbers are those of this machine's
    library of mathematics, in f64: keep them where bits must not change. ArgumentError.

    >>> [side.round(4).tolist() for side in butter(1, 0.5)]
    [[0.5, 0.5], [1.0, -0.0]]
    """
    where = "signal.butter"
    n = whole(order, f"{where}, order", least=1)
    if n > _MOST_ORDER // 2:
        raise ArgumentError(f"{where}, order", "too high", expected=f"at most {_MOST_ORDER // 2}", got=n,
                            remedy="Filter twice")  # fmt: skip
    if not isinstance(band, str) or band not in _BANDS:
        raise ArgumentError(f"{where}, band", f"no band is called {band!r}", remedy=near_matches(str(band), _BANDS))
    if not isinstance(output, str) or output not in ("ba", "sos"):
        raise ArgumentError(
            f"{where}, output", "unknown", expected="'ba' or 'sos'", got=repr(output), remedy="Leave it out"
        )
    edges = _edges(where, cutoff, real(rate, f"{where}, rate"), 1 if band in _BANDS[:2] else 2)
    zeros, poles, gain = _digital(*_analogue(n, band, 4 * cast("Any", np.tan)(np.pi * edges / 2)))
    if output == "sos":
        return _sections(zeros, poles, gain)
    return np.real(gain * np.poly(zeros)), np.real(np.poly(poles))


def _edges(where: str, cutoff: Any, rate: float, count: int) -> np.ndarray[Any, Any]:
    given = cast("list[Any]", cutoff if is_list(cutoff) or is_array(cutoff) else [cutoff])
    edges = np.array([2 * real(f, f"{where}, cutoff") / rate for f in given])
    if len(edges) != count or not ((edges > 0) & (edges < 1)).all() or not (edges[1:] > edges[:-1]).all():
        raise ArgumentError(f"{where}, cutoff", "unusable frequencies", got=cutoff,
                            expected=f"{count} between 0 and {rate / 2}" + (", ascending" if count == 2 else ""),
                            remedy="Give rate= for frequencies in hertz")  # fmt: skip
    return edges


def _analogue(n: int, band: str, warped: np.ndarray[Any, Any]) -> tuple[Any, Any, float]:
    """Return zeros, poles and gain of the analogue filter of a band."""
    prototype = -np.exp(1j * np.pi * np.arange(-n + 1, n, 2) / (2 * n))
    if band in _BANDS[:2]:
        edge = warped[0]
        if band == "lowpass":
            return np.zeros(0), prototype * edge, edge**n
        return np.zeros(n), edge / prototype, float(np.real(1 / np.prod(-prototype)))
    width, middle = warped[1] - warped[0], math.sqrt(warped[0] * warped[1])
    scaled = (prototype if band == "bandpass" else 1 / prototype) * width / 2
    apart = np.sqrt(scaled**2 - middle**2 + 0j)
    poles = np.concatenate([scaled + apart, scaled - apart])
    if band == "bandpass":
        return np.zeros(n), poles, width**n
    ends = np.concatenate([np.full(n, 1j * middle), np.full(n, -1j * middle)])
    return ends, poles, float(np.real(1 / np.prod(-prototype)))


def _digital(zeros: Any, poles: Any, gain: float) -> tuple[Any, Any, float]:
    """Move an analogue filter to samples, two a second (the bilinear transform)."""
    factor: Any = 4.0
    above, below = (cast("Any", np.prod)(factor - side) for side in (zeros, poles))
    found = gain * float(cast("Any", np.real)(above / below))
    moved: list[Any] = [(factor + side) / (factor - side) for side in (zeros, poles)]
    return np.concatenate([moved[0], -np.ones(len(poles) - len(zeros))]), moved[1], found


def _sections(zeros: Any, poles: Any, gain: float) -> np.ndarray[Any, Any]:
    """Return second-order sections: conjugate poles in pairs, those nearest to the circle last."""
    pairs = [_pairs(side) for side in (zeros, poles)]
    rows: list[Any] = []
    for both in zip(*pairs, strict=True):
        sides = [np.real(np.poly(side)) for side in both]
        rows.append(np.concatenate([np.pad(side, (0, 3 - len(side))) for side in sides]))
    rows[0][:3] *= gain
    return np.array(rows)


def _pairs(values: Any) -> list[Any]:
    """Return values in conjugate or real pairs, the last alone if their number is odd, by distance from the origin."""

    def size(value: Any) -> tuple[float, float]:
        return abs(value), value.real

    upper = sorted((complex(v) for v in values if v.imag > 1e-12), key=size)
    reals = sorted(float(v.real) for v in values if abs(v.imag) <= 1e-12)
    found: list[Any] = [np.array([v, np.conj(v)]) for v in upper]
    couples = [np.array(reals[k : k + 2]) for k in range(0, len(reals) - len(reals) % 2, 2)]
    alone = [np.array(reals[-1:])] if len(reals) % 2 else []
    return alone + couples + found
