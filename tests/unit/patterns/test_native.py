"""Patterns behind the native door: nothing can be told from the way through Python but the time."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import threading
import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import loom
from loom.patterns import tensor_rows
from loom.runtime.calls.native import layouts
from unit.patterns.pattern_draws import drawn, outcome
from unit.runtime.calls.call_draws import axpy

pytestmark = pytest.mark.skipif(sys.platform == "win32" or not layouts.is_known(), reason="the door stays shut there")


class _Slow:
    """Counts calls that go the way through Python."""

    def __init__(self) -> None:
        self.answer, self.count = tensor_rows.answer, 0

    def __call__(self, *call: Any, **named: Any) -> Any:
        self.count += 1
        return self.answer(*call, **named)

    def of(self, call: Callable[[], object]) -> int:
        """Return how many of ten calls go that way, once all is known that is going to be."""
        for _ in range(8):
            call()
        self.count = 0
        for _ in range(10):
            call()
        return self.count


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> _Slow:
    monkeypatch.delenv("LOOM_NATIVE", raising=False)
    counter = _Slow()
    monkeypatch.setattr(tensor_rows, "answer", counter)
    return counter


def _native(function: Any, args: tuple[Any, ...], named: dict[str, Any]) -> Any:
    return function(*args, **named)


def _python(function: Any, args: tuple[Any, ...], named: dict[str, Any]) -> Any:
    return function.__wrapped__(*args, **named)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("count", [400, pytest.param(20_000, marks=pytest.mark.slow)])
def test_drawn_calls_are_the_same_through_both_doors(slow: _Slow, count: int) -> None:
    seeds, served = count // 8, 0
    for turn in range(count):
        seed = turn % seeds
        slow.count = 0
        native = outcome(drawn(seed), _native)
        served += not slow.count
        assert native == outcome(drawn(seed), _python), seed
    assert served > count // 4


def test_calls_like_one_before_go_without_python(slow: _Slow) -> None:
    x = np.arange(1000, dtype=np.float32)
    calls: dict[str, Callable[[], Any]] = {
        "sum": lambda: loom.gpu_sum(x),
        "made anew": lambda: loom.gpu_sum(np.arange(1000, dtype=np.float32)),
        "options": lambda: loom.gpu_sum(x.reshape(10, 100), axis=0, keepdims=True),
        "sorted": lambda: loom.gpu_sort(x),
        "device": lambda: loom.gpu_mean(x, on="cpu"),
        "several": lambda: loom.linalg.qr(x[:16].reshape(4, 4) + np.eye(4, dtype=np.float32)),
        "checked": lambda: loom.linalg.inv(x[:16].reshape(4, 4) + 9 * np.eye(4, dtype=np.float32)),
        "lengths in turn": lambda: [loom.gpu_max(x[:n]) for n in range(40, 90)],
    }
    assert {name: slow.of(call) for name, call in calls.items()} == dict.fromkeys(calls, 0)
    assert loom.gpu_sum(x) == 499500
    assert type(loom.gpu_sum(x)) is np.float32


def test_results_are_new_arrays_of_the_callers(slow: _Slow) -> None:
    x = np.array([3.0, 1.0, 2.0], np.float32)
    assert slow.of(lambda: loom.gpu_sort(x)) == 0
    first, second = loom.gpu_sort(x), loom.gpu_sort(x)
    first[0] = 7
    assert second.tolist() == [1, 2, 3]
    assert second.flags.owndata
    assert second.flags.writeable
    assert sys.getrefcount(second) == 2


def test_what_a_call_depends_on_beside_its_arguments_sends_it_through_python(
    slow: _Slow, monkeypatch: pytest.MonkeyPatch
) -> None:
    x = np.arange(12, dtype=np.float32).reshape(3, 4)

    def call() -> Any:
        return loom.gpu_matmul(x, x, transpose_b=True)

    def is_slow() -> bool:
        slow.count = 0
        call()
        return bool(slow.count)

    assert slow.of(call) == 0
    whole = call()
    with loom.precision("q8"):
        assert is_slow()
    for name, value in (("LOOM_NATIVE", "0"), ("LOOM_DEVICE", "interp"), ("LOOM_SIMD", "1"), ("LOOM_CHECK", "1")):
        with monkeypatch.context() as here:
            here.setenv(name, value)
            assert is_slow()
        assert slow.of(call) == 0
    with loom.profile() as found:
        assert is_slow()
    assert found.rows
    with loom.debug():
        assert is_slow()
    assert slow.of(call) == 0
    assert call().tobytes() == whole.tobytes()


def test_memory_that_a_program_is_bound_to_is_left_to_python(slow: _Slow) -> None:
    x, given, other = (np.ones(64, np.float32) for _ in range(3))
    assert slow.of(lambda: loom.gpu_sum(x)) == 0
    chain = loom.Chain("cpu")
    chain.dispatch(axpy, [given, x], [1.0])
    program = chain.build()
    slow.count = 0
    loom.gpu_sum(x)
    assert slow.count == 1
    loom.gpu_sum(other)
    assert slow.count == 1
    program.free()
    del chain, program
    gc.collect()
    assert slow.of(lambda: loom.gpu_sum(x)) == 0


def test_a_check_that_fails_says_what_it_said(slow: _Slow, monkeypatch: pytest.MonkeyPatch) -> None:
    good, bad = 4 * np.eye(4, dtype=np.float32), np.zeros((4, 4), np.float32)
    assert slow.of(lambda: loom.linalg.inv(good)) == 0
    found: list[Any] = []
    for native, ways in (("1", 0), ("0", 1)):
        monkeypatch.setenv("LOOM_NATIVE", native)
        assert slow.of(lambda: loom.linalg.inv(good)) == 10 * ways
        slow.count = 0
        with pytest.raises(loom.LoomError) as told:
            loom.linalg.inv(bad)
        assert slow.count == ways
        found.append((type(told.value), str(told.value), [str(entry.path) for entry in told.traceback]))
    assert found[0][:2] == found[1][:2]
    assert found[0][2] == found[1][2][:2]  # behind them is what counts
    assert found[0][2][0] == __file__


@loom.kernel
def small(x: loom.In[loom.f32], y: loom.Out[loom.f32]):
    i = loom.global_id()
    if i < len(x):
        assert x[i] < 1, "too much"
        y[i] = x[i]


def test_a_fault_of_a_run_before_is_raised_first(slow: _Slow) -> None:
    x = np.ones(9, np.float32)
    assert slow.of(lambda: loom.gpu_sum(x)) == 0
    given = loom.tensor.input("given", (9,))
    program = loom.tensor.compile([small(given)], on="cpu")
    program.run(given=np.zeros(9, np.float32))
    slow.count = 0
    assert loom.gpu_sum(x) == 9
    run = program.launch(given=x)
    run.finish()
    with pytest.raises(loom.LoomError, match="too much"):
        loom.gpu_sum(x)
    assert slow.count == 1
    assert loom.gpu_sum(x) == 9
    assert slow.count == 1


def test_nothing_is_kept_of_arguments(slow: _Slow) -> None:
    x, a = np.arange(64, dtype=np.float32).reshape(8, 8), np.eye(3, dtype=np.float32)
    calls: tuple[Callable[[], object], ...] = (
        lambda: loom.gpu_sum(x, axis=0), lambda: loom.gpu_sum(x), lambda: loom.linalg.lu(a), lambda: loom.gpu_sort(x),
    )  # fmt: skip
    assert [slow.of(call) for call in calls] == [0] * 4
    watched = (
        x,
        a,
        None,
        True,
        (),
        x.dtype,
        np.ndarray,
        np.empty,
        loom.gpu_sum,
        vars(loom.gpu_sort)["known_calls"],
        "axis",
    )
    before = [sys.getrefcount(each) for each in watched]
    for _ in range(2_000):
        for call in calls:
            call()
    after = [sys.getrefcount(each) for each in watched]
    assert max(abs(now - then) for now, then in zip(after, before, strict=True)) < 100
    gc.collect()
    tracemalloc.start()
    try:
        first = tracemalloc.get_traced_memory()[0]
        for _ in range(5_000):
            for call in calls:
                call()
        gc.collect()
        assert tracemalloc.get_traced_memory()[0] - first < 10_000
    finally:
        tracemalloc.stop()


def test_threads_and_signals(slow: _Slow) -> None:
    faults: list[str] = []
    over: list[bool] = []

    def work(number: int) -> None:
        for turn in range(600):
            n = 1 + (turn * 7 + number) % 40
            x = np.arange(n, dtype=np.float32) * number
            if loom.gpu_sum(x) != x.sum() or not np.array_equal(loom.gpu_sort(x[::-1].copy()), x):
                faults.append(f"{number}, {n}")

    def handle(*_: Any) -> None:
        if loom.gpu_sum(np.arange(40, dtype=np.float32)) != 780:
            faults.append("signal")
        if not over:
            signal.setitimer(signal.ITIMER_REAL, 0.001)

    before = signal.signal(signal.SIGALRM, handle)
    signal.setitimer(signal.ITIMER_REAL, 0.001)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        threads = [threading.Thread(target=work, args=(n,)) for n in range(1, 5)]
        for thread in threads:
            thread.start()
        work(7)
        for thread in threads:
            thread.join()
    finally:
        over.append(True)
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        sys.setswitchinterval(interval)
    assert not faults


_ENDINGS = """
import atexit, os, sys
import numpy as np
import loom
x = np.ones(64, np.float32)
for _ in range(5):
    loom.gpu_sum(x)


class Last:
    def __init__(self):
        self.call, self.x = loom.gpu_sum, x

    def __del__(self):
        try:
            os.write(1, b"%d " % self.call(self.x))
        except BaseException as error:
            os.write(1, repr(error).encode())


sys.kept = Last()
atexit.register(lambda: os.write(1, b"exit %d " % loom.gpu_sum(x)))
if os.fork() == 0:
    for _ in range(4):
        os.write(1, b"child %d " % loom.gpu_sum(x))
    os._exit(0)
os.wait()
"""


def test_the_end_of_a_process_and_forks() -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    found = subprocess.run([sys.executable, "-c", _ENDINGS], env=environment, capture_output=True, check=False)
    assert (found.returncode, found.stderr) == (0, b"")
    assert found.stdout.decode().split()[:10] == ["child", "64"] * 4 + ["exit", "64"]


def test_what_takes_long_is_left_to_python_for_good(slow: _Slow) -> None:
    x = np.ones(1 << 21, np.float32)
    assert slow.of(lambda: loom.gpu_sum(x)) == 10
    assert loom.gpu_sum(x) == 1 << 21


@pytest.mark.parametrize("name", ["correlation", "covariance"])
def test_an_operand_may_be_left_out(slow: _Slow, name: str) -> None:
    function = getattr(loom.stats, name)
    x, y = np.arange(12, dtype=np.float32).reshape(2, 6) ** 2, np.ones(6, np.float32) + np.arange(6, dtype=np.float32)
    alone, beside = function(x).copy(), function(x[0].copy(), y)
    for _ in range(6):
        assert function(x).tobytes() == alone.tobytes()
        assert np.asarray(function(x[0].copy(), y)).tobytes() == np.asarray(beside).tobytes()
    assert slow.of(lambda: function(x)) == 0
