"""The sort's schedule for devices whose lanes are threads: on Vulkan, with the bits of the CPU."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import loom
from loom.core.caps import Caps
from loom.core.dtype import f32, of_numpy, u32, u64
from loom.core.errors import ShapeError
from loom.kernels.sort.keys import Order, Records
from loom.patterns.data.group import group_by
from loom.runtime.chain import Chain
from loom.schedules.sorting.sort import SortPlan, plan_sort
from loom.schedules.sorting.threads import ThreadSortPlan
from unit.patterns.canonical import same_bits
from unit.patterns.sort.sorted_oracle import numbers, order

pytestmark = pytest.mark.needs("threads")

Array = np.ndarray[Any, Any]
SMALL = Caps(32, 8 << 10, 256, False, 1, 1 << 20, threads=True)
"""Little shared memory: small tiles, whose kernels are compiled soon."""


def sorted_by(plan: ThreadSortPlan, x: Array, device: Any, values: Array | None = None) -> tuple[Array, Array]:
    """Return what a plan makes of ``x``: elements, and payloads as bytes."""

    def filled(data: Array) -> Any:
        storage = device.allocate(data.nbytes)
        storage.write(0, data.reshape(-1).view(np.uint8))
        return storage

    chain = Chain(device)
    keys, payloads = device.allocate(x.nbytes), device.allocate(8 * x.size)
    room = [device.allocate(nbytes) for nbytes in plan.sizes]
    given = None if values is None else filled(values)
    plan.record(chain, filled(x), given, keys, payloads, room)
    with chain.build() as program:
        program.run()
    return keys.read(0, x.nbytes).view(x.dtype).reshape(x.shape), payloads.read(0, 8 * x.size)


def plan(records: Records, rows: int, n: int, caps: Caps = SMALL) -> ThreadSortPlan:
    made = plan_sort(records, rows, n, keys_out=True, caps=caps, where="gpu_sort")
    assert isinstance(made, ThreadSortPlan)
    return made


_SLOW = [pytest.param(dtype, marks=pytest.mark.slow) for dtype in ("uint8", "uint32", "float64")]


@pytest.mark.parametrize("dtype", ["float32", *_SLOW])
def test_long_rows(device: Any, dtype: str) -> None:
    rows, n = 2, 5003
    x = numbers(dtype, rows * n).reshape(rows, n)
    expected = np.array([order(row) for row in x])
    kind = of_numpy(x.dtype, "test")
    found, places = sorted_by(plan(Records(Order(kind), "index"), rows, n), x, device)
    assert same_bits(found, np.take_along_axis(x, expected, 1))
    assert np.array_equal(places.view(np.int64).reshape(rows, n), expected)


def test_few_blocks_and_many_turns(device: Any) -> None:
    for size, blocks, turns in ((9000, 12, 1), (60_000, 40, 2)):
        x = numbers("uint32", size)
        made = plan(Records(Order(u32)), 1, size)
        assert (made.blocks, made.turns) == (blocks, turns)
        assert same_bits(sorted_by(made, x, device)[0], np.sort(x))


@pytest.mark.parametrize("kind", ["equal", "descending", "few", "one far from the rest"])
def test_keys_however_they_spread(device: Any, kind: str) -> None:
    x = np.arange(20_000, 0, -1, dtype=np.uint32)
    if kind == "equal":
        x[:] = 2**32 - 1
    elif kind == "few":
        x %= np.uint32(3)
    elif kind != "descending":
        x[77] = 2**32 - 1
    values = np.arange(x.size, dtype=np.uint32)
    expected = np.argsort(x, kind="stable")
    found, moved = sorted_by(plan(Records(Order(u32), u32), 1, x.size), x, device, values)
    assert same_bits(found, x[expected])
    assert np.array_equal(moved.view(np.uint32)[: x.size], values[expected])


def test_short_rows_and_pairs(device: Any) -> None:
    for rows, n in ((40, 1), (30, 17), (3, 300)):
        x = numbers("float32", rows * n).reshape(rows, n)
        expected = np.array([order(row, descending=True) for row in x])
        assert same_bits(loom.gpu_sort(x, descending=True, on=device), np.take_along_axis(x, expected, 1))
        assert same_bits(loom.gpu_argsort(x, descending=True, on=device), expected)
    keys, values = numbers("int8", 300), numbers("float64", 300)
    expected = order(keys)
    found = loom.gpu_sort_pairs(keys, values, on=device)
    assert same_bits(found[0], keys[expected])
    assert same_bits(found[1], values[expected])


@pytest.mark.parametrize("dtype", [pytest.param("int32", marks=pytest.mark.slow), "float32"])
def test_what_an_order_tells(device: Any, dtype: str) -> None:
    x = numbers(dtype, 9001) if dtype == "float32" else numbers(dtype, 9001) % np.int32(300)
    every: dict[str, Any] = {"return_inverse": True, "return_counts": True}
    for got, cpu in [
        (loom.gpu_unique(x, **every, on=device), loom.gpu_unique(x, **every)),
        (loom.gpu_topk(x, 30, on=device), loom.gpu_topk(x, 30)),
        (loom.gpu_topk(x, 3, largest=False, on=device), loom.gpu_topk(x, 3, largest=False)),
        ((loom.gpu_partition(x, 4000, on=device),), (loom.gpu_partition(x, 4000),)),
    ]:
        assert all(same_bits(a, b) for a, b in zip(got, cpu, strict=True))


def test_grouping_by_keys(device: Any) -> None:
    keys, values = numbers("float32", 9001), numbers("int32", 9001)
    for a, b in zip(group_by(keys, values, on=device).sum(), group_by(keys, values).sum(), strict=True):
        assert same_bits(a, b)


def test_tiles_fit_the_device_and_the_row() -> None:
    big = Caps(32, 48 << 10, 1024, False, 132, 1 << 20, threads=True)
    made = plan(Records(Order(u32)), 1, 1 << 26, big)
    assert (made.tile.lanes, made.tile.items, made.turns) == (256, 15, 4)
    assert plan(Records(Order(f32), "index"), 1, 1 << 24, big).tile.items == 9
    assert [plan(Records(Order(u32)), 1, n, big).tile.size for n in (1, 32, 33, 1000, 3840)] == [32, 32, 96, 1280, 3840]
    cpu = Caps(8, 1 << 20, 1024, True, 2, 1 << 20)
    assert isinstance(plan_sort(Records(Order(u32)), 1, 9, keys_out=True, caps=cpu, where="gpu_sort"), SortPlan)


def test_too_many_elements_are_refused_before_any_work() -> None:
    with pytest.raises(ShapeError, match="too many elements to sort: expected less than 1073741824, got 1073741824"):
        plan(Records(Order(u64), u64), 2, 2**29)
