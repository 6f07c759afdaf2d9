"""The sieve over classes of numbers, for devices of many lanes: every kernel of ``loom.kernels.sieve.classes``.

Oracles besides the interpreter: trial division on the host.
"""

from __future__ import annotations

import math
from functools import cache, partial
from typing import Any

import numpy as np

from conformance.running import EVERY_MODE, Case, case
from loom.kernels.sieve import classes as sieve_threads
from loom.kernels.sieve.wheel import RESIDUES
from loom.schedules.sieve.classes import Classes, prime_table, striking_primes

__all__: list[str] = []

Array = np.ndarray[Any, Any]
_WORDS = 256
_LIMIT = 90_000


@cache
def _is_prime() -> Array:
    return np.array([n > 1 and all(n % d for d in range(2, math.isqrt(n) + 1)) for n in range(_LIMIT)])


def _rows(cut: Classes) -> Array:
    """The bits of every class from the first on, a row each; those of numbers beyond the end are clear."""
    numbers = 30 * (cut.first + np.arange(32 * cut.row)) + np.array(RESIDUES)[:, None]
    left = (numbers < cut.hi) & _is_prime()[np.minimum(numbers, _LIMIT - 1)]
    return np.packbits(left, axis=1, bitorder="little").view(np.uint32)


@cache
def _patterns() -> Array:
    """A word for every 32 numbers 30 k + 1, over a whole period of each row of primes."""
    parts = []
    for primes in sieve_threads.PRESIEVED:
        numbers = 30 * np.arange(32 * math.prod(primes)) + 1
        left = np.all([numbers % p != 0 for p in primes], axis=0)
        parts.append(np.packbits(left, bitorder="little").view(np.uint32))
    return np.concatenate(parts)


def _library(kernel: Any, buffers: list[Array], params: tuple[int, ...], groups: Any, **known: Array) -> Case:
    return Case(kernel.verified.kernel, tuple(buffers), params, groups, expected=known, modes=EVERY_MODE)


@case("library/classes-patterns", widths=(4, 16))
def patterns() -> Case:
    """The first three patterns; the rest of the buffer stays."""
    groups = sieve_threads.PATTERN_STARTS[3] // 64
    known = np.zeros(sieve_threads.PATTERN_STARTS[-1], np.uint32)
    known[: groups * 64] = _patterns()[: groups * 64]
    return _library(sieve_threads.fill_patterns(), [np.zeros_like(known)], (), (groups, 1, 1), patterns=known)


def _segments(cut: Classes, keep: bool) -> Case:
    primes = striking_primes(math.isqrt(cut.hi - 1))
    rows = _rows(cut)
    if keep:
        known, out = rows.reshape(-1), np.zeros(8 * cut.row, np.uint32)
    else:
        counts = np.unpackbits(rows.view(np.uint8), axis=1).reshape(8, cut.segments, -1).sum(axis=2)
        known, out = counts.T.astype(np.uint32).reshape(-1), np.full(8 * cut.segments, 9, np.uint32)
    small, middle = np.searchsorted(primes, (100, 170)).tolist()
    params = (cut.first, cut.end, 0, cut.row, len(primes), small, middle)
    buffers = [prime_table(primes), cut.classes(), _patterns(), cut.reach(primes), out]
    groups = (cut.segments, len(RESIDUES), 1)
    return _library(sieve_threads.sieve_segments(cut.words, keep=keep), buffers, params, groups, out=known)


_FROM_0, _LATER = Classes(0, 50_021, _WORDS), Classes(61_000, 89_989, _WORDS)
case("library/classes-count", widths=(4, 16))(partial(_segments, _FROM_0, False))
case("library/classes-keep", widths=(4, 16))(partial(_segments, _LATER, True))
case("library/classes-keep-first", widths=(8,), slow=True)(partial(_segments, _FROM_0, True))
case("library/classes-count-later", widths=(8,), slow=True)(partial(_segments, _LATER, False))


def _counts() -> Array:
    """How many bits each group of columns holds: there is one more group than columns need."""
    total = np.unpackbits(_rows(_LATER).view(np.uint8)).sum()
    return np.array([total, 0], np.uint32)


@case("library/classes-count-columns", widths=(4, 16))
def count_columns() -> Case:
    buffers = [_rows(_LATER).reshape(-1), np.full(2, 9, np.uint32)]
    return _library(sieve_threads.count_columns(), buffers, (_LATER.row,), (2, 1, 1), counts=_counts())


@case("library/classes-collect", widths=(4, 16))
def collect_columns() -> Case:
    numbers = np.arange(30 * _LATER.first, _LATER.hi)
    known = numbers[_is_prime()[numbers]].astype(np.uint64)
    starts = np.array([0, known.size], np.uint32)
    buffers = [_rows(_LATER).reshape(-1), starts, np.zeros(known.size, np.uint64)]
    return _library(sieve_threads.collect_columns(), buffers, (_LATER.row, _LATER.first), (2, 1, 1), out=known)
