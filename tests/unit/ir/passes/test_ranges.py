"""Ranges of integers: what an operation gives lies in the range that is told of it, for all numbers of small ranges.

The oracle is Python's integers, by the definitions of the language: quotients truncate, and nothing divides by zero.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations_with_replacement

import pytest

from loom.ir.passes.ranges import ARITHMETIC


def _quotient(x: int, y: int) -> int:
    return (abs(x) // abs(y)) * (1 if (x < 0) == (y < 0) else -1) if y else 0


_OF_TWO: dict[str, Callable[[int, int], int]] = {
    "add": lambda x, y: x + y, "sub": lambda x, y: x - y, "mul": lambda x, y: x * y, "idiv": _quotient,
    "irem": lambda x, y: x - _quotient(x, y) * y, "min": min, "max": max, "and": lambda x, y: x & y,
    "or": lambda x, y: x | y, "xor": lambda x, y: x ^ y,
}  # fmt: skip
_OF_ONE: dict[str, Callable[[int], int]] = {"neg": lambda x: -x, "abs": abs}
_SHIFTS: dict[str, Callable[[int, int], int]] = {"shl": lambda x, y: x << y, "shr": lambda x, y: x >> y}
_RANGES = [*combinations_with_replacement(range(-3, 5), 2)]


def _numbers(of: tuple[int, int]) -> range:
    return range(of[0], of[1] + 1)


@pytest.mark.parametrize("name", [*_OF_TWO, *_SHIFTS])
def test_every_result_of_two_numbers_lies_within(name: str) -> None:
    function = (_OF_TWO | _SHIFTS)[name]
    for a in _RANGES:
        for b in _RANGES if name in _OF_TWO else [(n, m) for n, m in _RANGES if n >= 0]:
            told = ARITHMETIC[name](a, b)
            if told is not None:
                found = [function(x, y) for x in _numbers(a) for y in _numbers(b)]
                assert told[0] <= min(found) <= max(found) <= told[1], (a, b, told)


@pytest.mark.parametrize("name", [*_OF_ONE])
def test_every_result_of_one_number_lies_within(name: str) -> None:
    for a in _RANGES:
        told = ARITHMETIC[name](a)
        assert told == (min(map(_OF_ONE[name], _numbers(a))), max(map(_OF_ONE[name], _numbers(a))))


def test_what_is_told_of_numbers_above_zero_is_close() -> None:
    """Else no check of bounds could be left out."""
    told = {name: ARITHMETIC[name]((2, 9), (3, 4)) for name in ("idiv", "irem", "and", "or")}
    assert told == {"idiv": (0, 3), "irem": (0, 3), "and": (0, 4), "or": (0, 15)}
    assert ARITHMETIC["irem"]((0, 2), (3, 4)) == (0, 2)
    assert ARITHMETIC["shr"]((8, 20), (2, 2)) == (2, 5)
