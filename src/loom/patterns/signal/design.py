"""``butter``: the numbers of Butterworth filters.

Layer: patterns. They are computed with 60 decimal digits and rounded once, so that no library of mathematics has a part
in them. Invariant: the numbers are the same on every machine, and those nearest to the true ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import ROUND_HALF_EVEN, Context, Decimal, localcontext
from itertools import pairwise
from typing import Any, NamedTuple, cast

import numpy as np

from loom.core.errors import ArgumentError, near_matches
from loom.core.given import is_array, is_list
from loom.core.numbers import real, whole

__all__ = ["MOST_ORDER", "butter"]

_BANDS = ("lowpass", "highpass", "bandpass", "bandstop")
MOST_ORDER = 64
"""Of what ``lfilter`` takes."""
_DIGITS = 60
_NOTHING = Decimal("1e-45")
"""Below it are only roundings of what is 0."""
_PI = Decimal("3.14159265358979323846264338327950288419716939937510582097494459230781640628620899862803482534211706798")


class _Number(NamedTuple):
    """A complex number of decimal parts."""

    re: Decimal
    im: Decimal = Decimal(0)

    def plus(self, other: _Number) -> _Number:
        return _Number(self.re + other.re, self.im + other.im)

    def minus(self, other: _Number) -> _Number:
        return _Number(self.re - other.re, self.im - other.im)

    def times(self, other: _Number) -> _Number:
        return _Number(self.re * other.re - self.im * other.im, self.re * other.im + self.im * other.re)

    def over(self, other: _Number) -> _Number:
        size = other.re * other.re + other.im * other.im
        top = self.times(_Number(other.re, -other.im))
        return _Number(top.re / size, top.im / size)

    def length(self) -> Decimal:
        return (self.re * self.re + self.im * self.im).sqrt()

    def root(self) -> _Number:
        """Return the square root whose real part is not negative."""
        half = ((self.length() + abs(self.re)) / 2).sqrt()
        if not half:
            return _Number(Decimal(0))
        other = self.im / (2 * half)
        if self.re >= 0:
            return _Number(half, other)
        return _Number(abs(other), half.copy_sign(self.im))


_ONE, _FOUR = _Number(Decimal(1)), _Number(Decimal(4))


def _cos_sin(angle: Decimal) -> _Number:
    """Return cosine and sine of an angle of at most pi / 2 in size, by their series."""
    square, found = angle * angle, [Decimal(1), angle]
    for k in (0, 1):
        term, n = found[k], k
        while abs(term) > Decimal(10) ** (-_DIGITS - 5):
            term = -term * square / ((n + 1) * (n + 2))
            found[k] += term
            n += 2
    return _Number(*found)


def butter(order: int, cutoff: Any, band: str = "lowpass", *, rate: float = 2.0, output: str = "ba") -> Any:
    """Return a Butterworth filter (S. Butterworth, 1930): numbers b and a, or second-order sections (output="sos").

    ``cutoff``: the frequency of half the power, two of them for a band, between 0 and ``rate`` / 2. The analogue poles
    are moved by the bilinear transform, the frequencies being warped first. The numbers are f64, those nearest to the
    true ones, the same on every machine. ArgumentError.

    >>> [side.round(4).tolist() for side in butter(1, 0.5)]
    [[0.5, 0.5], [1.0, 0.0]]
    """
    where = "signal.butter"
    n = whole(order, f"{where}, order", least=1)
    if n > MOST_ORDER // 2:
        raise ArgumentError(f"{where}, order", "too high", expected=f"at most {MOST_ORDER // 2}", got=n,
                            remedy="Filter twice")  # fmt: skip
    if not isinstance(band, str) or band not in _BANDS:
        raise ArgumentError(f"{where}, band", f"no band is called {band!r}", remedy=near_matches(str(band), _BANDS))
    if not isinstance(output, str) or output not in ("ba", "sos"):
        raise ArgumentError(
            f"{where}, output", "unknown", expected="'ba' or 'sos'", got=repr(output), remedy="Leave it out"
        )
    edges = _edges(where, cutoff, real(rate, f"{where}, rate"), 1 if band in _BANDS[:2] else 2)
    with localcontext(Context(prec=_DIGITS, rounding=ROUND_HALF_EVEN)):
        turned = [_cos_sin(_PI * Decimal(edge) / 2) for edge in edges]
        zeros, poles, gain = _digital(*_analogue(n, band, [4 * t.im / t.re for t in turned]))
        if output == "sos":
            return _sections(zeros, poles, gain)
        return np.array(_round(_product(zeros), gain)), np.array(_round(_product(poles)))


def _edges(where: str, cutoff: Any, rate: float, count: int) -> list[float]:
    if not rate > 0:
        raise ArgumentError(f"{where}, rate", "out of range", expected="above 0", got=rate,
                            remedy="Pass samples a second")  # fmt: skip
    given = cast("list[Any]", cutoff if is_list(cutoff) or is_array(cutoff) else [cutoff])
    edges = [2 * float(real(f, f"{where}, cutoff")) / rate if rate else float("nan") for f in given]
    is_rising = all(a < b for a, b in pairwise(edges))
    if len(edges) != count or not all(0 < edge < 1 for edge in edges) or not is_rising:
        raise ArgumentError(f"{where}, cutoff", "unusable frequencies", got=cutoff,
                            expected=f"{count} between 0 and {rate / 2}" + (", ascending" if count == 2 else ""),
                            remedy="Give rate= for frequencies in hertz")  # fmt: skip
    return edges


_Filter = tuple[list[_Number], list[_Number], Decimal]


def _analogue(n: int, band: str, warped: Sequence[Decimal]) -> _Filter:
    """Return zeros, poles and gain of the analogue filter of a band."""
    turns = [_cos_sin(_PI * m / (2 * n)) for m in range(-n + 1, n, 2)]
    prototype = [_Number(-t.re, -t.im) for t in turns]
    upward = band in ("lowpass", "bandpass")
    sides = prototype if upward else [_ONE.over(p) for p in prototype]
    none: list[_Number] = []
    nothing = [_Number(Decimal(0))] * n
    if band in _BANDS[:2]:
        poles = [p.times(_Number(warped[0])) for p in sides]
        return (none, poles, warped[0] ** n) if upward else (nothing, poles, Decimal(1))
    width, middle = warped[1] - warped[0], (warped[0] * warped[1]).sqrt()
    scaled = [p.times(_Number(width / 2)) for p in sides]
    apart = [s.times(s).minus(_Number(middle * middle)).root() for s in scaled]
    poles = [s.plus(a) for s, a in zip(scaled, apart, strict=True)]
    poles += [s.minus(a) for s, a in zip(scaled, apart, strict=True)]
    if upward:
        return nothing, poles, width**n
    return [_Number(Decimal(0), sign * middle) for sign in (1, -1) for _ in range(n)], poles, Decimal(1)


def _digital(zeros: list[_Number], poles: list[_Number], gain: Decimal) -> _Filter:
    """Move an analogue filter to samples, two a second (the bilinear transform)."""
    above, below = _ONE, _ONE
    for side in zeros:
        above = above.times(_FOUR.minus(side))
    for side in poles:
        below = below.times(_FOUR.minus(side))
    moved = [[_FOUR.plus(side).over(_FOUR.minus(side)) for side in sides] for sides in (zeros, poles)]
    moved[0] += [_Number(Decimal(-1))] * (len(poles) - len(zeros))
    return moved[0], moved[1], gain * above.over(below).re


def _product(roots: Sequence[_Number]) -> list[Decimal]:
    """Return the coefficients, the highest first, of the polynomial of roots that are real or in conjugate pairs."""
    found = [_ONE]
    for root in roots:
        lower = [c.times(root) for c in found]
        found = [a.minus(b) for a, b in zip([*found, _Number(Decimal(0))], [_Number(Decimal(0)), *lower], strict=True)]
    return [c.re for c in found]


def _round(numbers: Sequence[Decimal], gain: Decimal = Decimal(1)) -> list[float]:
    scaled = [number * gain for number in numbers]
    least = _NOTHING * max(abs(number) for number in scaled)
    return [0.0 if abs(number) < least else float(number) for number in scaled]


def _sections(zeros: Sequence[_Number], poles: Sequence[_Number], gain: Decimal) -> np.ndarray[Any, Any]:
    """Return second-order sections: conjugate poles in pairs, those nearest to the circle last."""
    rows: list[list[float]] = []
    for above, below in zip(_pairs(zeros), _pairs(poles), strict=True):
        sides = [_round(_product(above), Decimal(1) if rows else gain), _round(_product(below))]
        rows.append([number for side in sides for number in (*side, *[0.0] * (3 - len(side)))])
    return np.array(rows)


def _pairs(values: Sequence[_Number]) -> list[list[_Number]]:
    """Return values in conjugate or real pairs, the last alone if their number is odd, by distance from the origin."""
    upper = sorted((v for v in values if v.im > _NOTHING), key=lambda v: (v.length(), v.re))
    reals = sorted(_Number(v.re) for v in values if abs(v.im) <= _NOTHING)
    even = len(reals) - len(reals) % 2
    couples = [list(reals[k : k + 2]) for k in range(0, even, 2)]
    return [reals[even:]] * (len(reals) % 2) + couples + [[v, _Number(v.re, -v.im)] for v in upper]
