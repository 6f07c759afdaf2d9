"""The main job: primes counted, numbers summed and mapped, and a digest of every result.

Layer: cli (no printing here). The numbers come from an exact integer formula, so that inputs are the same
bits on every computer. Invariant: a digest is of the result's bytes, little-endian, NaN as 0x7fc00000; two
computers that disagree on any bit disagree on it.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Sequence
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import numpy as np

import loom
from loom.core.late.dataclass import dataclass

if TYPE_CHECKING:
    from loom.runtime.port.device import Device

__all__ = [
    "FULL",
    "QUICK",
    "DemoLine",
    "DemoSize",
    "array_digest",
    "differences",
    "digest_of_lines",
    "fill_numbers",
    "golden_digests",
    "run_demo",
]

_BLOCK = 1 << 20
"""Elements made or hashed at a time."""
_CANONICAL_NAN = np.array([0x7FC0_0000], np.uint32).view(np.float32)[0]


@dataclass(frozen=True, slots=True)
class DemoSize:
    """How much is done: primes below ``below``, ``elements`` numbers, ``epochs`` of training."""

    name: str
    below: int
    elements: int
    epochs: int


FULL = DemoSize("full", 10**9, 10**8, 20)
QUICK = DemoSize("quick", 10**7, 10**6, 1)


@dataclass(frozen=True, slots=True)
class DemoLine:
    """One result. ``answer`` is a number, or the first and last of many; ``seconds`` that of the call."""

    name: str
    what: str
    answer: Any
    seconds: float
    sha256: str


def run_demo(size: DemoSize, on: Device) -> Iterator[DemoLine]:
    """Do the job on a device, one line at a time."""
    yield _line("primes", f"primes below 10^{_exponent(size.below)}", lambda: loom.gpu_prime_count(size.below, on=on))
    numbers = np.empty(size.elements, np.float32)
    count = f"of 10^{_exponent(size.elements)} numbers"
    yield _line("numbers", f"10^{_exponent(size.elements)} numbers made", lambda: fill_numbers(numbers))
    yield _line("sum", f"sum {count}", lambda: loom.gpu_sum(numbers, on=on))
    yield _line("mean", f"mean {count}", lambda: loom.gpu_mean(numbers, on=on))
    yield _line("max", f"max {count}", lambda: loom.gpu_max(numbers, on=on))
    yield _line("min", f"min {count}", lambda: loom.gpu_min(numbers, on=on))
    yield _line("map", f"x * 2 + 1 {count}", lambda: loom.gpu_map(numbers, _double, on=on))


def _double(x: Any) -> Any:
    return x * 2 + 1


def _exponent(power_of_ten: int) -> int:
    return len(str(power_of_ten)) - 1


def _line(name: str, what: str, call: Callable[[], Any]) -> DemoLine:
    start = time.perf_counter()
    result = call()
    seconds = time.perf_counter() - start
    array = np.asarray([result], np.uint64) if isinstance(result, int) else np.atleast_1d(result)
    return DemoLine(name, what, _answer(result), seconds, array_digest(array))


def _answer(result: Any) -> Any:
    if isinstance(result, int):
        return result
    if np.ndim(result):
        return [_shortest(result[0]), _shortest(result[-1])]
    return _shortest(result)


def _shortest(number: np.float32) -> float:
    """Return the Python float that prints as the 32-bit one does."""
    return float(str(number))


def fill_numbers(out: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Fill ``out`` (float32) with numbers in [-1, 1), all multiples of 2^-23, by a hash of the index.

    Integers until the last two steps, a conversion and a multiplication that are both exact.
    """
    for begin in range(0, out.size, _BLOCK):
        part = out[begin : begin + _BLOCK]
        h = np.arange(begin, begin + part.size, dtype=np.uint32) * np.uint32(2654435761)
        h = (h ^ h >> np.uint32(15)) * np.uint32(2246822519)
        h ^= h >> np.uint32(13)
        signed = (h >> np.uint32(8)).astype(np.int32) - np.int32(1 << 23)
        part[:] = signed.astype(np.float32) * np.float32(2.0**-23)
    return out


# digests


def array_digest(array: np.ndarray[Any, Any]) -> str:
    """Return the SHA-256 of an array's little-endian bytes, every NaN as the canonical one.

    >>> import numpy
    >>> array_digest(numpy.zeros(0, numpy.float32))[:8]
    'e3b0c442'
    """
    digest = hashlib.sha256()
    flat = array.reshape(-1)
    for begin in range(0, flat.size, _BLOCK):
        part = flat[begin : begin + _BLOCK]
        if part.dtype.kind == "f" and np.isnan(part).any():
            part = np.where(np.isnan(part), _CANONICAL_NAN.astype(part.dtype), part)
        digest.update(np.ascontiguousarray(part, part.dtype.newbyteorder("<")).view(np.uint8).data)
    return digest.hexdigest()


def digest_of_lines(lines: Sequence[DemoLine]) -> str:
    """Return one digest of all lines."""
    text = "".join(f"{line.name} {line.sha256}\n" for line in lines)
    return hashlib.sha256(text.encode()).hexdigest()


def golden_digests(size: DemoSize) -> dict[str, str]:
    """Return the digests that every device must give, by line, the combined one as ``all``."""
    text = files("loom.cli").joinpath("demo_digests.json").read_text(encoding="utf-8")
    return json.loads(text)[size.name]


def differences(size: DemoSize, lines: Sequence[DemoLine]) -> list[str]:
    """Return the names of the lines whose digest is not the committed one."""
    committed = golden_digests(size)
    found = {line.name: line.sha256 for line in lines} | {"all": digest_of_lines(lines)}
    return [name for name in {**committed, **found} if committed.get(name) != found.get(name)]
