"""``loom.cluster`` on a Ray of this machine: two workers, started once (``conftest``)."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

import loom
from loom.cli.main import app
from loom.core.errors import ArgumentError, DTypeError, ShapeError, StateError
from loom.workers import WorkerPool

PRIMES_BELOW = {10: 4, 10**3: 168, 10**6: 78498, 10**7: 664579, 10**8: 5761455, 10**9: 50847534, 10**10: 455052511}
"""pi(x): OEIS A006880."""


def test_primes_are_those_published(pool: WorkerPool) -> None:
    for n in (10, 10**3, 10**6, 10**7):
        assert loom.cluster.prime_count(n, workers=pool) == PRIMES_BELOW[n]
    assert loom.cluster.prime_count(9_600_001, workers=pool) == loom.gpu_prime_count(9_600_001)
    with pytest.raises(ArgumentError, match="out of range"):
        loom.cluster.prime_count(-1, workers=pool)


def test_primes_that_pieces_leave_out_are_counted_once(pool: WorkerPool) -> None:
    """2, 3 and 5, which no wheel finds, are added apart: the limit itself is never among those below it."""
    assert [loom.cluster.prime_count(n, workers=pool) for n in range(9)] == [0, 0, 0, 1, 2, 2, 3, 3, 4]


@pytest.mark.slow
def test_more_primes_are_those_published(pool: WorkerPool) -> None:
    for n in (10**8, 10**9, 10**10):
        assert loom.cluster.prime_count(n, workers=pool, audit=None) == PRIMES_BELOW[n]


def _halves(start: int, stop: int) -> Any:
    return (np.arange(start, stop, dtype=np.int64) * 2654435761 % 1000003).astype(np.float32) / 2


@pytest.mark.parametrize(
    "dtype", ["f4", *(pytest.param(t, marks=pytest.mark.slow) for t in ("f2", "f8", "i4", "u1", "?"))]
)
def test_a_sum_has_the_bits_of_the_whole(pool: WorkerPool, dtype: str) -> None:
    dice = np.random.default_rng(5)
    for n in (0, 1, 4096, 4097, 50_001):
        a = (dice.standard_normal(n) * 50).astype(dtype)
        found, wanted = loom.cluster.sum(a, workers=pool), loom.gpu_sum(a)
        assert (found.dtype, found.tobytes()) == (wanted.dtype, wanted.tobytes())


def test_sums_of_what_workers_make(pool: WorkerPool) -> None:
    n = 300_001
    found = loom.cluster.sum(_halves_here(), n, workers=pool)
    assert found.tobytes() == loom.gpu_sum(_halves(0, n)).tobytes()
    wrong = [(lambda a, b: np.zeros(3), 10, ShapeError), (lambda a, b: np.array(["x"]), 1, DTypeError)]
    for source, count, error in [*wrong, (_halves_here(), None, ArgumentError), (np.zeros(3), 3, ArgumentError)]:
        with pytest.raises(error, match=r"loom\.cluster\.sum"):
            loom.cluster.sum(source, count, workers=pool)


def _halves_here() -> Any:
    """Return the function as one of no module, so that it goes along."""
    return lambda start, stop: (np.arange(start, stop, dtype=np.int64) * 2654435761 % 1000003).astype(np.float32) / 2


def test_units_of_a_swarm_are_those_of_one_machine(pool: WorkerPool) -> None:
    def make(number: int) -> Any:
        import loom
        from loom import InOut, u32

        @loom.kernel(workgroup=64)
        def step(registers: InOut[u32], seed: u32):
            i = loom.global_id()
            if i < len(registers):
                registers[i] = registers[i] * 1664525 + seed + i

        unit = loom.boot(registers=64)
        unit.dispatch(step, params=[number])
        return unit

    found = loom.cluster.swarm(make, 9, times=3, workers=pool)
    lanes, wanted = np.arange(64, dtype=np.uint32), []
    for number in range(9):
        registers = np.zeros(64, np.uint32)
        for _ in range(3):
            registers = registers * np.uint32(1664525) + np.uint32(number) + lanes
        wanted.append(registers)
    assert np.array_equal(found, wanted)
    with pytest.raises(DTypeError, match="not a unit"):
        loom.cluster.swarm(lambda number: number, 2, workers=pool)


def test_arrays_are_read_where_they_are(pool: WorkerPool) -> None:
    a = np.arange(1 << 20, dtype=np.float32)
    first, second = loom.cluster.map(lambda x: (bool(x.flags.writeable), x[-1]), [a, a], workers=pool)
    assert first == second == (False, a[-1])


def test_a_worker_killed_in_its_work_is_replaced(pool: WorkerPool, tmp_path: Path) -> None:
    mark = tmp_path / "killed"

    def work(n: int) -> int:
        if n == 3 and not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return n * n

    assert loom.cluster.map(work, range(8), workers=pool) == [n * n for n in range(8)]
    assert mark.exists()
    assert "lost" in {row["state"] for row in pool.status()}
    assert pool.wait() == 2


@pytest.mark.slow
def test_results_larger_than_the_store_arrive(pool: WorkerPool) -> None:
    found = loom.cluster.map(lambda n: np.full(15 << 20, n, np.float64), range(4), workers=pool)
    assert [(a[0], a[-1], a.nbytes) for a in found] == [(n, n, 15 << 23) for n in range(4)]


def test_status_is_told(pool: WorkerPool) -> None:
    found = loom.cluster.status(pool.address)
    assert found["address"] == pool.address
    assert len(found["nodes"]) == 1
    assert found["nodes"][0]["alive"]
    assert [w["state"] for w in found["workers"]] == ["idle", "idle"]
    assert {w["pid"] for w in found["workers"]} == {r["pid"] for r in pool.status() if r["state"] == "ready"}
    shown = CliRunner().invoke(app, ["cluster", "status", "--address", pool.address])
    assert shown.exit_code == 0
    assert "alive" in shown.output
    told = json.loads(CliRunner().invoke(app, ["cluster", "status", "--json", "--address", pool.address]).output)
    assert len(told["workers"]) == 2


def test_settings_of_a_pool_are_not_given_twice(pool: WorkerPool) -> None:
    with pytest.raises(ArgumentError, match=r"audit\] has no effect: the pool has its own"):
        loom.cluster.map(len, ["a"], workers=pool, audit=0.5)
    with pytest.raises(ArgumentError, match=r"this process is in another Ray|has no effect"):
        loom.cluster.map(len, ["a"], workers=pool, address="127.0.0.1:1")
    with pytest.raises(DTypeError, match="not usable"):
        loom.cluster.map(len, ["a"], workers="2")
    with pytest.raises(ArgumentError, match="not a function"):
        loom.cluster.map(3, ["a"], workers=pool)


def test_what_cannot_travel_is_named_and_leaves_the_pool_whole(pool: WorkerPool) -> None:
    lock = threading.Lock()
    with pytest.raises(DTypeError, match=r"returned cannot travel.*cannot pickle"):
        loom.cluster.map(lambda _: threading.Lock(), [1], workers=pool)
    with pytest.raises(DTypeError, match="a chunk cannot travel"):
        loom.cluster.map(len, [lock], workers=pool)
    with pytest.raises(DTypeError, match="a function or"):
        loom.cluster.map(lambda _: lock, [1], workers=pool)
    with pytest.raises(RuntimeError, match="SystemExit: 3"):
        loom.cluster.map(lambda _: sys.exit(3), [1], workers=pool)
    assert loom.cluster.map(abs, [-1, 2], workers=pool) == [1, 2]


def test_sums_of_extremes_have_the_bits_of_the_whole(pool: WorkerPool) -> None:
    """Drawn by kind: not finite, zeros below zero, what wraps, what is too large, and other layouts."""
    base = np.random.default_rng(0).standard_normal(70_001).astype(np.float32)
    place = np.arange(base.size)
    cases = [
        np.where(place == 69_999, np.nan, base), np.where(place == 7, np.inf, np.where(place == 70_000, -np.inf, base)),
        np.full(70_001, -0.0, np.float32), np.full(70_001, 3e38, np.float32), np.full(9, 60_000, np.float16),
        np.full(70_001, 2**62), np.full(70_001, 2**63 + 5, np.uint64), np.full(70_001, -128, np.int8),
        base[::-3], np.asfortranarray(base[:70_000].reshape(70, 1000)), base.astype(">f4"), np.zeros((0, 3), bool),
    ]  # fmt: skip
    for array in cases:
        assert loom.cluster.sum(array, workers=pool).tobytes() == loom.gpu_sum(array).tobytes()
    with pytest.raises(DTypeError, match="several dtypes"):
        loom.cluster.sum(lambda a, b: np.ones(b - a, "i4" if a else "u4"), 100_000, workers=pool)


def test_what_a_ray_that_is_there_would_ignore_is_refused(pool: WorkerPool) -> None:
    with pytest.raises(ArgumentError, match=r"store_nbytes\] has no effect"):
        loom.cluster.connect(1, store_nbytes=200 << 20)


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded, use of fork:DeprecationWarning")
def test_a_forked_child_is_refused_where_it_would_wait_for_ever(pool: WorkerPool) -> None:
    child = os.fork()
    if not child:  # its status is the only thing it tells
        signal.alarm(10)
        network = loom.Network.from_json(
            {"format": "loom/1", "input": {"shape": [2]}, "layers": [{"type": "dense", "output_size": 2}]}
        )
        try:  # what it put into the store by its parent's connections would end its parent
            network.train(np.ones((4, 2), np.float32), np.zeros(4, np.int32), micro_batch=2, workers=pool)
            os._exit(1)
        except StateError:
            pass
        try:
            loom.cluster.map(abs, [1], workers=pool)
        except StateError:
            pool.close()
            os._exit(7)
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    assert loom.cluster.map(abs, [-1], workers=pool) == [1]
