"""Sorts on a GPU beside CUB's, as cupy calls it: device memory on both sides, programs recorded once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np

import loom
from bench.harness import Side, alternate
from bench.report import Bar, Row
from loom.core.dtype import f32, u32, u64
from loom.kernels.sort.keys import Order, Records
from loom.schedules.sorting.sort import plan_sort

BLOCKS, CALLS = 7, 3


@dataclass(frozen=True, slots=True)
class Work:
    """What is sorted: ``rows`` rows of ``size`` records; ``speed``: the least to cupy, 0 if there is no bar."""

    what: str
    records: Records
    rows: int
    size: int
    speed: float = 0.0


WORKS = (
    Work("sort, uint32, 2^26", Records(Order(u32)), 1, 1 << 26, speed=0.8),
    Work("sort, float32, 2^20", Records(Order(f32)), 1, 1 << 20, speed=0.4),
    Work("sort, uint64, 2^24", Records(Order(u64)), 1, 1 << 24, speed=0.7),
    Work("argsort, float32, 2^24", Records(Order(f32), "index"), 1, 1 << 24),
    Work("sort, float32, 2^16 rows of 1000", Records(Order(f32)), 1 << 16, 1000),
)


def rows_on(name: str) -> list[Row]:
    """Check and time every work on a device."""
    device = loom.device(name)
    return [_row(work, device) for work in WORKS]


def _row(work: Work, device: Any) -> Row:
    x = _elements(work)
    program, result = _program(work, x, device)
    program.run()
    axis_order = np.argsort(x, axis=1, kind="stable") if work.records.payload else np.sort(x, axis=1)
    assert np.array_equal(result(), axis_order.reshape(-1)), f"{work.what}: the sort differs"
    sides = [Side("loom", program.run)]
    peer = _peer(work, x)
    if peer is not None:
        sides.append(Side("cupy", peer))
    timings = alternate(sides, blocks=BLOCKS, calls=CALLS)
    measured: dict[str, float | int | str] = {f"{n}_ms": timings.median(n) * 1e3 for n in timings.blocks}
    measured["loom_keys_per_s"] = x.size / timings.median("loom")
    bars: tuple[Bar, ...] = ()
    if peer is not None:
        speed = 1 / timings.median_of_ratios("loom", "cupy")
        measured["speed_to_cupy"] = speed
        if work.speed:
            bars = (Bar(f"at least {work.speed} of the speed of cupy", work.speed, speed, at_least=True),)
    return Row(f"{work.what} on {device.name}", measured, bars)


def _elements(work: Work) -> np.ndarray[Any, Any]:
    rng, shape, dtype = np.random.default_rng(1), (work.rows, work.size), work.records.order.dtype
    if dtype.is_float:
        return rng.standard_normal(shape, dtype.numpy)
    return rng.integers(0, dtype.maximum, shape, dtype.numpy, endpoint=True)


def _program(work: Work, x: np.ndarray[Any, Any], device: Any) -> tuple[Any, Callable[[], np.ndarray[Any, Any]]]:
    """Return the sort as a program over device memory, and what reads its result."""
    kind = np.dtype(np.int64) if work.records.payload else x.dtype
    given, out = device.allocate(x.nbytes), device.allocate(x.size * kind.itemsize)
    given.write(0, x.reshape(-1).view(np.uint8))
    keys_out = work.records.payload is None
    plan = plan_sort(work.records, work.rows, work.size, keys_out=keys_out, caps=device.caps, where="bench")
    room = [device.allocate(nbytes) for nbytes in plan.sizes]
    chain = loom.Chain(device)
    plan.record(chain, given, None, out if keys_out else None, None if keys_out else out, room)
    program = chain.build()
    return program, lambda: out.read(0, out.nbytes).view(kind)


def _peer(work: Work, x: np.ndarray[Any, Any]) -> Callable[[], Any] | None:
    """Return cupy's way, on its own copy; None without cupy."""
    try:
        cupy = import_module("cupy")
    except ImportError:
        return None
    held = cupy.asarray(x.reshape(-1) if work.rows == 1 else x)

    def call() -> None:
        _ = cupy.argsort(held, kind="stable") if work.records.payload else cupy.sort(held)
        cupy.cuda.Device().synchronize()

    return call
