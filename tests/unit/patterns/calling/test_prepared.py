"""Programs kept between calls: found again, bounded in number, never mixed up."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest

from loom import gpu_map, gpu_max, gpu_sort, gpu_sum
from loom.runtime.chain import kept as home
from loom.runtime.chain.kept import KeptPrograms


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch) -> KeptPrograms:
    fresh = KeptPrograms()
    monkeypatch.setattr(home, "_programs", fresh)
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
    assert [key[-1][-1].n for key in kept.keys()] == [3, 1, 4]  # type: ignore[index] # noqa: SIM118


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
    import weakref

    x = np.ones(50, np.float32)
    gone = weakref.ref(x)
    gpu_sum(x)
    del x
    assert gone() is None


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
