"""Functions of a workgroup: bits of the canonical order on every device, for workgroups of any size and shape.

The oracle joins in numpy, pair by pair, in the order that ``kernels.group.collective`` states.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import loom
from loom import In, Out, bool_, f32, f64, i32, i64, u32
from loom.core.errors import LoomError, StateError

SIZES = [(1,), (2,), (7,), (64,), (100,), (6, 5), (4, 3, 2), (256,)]


def tree(x: np.ndarray, join: Any) -> Any:
    held = x.copy()
    half = 1 << (len(x) - 1).bit_length() >> 1
    while half:
        for lane in range(min(half, len(x) - half)):
            held[lane] = join(held[lane], held[lane + half])
        half >>= 1
    return held[0]


def steps(x: np.ndarray) -> np.ndarray:
    held, reach = x.copy(), 1
    while reach < len(x):
        held = np.concatenate([held[:reach], held[:-reach] + held[reach:]])
        reach *= 2
    return held


@pytest.mark.parametrize("workgroup", SIZES, ids=str)
def test_the_canonical_order(on: str, workgroup: tuple[int, ...]) -> None:
    lanes = int(np.prod(workgroup))

    @loom.kernel(workgroup=workgroup)
    def found(x: In[f32], sums: Out[f32], upto: Out[f32], before: Out[f32], least: Out[f32], most: Out[f32]):
        size = loom.workgroup_size(0) * loom.workgroup_size(1) * loom.workgroup_size(2)
        lane = loom.local_id(0) + loom.workgroup_size(0) * (
            loom.local_id(1) + loom.workgroup_size(1) * loom.local_id(2)
        )
        i = loom.group_id() * size + lane
        sums[i] = loom.group_sum(x[i])
        upto[i] = loom.group_scan(x[i])
        before[i] = loom.group_scan(x[i], inclusive=False)
        least[i] = loom.group_min(x[i])
        most[i] = loom.group_max(x[i])

    dice = np.random.default_rng(lanes)
    x = ((dice.random((3, lanes)) - 0.5) * 10.0 ** dice.integers(-4, 5, (3, lanes))).astype(np.float32)
    sums, upto, before, least, most = (np.zeros_like(x) for _ in range(5))
    found(x, sums, upto, before, least, most, groups=3, on=on)
    for row in range(3):
        assert sums[row].tobytes() == np.full(lanes, tree(x[row], np.add)).tobytes()
        assert upto[row].tobytes() == steps(x[row]).tobytes()
        assert before[row].tobytes() == np.concatenate([[np.float32(0)], steps(x[row])[:-1]]).tobytes()
        assert least[row].tobytes() == np.full(lanes, x[row].min()).tobytes()
        assert most[row].tobytes() == np.full(lanes, x[row].max()).tobytes()


@pytest.mark.parametrize("dtype", [i32, u32, i64, f64], ids=str)
def test_integers_conditions_and_values_of_a_lane(on: str, dtype: Any) -> None:
    @loom.kernel(workgroup=96)
    def found(x: In[dtype], out: Out[dtype], counts: Out[u32], marks: Out[bool_], turned: Out[dtype]):
        i, lane = loom.global_id(), loom.local_id()
        total = dtype(0)
        for k in range(3):  # memory is used again
            total += loom.group_sum(x[i] + dtype(k))
        out[i] = total
        counts[i] = loom.group_count(x[i] > 3) * 1000 + loom.group_scan(u32(x[i] > 3))
        marks[i] = loom.group_any(x[i] > 98) and loom.group_all(x[i] < 100)
        if loom.group_sum(dtype(1)) == 96:  # the same for all, so that a barrier may follow
            turned[i] = loom.group_broadcast(x[i], 95 - lane) + loom.group_broadcast(x[i], lane + 1)

    x = np.random.default_rng(3).integers(0, 99, (2, 96)).astype(dtype.numpy)
    x[1, 5] = 99
    out, turned = np.zeros_like(x), np.zeros_like(x)
    counts, marks = np.zeros(x.shape, np.uint32), np.zeros(x.shape, np.bool_)
    found(x, out, counts, marks, turned, on=on)
    assert np.array_equal(out, np.broadcast_to(3 * x.sum(1, keepdims=True) + 96 * 3, x.shape))
    assert np.array_equal(counts, (x > 3).sum(1, keepdims=True) * 1000 + np.cumsum(x > 3, 1))
    assert marks.all(1).tolist() == [False, True]
    assert not marks[0].any()
    assert np.array_equal(turned, x[:, ::-1] + np.pad(x[:, 1:], ((0, 0), (0, 1))))


def test_what_is_shared_is_read_by_all_before_it_is_written_again(on: str) -> None:
    """Calls in a row of other values: each finds its own, of a workgroup that no vector holds as a whole."""

    @loom.kernel(workgroup=96)
    def found(x: In[u32], out: Out[u32]):
        i, lane = loom.global_id(), loom.local_id()
        a = loom.group_broadcast(x[i], 95 - lane)
        b = loom.group_broadcast(x[i] * 3, lane + 1)
        c = loom.group_scan(x[i] * 5, inclusive=False)
        d = loom.group_broadcast(c, 95 - lane)
        out[i] = a + (b << 8) + (d << 18)

    x = np.random.default_rng(4).integers(0, 32, (3, 96)).astype(np.uint32)
    out = np.zeros_like(x)
    found(x, out, on=on)
    before = np.pad(np.cumsum(5 * x, 1)[:, :-1], ((0, 0), (1, 0))).astype(np.uint32)
    following = np.pad(3 * x[:, 1:], ((0, 0), (0, 1)))
    assert np.array_equal(out, x[:, ::-1] + (following << 8) + (before[:, ::-1] << 18))


def test_special_numbers(on: str) -> None:
    @loom.kernel(workgroup=4)
    def found(x: In[f32], out: Out[f32]):
        i = loom.global_id()
        out[i] = loom.group_max(x[i]) if loom.group_id() % 2 == 0 else loom.group_min(x[i])

    x = np.float32([-0.0, 0.0, -0.0, -0.0, -0.0, 0.0, 0.0, 0.0, 1, np.nan, 2, 3, np.inf, -np.inf, 0, 0])
    out = np.zeros(16, np.float32)
    found(x, out, on=on, groups=4)
    assert [out[0], out[12]] == [0, -np.inf]
    assert np.signbit([out[0], out[4]]).tolist() == [False, True]
    assert np.isnan(out[8:12]).all()


def refused(body: Any) -> str:
    @loom.kernel(workgroup=8)
    def k(x: In[f32], out: Out[f32]):
        i = loom.global_id()
        body(x, out, i)

    with pytest.raises(LoomError) as caught:
        _ = k.verified
    return str(caught.value)


def in_a_branch(x: Any, out: Any, i: Any) -> None:
    if i < 3:
        out[i] = loom.group_sum(x[i])


def of_a_condition(x: Any, out: Any, i: Any) -> None:
    out[i] = loom.group_sum(x[i] > 0)


def of_a_number(x: Any, out: Any, i: Any) -> None:
    out[i] = f32(loom.group_count(x[i]))


def of_nothing(x: Any, out: Any, i: Any) -> None:
    out[i] = loom.group_sum()


def test_what_is_refused() -> None:
    assert "barrier" in refused(in_a_branch)
    assert "group_sum cannot take this: expected a number, got bool" in refused(of_a_condition)
    assert "group_count cannot take this: expected a condition, got f32" in refused(of_a_number)
    assert "group_sum is called wrongly" in refused(of_nothing)
    with pytest.raises(LoomError, match=r"loom\.group_sum in a function given to gpu_map"):
        loom.gpu_map(np.zeros(3, np.float32), lambda v: loom.group_sum(v) + v)
    with pytest.raises(StateError, match="called on the host"):
        loom.group_sum(1)
