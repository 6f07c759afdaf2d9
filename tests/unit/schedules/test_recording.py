"""What schedules record into a draft of the tensors gives the bits that numpy gives, as what chains take does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from loom.core.dtype import bool_, f32, i32, of_numpy, u32
from loom.kernels.sort.keys import Order, Records
from loom.schedules.compact import record_kept
from loom.schedules.recorder import Recorder, StorageLike
from loom.schedules.sorting.select import RunSearch, Selection
from loom.schedules.sorting.sort import plan_sort
from unit.schedules.drafted import drafted

Array = np.ndarray[Any, Any]
rng = np.random.default_rng(13)


def _keys(kind: str, rows: int, n: int) -> Array:
    if kind == "few":
        return rng.integers(0, 7, (rows, n)).astype(np.uint32)
    if kind == "narrow":
        return rng.integers(-(2**15), 2**15, (rows, n)).astype(np.int16)
    return rng.standard_normal((rows, n)).astype(np.float32)


@pytest.mark.parametrize(
    ("kind", "rows", "n", "on"),
    [
        ("spread", 3, 300, "cpu"),  # a group for each row
        ("spread", 2, 9000, "cpu"),  # through buckets, row after row
        ("few", 1, 9000, "cpu"),  # which do not serve here: the device lets the passes run
        ("narrow", 2, 5000, "cpu"),
        ("spread", 1, 40, "interp"),
    ],
)
def test_a_sort(kind: str, rows: int, n: int, on: str) -> None:
    x = _keys(kind, rows, n)
    records = Records(Order(of_numpy(x.dtype, "test")), "index")

    def record(draft: Recorder, buffers: Sequence[StorageLike]) -> None:
        plan = plan_sort(records, rows, n, keys_out=True, caps=draft.device.caps, where="test")
        room = [draft.device.allocate(nbytes) for nbytes in plan.sizes]
        plan.record(draft, buffers[0], None, buffers[1], buffers[2], room)

    order = np.argsort(x, axis=1, kind="stable")
    keys, positions = drafted(record, [x], [x, order], on)
    assert np.array_equal(positions, order)
    assert np.array_equal(keys, np.take_along_axis(x, order, 1))


def test_a_compaction() -> None:
    n = 5000
    mask, x = rng.random(n) < 0.3, rng.standard_normal(n).astype(np.float32)
    size = np.zeros(1, np.uint32)

    def record(draft: Recorder, buffers: Sequence[StorageLike]) -> None:
        flags, data, kept, count, positions, again = buffers
        record_kept(draft, bool_, n, flags, kept, count, (f32, data))
        record_kept(draft, bool_, n, flags, positions, again)

    kept, count, positions, again = drafted(record, [mask, x], [x, size, np.zeros(n, np.int64), size])
    assert count.tolist() == again.tolist() == [mask.sum()]
    assert np.array_equal(kept[: mask.sum()], x[mask])
    assert np.array_equal(positions[: mask.sum()], np.flatnonzero(mask))


def test_a_selection() -> None:
    n, k = 7000, 100
    x = rng.integers(-50, 50, n).astype(np.int32)
    start = np.array([0, k - 1], np.uint64)

    def record(draft: Recorder, buffers: Sequence[StorageLike]) -> None:
        data, found, again, parts, lowest, positions = buffers
        search = Selection.of(Order(i32), n, draft.device.caps)
        search.record_parts(draft, data, found, parts)
        search.record_lowest(draft, data, again, k, lowest, positions)

    outs = [x, np.zeros(k, np.int32), np.zeros(k, np.uint32)]
    parts, lowest, positions = drafted(record, [x, start, start], outs)
    v = np.sort(x)[k - 1]
    assert np.array_equal(parts, np.concatenate([x[x < v], x[x == v], x[x > v]]))
    assert np.array_equal(np.sort(positions), np.sort(np.argsort(x, kind="stable")[:k]))
    assert np.array_equal(lowest, x[positions])


def test_runs() -> None:
    n = 6000
    x = np.sort(rng.integers(0, 900, n).astype(np.uint32))
    values, starts = np.unique(x, return_index=True)

    def record(draft: Recorder, buffers: Sequence[StorageLike]) -> None:
        runs = RunSearch.of(Order(u32), n, draft.device.caps)
        places = draft.device.allocate((runs.tiles + 1) * u32.nbytes)
        runs.record(draft, buffers[0], places, buffers[1], buffers[2])

    found, begins = drafted(record, [x], [values, starts.astype(np.uint32)])
    assert np.array_equal(found, values)
    assert np.array_equal(begins, starts)
