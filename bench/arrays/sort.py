"""``gpu_sort`` and what is built on it, beside numpy: its fastest, unstable sort, and its stable one.

With ``--device cuda`` or ``vulkan`` the sorts of ``sort_device``, beside cupy.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import loom
from bench.arrays.sort_device import rows_on
from bench.harness import Side, Timings, alternate
from bench.report import Bar, Family, Row, main, wanted_device

SPEED = 1.0
SIZES = {10**5: (15, 25), 10**6: (11, 7), 10**7: (9, 3)}
"""Elements -> blocks, calls a block."""

Call = Callable[[], Any]


def run(family: Family) -> None:
    """Measure every operation at every size."""
    if wanted_device() != "cpu":
        family.rows.extend(rows_on(wanted_device()))
        family.notes.append("the time of whole programs, launch and wait included; cupy.sort copies its input first")
        return
    rng = np.random.default_rng(1)
    for size, (blocks, calls) in SIZES.items():
        power = f"10^{len(str(size)) - 1}"
        for x in (rng.integers(0, 2**32, size, np.uint32), rng.random(size, np.float32)):
            peers = {"numpy.sort": lambda x=x: np.sort(x)}
            _check(loom.gpu_sort(x), np.sort(x))
            timings = _timed(lambda x=x: loom.gpu_sort(x), peers, blocks, calls)
            family.rows.append(_row(f"sort, {x.dtype}, {power}", timings, "numpy.sort" if size == 10**7 else None))
        for what, (ours, peers) in _others(x).items():
            timings = _timed(ours, peers, max(3, blocks // 3), max(1, calls // 3))
            family.rows.append(_row(f"{what}, {power}", timings, None))
    family.notes.append(
        "numpy.sort is unstable and vectorised (AVX-512 or AVX2), on one thread; loom's is stable, on two"
    )
    family.notes.append("speed is the peer's time divided by loom's, by the median over rounds of blocks")


def _others(x: np.ndarray[Any, Any]) -> dict[str, tuple[Call, dict[str, Call]]]:
    """Return what has no bar, with numpy's ways to do it."""
    wide = x.astype(np.float64)
    values = np.arange(x.size, dtype=np.uint32)
    places = np.sort(x)
    few = (x * 1000).astype(np.int32)
    looked = x[: 10**5]
    k = 100
    return {
        "sort, float64": (lambda: loom.gpu_sort(wide), {"numpy.sort": lambda: np.sort(wide)}),
        "argsort, float32": (
            lambda: loom.gpu_argsort(x),
            {"numpy.argsort": lambda: np.argsort(x), "numpy stable": lambda: np.argsort(x, kind="stable")},
        ),
        "sort_pairs, float32 and uint32": (
            lambda: loom.gpu_sort_pairs(x, values),
            {"numpy argsort, take": lambda: _taken(x, values)},
        ),
        "unique, int32, 1000 different": (lambda: loom.gpu_unique(few), {"numpy.unique": lambda: np.unique(few)}),
        "topk 100, float32": (
            lambda: loom.gpu_topk(x, k),
            {"numpy argpartition, sort": lambda: np.sort(x[np.argpartition(x, x.size - k)[-k:]])},
        ),
        "partition, float32": (
            lambda: loom.gpu_partition(x, x.size // 2),
            {"numpy.partition": lambda: np.partition(x, x.size // 2)},
        ),
        "searchsorted, 10^5 values, float32": (
            lambda: loom.gpu_searchsorted(places, looked),
            {"numpy.searchsorted": lambda: np.searchsorted(places, looked)},
        ),
    }


def _taken(x: np.ndarray[Any, Any], values: np.ndarray[Any, Any]) -> tuple[Any, Any]:
    order = np.argsort(x, kind="stable")
    return x[order], values[order]


def _timed(ours: Call, peers: dict[str, Call], blocks: int, calls: int) -> Timings:
    return alternate([Side("loom", ours), *(Side(n, c) for n, c in peers.items())], blocks=blocks, calls=calls)


def _check(found: Any, expected: Any) -> None:
    assert np.array_equal(found.view(np.uint32), expected.view(np.uint32)), "the sort differs"


def _row(what: str, timings: Timings, judged: str | None) -> Row:
    measured: dict[str, float | int | str] = {f"{name}_ms": timings.median(name) * 1e3 for name in timings.blocks}
    bars = []
    for peer in list(timings.blocks)[1:]:
        speed = 1 / timings.median_of_ratios("loom", peer)
        if peer == judged:
            bars.append(Bar(f"at least {SPEED} of the speed of {peer}", SPEED, speed, at_least=True))
        else:
            measured[f"speed_to_{peer}"] = speed
    measured["runs"] = timings.runs("loom")
    return Row(what, measured, tuple(bars))


if __name__ == "__main__":
    main("sort", run)
