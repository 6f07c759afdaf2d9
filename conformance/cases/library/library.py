"""The kernel library: reductions, maps and the sieve over words, on small inputs, trusted and watched.

Oracles besides the interpreter: the published number of primes, a sieve on the host, sums of integers in numpy.
"""

from __future__ import annotations

import math
from functools import cache, partial
from typing import Any

import numpy as np

from conformance.running import Case, case
from conformance.values import adversarial, random_bits, triples
from loom.core.dtype import INTEGERS, DType, bf16, f16, f32, f64, i8, i32, i64, lookup, u8, u16, u64
from loom.core.errors import LoomError
from loom.core.numerics import REDUCE_TILE
from loom.ir.kernel import Kernel
from loom.ir.ops import OPS
from loom.kernels.fold.tiles import EXTREME_TILE, divide_rows, extreme_tiles, sum_tiles
from loom.kernels.maps.nest import OPERATIONS, one_value
from loom.kernels.sieve.words import sieve_count, sieve_init, sieve_mark
from loom.schedules.maps import LANES, map_kernel

__all__: list[str] = []

Array = np.ndarray[Any, Any]


def _library(kernel: Kernel, buffers: list[Array], params: tuple[Any, ...] = (), groups: Any = 1, **known: Any) -> Case:
    """A case in the modes the library is used in; ``known`` gives buffers whose contents are known."""
    where = (groups, 1, 1) if isinstance(groups, int) else groups
    return Case(kernel, tuple(buffers), params, groups=where, expected=known, modes=("trusted", "reported"))


# reductions

_SIZES = (1, 63, REDUCE_TILE, REDUCE_TILE + 130)


def _elements(dtype: DType, size: int) -> Array:
    """Numbers of very different size, so that any change of order shows."""
    if dtype.is_integer:
        return random_bits(dtype.numpy, size, seed=size)
    rng = np.random.default_rng(size)
    wide = rng.standard_normal(size) * 2.0 ** rng.integers(-9, 9, size)
    if dtype == bf16:
        return (wide.astype(np.float32).view(np.uint32) >> np.uint32(16)).astype(np.uint16)
    return wide.astype(dtype.numpy)


def _sum(element: DType, accumulator: DType, result: DType, size: int) -> Case:
    x, tiles = _elements(element, size), -(-size // REDUCE_TILE)
    known = {}
    if element.is_integer:
        rows = [x[n * REDUCE_TILE : (n + 1) * REDUCE_TILE] for n in range(tiles)]
        known["out"] = np.array([r.sum(dtype=accumulator.numpy) for r in rows], result.numpy)
    kernel = sum_tiles(element, accumulator, result).verified.kernel
    return _library(kernel, [x, np.zeros(tiles, result.numpy)], (size,), tiles, **known)


for _types in [
    (f32, f32, f32), (f64, f64, f64), (f16, f32, f16), (bf16, f32, bf16), (f32, f32, f16), (i32, i64, i64),
    (u8, u64, u64), (i8, i64, i64), (u64, u64, u64), (u16, u64, u64),
]:  # fmt: skip
    for _size in _SIZES:
        _rare = _size != _SIZES[-1] and _types not in [(f32, f32, f32), (i32, i64, i64)]
        case(f"library/sum-{'-'.join(map(str, _types))}-{_size}", slow=_rare)(partial(_sum, *_types, _size))


def _extreme(element: DType, largest: bool, with_nan: bool) -> Case:
    size = EXTREME_TILE + 70
    x = _elements(element, size)
    if with_nan:
        x[100] = np.float32(np.nan).view(np.uint32) >> 16 if element == bf16 else np.nan
    elif element.is_float and element != bf16:
        x[:] = np.where(np.arange(size) % 2, 0.0, -0.0)
    known = {}
    if element.is_integer:
        pick = np.max if largest else np.min
        known["out"] = np.array([pick(x[:EXTREME_TILE]), pick(x[EXTREME_TILE:])], element.numpy)
    kernel = extreme_tiles(element, largest=largest).verified.kernel
    return _library(kernel, [x, np.zeros(2, element.numpy)], (size,), 2, **known)


for _dtype in (*INTEGERS, f16, bf16, f32, f64):
    for _largest in (False, True):
        for _nan in (False, True) if _dtype.is_float else (False,):
            _label = f"{'max' if _largest else 'min'}-{_dtype}{'-nan' if _nan else ''}"
            _rare = _largest != (_dtype.bits < 32)
            case(f"library/{_label}", widths=(1, 4), slow=_rare)(partial(_extreme, _dtype, _largest, _nan))


def _mean(total: DType, computed: DType, result: DType) -> Case:
    kernel = divide_rows(total, computed, result).verified.kernel
    return _library(kernel, [np.array([10], total.numpy), np.zeros(1, result.numpy)], (7, 1))


for _types in [(f32, f32, f32), (f64, f64, f64), (i64, f64, f64), (u64, f64, f64), (f32, f32, f16), (f32, f32, bf16)]:
    case(f"library/mean-{'-'.join(map(str, _types))}", widths=(1, 16))(partial(_mean, *_types))


# maps


def _map(operation: Any, dtype: DType, is_array: tuple[bool, ...]) -> Case:
    verified, result = map_kernel(one_value(operation, [(dtype, a) for a in is_array]), LANES)
    size = LANES + 77
    operands = triples(dtype, size, seed=len(is_array))
    scalar = {f16: -0.75, bf16: 1e30}.get(dtype, adversarial(dtype)[1])
    buffers = [a for a, array in zip(operands, is_array, strict=False) if array]
    params = [scalar for array in is_array if not array]
    return _library(verified.kernel, [*buffers, np.zeros(size, result.numpy)], (size, *params), 2)


def _accepted(operation: str) -> list[DType]:
    """Return the types a map by that name takes."""
    found = []
    for name in ("f32", "i32", "u8", "f16", "i64", "f64", "bf16", "i16", "u32", "bool"):
        try:
            map_kernel(one_value(operation, [(lookup(name), True)] * OPS[operation].arity), LANES)
        except LoomError:
            continue
        found.append(lookup(name))
    return found


for _n, _operation in enumerate(OPERATIONS):
    for _at, _dtype in enumerate(_types := _accepted(_operation)):
        _arrays = (True,) * OPS[_operation].arity if (_n + _at) % 2 else (True, False, False)[: OPS[_operation].arity]
        case(f"library/map-{_operation}-{_dtype}", widths=(1, 4, 16), slow=_at != _n % len(_types))(
            partial(_map, _operation, _dtype, _arrays)
        )


def _blend(x, y, z):  # type: ignore[no-untyped-def]
    if x < y:
        return x * y + z
    return (x - z) * 3


for _dtype in (f32, f64, i32, f16, bf16, i64):
    case(f"library/map-function-{_dtype}", widths=(1, 4, 16))(partial(_map, _blend, _dtype, (True, True, False)))


# the sieve over words

_WORDS = 40
_LIMIT = 64 * _WORDS * 2 - 500


@cache
def _is_prime(limit: int) -> Array:
    """Flags of the numbers below ``limit``, by trial division."""
    return np.array([n > 1 and all(n % d for d in range(2, math.isqrt(n) + 1)) for n in range(limit)])


def _odd_flags(segment: int) -> Array:
    """Words of a segment whose set bits are its odd numbers below the limit, prime or not."""
    numbers = np.arange(32 * _WORDS) * 2 + 1 + 64 * _WORDS * segment
    return np.packbits(numbers < _LIMIT, bitorder="little").view(np.uint32)


def _prime_words(segment: int) -> Array:
    numbers = np.arange(32 * _WORDS) * 2 + 1 + 64 * _WORDS * segment
    primes = np.array([n < _LIMIT and bool(_is_prime(_LIMIT)[n]) for n in numbers])
    primes[0] |= segment == 0  # the bit of 1 stands for 2
    return np.packbits(primes, bitorder="little").view(np.uint32)


def _register_words(words: Array) -> Array:
    return np.concatenate([words, np.array([0, 5], np.uint32)])


def _word_init(segment: int) -> Case:
    start = np.full(_WORDS + 2, 99, np.uint32)
    known = np.concatenate([_odd_flags(segment), np.array([0, 99], np.uint32)])
    params = (segment, _WORDS, _LIMIT & 0xFFFFFF, _LIMIT >> 24)
    return _library(sieve_init.verified.kernel, [start], params, 2, registers=known)


def _word_mark(segment: int) -> Case:
    primes = np.flatnonzero(_is_prime(_LIMIT))[1:25].astype(np.uint32)
    assert int(primes[-1]) ** 2 > _LIMIT
    start, known = _register_words(_odd_flags(segment)), _register_words(_prime_words(segment))
    return _library(sieve_mark.verified.kernel, [start, primes], (segment, _WORDS, 0, 24), 3, registers=known)


def _word_count() -> Case:
    words = _prime_words(1)
    count = int(np.unpackbits(words.view(np.uint8)).sum())
    known = np.concatenate([words, np.array([count, 5 + count], np.uint32)])
    return _library(sieve_count.verified.kernel, [_register_words(words)], (_WORDS, _WORDS), 2, registers=known)


for _segment in (0, 1):
    case(f"library/words-init-{_segment}")(partial(_word_init, _segment))
    case(f"library/words-mark-{_segment}")(partial(_word_mark, _segment))
case("library/words-count")(_word_count)
