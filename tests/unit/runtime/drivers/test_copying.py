"""Pieces of transfers, the parts that threads copy, and what arrives through them."""

from __future__ import annotations

import numpy as np
import pytest

from loom.core.process.thread_pools import ThreadPool
from loom.runtime.drivers import copying
from loom.runtime.drivers.copying import LEAST_PART, MOST_THREADS, PIECE_NBYTES, copy_bytes, parts_of, pieces_of

SIZES = [1, 4095, (4 << 20) - 1, 4 << 20, (16 << 20) + 7, (128 << 20) + 1, 5 << 28]


@pytest.mark.parametrize("nbytes", SIZES)
def test_pieces_follow_each_other_through_two_rooms(nbytes: int) -> None:
    pieces = pieces_of(nbytes)
    assert [at for at, _, _ in pieces] == [sum(size for _, size, _ in pieces[:n]) for n in range(len(pieces))]
    assert sum(size for _, size, _ in pieces) == nbytes
    assert all(0 < size <= PIECE_NBYTES for _, size, _ in pieces)
    assert [room for _, _, room in pieces] == [n % 2 for n in range(len(pieces))]


def test_what_is_larger_than_a_piece_is_copied_while_another_is() -> None:
    assert len(pieces_of(4 << 20)) == 1
    assert len(pieces_of(16 << 20)) == 4
    assert len(pieces_of(1 << 30)) == 32


@pytest.mark.parametrize("threads", [1, 3, MOST_THREADS])
@pytest.mark.parametrize("nbytes", [0, 1, LEAST_PART - 1, 3 * LEAST_PART + 5, 40 * LEAST_PART + 1])
def test_parts_cover_all_and_are_worth_a_thread(nbytes: int, threads: int) -> None:
    parts = parts_of(nbytes, threads)
    assert len(parts) <= threads
    assert [p.start for p in parts] + [nbytes] == [0, *(p.stop for p in parts)] if nbytes else not parts
    assert len(parts) <= 1 or nbytes // len(parts) >= LEAST_PART


@pytest.mark.parametrize("threads", [1, 2, 7])
@pytest.mark.parametrize("nbytes", [0, 1, 99, 100, 6007])
def test_bytes_arrive(monkeypatch: pytest.MonkeyPatch, nbytes: int, threads: int) -> None:
    monkeypatch.setattr(copying, "LEAST_PART", 100)
    monkeypatch.setattr(copying.os, "cpu_count", lambda: threads)
    source = np.random.default_rng(nbytes).integers(0, 256, nbytes, np.uint8)
    target = np.zeros(nbytes + 2, np.uint8)
    with ThreadPool(2) as crew:
        copy_bytes(crew, target[1:-1], source)
    assert np.array_equal(target[1:-1], source)
    assert target[0] == target[-1] == 0
