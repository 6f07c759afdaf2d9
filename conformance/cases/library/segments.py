"""The sieve over bytes of 30 numbers: every kernel of ``loom.kernels.sieve.wheel``, fed with what the host computes.

Oracles besides the interpreter: trial division on the host, for every buffer but the strides carried on.
"""

from __future__ import annotations

import math
from functools import cache, partial
from typing import Any

import numpy as np

from conformance.running import Case, case
from loom.kernels.sieve import wheel as sieve

__all__: list[str] = []

Array = np.ndarray[Any, Any]
_SEGMENT = 300
_STRETCH = 2 * _SEGMENT
_TOTAL = 2 * _STRETCH - 170
"""Bytes sieved by two groups; the second one's last segment is not full."""
_FIRST = 70
"""The first byte: numbers from 2100 on."""
_LAST_MASK = 0b0011_0111
_NEVER = 0xFFFF_FFFF


@cache
def _is_prime(limit: int) -> Array:
    return np.array([n > 1 and all(n % d for d in range(2, math.isqrt(n) + 1)) for n in range(limit)])


def _bytes_of(keep: Any, first: int, count: int) -> Array:
    """Bytes whose bits say which of eight numbers ``keep`` holds for."""
    numbers = (np.arange(first, first + count)[:, None] * 30 + np.array(sieve.RESIDUES)).ravel()
    return np.packbits(keep(numbers), bitorder="little")


def _patterns() -> Array:
    parts = []
    for primes, length in zip(sieve.PRESIEVED, sieve.PATTERNS, strict=True):
        period = _bytes_of(lambda n, ps=primes: np.all([n % p != 0 for p in ps], axis=0), 0, length)
        parts.append(np.resize(period, length + sieve.BLOCK_NBYTES))
    return np.concatenate(parts)


def _prime_list(limit: int, room: int) -> Array:
    """Count, count of small ones, then prime * 8 + index of its residue, of the primes above 73."""
    found = [p for p in range(74, limit + 1) if _is_prime(limit + 1)[p]]
    entries = [p * 8 + sieve.RESIDUES.index(p % 30) for p in found]
    listed = np.zeros(2 + room, np.uint32)
    listed[: 2 + len(found)] = [len(found), sum(p < sieve.SMALL_LIMIT for p in found), *entries]
    return listed


_ROOT = math.isqrt(30 * (_FIRST + _TOTAL))
_ROOM = 40


def _strides() -> Array:
    """For each group, prime and residue, the first byte to strike, by stepping through the multiples."""
    primes = _prime_list(_ROOT, _ROOM)
    strides = np.full(2 * _ROOM * 8, 7, np.uint32)
    for group in range(2):
        begin = _FIRST + group * _STRETCH
        for i in range(int(primes[0])):
            p = int(primes[2 + i]) >> 3
            for r, residue in enumerate(sieve.RESIDUES):
                multiple = p * residue
                while multiple < max(p * p, 30 * begin):
                    multiple += 30 * p
                byte = multiple // 30 - begin
                strides[(group * _ROOM + i) * 8 + r] = byte if byte <= _STRETCH else _NEVER
    return strides


def _expected_bits() -> Array:
    """The primes of every byte; the bytes beyond the end are not touched."""
    bits = np.full(2 * _STRETCH, 9, np.uint8)
    bits[:_TOTAL] = _bytes_of(lambda n: _is_prime(40_000)[n], _FIRST, _TOTAL)
    return bits


def _library(kernel: Any, buffers: list[Array], params: tuple[int, ...], groups: Any, **known: Any) -> Case:
    return Case(kernel.verified.kernel, tuple(buffers), params, groups, expected=known, modes=("trusted", "reported"))


@case("library/sieve-base-primes", widths=(1, 16))
def base_primes() -> Case:
    limit = 1100
    buffers = [np.zeros(limit // 2 + 1, np.uint8), np.zeros(302, np.uint32)]
    return _library(sieve.base_primes(), buffers, (limit,), (1, 1, 1), primes=_prime_list(limit, 300))


@case("library/sieve-patterns", widths=(1, 4, 16))
def patterns() -> Case:
    """The first two patterns; the rest of the buffer stays."""
    groups = sieve.PATTERN_STARTS[2] // 64
    known = np.zeros(sieve.PATTERN_STARTS[-1], np.uint8)
    known[: groups * 64] = _patterns()[: groups * 64]
    return _library(sieve.fill_patterns(), [np.zeros_like(known)], (), (groups, 1, 1), patterns=known)


@case("library/sieve-starts")
def starts() -> Case:
    buffers = [_prime_list(_ROOT, _ROOM), np.full(2 * _ROOM * 8, 7, np.uint32)]
    return _library(sieve.start_strides(), buffers, (_FIRST, _STRETCH, _ROOM), (1, 2, 1), strides=_strides())


def _segments(keep: bool) -> Case:
    bits = np.full(2 * (_STRETCH if keep else _SEGMENT), 9, np.uint8)
    masks = np.array(sieve.STRIKE_MASKS, np.uint64)
    buffers = [_prime_list(_ROOT, _ROOM), _patterns(), masks, _strides(), bits, np.array([3, 5], np.uint64)]
    params = (_FIRST, _STRETCH, _SEGMENT, 0, 2, _FIRST + _TOTAL, _LAST_MASK, _ROOM)
    primes = _expected_bits()
    if keep:
        known = {"bits": primes, "counts": buffers[-1]}
    else:
        primes[_TOTAL - 1] &= _LAST_MASK
        ones = np.unpackbits(primes)
        counted = [ones[: 8 * _STRETCH].sum() + 3, ones[8 * _STRETCH : 8 * _TOTAL].sum() + 5]
        known = {"counts": np.array(counted, np.uint64)}
    return _library(sieve.sieve_segments(keep=keep), buffers, params, (2, 1, 1), **known)


for _keep in (False, True):
    case(f"library/sieve-{'keep' if _keep else 'count'}", widths=(1, 8))(partial(_segments, _keep))

_TILE = 500
_TILES = -(-_TOTAL // _TILE)


def _counts() -> Array:
    ones = np.unpackbits(_expected_bits()[:_TOTAL])
    return np.array([ones[n * 8 * _TILE : (n + 1) * 8 * _TILE].sum() for n in range(_TILES)], np.uint32)


@case("library/sieve-count-bits", widths=(1, 16))
def count_bits() -> Case:
    buffers = [_expected_bits(), np.zeros(_TILES + 1, np.uint32)]
    known = np.append(_counts(), np.uint32(0))
    return _library(sieve.count_bits(), buffers, (_TOTAL, _TILE), (_TILES, 1, 1), counts=known)


def _running() -> Array:
    return np.concatenate([[0], np.cumsum(_counts())]).astype(np.uint32)


@case("library/sieve-running-starts", widths=(1, 16))
def running_starts() -> Case:
    buffers = [_counts(), np.zeros(_TILES + 1, np.uint32)]
    return _library(sieve.running_starts(), buffers, (_TILES,), (1, 1, 1), starts=_running())


@case("library/sieve-collect", widths=(1, 16))
def collect_primes() -> Case:
    numbers = np.arange(30 * _FIRST, 30 * (_FIRST + _TOTAL))
    known = numbers[_is_prime(40_000)[numbers]].astype(np.uint64)
    buffers = [_expected_bits(), _running(), np.zeros(known.size, np.uint64)]
    params = (_TOTAL, _TILE, _FIRST)
    return _library(sieve.collect_primes(), buffers, params, (_TILES, 1, 1), out=known)
