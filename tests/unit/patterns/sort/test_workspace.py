"""The memory lent to calls: aligned, never lent twice, not kept if it is large."""

from __future__ import annotations

import threading

import numpy as np

from loom import gpu_argsort
from loom.patterns.calling import workspace as module
from loom.patterns.calling.workspace import workspace
from unit.patterns.canonical import same_bits
from unit.patterns.sort.sorted_oracle import numbers, order


def test_pieces_are_aligned_and_apart() -> None:
    with workspace([100, 0, 8, 1000]) as pieces, workspace([100]) as others:
        assert [p.nbytes for p in pieces] == [100, 0, 8, 1000]
        assert all(p.memory.ctypes.data % 64 == 0 for p in pieces if p.nbytes)
        every = [p.memory for p in (*pieces, *others) if p.nbytes]
        assert not any(np.shares_memory(a, b) for n, a in enumerate(every) for b in every[:n])


def test_memory_is_lent_again_and_large_blocks_are_not_kept() -> None:
    with workspace([5000]) as first:
        address = first[0].memory.ctypes.data
    with workspace([4000]) as second:
        assert second[0].memory.ctypes.data == address
    before = len(module._free)
    with workspace([module._LARGEST_KEPT + 1]):
        pass
    assert len(module._free) == before
    with workspace([10]), workspace([10]), workspace([10]):
        pass
    assert len(module._free) <= module._MOST_KEPT


def test_calls_of_many_threads_do_not_meet() -> None:
    inputs = [numbers("float32", 6000, seed) for seed in range(4)]
    wrong = []

    def work(seed: int) -> None:
        for _ in range(5):
            if not same_bits(gpu_argsort(inputs[seed]), expected[seed]):
                wrong.append(seed)

    expected = [order(x) for x in inputs]
    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
