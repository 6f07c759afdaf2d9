"""Programs kept between calls: found again, bounded in number, never mixed up."""

from __future__ import annotations

import gc
import threading
import weakref
from typing import Any

import numpy as np
import pytest

from loom import In, Out, gpu_map, gpu_max, gpu_sort, gpu_sum, kernel, profile
from loom.core.dtype import i32, i64
from loom.patterns.array_calls import Arrays
from loom.runtime.chain import Chain
from loom.runtime.chain import kept as home
from loom.runtime.chain.kept import KeptPrograms
from loom.runtime.memory.storage import HostSlot
from loom.schedules.axis import Rows
from loom.schedules.fold import Folding, record_fold
from loom.schedules.recorder import store


@kernel
def join(a: In[i64], b: In[i64], out: Out[i64]):
    out[0] = a[0]
    out[1] = b[0]


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch) -> KeptPrograms:
    fresh = KeptPrograms()
    monkeypatch.setattr(home, "_programs", fresh)
    monkeypatch.setenv("LOOM_NATIVE", "0")  # what the door knows of calls before is not asked for programs
    return fresh


def test_a_second_call_of_a_kind_and_size_finds_the_program(kept: KeptPrograms) -> None:
    assert [gpu_sum(np.full(100, n, np.int32)) for n in (1, 2, 3)] == [100, 200, 300]
    assert len(kept) == 1
    gpu_sum(np.ones(101, np.int32))
    gpu_sum(np.ones(100, np.int64))
    gpu_max(np.ones(100, np.int32))
    assert len(kept) == 4


def test_settings_and_devices_have_programs_of_their_own(kept: KeptPrograms, monkeypatch: pytest.MonkeyPatch) -> None:
    x = np.arange(10)
    for name, value in (("LOOM_SIMD", "4"), ("LOOM_SIMD", "8"), ("LOOM_THREADS", "1"), ("LOOM_CHECK", "1")):
        with monkeypatch.context() as patched:
            patched.setenv(name, value)
            assert gpu_sum(x) == 45
    assert gpu_sum(x, on="interp") == 45
    assert len(kept) == 5


def test_scalars_are_not_mixed_up(kept: KeptPrograms) -> None:
    x = np.ones(3, np.float32)
    assert [gpu_map(x, "mul", s).tolist()[0] for s in (2, 3, 2, -0.0)] == [2, 3, 2, 0]
    assert [gpu_map(x, lambda v, a: v * a, s).tolist()[0] for s in (5, 6)] == [5, 6]


def test_a_number_not_seen_before_takes_no_new_program(kept: KeptPrograms) -> None:
    x = np.arange(4, dtype=np.float32)
    for n in range(20):
        assert gpu_map(x, "mul", n + 0.5).tolist() == [k * (n + 0.5) for k in range(4)]
        assert gpu_map(x.astype("i8"), "add", -n).tolist() == [k - n for k in range(4)]
    assert len(kept) == 2


def test_only_so_many_are_kept_and_the_oldest_goes_first(kept: KeptPrograms) -> None:
    kept.most = 3
    for size in (1, 2, 3, 1, 4):
        gpu_sum(np.ones(size, np.float32))
    assert [key[-1][-1][0][0] for key in kept.keys()] == [3, 1, 4]  # type: ignore[index] # noqa: SIM118


def test_what_programs_have_for_themselves_is_bounded_in_bytes(kept: KeptPrograms) -> None:
    kept.most_nbytes = 200_000
    rng = np.random.default_rng(1)
    for size in (3000, 40_000, 5_000_000, 9000, 3000):
        x = rng.integers(0, 2**31, size, dtype=np.uint32)
        assert (gpu_sort(x) == np.sort(x)).all()
        assert gpu_sum(x.astype(np.float32)) > 0
        assert kept.nbytes <= 200_000
    assert len(kept) > 3


def test_arrays_are_let_go_after_a_call(kept: KeptPrograms) -> None:
    x = np.ones(50, np.float32)
    gone = weakref.ref(x)
    gpu_sum(x)
    del x
    assert gone() is None


@pytest.mark.parametrize("on", ["cpu", "interp", "vulkan"], indirect=True)
def test_a_program_keeps_the_memory_it_binds_alive(kept: KeptPrograms, on: str) -> None:
    between: list[weakref.ref[Any]] = []

    def record(chain: Chain, x: HostSlot, out: HostSlot) -> None:
        constant = store(chain, np.arange(9000, dtype=np.int32))
        sums = [chain.device.allocate(i64.nbytes) for _ in range(2)]
        for source, total in zip((x, constant), sums, strict=True):
            record_fold(chain, source, Rows(1, 9000), Folding("sum", i32, i64, i64), total)
        chain.dispatch(join, [*sums, out], [], groups=1)
        bound = {id(b.storage): b.storage for d in chain.recorded for b in d.bindings}
        between.extend(weakref.ref(s) for s in bound.values() if not isinstance(s, HostSlot))

    def total(n: int) -> list[int]:
        data = np.arange(n, n + 9000, dtype=np.int32)
        call = Arrays("test", on, data)
        (out,) = call.run(["two sums"], record, [call.input(data)], ((2,), i64))
        return call.result(out).tolist()

    for n in range(3):
        assert total(n) == [9000 * n + 9000 * 8999 // 2, 9000 * 8999 // 2]
        gc.collect()
        assert len(between) == 5
        for storage in [found for memory in between if (found := memory()) is not None]:
            Arrays("test", on).device.allocate(storage.nbytes).write(0, np.full(storage.nbytes, 255, np.uint8))
        assert all(memory() is not None for memory in between)
    with profile():
        assert total(7) == [9000 * 7 + 9000 * 8999 // 2, 9000 * 8999 // 2]


def test_calls_from_many_threads_get_their_own_answers() -> None:
    wrong: list[Any] = []

    def work(seed: int) -> None:
        for turn in range(15):
            x = np.full(5000, seed * 100 + turn, np.int64)
            answers = gpu_sum(x), gpu_max(x), gpu_map(x, "add", seed)[-1]
            if answers != (5000 * x[0], x[0], x[0] + seed):
                wrong.append((seed, turn, answers))

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
