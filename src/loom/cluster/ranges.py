"""Sums and counts over ranges, cut where the canonical order cuts them, so that any number of workers gives one result.

Layer: cluster. Invariant: a sum has the bits of ``gpu_sum`` of all elements, a count is exact.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import numpy as np

from loom.core.arrays import Array, read_array
from loom.core.dtype import u64
from loom.core.errors import ArgumentError, DTypeError, ShapeError
from loom.core.given import is_array
from loom.core.numbers import whole
from loom.core.numerics import REDUCE_TILE
from loom.workers.opening import Workers, open_pool

__all__ = ["count_primes", "cut_range", "sum_elements"]

_PIECES_PER_WORKER = 4
_MOST_ELEMENTS = 1 << 24
"""Of one piece of a sum: 64 MiB of f32."""
_WHEEL = 960
"""Numbers that a sieve's words stand for: pieces begin at multiples of it."""
_LEAST_NUMBERS = _WHEEL * 10_000
_MOST_PRIMES_BELOW = 10**12


def cut_range(n: int, pieces: int, step: int, most: int | None = None) -> list[tuple[int, int]]:
    """Return 0 to ``n`` cut into about so many pieces, at multiples of ``step``, of at most ``most`` numbers each.

    >>> cut_range(10, 2, 4)
    [(0, 8), (8, 10)]
    """
    length = -(-max(1, -(-n // pieces)) // step) * step
    if most is not None:
        length = min(length, max(step, most // step * step))
    return [(start, min(start + length, n)) for start in range(0, n, length)]


def sum_elements(
    source: Any, n: int | None = None, *, workers: Workers = 2, address: str | None = None, audit: float | None = None
) -> Any:
    """Return the sum of an array, or of elements that a function makes, with the bits of ``gpu_sum``.

    Floats keep their dtype; integers give int64, unsigned ones uint64, wrapping beyond.

    Args:
        source: Array of any shape, or a function of (start, stop) that gives those elements, a numpy array of one axis,
            on the worker that adds them: nothing but sums travels.
        n: Number of elements that the function makes; None: of an array.
        workers: Number of workers, the device of each by name (``["cpu", "vulkan"]``), or an open pool
            (``loom.cluster.connect``).
        address: Address of a Ray cluster's head, "auto" for the one this machine is part of; None: a Ray of its own on
            this machine.
        audit: Share of calls that two workers compute; None: none, or the pool's.

    Raises:
        ArgumentError: ``n`` is missing, has no effect, or is out of range.
        DTypeError: Not numbers; not workers; ranges of several dtypes.
        ShapeError: The function gives another number of elements.
        DeviceError: No Ray answers, or it has too few resources; no worker is left.

    >>> sum_elements(np.arange(5.0), workers=1).item()  # doctest: +SKIP
    10.0
    """
    where = "loom.cluster.sum"
    array = np.empty(0)
    if callable(source) and not is_array(source):
        make = cast("Callable[[int, int], Array]", source)
        if n is None:
            raise ArgumentError(f"{where}, n", "missing", expected="how many elements the function makes",
                                remedy="Write sum(function, n)")  # fmt: skip
        count = whole(n, f"{where}, n", least=0)
    else:
        if n is not None:
            raise ArgumentError(f"{where}, n", "has no effect: an array has its own length", got=n,
                                expected="no n", remedy="Leave it out")  # fmt: skip
        array = np.ascontiguousarray(read_array(source, where)[0]).reshape(-1)
        make, count = None, array.size
    with open_pool(workers, address, audit, where) as pool:
        cuts = cut_range(count, _PIECES_PER_WORKER * len(pool), REDUCE_TILE, _MOST_ELEMENTS) or [(0, 0)]
        if make is not None:
            found = pool.map(_sums_made, [(make, start, stop) for start, stop in cuts])
        else:
            found = pool.map(_sums_of, [array[start:stop] for start, stop in cuts])
    kinds = {np.dtype(name).newbyteorder("=") for _, name in found}
    if len(kinds) > 1:
        raise DTypeError(where, "the function gave elements of several dtypes", expected="one dtype for all ranges",
                         got=", ".join(sorted(map(str, kinds))), remedy="Convert them: .astype(...)")  # fmt: skip
    return _join([tiles for tiles, _ in found], kinds.pop())


def _sums_made(make: Callable[[int, int], Array], start: int, stop: int) -> tuple[Array, str]:
    made = np.asarray(make(start, stop))
    if made.shape != (stop - start,):
        raise ShapeError("loom.cluster.sum", f"the function gave other elements for {start} to {stop}",
                         expected=f"shape ({stop - start},)", got=made.shape,
                         remedy="Return as many as are asked for")  # fmt: skip
    return _sums_of(made)


def _sums_of(elements: Array) -> tuple[Array, str]:
    """Return the sums of tiles, in the type that they are added in, and the type of the elements."""
    from loom.patterns.reduce import gpu_sum

    kind = elements.dtype
    if kind.kind not in "biuf":
        raise DTypeError("loom.cluster.sum", "not numbers", expected="integers or floats", got=kind,
                         remedy="Convert them first")  # fmt: skip
    wide = elements.astype(np.float32) if kind == np.float16 else elements
    whole_tiles = wide.size // REDUCE_TILE * REDUCE_TILE
    parts: list[Any] = []
    if whole_tiles:
        parts.append(np.asarray(gpu_sum(wide[:whole_tiles].reshape(-1, REDUCE_TILE), axis=1)))
    if whole_tiles < wide.size or not wide.size:
        parts.append(np.asarray(gpu_sum(wide[whole_tiles:])).reshape(1))
    return np.concatenate(parts), kind.str


def _join(tiles: list[Array], kind: np.dtype[Any]) -> Any:
    from loom.patterns.reduce import gpu_sum

    found = gpu_sum(np.concatenate(tiles))
    if kind != np.float16:
        return found
    with np.errstate(over="ignore"):  # what is too large is infinite, as gpu_sum has it
        return np.asarray(found).astype(np.float16)[()]


def count_primes(n: int, *, workers: Workers = 2, address: str | None = None, audit: float | None = None) -> int:
    """Return the number of primes below a number, exactly: workers sieve a range each.

    Args:
        n: Whole number, 0 to 10^12.
        workers: Number of workers, the device of each by name (``["cpu", "vulkan"]``), or an open pool
            (``loom.cluster.connect``).
        address: Address of a Ray cluster's head, "auto" for the one this machine is part of; None: a Ray of its own on
            this machine.
        audit: Share of calls that two workers compute; None: none, or the pool's.

    Raises:
        ArgumentError: A number is out of range.
        DTypeError: Not workers.
        DeviceError: No Ray answers, or it has too few resources; no worker is left.
    """
    from loom.patterns.sieve import gpu_prime_count

    where = "loom.cluster.prime_count"
    below = whole(n, f"{where}, n", least=0, most=_MOST_PRIMES_BELOW)
    if below <= _LEAST_NUMBERS and not hasattr(workers, "map"):
        return gpu_prime_count(below)
    with open_pool(workers, address, audit, where) as pool:
        pieces = max(1, min(_PIECES_PER_WORKER * len(pool), below // _LEAST_NUMBERS))
        found = pool.map(_count_between, cut_range(below, pieces, _WHEEL))
    return sum(found) + sum(p < below for p in (2, 3, 5))


def _count_between(lo: int, hi: int) -> int:
    """Return how many primes above 5 there are from ``lo``, a multiple of the wheel, to below ``hi``."""
    from loom.patterns.sieve import build_count
    from loom.runtime.registry import device
    from loom.schedules.sieve.plan import plan_sieve

    if hi <= 7:
        return 0
    where = device()
    program, out = build_count(plan_sieve(lo, hi, where.caps), where)
    program.run()
    return int(out.read(0, u64.nbytes).view(np.uint64)[0])
