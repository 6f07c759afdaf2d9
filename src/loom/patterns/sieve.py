"""``gpu_prime_count`` and ``gpu_primes``: exact, integers throughout.

Layer: patterns. Invariant: the answer is exact up to 10^12.
"""

from __future__ import annotations

from typing import Any, cast

import numpy as np

from loom.core.dtype import u32, u64
from loom.core.errors import ArgumentError, DTypeError
from loom.core.given import is_int
from loom.runtime.chain import Chain
from loom.runtime.chain.program import Program
from loom.runtime.memory.storage import Storage
from loom.runtime.port.device import Device
from loom.runtime.registry import device
from loom.schedules.sieve.plan import Sieve, plan_list, plan_sieve
from loom.schedules.sieve.stretches import MOST_LISTED

__all__ = ["build_count", "gpu_prime_count", "gpu_primes", "list_primes"]

_LIMIT = 10**12


def gpu_prime_count(n: int, *, on: str | Device | None = None) -> int:
    """Return how many primes are below ``n`` (0 to 10^12; a whole float is taken as an int).

    >>> gpu_prime_count(100)
    25
    """
    n = _whole(n, "gpu_prime_count", "n")
    if n <= 7:
        return sum(p < n for p in (2, 3, 5))
    where = device(on)
    program, out = build_count(plan_sieve(0, n, where.caps), where)
    program.run()
    return 3 + int(out.read(0, u64.nbytes).view(np.uint64)[0])


def build_count(sieve: Sieve, where: Device) -> tuple[Program, Storage]:
    """Return the program that counts the primes above 5 of a range, and the memory of its result, a u64."""
    chain, out = Chain(where, name="gpu_prime_count"), where.allocate(u64.nbytes)
    sieve.record_count(chain, out)
    return chain.build(), out


def gpu_primes(lo: int, hi: int, *, on: str | Device | None = None) -> np.ndarray[Any, Any]:
    """Return the primes from ``lo`` up to but not including ``hi`` (at most 10^12), ascending, as uint64.

    Needs about (hi - lo) / 30 bytes besides the result.

    >>> gpu_primes(10, 30).tolist()
    [11, 13, 17, 19, 23, 29]
    """
    lo, hi = _whole(lo, "gpu_primes", "lo"), _whole(hi, "gpu_primes", "hi")
    first = np.array([p for p in (2, 3, 5) if lo <= p < hi], np.uint64)
    if hi <= max(lo, 7):
        return first
    if hi - lo > MOST_LISTED:
        raise ArgumentError(
            "gpu_primes", "the range is too long", expected=f"at most {MOST_LISTED}", got=hi - lo,
            remedy="List it in parts",
        )  # fmt: skip
    where = device(on)
    parts = [list_primes(sieve, where) for sieve in plan_list(lo, hi, where.caps)]
    parts = [first, *parts] if first.size else parts
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def list_primes(sieve: Sieve, where: Device) -> np.ndarray[Any, Any]:
    """Return the primes above 5 of a range."""
    chain, end = Chain(where, name="gpu_primes"), sieve.groups * u32.nbytes
    starts = where.allocate(end + u32.nbytes)
    bits = sieve.record_marks(chain, starts)
    chain.build().run()
    found = np.empty(int(starts.read(end, u32.nbytes).view(np.uint32)[0]), np.uint64)
    if found.size:
        shared = where.adopt(found)
        out = where.allocate(found.nbytes, zeroed=False) if shared is None else shared
        sieve.record_list(chain, bits, starts, out)
        chain.build().run()
        found = out.read(0, found.nbytes).view(np.uint64) if shared is None else found
    return found[slice(*np.searchsorted(found, np.array([sieve.lo, sieve.hi], np.uint64)))]


def _whole(value: Any, where: str, name: str) -> int:
    if isinstance(value, (float, np.floating)) and (number := float(cast(float, value))).is_integer():
        value = int(number)
    if not is_int(value):
        raise DTypeError(
            f"{where}, {name}", "not a whole number", expected="an int", got=f"{value!r}", remedy="Round it first"
        )
    if not 0 <= int(value) <= _LIMIT:
        raise ArgumentError(
            f"{where}, {name}", "out of range", expected=f"0 to {_LIMIT}", got=value, remedy="Stay within it"
        )
    return int(value)
