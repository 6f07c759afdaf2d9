"""Reads whole numbers as people type them: ``1e9``, ``10**9``, ``10^9``, ``1_000_000_000``.

Layer: cli. Invariant: the value is exact; no float is involved.
"""

from __future__ import annotations

import re
from decimal import Decimal, InvalidOperation

from loom.core.errors import ArgumentError

__all__ = ["whole_number"]

_MOST_DIGITS = 40
_POWER = re.compile(r"(\d+)(?:\*\*|\^)(\d+)")


def whole_number(text: str, where: str) -> int:
    """Return the whole number that ``text`` writes; ArgumentError if it is none.

    >>> whole_number("1e9", "loom primes") == whole_number("10**9", "loom primes") == 1_000_000_000
    True
    """
    plain = text.strip().replace("_", "").replace(" ", "")
    power = _POWER.fullmatch(plain)
    if power is not None:
        return _power(power[1], power[2], text, where)
    try:
        value = Decimal(plain)
    except InvalidOperation:
        raise _unreadable(text, where) from None
    if not value.is_finite() or abs(value.adjusted()) > _MOST_DIGITS or value != value.to_integral_value():
        raise _unreadable(text, where)
    return int(value)


def _power(base: str, exponent: str, text: str, where: str) -> int:
    """Return base to the exponent, refusing numbers nobody means before computing them."""
    if len(base) > _MOST_DIGITS or len(exponent) > 3 or len(base) * int(exponent) > 4 * _MOST_DIGITS:
        raise _unreadable(text, where)
    return int(base) ** int(exponent)


def _unreadable(text: str, where: str) -> ArgumentError:
    return ArgumentError(
        where, "not a usable whole number", expected=f"at most {_MOST_DIGITS} digits", got=repr(text),
        remedy="Write 1000000, 1_000_000, 1e6 or 10**6",
    )  # fmt: skip
