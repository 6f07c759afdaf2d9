"""Calls whose lanes may meet: what is proved, what is tried, what is told, and what is left as it was."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import Any, TypeVar

import numpy as np
import pytest

import loom
from loom import In, InOut, Out, f32, u32
from loom.core.errors import AssertionFailed, RaceDetected
from loom.runtime.calls import trials
from loom.runtime.calls.interface import interface_of


def whole(n: int) -> Any:
    return np.arange(n, dtype=np.uint32)


# each makes a kernel that nobody called yet


def reader_of_others() -> Any:
    @loom.kernel(workgroup=4)
    def read_others(y: InOut[u32], n: u32):
        i = loom.global_id()
        if i < n:
            y[i] = y[(i + n // 2) % n] + 1

    return read_others


def halver() -> Any:
    @loom.kernel(workgroup=8)
    def halved(y: InOut[u32]):
        i = loom.global_id()
        y[i // 2] = i

    return halved


def scatterer() -> Any:
    @loom.kernel(workgroup=8)
    def scattered(at: In[u32], x: In[u32], y: InOut[u32]):
        i = loom.global_id()
        if i < len(at):
            y[at[i]] = x[i]

    return scattered


def sharer() -> Any:
    @loom.kernel(workgroup=8)
    def shared_without_a_barrier(x: In[u32], y: Out[u32]):
        s = loom.shared(u32, 8)
        j = loom.local_id()
        s[x[j] % 8] = j
        y[j] = s[j]

    return shared_without_a_barrier


def columns() -> Any:
    @loom.kernel(workgroup=4)
    def by_column(y: InOut[u32]):
        y[loom.global_id(0)] = loom.global_id(1)

    return by_column


def flags() -> Any:
    @loom.kernel(workgroup=8)
    def flagged(x: In[u32], y: InOut[u32], value: u32):
        i = loom.global_id()
        if i < len(x):
            y[x[i] % 4] = value

    return flagged


def turner() -> Any:
    @loom.kernel(workgroup=8)
    def turned(y: InOut[f32], t: u32, n: u32):
        i = loom.global_id()
        if i < n:
            y[(i + t) % n] = y[(i + t) % n] + 1.0

    return turned


_RACES: list[tuple[Callable[[], Any], tuple[Any, ...], dict[str, Any]]] = [
    (reader_of_others, (whole(16), 16), {}),
    (reader_of_others, (whole(1 << 20), 1 << 20), {}),
    (halver, (whole(16),), {}),
    (scatterer, (np.array([3, 1, 3], np.uint32), whole(3), whole(4)), {}),
    (sharer, (np.array([0, 0, 1, 2, 3, 4, 5, 6], np.uint32), whole(8)), {}),
    (sharer, (whole(8)[::-1].copy(), whole(8)), {}),
    (columns, (whole(8),), {"groups": (2, 2)}),
]


@pytest.mark.parametrize(("make", "args", "settings"), _RACES)
def test_lanes_that_meet_are_told_and_nothing_is_changed(
    make: Callable[[], Any], args: tuple[Any, ...], settings: dict[str, Any], on: str
) -> None:
    kernel, given = make(), deepcopy(args)
    for _ in range(2):  # a call that was refused is tried again
        with pytest.raises(RaceDetected, match=r"with no order between them\. Give each lane its own elements"):
            kernel(*given, on=on, **settings)
    for before, after in zip(args, given, strict=True):
        assert np.array_equal(before, after)


def test_the_lines_of_both_lanes_are_named(on: str) -> None:
    with pytest.raises(RaceDetected, match=r"kernel 'read_others' at .*test_trials\.py:\d+\] lane 0 stores to y\[0\], "
                       r"which lane 8 of another workgroup loaded at .*test_trials\.py:\d+"):  # fmt: skip
        reader_of_others()(whole(16), 16, on=on)


def test_arrays_of_a_device_stay_as_they_were(on: str) -> None:
    y = loom.array(whole(16), on=on)
    with pytest.raises(RaceDetected):
        halver()(y)
    assert np.array_equal(np.asarray(y), whole(16))


def test_other_lanes_elements_behind_a_barrier_or_in_any_order(on: str) -> None:
    @loom.kernel(workgroup=8)
    def ordered(x: In[u32], y: Out[u32]):
        s = loom.shared(u32, 8)
        j = loom.local_id()
        s[x[j] % 8] = j
        loom.barrier()
        y[j] = s[j]

    @loom.kernel(workgroup=8, order="any")
    def disordered(y: InOut[u32]):
        i = loom.global_id()
        y[i // 2] = i

    y = np.zeros(8, np.uint32)
    ordered(whole(8)[::-1].copy(), y, on=on)
    assert y.tolist() == [7, 6, 5, 4, 3, 2, 1, 0]
    disordered(y, on=on)
    assert y[0] in (0, 1)
    assert y[3] in (6, 7)


def test_permutations_and_equal_values_run(on: str) -> None:
    scatter, flag, y = scatterer(), flags(), np.zeros(100, np.uint32)
    at = np.random.default_rng(3).permutation(100).astype(np.uint32)
    for _ in range(2):
        scatter(at, whole(100), y, on=on)
        assert np.array_equal(y[at], whole(100))
    flag(whole(8), y, 7, on=on)
    assert y[:4].tolist() == [7] * 4


def test_equal_values_of_memory_are_no_race_and_other_ones_are(on: str) -> None:
    x = np.full(3, 9, np.uint32)
    y = np.zeros(4, np.uint32)
    scatterer()(np.full(3, 1, np.uint32), x, y, on=on)
    assert y.tolist() == [0, 9, 0, 0]
    x[2] = 8
    with pytest.raises(RaceDetected, match=r"y\[1\]"):
        scatterer()(np.full(3, 1, np.uint32), x, y, on=on)


def test_a_failed_assert_is_told_by_the_call_itself(on: str) -> None:
    @loom.kernel(workgroup=8)
    def asked(at: In[u32], y: InOut[u32]):
        i = loom.global_id()
        assert at[i] < 8, "too far"
        y[at[i]] = i

    y = np.zeros(8, np.uint32)
    with pytest.raises(AssertionFailed, match="too far"):
        asked(np.array([0, 1, 2, 3, 4, 5, 6, 9], np.uint32), y, on=on)


def test_a_print_is_printed_once(on: str, capsys: Any) -> None:
    @loom.kernel(workgroup=2)
    def said(at: In[u32], y: InOut[u32]):
        y[at[loom.global_id()]] = 1 + loom.global_id()
        print("lane", loom.global_id())

    said(whole(2), np.zeros(2, np.uint32), on=on)
    assert sorted(capsys.readouterr().out.split("\n")) == ["", "lane 0", "lane 1"]


# what is tried, and how often


@pytest.fixture
def tried(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the kernels that were tried, one entry a trial."""
    names: list[str] = []
    run = trials.Trials.interpret

    def noted(self: Any, *args: Any) -> None:
        names.append(self.kernel.name)
        run(self, *args)

    monkeypatch.setattr(trials.Trials, "interpret", noted)
    return names


def test_a_kind_of_call_is_tried_once(tried: list[str]) -> None:
    kernel, y = scatterer(), np.zeros(16, np.uint32)
    for _ in range(3):
        kernel(whole(16), whole(16), y)
    assert tried == ["scattered"]
    kernel(whole(8), whole(8), y)
    assert len(tried) == 2


def test_of_calls_that_differ_in_numbers_eight_are_tried(tried: list[str]) -> None:
    kernel, y = turner(), np.zeros(10, np.float32)
    for t in range(20):
        kernel(y, t, 10)
    assert len(tried) == 8
    assert (y == 20).all()


def test_elements_of_the_lanes_own_are_not_tried(tried: list[str]) -> None:
    @loom.kernel(workgroup=8)
    def own(x: In[f32], y: InOut[f32], a: f32):
        i = loom.global_id()
        if i < len(y):
            y[i] = a * x[i] + y[i]

    @loom.kernel(workgroup=8)
    def pairs(y: InOut[u32]):
        i = loom.global_id()
        y[2 * i], y[2 * i + 1] = y[2 * i + 1], y[2 * i]

    @loom.kernel(workgroup=8)
    def row_of(y: InOut[f32], t: u32, n: u32):
        i = loom.global_id()
        if i < n:
            y[t * n + i] = y[t * n + i] + 1.0

    @loom.kernel(workgroup=8, trusted=True)
    def vouched_for(y: InOut[u32]):
        i = loom.global_id()
        y[i // 2] = i

    @loom.kernel(workgroup=8)
    def summed(x: In[f32], y: Out[f32]):
        total = loom.group_sum(x[loom.global_id()])
        if loom.local_id() == 0:
            y[loom.group_id()] = total

    x = np.ones(64, np.float32)
    own(x, x.copy(), 2.0)
    pairs(whole(64), groups=4)
    row_of(x.copy(), 3, 16)
    vouched_for(whole(64))
    summed(x, np.zeros(8, np.float32), groups=8)
    assert tried == []


def test_under_the_debugger_nothing_is_tried(tried: list[str]) -> None:
    with loom.debug(), pytest.raises(RaceDetected):
        halver()(whole(16))
    assert tried == []


def test_a_call_known_to_be_tried_goes_the_short_way() -> None:
    kernel, y = scatterer(), np.zeros(16, np.uint32)
    kernel(whole(16), whole(16), y)
    form = interface_of(kernel).form_before([16, 16, 16], interface_of(kernel).words([whole(16), whole(16), y]))
    assert form is not None
    assert form.trial.is_over


def test_a_call_without_an_end_in_the_interpreter_is_tried_for_a_moment() -> None:
    @loom.kernel(workgroup=64)
    def long(at: In[u32], y: InOut[u32], turns: u32):
        i = loom.global_id()
        for _ in range(turns):
            y[at[i]] = y[at[i]] + 1

    y = np.zeros(64, np.uint32)
    long(whole(64), y, 1_000_000)
    assert (y == 1_000_000).all()


def test_a_kernel_tells_under_which_conditions_its_calls_gave_the_same_bits(on: str) -> None:
    @loom.kernel(workgroup=8)
    def own(y: InOut[u32]):
        i = loom.global_id()
        if i < len(y):
            y[i] = y[i] + 1

    @loom.kernel
    def rare(y: InOut[u32], n: u32):
        i = loom.global_id()
        if i < len(y):
            q = u32(i)
            if q == n:
                q = u32(5)
            y[q] = u32(i)

    scattered = scatterer()
    assert scattered.conditions == ()  # no call was made
    scattered(whole(64), whole(64), whole(64), on=on)
    own(whole(1 << 20), on=on)
    rare(whole(1 << 10), 1 << 11, on=on)
    assert own.conditions == ()
    assert rare.conditions == ()  # tried whole, and no data decide
    rare(whole(1 << 20), 777_777, on=on)
    (of_part,), (of_data,) = rare.conditions, scattered.conditions
    assert of_part.endswith("as data and numbers tell (a part was tried), but what that one stores")
    assert of_data.endswith("that another comes to, as data tell, but what that one stores")


def test_calls_beyond_those_that_are_tried_have_a_condition(on: str) -> None:
    turned = turner()
    for t in range(9):
        assert turned.conditions == ()
        turned(np.zeros(16, np.float32), t, 16, on=on)
    (condition,) = turned.conditions
    assert condition.endswith("as data and numbers tell, but what that one stores")


def test_a_kernel_over_types_tells_of_all_of_them(on: str) -> None:
    T = TypeVar("T", u32, f32)

    @loom.kernel(workgroup=8)
    def placed(at: In[u32], x: In[T], y: InOut[T]):
        i = loom.global_id()
        if i < len(at):
            y[at[i]] = x[i]

    placed(whole(8), whole(8), whole(8), on=on)
    (condition,) = placed.conditions
    assert condition.startswith("kernel 'placed[u32]': no lane stores")
