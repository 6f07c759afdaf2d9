"""Programs of several chains bound to the same array of the host run in the order they were launched, everywhere."""

from __future__ import annotations

import threading

import numpy as np
import pytest

import loom
from conformance.running import kinds
from loom import In, InOut, Out, u32
from loom.runtime.memory.order import Use, uses_at

SIZES = {
    **dict.fromkeys(kinds(), (600, 5)),
    **dict.fromkeys(kinds("vectors"), (300_000, 40)),
    **dict.fromkeys(kinds("threads"), (3_000, 100)),
}
"""Elements, and turns for each: enough that runs would overlap."""


@loom.kernel(workgroup=64)
def step(y: InOut[u32], n: u32) -> None:
    i = loom.global_id()
    if i < len(y):
        s = y[i]
        for _ in range(n):
            s = s * (1664525 + (s & 0)) + (1013904223 ^ (s >> 31))
        y[i] = s


@loom.kernel(workgroup=64)
def backwards(x: In[u32], y: Out[u32]) -> None:
    i = loom.global_id()
    if i < len(y):
        y[i] = x[len(y) - 1 - i]


def program(on: str, kernel: loom.kernel, arrays: list[np.ndarray], *params: int) -> loom.Program:
    chain = loom.Chain(on)
    chain.dispatch(kernel, arrays, list(params))
    return chain.build()


def stepped(x: np.ndarray, turns: int) -> np.ndarray:
    """The same in numpy."""
    for _ in range(turns):
        x = x * np.uint32(1664525) + (np.uint32(1013904223) ^ (x >> np.uint32(31)))
    return x


def test_launched_one_after_the_other(on: str) -> None:
    size, turns = SIZES[on]
    y = np.arange(size, dtype=np.uint32)
    expected = stepped(y, 6 * turns)
    programs = [program(on, step, [y], turns) for _ in range(3)]
    for run in [p.launch() for p in programs for _ in range(2)]:
        run.wait()
    assert np.array_equal(y, expected)


def test_run_by_several_threads(on: str) -> None:
    size, turns = SIZES[on]
    y = np.arange(size, dtype=np.uint32)
    expected = stepped(y, 6 * turns)
    programs = [program(on, step, [y], turns) for _ in range(3)]
    threads = [threading.Thread(target=lambda p: (p.run(), p.run()), args=(p,)) for p in programs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert np.array_equal(y, expected)


def test_a_reader_comes_after_the_writer(on: str) -> None:
    size, turns = SIZES[on]
    y, out = np.arange(size, dtype=np.uint32), np.zeros(size, np.uint32)
    expected = stepped(y, turns)
    writer, reader = program(on, step, [y], turns), program(on, backwards, [y, out])
    run = writer.launch()
    reader.launch().wait()
    assert np.array_equal(out, expected[::-1])
    run.wait()
    assert np.array_equal(y, expected)


def test_views_of_one_array(on: str) -> None:
    size, turns = SIZES[on]
    y = np.arange(size, dtype=np.uint32)
    expected = stepped(y, 3 * turns)
    half = size // 2
    parts = [program(on, step, [part], turns) for part in (y[:half], y[half:])]
    whole = program(on, step, [y], turns)
    runs = [p.launch() for p in (*parts, whole, *parts)]
    for run in reversed(runs):
        run.wait()
    assert np.array_equal(y, expected)


def test_a_swarm_of_chains_with_one_array_is_in_order_or_refused(on: str) -> None:
    y = np.arange(100, dtype=np.uint32)
    programs = [program(on, step, [y], 3) for _ in range(2)]
    if on in kinds("threads"):
        for run in loom.swarm(programs).launch():
            run.wait()
        assert np.array_equal(y, stepped(np.arange(100, dtype=np.uint32), 6))
    else:
        with pytest.raises(loom.LoomError, match="two programs share memory"):
            loom.swarm(programs)


def test_an_empty_array_shares_nothing(on: str) -> None:
    empty = np.zeros(0, np.uint32)
    program(on, backwards, [empty, empty]).run()


def test_uses_of_overlapping_memory_are_the_same() -> None:
    base = 1 << 60  # nobody's memory
    left, right = uses_at(base, base + 10), uses_at(base + 20, base + 30)
    assert left is not right
    assert uses_at(base + 10, base + 20) not in (left, right)
    writers = [Use(object()), Use(object())]
    left.writer, right.writer = writers
    both = uses_at(base + 9, base + 21)
    waits: list[Use] = []
    both.read(Use(object()), waits)
    assert set(waits) == set(writers)
    assert left.merged is both or both is left
    assert uses_at(base + 29, base + 30) is both
    waits.clear()
    both.write(Use(object()), waits)
    assert set(writers) == set(waits)
    assert not both.older


def test_a_writer_waits_for_those_of_other_domains_that_still_read() -> None:
    class Run:
        def __init__(self, *, is_over: bool) -> None:
            self.is_over = is_over

        def wait(self, seconds: float) -> bool:
            return self.is_over

    base, here = 1 << 61, object()  # nobody's memory
    uses, waits = uses_at(base, base + 10), list[Use]()
    runs = [Run(is_over=False), Run(is_over=True), Run(is_over=False)]
    readers = [Use(object()), Use(object()), Use(here)]
    for reader, run in zip(readers, runs, strict=True):
        uses.read(reader, waits)
        reader.began(run)
    uses.write(Use(here), waits)
    assert [use for use in waits if use.domain is not here] == readers[:1]  # those are what ``enter`` waits for


def test_uses_are_forgotten_with_the_memory() -> None:
    base = (1 << 60) + 4096
    kept = uses_at(base, base + 8)
    kept.writer = Use(object())
    del kept
    assert uses_at(base, base + 8).writer is None
