"""Kernels of graphs that are begun before those they depend on are over (``loom.runtime.drivers.cuda.overlap``), beside
graphs that have full edges: bits, then microseconds a dispatch. Ten seconds on an H100.

``PYTHONPATH=src:.:/tmp/loom-device-site python3 bench/device/pdl_figures.py``. Ways take turns, and the least of the
rounds is printed. A way that the driver refuses says why, and the others go on; what no time is left for is named.
"""

from __future__ import annotations

import faulthandler
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

import loom
from bench.engine.chain import step
from bench.engine.iteration import LANES, NODES, collect, graph, share
from loom.core.dtype import f32
from loom.runtime.drivers.cuda.overlap import NO_OVERLAP, Overlap
from loom.schedules.axis import Rows
from loom.schedules.scan import Scanning, record_scan

Array = np.ndarray[Any, Any]
WAYS = {
    "off": NO_OVERLAP,
    "chains": Overlap("chains", "waited"),
    "all": Overlap("all", "waited"),
    "chains, begun": Overlap("chains", "begun"),
    "all, begun": Overlap("all", "begun"),
}
"""Name -> which edges are early, and when dependents are launched."""
ROUNDS, LIMIT, HANGS = 6, 12.0, 60


@cache
def normals(n: int) -> Array:
    """Return numbers to compute with."""
    return np.random.default_rng(1).standard_normal(n, np.float32)


@cache
def near_places(n: int) -> Array:
    """Return for each element another one near it."""
    return ((np.arange(n) + np.random.default_rng(2).integers(0, 512, n)) % n).astype(np.uint32)


@dataclass
class Made:
    """A program, how many dispatches it has, and what gives the bytes it leaves when run for the first time."""

    program: Any
    count: int
    result: Callable[[], Array]


def tiny(device: Any, count: int, groups: int) -> Made:
    """Make a chain of tiny dependent dispatches of one kernel."""
    state = device.allocate(4 * 64 * groups)
    state.write(0, np.arange(64 * groups, dtype=np.uint32).view(np.uint8))
    chain = loom.Chain(device)
    with chain.repeat(count, params=np.arange(count, dtype=np.uint32).reshape(-1, 1)) as segment:
        chain.dispatch(step, [state], segment.params, groups=groups)
    return Made(chain.build(), count, lambda: state.read(0, state.nbytes))


def ranks(device: Any, turns: int) -> Made:
    """Make the 200 dispatches of PageRank: two kernels by turns, each reading what the other wrote."""
    arrays = graph()
    first = np.full(NODES, 1 / NODES, np.float32)
    start, source, degree, given, rank = (device.allocate(a.nbytes) for a in (*arrays, first, first))
    for storage, array in zip((start, source, degree, rank), (*arrays, first), strict=True):
        storage.write(0, array.view(np.uint8))
    chain = loom.Chain(device)
    base = float(np.float32(0.15) / np.float32(NODES))
    with chain.repeat(turns):
        chain.dispatch(share, [rank, degree, given], [], groups=NODES // LANES)
        chain.dispatch(collect, [start, source, given, rank], [base, NODES], groups=NODES // LANES)
    return Made(chain.build(), 2 * turns, lambda: rank.read(0, 4 * NODES))


@loom.kernel(workgroup=64)
def added(x: loom.In[loom.u32], y: loom.In[loom.u32], out: loom.Out[loom.u32], a: loom.u32) -> None:
    """Join two arrays in a third."""
    i = loom.global_id()
    out[i] = x[i] * a + y[i]


def forks(device: Any, turns: int) -> Made:
    """Make turns of one kernel that four read, whose results are joined by two and then one."""
    n = 64 * 16
    first, last, *four = (device.allocate(4 * n) for _ in range(6))
    first.write(0, np.arange(n, dtype=np.uint32).view(np.uint8))
    pairs = [device.allocate(4 * n) for _ in range(2)]
    chain = loom.Chain(device)
    for turn in range(turns):
        for number, place in enumerate(four):
            chain.dispatch(added, [first, first, place], [number + turn], groups=16)
        for number, place in enumerate(pairs):
            chain.dispatch(added, [*four[2 * number :][:2], place], [turn], groups=16)
        chain.dispatch(added, [*pairs, last], [3], groups=16)
        chain.dispatch(added, [last, last, first], [5], groups=16)
    return Made(chain.build(), 8 * turns, lambda: first.read(0, 4 * n))


def scans(device: Any, n: int, turns: int) -> Made:
    """Make scans of much memory, each of the one before: what the other loads cost, and groups that wait for others."""
    x = normals(n)
    pair = [device.allocate(x.nbytes) for _ in range(2)]
    pair[0].write(0, x.view(np.uint8))
    chain = loom.Chain(device)
    for turn in range(turns):
        record_scan(chain, pair[turn % 2], pair[1 - turn % 2], Rows(1, n), Scanning("max", f32, f32, f32))
    return Made(chain.build(), turns, lambda: pair[turns % 2].read(0, x.nbytes))


@loom.kernel(workgroup=256)
def gathered(x: loom.In[loom.f32], places: loom.In[loom.u32], out: loom.Out[loom.f32]) -> None:
    """Read 16 elements of an array that lie apart, many of them more than once: what caches are for."""
    i = loom.global_id()
    total = loom.f32(0)
    for k in range(16):
        total += x[places[(i * 16 + k) % len(places)]]
    out[i] = total * 0.0625


def gathers(device: Any, n: int, turns: int) -> Made:
    """Make gathers of the gathers before: what loads by other caches cost where they are read again."""
    pair = [device.allocate(4 * n) for _ in range(2)]
    pair[0].write(0, normals(n).view(np.uint8))
    places = device.allocate(4 * n)
    places.write(0, near_places(n).view(np.uint8))
    chain = loom.Chain(device)
    for turn in range(turns):
        chain.dispatch(gathered, [pair[turn % 2], places, pair[1 - turn % 2]], [], groups=n // 256)
    return Made(chain.build(), turns, lambda: pair[turns % 2].read(0, 4 * n))


def compare(device: Any, what: str, make: Callable[[], Made], wanted: list[str]) -> None:
    """Make a program each way, compare what first runs leave, time runs by turns, print a row for each."""
    by_itself = device.overlap
    made, built, first = dict[str, Made](), dict[str, float](), dict[str, bytes]()
    for name in wanted:
        device.overlap, device.overlap_refused = WAYS[name], None
        begun = time.perf_counter()
        try:
            found = make()
            built[name] = time.perf_counter() - begun
            found.program.run()
            first[name] = found.result().tobytes()
            made[name] = found
        except Exception as error:
            print(f"{what} | {name}: {type(error).__name__}: {error}", flush=True)
            if device.lost:
                raise
        if device.overlap_refused is not None:
            made.pop(name, None)
            print(f"{what} | {name}: the driver refuses it ({device.overlap_refused})", flush=True)
    device.overlap = by_itself
    times = dict.fromkeys(made, np.inf)
    for _ in range(ROUNDS):
        for name, each in made.items():
            begun = time.perf_counter()
            each.program.run()
            times[name] = min(times[name], time.perf_counter() - begun)
    for name, seconds in times.items():
        bits = ""
        if "off" in first and name != "off":
            bits = ", bits equal" if first[name] == first["off"] else ", bits DIFFER"
        ratio = f", {times['off'] / seconds:.2f} times as fast" if "off" in times else ""
        each = 1e6 * seconds / made[name].count
        print(f"{what} | {name}: {each:.3f} us each{ratio}, built in {built[name]:.2f} s{bits}", flush=True)


def main(device: Any, *, small: bool = False) -> None:
    """Print all rows: those first that tell most."""
    every, waited = list(WAYS), list(WAYS)[:3]
    n = 1 << (12 if small else 24)
    rows: list[tuple[str, Callable[[], Made], list[str]]] = [
        ("PageRank, 200", lambda: ranks(device, 5 if small else 100), every),
        ("tiny, 1 group", lambda: tiny(device, 20 if small else 10_000, 1), every),
        ("tiny, 256 groups", lambda: tiny(device, 20 if small else 4_000, 4 if small else 256), every),
        ("forks and joins", lambda: forks(device, 3 if small else 200), every),
        ("tiny, 1 group, 95,370", lambda: tiny(device, 30 if small else 95_370, 1), waited),
        (f"gathers of {n}", lambda: gathers(device, n, 10), every),
    ]
    if not small:  # processors that stand for a GPU take their time to compile it
        rows.append((f"scans of {n}", lambda: scans(device, n, 10), waited))
    print(f"{device.gpu.name}, driver {device.gpu.version}, by itself {device.overlap}", flush=True)
    begun = time.perf_counter()
    for what, make, wanted in rows:
        if time.perf_counter() - begun > LIMIT:
            print(f"{what}: no time left")
        else:
            compare(device, what, make, wanted)
            print(f"    {time.perf_counter() - begun:.1f} s", flush=True)


if __name__ == "__main__":
    faulthandler.dump_traceback_later(HANGS, exit=True)  # what was printed is worth more than a hang
    main(loom.device("cuda"))
