"""What memory holds after an ``assert`` failed: the same on every device, at every width.

A lane that fails has written what it wrote before, and writes and prints nothing more; the others go on to the end.
Oracle: the same steps in Python, lane by lane.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import loom
from conformance.running import environment, kinds, targets_on
from loom import In, InOut, u32
from loom.core.errors import AssertionFailed, DeviceError

TARGETS = [target for kind in kinds() for target in targets_on(kind)]
Array = np.ndarray[Any, Any]
LANES = 24


@pytest.fixture(params=TARGETS, ids=str)
def device(request: pytest.FixtureRequest) -> Any:
    try:
        found = loom.device(request.param.device)
    except DeviceError as error:
        pytest.skip(f"no such device here: {error}")
    with environment(LOOM_SIMD=request.param.simd):
        yield found


def after(kernel: Any, device: Any, x: Array, *, more: Callable[[Any, Any, Any], None] | None = None) -> list[Array]:
    """Run a kernel that fails over ``x``; return its outputs and those of what is recorded behind it."""
    arrays = [x, np.zeros(len(x), np.uint32), np.zeros(len(x), np.uint32)]
    stored = [device.allocate(a.nbytes) for a in arrays]
    for memory, array in zip(stored, arrays, strict=True):
        memory.write(0, array.view(np.uint8))
    chain = loom.Chain(device)
    chain.dispatch(kernel, stored[:2], (), (len(x) // kernel.workgroup[0], 1, 1))
    if more is not None:
        more(chain, stored[1], stored[2])
    with chain.build() as program, pytest.raises(AssertionFailed) as told:
        program.run()
    assert told.value.lane == 3
    return [m.read(0, a.nbytes).view(np.uint32) for m, a in zip(stored[1:], arrays[1:], strict=True)]


def by_hand(x: Array, lane: Callable[[int, int, Array], None]) -> list[int]:
    """Run the steps of each lane; one that raises AssertionError stops there."""
    out = np.zeros(len(x), np.uint32)
    for i, word in enumerate(x.tolist()):
        try:
            lane(i, word, out)
        except AssertionError:
            continue
    return out.tolist()


X = np.array([i % 8 if i not in (3, 10, 11, 20) else 100 + i for i in range(LANES)], np.uint32)


def test_a_lane_stops_where_it_fails(device: Any) -> None:
    @loom.kernel(workgroup=8)
    def simple(x: In[u32], o: InOut[u32]):
        i = loom.global_id()
        o[i] = 1
        assert x[i] < 100, f"{x[i]} is too large"
        o[i] += x[i]

    def lane(i: int, word: int, out: Array) -> None:
        out[i] = 1
        assert word < 100
        out[i] += word

    assert after(simple, device, X)[0].tolist() == by_hand(X, lane)


def test_in_loops_and_branches(device: Any) -> None:
    @loom.kernel(workgroup=8)
    def looping(x: In[u32], o: InOut[u32]):
        i = loom.global_id()
        for n in range(4):
            o[i] += 1
            if n == x[i]:
                continue
            if i % 2 == 1:
                for m in range(3):
                    o[i] += 10
                    assert x[i] < 100 or m < 1
                    o[i] += 100
            elif x[i] == 6:
                break
            o[i] += 1000
        o[i] += 10000
        assert x[i] != 120
        o[i] += 100000

    def lane(i: int, word: int, out: Array) -> None:
        for n in range(4):
            out[i] += 1
            if n == word:
                continue
            if i % 2 == 1:
                for m in range(3):
                    out[i] += 10
                    assert word < 100 or m < 1
                    out[i] += 100
            elif word == 6:
                break
            out[i] += 1000
        out[i] += 10000
        assert word != 120
        out[i] += 100000

    assert after(looping, device, X)[0].tolist() == by_hand(X, lane)


def small(v):
    assert v < 100
    return v < 50


def test_in_the_test_of_a_loop(device: Any) -> None:
    @loom.kernel(workgroup=8)
    def testing(x: In[u32], o: InOut[u32]):
        i = loom.global_id()
        n = x[i]
        while small(n):
            n += 20
            o[i] += 1
        o[i] += 1000

    def lane(i: int, word: int, out: Array) -> None:
        while True:
            assert word < 100
            if word >= 50:
                break
            word += 20
            out[i] += 1
        out[i] += 1000

    assert after(testing, device, X)[0].tolist() == by_hand(X, lane)


def test_where_lanes_wait_for_each_other(device: Any) -> None:
    """Those that failed come to the barriers, and put nothing into shared memory any more."""

    @loom.kernel(workgroup=8)
    def waiting(x: In[u32], o: InOut[u32]):
        s = loom.shared(u32, 8)
        i, lane = loom.global_id(), loom.local_id()
        s[lane] = 1
        assert x[i] != 103
        loom.barrier()
        for n in range(3):
            o[i] += s[(lane + 1) % 8]
            loom.barrier()
            if n == 1:
                for m in range(4):
                    s[lane] += 1
                    assert x[i] != 110 or m < 2
                assert x[i] != 111
            old = loom.atomic_add(s, lane, 100)
            loom.barrier()
            o[i] += old * 10000
        if x[i] != 2:
            assert x[i] != 120
            o[i] += 7
        o[i] += 1000

    x = X.copy()
    out = np.zeros(LANES, np.uint64)
    for group in range(0, LANES, 8):
        lanes = range(group, group + 8)
        s, going = dict.fromkeys(lanes, 1), set(lanes)
        going -= {i for i in lanes if x[i] == 103}
        for n in range(3):
            for i in going:
                out[i] += s[group + (i - group + 1) % 8]
            if n == 1:
                for i in list(going):
                    s[i] += 3 if x[i] == 110 else 4
                going -= {i for i in lanes if x[i] in (110, 111)}
            for i in going:
                out[i] += s[i] * 10000
                s[i] += 100
        for i in list(going):
            if x[i] == 120:
                continue
            out[i] += (7 if x[i] != 2 else 0) + 1000
    assert after(waiting, device, x)[0].tolist() == (out % 2**32).tolist()


def test_a_loop_that_only_its_own_writes_would_end(device: Any) -> None:
    """A lane that stays for the barriers does not turn for ever in a loop that waits for what it no longer writes."""

    @loom.kernel(workgroup=8)
    def emptying(x: In[u32], o: InOut[u32]):
        s = loom.shared(u32, 8)
        i, lane = loom.global_id(), loom.local_id()
        s[lane] = 3
        assert x[i] < 100
        while s[lane] > 0:
            s[lane] -= 1
            o[i] += 1
        loom.barrier()
        o[i] += 10 * s[(lane + 1) % 8]

    want = [0 if X[i] >= 100 else 3 + (30 if X[i // 8 * 8 + (i + 1) % 8] >= 100 else 0) for i in range(LANES)]
    assert after(emptying, device, X)[0].tolist() == want


def test_what_depends_on_it_does_not_run(device: Any) -> None:
    @loom.kernel(workgroup=8)
    def failing(x: In[u32], o: InOut[u32]):
        i = loom.global_id()
        assert x[i] < 100
        o[i] = 1

    @loom.kernel(workgroup=8)
    def reads(o: In[u32], p: InOut[u32]):
        i = loom.global_id()
        p[i] = o[i] + 5

    def more(chain: Any, out: Any, later: Any) -> None:
        chain.dispatch(reads, [out, later], (), (LANES // 8, 1, 1))

    first, later = after(failing, device, X, more=more)
    assert first.tolist() == [int(w < 100) for w in X]
    assert not later.any()


def test_chains_go_on_where_nothing_fails_and_stop_in_the_middle(device: Any) -> None:
    """Forty dispatches that depend on each other, any of which may fail; each run of the program anew."""

    @loom.kernel(workgroup=8)
    def step(o: InOut[u32], at: u32, fails: In[u32]):
        i = loom.global_id()
        assert at != fails[0] or i != 5
        o[i] += 1

    out, fails = device.allocate(4 * LANES), device.allocate(4)
    chain = loom.Chain(device)
    for at in range(40):
        chain.dispatch(step, [out, fails], [at], (LANES // 8, 1, 1))
    with chain.build() as program:
        for failing in (99, 17, 99, 0, 39):
            out.write(0, np.zeros(LANES, np.uint32).view(np.uint8))
            fails.write(0, np.array([failing], np.uint32).view(np.uint8))
            if failing == 99:
                program.run()
            else:
                with pytest.raises(AssertionFailed):
                    program.run()
            left = out.read(0, 4 * LANES).view(np.uint32).tolist()
            assert left == [40 if failing == 99 else failing if i == 5 else failing + 1 for i in range(LANES)]


def test_prints_end_too(device: Any, capsys: pytest.CaptureFixture[str]) -> None:
    @loom.kernel(workgroup=8)
    def talking(x: In[u32], o: InOut[u32]):
        i = loom.global_id()
        print("before", i)
        assert x[i] < 100
        print("after", i)
        o[i] = 1

    after(talking, device, X)
    lines = [line for i in range(LANES) for line in ([f"before {i}"] + [f"after {i}"] * int(X[i] < 100))]
    assert capsys.readouterr().out.splitlines() == lines
