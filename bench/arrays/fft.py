"""``loom.signal.fft`` on complex64 beside ``scipy.fft.fft``, which uses one thread for one transform."""

from __future__ import annotations

from typing import Any

import numpy as np

import loom
from bench.harness import Side, alternate
from bench.report import Bar, Family, Row, main

SPEED = 0.7
LENGTHS = {2**20: (11, 7), 10**6: (7, 5), 2**16: (11, 15), 1_000_003: (5, 3)}
"""Length -> blocks, calls a block; the bar is for 2^20."""
ERROR = 2.0
"""In eps sqrt(log2 n), relative to the root mean square."""


def run(family: Family) -> None:
    """Measure a power of two, a length of small factors, a shorter one and a prime."""
    try:
        import scipy.fft as peer
    except ImportError:
        family.notes.append("scipy is not installed: nothing was measured")
        return
    rng = np.random.default_rng(1)
    for n, (blocks, calls) in LENGTHS.items():
        x = (rng.standard_normal(n) + 1j * rng.standard_normal(n)).astype(np.complex64)
        _check(loom.signal.fft(x), x)
        sides = [Side("loom", lambda x=x: loom.signal.fft(x)), Side("scipy", lambda x=x: peer.fft(x))]
        family.rows.append(_row(n, alternate(sides, blocks=blocks, calls=calls)))
    family.notes.append("both sides make a new array each call; speed is scipy's time divided by loom's")


def _check(found: np.ndarray[Any, Any], x: np.ndarray[Any, Any]) -> None:
    expected = np.fft.fft(x.astype(np.complex128))
    relative = float(np.linalg.norm(found - expected) / np.linalg.norm(expected))
    bound = ERROR * 2.0**-23 * float(np.log2(x.size)) ** 0.5
    assert relative <= bound, f"fft of {x.size}: error {relative}, at most {bound}"


def _row(n: int, timings: Any) -> Row:
    speed = 1 / timings.median_of_ratios("loom", "scipy")
    measured: dict[str, float | int | str] = {
        "loom_ms": timings.median("loom") * 1e3,
        "scipy_ms": timings.median("scipy") * 1e3,
        "speed_to_scipy": speed,
        "runs": timings.runs("loom"),
    }
    bars = (Bar(f"at least {SPEED} of the speed of scipy", SPEED, speed, at_least=True),) if n == 2**20 else ()
    return Row(f"fft, complex64, {n}", measured, bars)


if __name__ == "__main__":
    main("fft", run)
