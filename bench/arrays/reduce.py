"""``gpu_sum``, ``gpu_max`` and the map ``x * 2 + 1`` over f32, beside torch (numpy without it)."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

import loom
from bench.harness import THREADS, Side, Timings, alternate
from bench.report import Bar, Family, Row, main

SPEED = 0.9
SIZES = {10**7: (15, 11), 10**8: (9, 5)}
"""Elements -> blocks, calls a block."""

Peers = dict[str, dict[str, Callable[[], Any]]]


def run(family: Family) -> None:
    """Measure every operation at every size."""
    rng, has_torch = np.random.default_rng(1), False
    for size, (blocks, calls) in SIZES.items():
        x = rng.random(size, np.float32) - np.float32(0.5)
        peers = _torch_peers(x)
        has_torch = peers is not None
        for what, ours in _ours(x).items():
            _check(what, ours(), x)
            sides = [Side("loom", ours)]
            sides += [Side(name, call) for name, call in (peers or _numpy_peers(x))[what].items()]
            timings = alternate(sides, blocks=blocks, calls=calls)
            family.rows.append(_row(f"{what}, f32, 10^{len(str(size)) - 1}", timings, has_torch))
    if not has_torch:
        family.notes.append("torch is not installed: compared with numpy on one thread, the bar is not measured")
    family.notes.append(
        "a map makes a new array each call, or writes to memory it is given (out=); numpy's allocator, which "
        "gpu_map uses, asks for huge pages, torch's does not"
    )
    family.notes.append("speed is the peer's time divided by loom's, by the median over rounds of blocks")


def _ours(x: np.ndarray[Any, Any]) -> dict[str, Callable[[], Any]]:
    out = np.ones_like(x)
    return {
        "sum": lambda: loom.gpu_sum(x),
        "max": lambda: loom.gpu_max(x),
        "map x * 2 + 1": lambda: loom.gpu_map(x, _twice_plus_one),
        "map x * 2 + 1, out=": lambda: loom.gpu_map(x, _twice_plus_one, out=out),
    }


def _twice_plus_one(x: Any) -> Any:
    return x * 2 + 1


def _torch_peers(x: np.ndarray[Any, Any]) -> Peers | None:
    try:
        import torch
    except ImportError:
        return None
    torch.set_num_threads(THREADS)
    t, out = torch.from_numpy(x), torch.ones(x.size)
    return {
        "sum": {"torch.sum": lambda: torch.sum(t)},
        "max": {"torch.max": lambda: torch.max(t)},
        "map x * 2 + 1": {
            "torch x*2+1": lambda: t * 2 + 1,
            "torch.add alpha=2": lambda: torch.add(1, t, alpha=2),
        },
        "map x * 2 + 1, out=": {"torch.add alpha=2 out=": lambda: torch.add(1, t, alpha=2, out=out)},
    }


def _numpy_peers(x: np.ndarray[Any, Any]) -> Peers:
    out = np.ones_like(x)
    return {
        "sum": {"numpy.sum": lambda: np.sum(x)},
        "max": {"numpy.max": lambda: np.max(x)},
        "map x * 2 + 1": {"numpy x*2+1": lambda: x * np.float32(2) + np.float32(1)},
        "map x * 2 + 1, out=": {"numpy out=": lambda: np.add(np.multiply(x, np.float32(2), out), 1, out)},
    }


def _check(what: str, result: Any, x: np.ndarray[Any, Any]) -> None:
    if what == "sum":
        exact = float(np.sum(x, dtype=np.float64))
        bound = 2**-24 * 4 * math.log2(x.size) * float(np.sum(np.abs(x), dtype=np.float64))
        assert abs(float(result) - exact) <= bound, f"sum {result}, exact {exact}"
    elif what == "max":
        assert result.view(np.uint32) == np.max(x).view(np.uint32), f"max {result}"
    else:
        expected = x * np.float32(2) + np.float32(1)
        assert np.array_equal(result.view(np.uint32), expected.view(np.uint32)), "map differs"


def _row(what: str, timings: Timings, has_torch: bool) -> Row:
    measured: dict[str, float | int | str] = {f"{name}_ms": timings.median(name) * 1e3 for name in timings.blocks}
    bars = []
    for peer in list(timings.blocks)[1:]:
        speed = 1 / timings.median_of_ratios("loom", peer)
        measured[f"speed_to_{peer}_of_medians"] = 1 / timings.ratio_of_medians("loom", peer)
        text = f"at least {SPEED} of the speed of {peer}"
        if has_torch:
            bars.append(Bar(text, SPEED, speed, at_least=True))
        else:
            measured[f"speed_to_{peer}"] = speed
            bars.append(Bar(f"at least {SPEED} of torch's speed", SPEED, None, at_least=True))
    measured["runs"] = timings.runs("loom")
    return Row(what, measured, tuple(bars))


if __name__ == "__main__":
    main("reduce", run)
