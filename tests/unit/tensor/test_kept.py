"""What is kept between calls: numbers are parameters; nothing of users; memory bounded; threads and forks."""

from __future__ import annotations

import gc
import os
import threading
import time
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import loom
from loom import data, tensor
from loom.core.errors import StateError
from loom.runtime.chain import kept as home
from loom.runtime.chain.kept import KeptPrograms, program_cache
from loom.runtime.drivers.cpu import device as cpu


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch) -> KeptPrograms:
    found = KeptPrograms()
    monkeypatch.setattr(home, "_programs", found)
    return found


@pytest.fixture
def compiled(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the names of kernels that the CPU has to load."""
    names: list[str] = []
    load = cpu.CpuDevice._load

    def spy(self: Any, kernel: Any, *rest: Any) -> Any:
        names.append(kernel.name)
        return load(self, kernel, *rest)

    monkeypatch.setattr(cpu.CpuDevice, "_load", spy)
    return names


_VALUES: dict[str, list[Any]] = {
    "f32": [0.37, -0.0, 0.0, 1e-45, float("inf"), float("-inf"), float("nan"), 1e38, 3, True],
    "f64": [0.1, -0.0, 5e-324, float("nan"), 1e308, 7],
    "f16": [0.1, -0.0, 65504.0, 6e-8, 1e-9],
    "i8": [-128, 127, 0, 5],
    "u8": [255, 0, 7],
    "i16": [-32768, 1234],
    "i32": [-(2**31), 2**31 - 1, 3],
    "u32": [2**32 - 1, 0, 9],
    "i64": [-(2**63), 2**63 - 1, 5],
    "u64": [2**64 - 1, 1],
}


@pytest.mark.parametrize("on", ["cpu", "interp"])
@pytest.mark.parametrize("name", _VALUES)
def test_numbers_of_every_type_are_those_of_numpy(name: str, on: str) -> None:
    dtype = tensor.zeros((1,), name).dtype.numpy
    data = np.array([0, 1, 2, 3, 100], dtype)
    x = tensor.array(data, name, on=on)
    c = tensor.create((5,), name, on=on)
    with np.errstate(all="ignore"):
        for value in _VALUES[name] * 2:
            number = np.array(value).astype(dtype)
            wanted = [data + number, data * number, np.minimum(data[1:], number), number - data]
            found = [x + value, x * value, tensor.minimum(x[1:], value), value - x]
            for f, w in zip(found, wanted, strict=True):
                _same(f.numpy(), w.astype(dtype))
            c.fill(value)
            _same(c.numpy(), np.full(5, number))


def _same(found: Any, wanted: Any) -> None:
    nan = np.isnan(wanted)
    assert found.dtype == wanted.dtype
    assert (np.isnan(found) == nan).all()
    assert found[~nan].tobytes() == wanted[~nan].tobytes()


def test_equal_numbers_are_not_mixed_up_with_others(fresh: KeptPrograms) -> None:
    x = tensor.array([1.0, 2.0], on="cpu")
    for a, b, c in [(2.0, 2.0, 3.0), (4.0, 5.0, 4.0), (6.0, 6.0, 6.0), (1.0, 1.0, 9.0), (7.0, 8.0, 9.0)]:
        assert (((x * a) + b) * c).tolist() == [(n * a + b) * c for n in (1.0, 2.0)]
        padded = tensor.pad(x * a, [(1, 1)], 2.0) + b
        assert padded.tolist() == [2 + b, a + b, 2 * a + b, 2 + b]


def test_a_number_not_seen_before_compiles_nothing_and_keeps_one_program(
    fresh: KeptPrograms, compiled: list[str]
) -> None:
    x, c = tensor.array(np.ones((6, 4), "f4"), on="cpu"), tensor.create((6, 4), on="cpu")

    def turn(n: float) -> None:
        assert ((x.T * n)[1:, ::2] + -n).tolist() == [[0.0] * 3] * 3
        assert ((x - n) / (n + 1)).sum().item() == pytest.approx(24 * (1 - n) / (n + 1), rel=1e-5)
        assert tensor.where(x > n, x, n).max().item() == max(1.0, np.float32(n))
        assert loom.gpu_mul(np.ones(9, "f4"), n)[3] == np.float32(n)
        c.fill(n)
        assert c.numpy()[2, 3] == np.float32(n)
        c.gemm(x[:, :4], x[:4], alpha=n, beta=0.5)

    turn(0.125)
    known = len(compiled), len(fresh)
    for k in range(20):
        turn(k + 0.37)
    assert (len(compiled), len(fresh)) == known


def test_powers_and_divisors_by_numbers() -> None:
    data = np.array([0.5, 1.0, 2.0, 3.0], "f4")
    x, k = tensor.array(data, on="cpu"), tensor.array(np.arange(1, 30, dtype="u4"), on="cpu")
    for n in (2, 0.5, 3.0, -1.0, 0.0, 2.0):
        assert np.allclose((x**n).numpy(), data**n, rtol=1e-6)
    for n in (1, 3, 7, 2**31, 0):
        whole = np.arange(1, 30, dtype="u4")
        assert (k.map("idiv", n).numpy() == (whole // n if n else 0)).all()
        assert (k.map("irem", n).numpy() == (whole % n if n else whole)).all()
    for n in (1, 5, 33):
        assert (k.map("shl", n).numpy() == whole << np.uint32(n % 32)).all()


@pytest.mark.slow
def test_a_new_number_takes_a_millisecond_at_most() -> None:
    x, c, a = tensor.array(np.ones(64, "f4"), on="cpu"), tensor.create((64,), on="cpu"), np.ones(64, "f4")
    for work in (lambda n: (x * n).evaluate(), c.fill, lambda n: loom.gpu_mul(a, n)):
        work(1.5)
        times = []
        for n in range(200):
            start = time.perf_counter()
            work(n * 0.37)
            times.append(time.perf_counter() - start)
        assert sorted(times)[20] < 1e-3


# memory


def test_nothing_of_a_users_is_held() -> None:
    held = []
    for n in range(20):
        a, b = tensor.create((50, n + 1), on="cpu"), tensor.create((50, 50), on="cpu")
        a.fill(1.0)
        b.enqueue_gemm(a, a, transpose_b=True)
        (a.exp() * 2 + b[:, :1]).sum(0).evaluate()
        loom.gpu_sum(a)
        b.sync()
        held += [weakref.ref(a.data), weakref.ref(b.data), weakref.ref(a), weakref.ref(b)]
    del a, b
    gc.collect()
    assert [r for r in held if r() is not None] == []


def test_memory_goes_at_once_without_the_collector(fresh: KeptPrograms) -> None:
    gc.collect()
    gc.disable()
    try:
        held = []
        for n in range(3, 9):  # each compiled for the first time
            x = tensor.array(np.ones((40, n), "f4"), on="cpu")
            y = (x.exp() @ x.T).sum(0)
            y.evaluate()
            held += [weakref.ref(x.data), weakref.ref(x), weakref.ref(y.data)]
            w = tensor.parameter(np.ones((n, 4), "f4"), on="cpu")
            program = tensor.compile([(x @ w).sum()], [(w, w * 0.5)], on="cpu")
            program.run()
            held.append(weakref.ref(program._results[0].storage))
            program.free()
            del x, y, w, program
        assert [r for r in held if r() is not None] == []
    finally:
        gc.enable()


def test_a_program_that_was_freed_says_so() -> None:
    x = tensor.input("x", (2,))
    program = tensor.compile([x * 2], on="cpu")
    program.run(x=[1.0, 2.0])
    program.free()
    program.free()
    for use in (program.run, program.launch, program.read, lambda: program.feed(x=[1.0, 2.0])):
        with pytest.raises(StateError, match="the program was freed"):
            use()


def test_scratch_is_bounded_and_told(fresh: KeptPrograms) -> None:
    fresh.most_nbytes = 1 << 20
    rng = np.random.default_rng(2)
    for n in (100, 400, 900, 300_000, 100, 700):
        data = rng.integers(0, 100, (4, n)).astype("f4")
        x = tensor.array(data, on="cpu")
        assert (x.T @ tensor.ones((4, 1))).sum().item() == pytest.approx(data.sum())
        assert (tensor.softmax(x) * n).sum().item() == pytest.approx(4 * n, rel=1e-4)
        told = loom.stats()
        assert (told.kept, told.kept_nbytes) == (len(fresh), fresh.nbytes)
        assert told.kept_nbytes <= 1 << 20
    assert told.as_dict()["kept_nbytes"] == fresh.nbytes


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def _grown(shapes: int, seed: int) -> float:
    """Return how many MiB the process grew by in the second half of so many shapes."""
    rng = np.random.default_rng(seed)
    half = 0
    for n in range(shapes):
        if n == shapes // 2:
            gc.collect()
            half = _resident()
        rows, columns = (int(k) for k in rng.integers(200, 900, 2))
        x = tensor.array(np.ones((rows, columns), "f4"), on="cpu")
        c = tensor.create((rows, columns), on="cpu")
        c.fill(2.0)
        assert ((x + c).exp().sum(0) * 0).sum().item() == 0
        assert loom.gpu_sum(np.ones(rows * columns, "f4")) == rows * columns
    gc.collect()
    return (_resident() - half) / (1 << 20)


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs /proc")
def test_memory_is_flat_over_shapes(fresh: KeptPrograms) -> None:
    fresh.most, fresh.most_nbytes = 16, 8 << 20
    assert _grown(60, 5) < 40


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs /proc")
def test_memory_is_flat_over_a_thousand_shapes() -> None:
    assert _grown(1000, 6) < 200
    assert program_cache().nbytes <= 256 << 20


# threads and forks


def test_eight_threads_get_their_own_answers(fresh: KeptPrograms) -> None:
    wrong: list[Any] = []

    def work(me: int) -> None:
        try:
            rng = np.random.default_rng(me)
            for turn in range(25):
                size, k = int(rng.integers(1, 5)) * 50, float(rng.integers(1, 9))
                data = rng.integers(-9, 9, size).astype("f4")
                x = tensor.array(data, on="cpu")
                c = tensor.create((size,), on="cpu")
                c.fill(k)
                found = [(x * k + me).tolist(), (x * x).sum().item(), loom.gpu_mul(data, k).tolist(), (c + x).tolist()]
                wanted = [(data * k + me).tolist(), (data**2).sum(), (data * k).tolist(), (data + k).tolist()]
                if found != wanted:
                    wrong.append((me, turn, found, wanted))
        except Exception as error:
            wrong.append(error)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(120)
    assert not wrong


def _see_that_all_works(x: Any) -> None:
    """End a forked process; 0: all works."""
    good = False
    try:
        good = _works(x)
    finally:
        os._exit(0 if good else 1)


def _works(x: Any) -> bool:
    q = tensor.create((3,), on="cpu")
    q.fill(4.0)
    if q.tolist() != [4, 4, 4] or loom.gpu_sum(np.ones(9, "f4")) != 9:
        return False
    return (x * 2 + 1).tolist() == [2.0 * n + 1 for n in range(50)]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:This process")
def test_a_fork_goes_on_while_other_threads_work() -> None:
    x = tensor.array(np.arange(50, dtype="f4"), on="cpu")
    p = tensor.create((50,), on="cpu")
    assert _works(x)  # all is imported: a fork in the middle of an import hangs in Python itself
    (x * 3.0).evaluate()
    p.fill(1.0)
    stop = threading.Event()

    def busy() -> None:
        n = 0.0
        while not stop.is_set():
            n += 1
            (x * n).evaluate()
            p.fill(n)

    threads = [threading.Thread(target=busy) for _ in range(3)]
    for t in threads:
        t.start()
    try:
        for _ in range(5):
            child = os.fork()
            if child == 0:
                _see_that_all_works(x)
            until = time.monotonic() + 20
            done = (0, 0)
            while done[0] == 0 and time.monotonic() < until:
                done = os.waitpid(child, os.WNOHANG)
                time.sleep(0.01)
            if done[0] == 0:
                os.kill(child, 9)
                os.waitpid(child, 0)
            assert done == (child, 0)
    finally:
        stop.set()
        for t in threads:
            t.join(60)


def test_a_program_takes_sources_of_any_storage_that_holds_them(on: str) -> None:
    def first_two(count: int) -> Any:
        kept = data.filter(loom.array(np.arange(count), on=on), loom.array(np.arange(count) < 2, on=on))
        return (kept + 7) * 3

    assert first_two(3).numpy().tolist() == [21, 24]  # these stand in storage for three,
    assert first_two(40).numpy().tolist() == [21, 24]  # these in storage for two
