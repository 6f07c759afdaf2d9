"""``gpu_scan`` over f32 beside torch and numpy, and the reductions the reduce family leaves out."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

import loom
from bench.harness import THREADS, Side, Timings, alternate
from bench.report import Bar, Family, Row, main

SPEED = 1.3
SIZES = {10**7: (9, 5), 10**8: (5, 2)}
"""Elements -> blocks, calls a block."""

Calls = dict[str, Callable[[], Any]]


def run(family: Family) -> None:
    """Measure scans at every size, then other reductions at the smaller one."""
    rng = np.random.default_rng(1)
    for size, (blocks, calls) in SIZES.items():
        x = rng.random(size, np.float32) - np.float32(0.5)
        peers = _scan_peers(x)
        _check_scan(loom.gpu_scan(x), x)
        sides = [Side("loom", lambda x=x: loom.gpu_scan(x)), *(Side(n, c) for n, c in peers.items())]
        bars = {"torch.cumsum": SPEED}
        timings = alternate(sides, blocks=blocks, calls=calls)
        family.rows.append(_row(f"scan, f32, 10^{len(str(size)) - 1}", timings, bars))
    x = rng.random(10**7, np.float32) + np.float32(0.5)
    for what, (ours, peers) in _others(x).items():
        timings = alternate([Side("loom", ours), *(Side(n, c) for n, c in peers.items())], blocks=9, calls=5)
        family.rows.append(_row(f"{what}, f32, 10^7", timings, {}))
    family.notes.append("speed is the peer's time divided by loom's, by the median over rounds of blocks")


def _scan_peers(x: np.ndarray[Any, Any]) -> Calls:
    peers: Calls = {"numpy.cumsum": lambda: np.cumsum(x)}
    torch = _torch()
    if torch is not None:
        t = torch.from_numpy(x)
        peers["torch.cumsum"] = lambda: torch.cumsum(t, 0)
    return peers


def _torch() -> Any:
    try:
        import torch
    except ImportError:
        return None
    torch.set_num_threads(THREADS)
    return torch


def _others(x: np.ndarray[Any, Any]) -> dict[str, tuple[Callable[[], Any], Calls]]:
    """Return for each reduction the call and those of the peers, whose results have been compared."""
    marks = np.arange(x.size) % 1000 == 0
    factors = np.where(np.arange(x.size) // 64 % 2 == 0, np.float32(2), np.float32(0.5))  # every product is exact
    assert loom.gpu_product(factors) == np.prod(factors[x.size // 128 * 128 :])
    assert int(loom.gpu_argmax(x)) == int(np.argmax(x))
    assert math.isclose(float(loom.gpu_dot(x, x)), float(np.dot(x, x)), rel_tol=1e-4)
    found: dict[str, tuple[Callable[[], Any], Calls]] = {
        "argmax": (lambda: loom.gpu_argmax(x), {"numpy.argmax": lambda: np.argmax(x)}),
        "dot": (lambda: loom.gpu_dot(x, x), {"numpy.dot": lambda: np.dot(x, x)}),
        "product": (lambda: loom.gpu_product(factors), {"numpy.prod": lambda: np.prod(factors)}),
        "count": (lambda: loom.gpu_count(x), {"numpy.count_nonzero": lambda: np.count_nonzero(x)}),
        "segmented scan": (lambda: loom.gpu_segment_scan(x, marks), {}),
    }
    torch = _torch()
    if torch is not None:
        t = torch.from_numpy(x)
        found["argmax"][1]["torch.argmax"] = lambda: torch.argmax(t)
        found["dot"][1]["torch.dot"] = lambda: torch.dot(t, t)
        found["product"][1]["torch.prod"] = lambda: torch.prod(torch.from_numpy(factors))
    return found


def _check_scan(result: np.ndarray[Any, Any], x: np.ndarray[Any, Any]) -> None:
    exact = np.cumsum(x, dtype=np.float64)
    bound = 2**-24 * 200 * np.cumsum(np.abs(x), dtype=np.float64)  # at most 64 + 6 + 2 additions a level, 3 levels
    assert (np.abs(result - exact) <= bound).all(), "scan is wrong"


def _row(what: str, timings: Timings, limits: dict[str, float]) -> Row:
    measured: dict[str, float | int | str] = {f"{name}_ms": timings.median(name) * 1e3 for name in timings.blocks}
    for peer in list(timings.blocks)[1:]:
        measured[f"speed_to_{peer}"] = 1 / timings.median_of_ratios("loom", peer)
    bars = []
    for peer, limit in limits.items():
        speed = 1 / timings.median_of_ratios("loom", peer) if peer in timings.blocks else None
        bars.append(Bar(f"at least {limit} of the speed of {peer}", limit, speed, at_least=True))
    measured["runs"] = timings.runs("loom")
    return Row(what, measured, tuple(bars))


if __name__ == "__main__":
    main("scan", run)
