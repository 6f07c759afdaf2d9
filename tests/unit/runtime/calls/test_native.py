"""The native door: what it takes, and that nothing can be told from the way through Python but the time."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import threading
import tracemalloc
import weakref
from typing import Any

import numpy as np
import pytest

import loom
from loom import In, InOut, Out, f32, u32
from loom.core.errors import ArgumentError, DTypeError
from loom.ir.frontend.decorator import KernelFunction
from loom.runtime.calls.native import layouts
from unit.runtime.calls.call_draws import axpy, double_axpy, drawn, outcome

pytestmark = pytest.mark.skipif(sys.platform == "win32" or not layouts.is_known(), reason="the door stays shut there")


class _Slow:
    """Counts calls that go the way through Python."""

    def __init__(self) -> None:
        assert KernelFunction.launch is not None
        self.launch, self.count = KernelFunction.launch, 0

    def __call__(self, *call: Any) -> Any:
        self.count += 1
        return self.launch(*call)

    def settle(self, call: Any) -> None:
        """Call until it is known, or is not going to be; then count from 0."""
        for _ in range(40):
            self.count = 0
            call()
            if not self.count:
                break
        self.count = 0


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> _Slow:
    monkeypatch.delenv("LOOM_NATIVE", raising=False)
    y = np.zeros(3, np.float32)
    axpy(y.copy(), y, 1.0)  # loads what launches
    counter = _Slow()
    monkeypatch.setattr(KernelFunction, "launch", counter)
    return counter


def _native(kernel: Any, args: tuple[Any, ...], named: dict[str, Any]) -> Any:
    return kernel(*args, **named)


def _python(kernel: Any, args: tuple[Any, ...], named: dict[str, Any]) -> Any:
    assert KernelFunction.launch is not None
    return KernelFunction.launch(kernel, args, dict(named))


@pytest.mark.parametrize("count", [600, pytest.param(20_000, marks=pytest.mark.slow)])
def test_drawn_calls_are_the_same_through_both_doors(slow: _Slow, count: int) -> None:
    seeds = count // 4
    for turn in range(count):
        seed = turn % seeds
        native = outcome(drawn(seed), _native)
        before = slow.count
        python = outcome(drawn(seed), _python)
        slow.count = before
        assert native == python, seed
    assert slow.count < 0.8 * count  # a quarter is served


@pytest.mark.parametrize("make", [np.copy, loom.array])
def test_calls_like_one_before_go_without_python(slow: _Slow, make: Any) -> None:
    x, y = make(np.arange(64, dtype=np.float32)), make(np.zeros(64, np.float32))
    slow.settle(lambda: axpy(x, y, 0.0))
    for turn in range(10):
        axpy(x, y, 2.0)
        axpy(x, a=2.0, y=y)  # by name it is the same
        axpy(make(np.ones(64, np.float32)), make(np.ones(64, np.float32)), 0.5 * turn)  # and so is what is made anew
    assert slow.count == 0
    assert np.array_equal(np.asarray(y), 40 * np.arange(64))


@loom.kernel
def halves(x: In[f32], low: Out[f32], high: Out[f32]):
    i = loom.global_id()
    if i < len(x):
        low[i], high[i] = x[i] / 2.0, x[i] * 2.0


def test_outputs_that_are_left_out_are_new_arrays_of_zeros(slow: _Slow) -> None:
    x = np.arange(64, dtype=np.float64)
    slow.settle(lambda: double_axpy(x=x))
    first, second = double_axpy(x=x), double_axpy(x, a=5.0)
    assert type(first) is np.ndarray
    first[0] = 7
    assert np.array_equal(second, 5 * x)
    slow.count = 0
    assert np.array_equal(double_axpy(x=x), 3 * x)
    assert slow.count == 0
    y = x.astype(np.float32)
    slow.settle(lambda: halves(y))
    low, high = halves(y)
    assert slow.count == 0
    assert np.array_equal(low, y / 2)
    assert np.array_equal(high, y * 2)
    slow.settle(lambda: partly(y))
    found = partly(y)
    assert slow.count == 0
    assert found.tolist() == [1.0, *[0.0] * 63]


@loom.kernel
def partly(x: In[f32], y: Out[f32]):
    if loom.global_id() == 0:
        y[0] = x[1]


def test_settings_and_modes_send_calls_through_python(slow: _Slow, monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = np.ones(64, np.float32), np.zeros(64, np.float32)

    def calls() -> int:
        slow.settle(lambda: axpy(x, y, 1.0))
        axpy(x, y, 1.0)
        return slow.count

    assert calls() == 0
    for name, value in (("LOOM_NATIVE", "0"), ("LOOM_DEVICE", "interp")):
        with monkeypatch.context() as here:
            here.setenv(name, value)
            assert calls() == 1
        assert calls() == 0
    with monkeypatch.context() as here:
        here.setenv("LOOM_SIMD", "1")
        axpy(x, y, 1.0)
        assert slow.count == 1
        assert calls() == 0
    with loom.profile() as found:
        assert calls() == 1
    assert found.rows
    with loom.debug():
        assert calls() == 1
    assert calls() == 0


def test_memory_that_a_program_is_bound_to_is_left_to_python(slow: _Slow) -> None:
    x, y, other = np.ones(64, np.float32), np.zeros(64, np.float32), np.zeros(64, np.float32)
    slow.settle(lambda: axpy(x, other, 1.0))
    chain = loom.Chain("cpu")
    chain.dispatch(axpy, [x, y], [1.0])
    program = chain.build()
    slow.count = 0
    axpy(np.ones(64, np.float32), other, 1.0)
    assert slow.count == 0
    axpy(x, other, 1.0)
    assert slow.count == 1
    program.free()
    del chain, program
    gc.collect()
    axpy(x, other, 1.0)
    slow.count = 0
    axpy(x, other, 1.0)
    assert slow.count == 0


def test_an_error_has_the_frames_of_the_caller_alone(slow: _Slow) -> None:
    x, y = np.ones(64, np.float32), np.zeros(64, np.float32)
    slow.settle(lambda: axpy(x, y, 1.0))
    with pytest.raises(DTypeError, match="does not fit f32") as found:
        axpy(x, y, "2")
    frames = [entry.path for entry in found.traceback]
    assert str(frames[0]) == __file__
    with pytest.raises(ArgumentError, match="share memory"):
        axpy(y, y, 1.0)
    with pytest.raises(ArgumentError, match="too many arguments"):
        axpy(*[x] * 100)


def test_nothing_is_kept_of_arguments(slow: _Slow) -> None:
    x, y, a = np.ones(64, np.float32), np.zeros(64, np.float32), 2.5
    own = loom.array(x), loom.array(y)
    slow.settle(lambda: axpy(x, y, a))
    slow.settle(lambda: axpy(*own, a))
    watched = (x, y, a, None, True, axpy, x.dtype, np.ndarray, *own, own[0].data, own[1].data, loom.f32, "a")
    before = [sys.getrefcount(each) for each in watched]
    slow.count = 0
    for _ in range(20_000):
        axpy(x, y, a)
        axpy(x, y=y, a=a)
        axpy(*own, a)
    assert slow.count == 0
    after = [sys.getrefcount(each) for each in watched]
    assert max(abs(now - then) for now, then in zip(after, before, strict=True)) < 100
    gone = weakref.ref(own[0])
    own = watched = ()
    assert gone() is None


@pytest.mark.slow
def test_a_million_calls_take_no_memory(slow: _Slow) -> None:
    x, y = np.ones(64, np.float32), np.zeros(64, np.float32)
    slow.settle(lambda: axpy(x, y, 2.0))
    gc.collect()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for _ in range(1_000_000):
        axpy(x, y, 2.0)
    gc.collect()
    assert tracemalloc.get_traced_memory()[0] - before < 10_000
    tracemalloc.stop()
    assert slow.count == 0


def test_kernels_and_what_is_known_of_them_go(slow: _Slow) -> None:
    class Last:
        """Calls its kernel when both are collected."""

        def __init__(self, kernel: Any) -> None:
            self.kernel, kernel.last = kernel, self

        def __del__(self) -> None:
            y = np.zeros(64, np.float32)
            self.kernel(np.ones(64, np.float32), y, 1.0)
            done.append(float(y.sum()))

    done: list[float] = []
    for _ in range(20):

        @loom.kernel
        def own(x: In[f32], y: Out[f32], a: f32):
            i = loom.global_id()
            if i < len(y):
                y[i] = a * x[i]

        y = np.zeros(64, np.float32)
        for _ in range(4):
            own(np.ones(64, np.float32), y, 1.0)
        Last(own)
        del own
        gc.collect()
    assert done == [64.0] * 20


def test_threads_and_signals(slow: _Slow) -> None:
    faults: list[str] = []
    over: list[bool] = []

    def work(number: int) -> None:
        for turn in range(1500):
            n = 1 + (turn * 7 + number) % 40
            x, y = np.arange(n, dtype=np.float32), np.zeros(n, np.float32)
            own = loom.array(x), loom.array(y)
            axpy(x, y, float(number))
            axpy(*own, float(number))
            if not (np.array_equal(y, number * x) and np.array_equal(own[1].numpy(), y)):
                faults.append(f"{number}, {n}")

    def handle(*_: Any) -> None:
        y = np.zeros(40, np.float32)
        axpy(np.arange(40, dtype=np.float32), y, 3.0)
        if not np.array_equal(y, 3 * np.arange(40)):
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


def test_many_sizes_and_signatures(slow: _Slow) -> None:
    @loom.kernel
    def fill(y: InOut[u32], a: u32, b: u32 = 7):
        i = loom.global_id()
        if i < len(y):
            y[i] = a + b

    for n in range(1, 400):
        for number in (1, np.int8(2), np.uint32(3), np.int64(4), np.uint16(5)):
            y = np.zeros(n, np.uint32)
            for _ in range(3):
                fill(y, number)
            assert (y == number + 7).all()
    slow.count = 0
    for n in range(380, 400):
        fill(np.zeros(n, np.uint32), np.uint16(5))
    assert slow.count <= 5


_ENDINGS = """
import atexit, os, sys
import numpy as np
from unit.runtime.calls.call_draws import axpy


class Last:
    def __init__(self):
        self.kernel, self.call = axpy, axpy.__call__
        self.x, self.y = np.ones(64, np.float32), np.zeros(64, np.float32)

    def __del__(self):
        try:
            self.kernel(self.x, self.y, 1.0)
            self.call(self.x, self.y, 1.0)
            os.write(1, b"%d " % self.y.sum())
        except BaseException as error:
            os.write(1, repr(error).encode())


x, y = np.ones(64, np.float32), np.zeros(64, np.float32)
for _ in range(5):
    axpy(x, y, 1.0)
sys.kept = Last()
cycle = Last()
cycle.cycle = cycle
atexit.register(lambda: (axpy(x, y, 1.0), os.write(1, b"exit ")))
if os.fork() == 0:
    axpy(x, y, 1.0)
    os.write(1, b"child %d " % y.sum())
    os._exit(0)
os.wait()
"""


def test_the_end_of_a_process_and_forks() -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    found = subprocess.run([sys.executable, "-c", _ENDINGS], env=environment, capture_output=True, check=False)
    assert (found.returncode, found.stderr) == (0, b"")
    words = found.stdout.decode().split()
    assert words[:3] == ["child", "384", "exit"]
    assert set(words[3:]) <= {"128"}  # what Python still calls is served


def test_threads_that_flush_what_is_small_give_kernels_their_numbers(slow: _Slow) -> None:
    torch = pytest.importorskip("torch")
    x, numbers = np.ones(3, np.float32), (1e-40, -1e-40, np.float64(1e-40))
    expected = [np.full(3, number, np.float32).tobytes() for number in numbers]
    if not torch.set_flush_denormal(True):
        pytest.skip("this processor does not")
    try:
        for number, bits in zip(numbers, expected, strict=True):
            found: list[bytes] = []
            for run in (_native, _python):
                for _ in range(5):
                    y = np.zeros(3, np.float32)
                    run(axpy, (x, y, number), {})
                    found.append(y.tobytes())
            assert set(found) == {bits}
    finally:
        torch.set_flush_denormal(False)


def test_what_is_recorded_keeps_its_elements_while_others_write(slow: _Slow) -> None:
    ones, y = loom.array(np.ones(64, np.float32)), loom.array(np.zeros(64, np.float32))
    slow.settle(lambda: axpy(ones, y, 0.0))
    over: list[bool] = []
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)

    def write() -> None:
        for _ in range(4000):
            axpy(ones, y, 1.0)
        over.append(True)

    writers = [threading.Thread(target=write) for _ in range(2)]
    for writer in writers:
        writer.start()
    last = 0.0
    try:
        while len(over) < 2:
            kept = y + 0.0
            first = kept.numpy()
            assert (first == first[0]).all()
            assert np.array_equal(kept.numpy(), first)
            assert first[0] >= last
            last = float(first[0])
    finally:
        sys.setswitchinterval(interval)
        for writer in writers:
            writer.join()
    assert (y.numpy() == 8000).all()


_SHUT = """
import numpy as np
from loom.runtime.calls.native import layouts, nativedoor
layouts.is_known = nativedoor.is_known = lambda: False
from loom.ir.frontend.decorator import KernelFunction
from unit.runtime.calls.call_draws import axpy
x, y, before = np.ones(64, np.float32), np.zeros(64, np.float32), KernelFunction.__call__
for _ in range(9):
    axpy(x, y, 1.0)
assert KernelFunction.__call__ is before
assert (y == 9).all()
"""


def test_unknown_layouts_leave_the_door_shut() -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-c", _SHUT], env=environment, check=True)


def test_a_layout_is_what_known_objects_say(monkeypatch: pytest.MonkeyPatch) -> None:
    class Slots:
        __slots__ = ("a", "b")

    class Plain:
        a: object

    assert layouts.places_of(Slots, "a", "b") == (16, 24)
    assert layouts.places_of(Plain, "a") is None
    words = layouts._words
    monkeypatch.setattr(layouts, "_words", lambda held, count: [n + (count > 2) for n in words(held, count)])
    assert not layouts.is_known.__wrapped__()


@pytest.mark.parametrize("number", [1e300, -1e39, 3.4028235677973366e38, 2**128, True, "2", None, 1j])
def test_a_number_that_does_not_fit_is_refused_as_before(slow: _Slow, number: Any) -> None:
    x, y = np.ones(64, np.float32), np.zeros(64, np.float32)
    slow.settle(lambda: axpy(x, y, 1.0))
    before = y.copy()
    with pytest.raises((ArgumentError, DTypeError)) as told:
        axpy(x, y, number)
    with pytest.raises((ArgumentError, DTypeError)) as python:
        _python(axpy, (x, y, number), {})
    assert str(told.value) == str(python.value)
    assert y.tobytes() == before.tobytes()
    axpy(x, y, float("inf"))
    assert slow.count == 2  # the refused ones alone: what is infinite already fits


@loom.kernel(workgroup=4)
def bits_of(words: Out[u32], double: Out[loom.u64], x: f32, y: loom.f64):
    if loom.global_id() == 0:
        words[0] = loom.bitcast(u32, x)
        double[0] = loom.bitcast(loom.u64, y)


@np.errstate(invalid="ignore")  # of NaNs that signal
def test_a_nan_has_the_bits_that_python_gives_it(slow: _Slow) -> None:
    words, double = np.zeros(1, np.uint32), np.zeros(1, np.uint64)
    slow.settle(lambda: bits_of(words, double, 1.5, 2.5))
    for pattern in (0x7FF8 << 48, 0xFFF8 << 48, (0x7FF0 << 48) + 1, (1 << 64) - 1, 0x7FF8123456789ABC):
        number = np.array([pattern], np.uint64).view(np.float64)[0]
        found: list[tuple[int, int]] = []
        for call in (_native, _python):
            for value in (number, float(number)):
                for single in (np.float32(value), value):
                    call(bits_of, (words, double, single, value), {})
                    found.append((int(words[0]), int(double[0])))
        assert found[:4] == found[4:], hex(pattern)


def test_what_is_being_written_is_waited_for(slow: _Slow) -> None:
    n = 1 << 18
    x, y = loom.array(np.ones(64, np.float32)), loom.array(np.zeros(64, np.float32))
    slow.settle(lambda: axpy(x, y, 0.0))
    chain = loom.Chain("cpu")
    chain.dispatch(count_up, [x.data], [n], 1)
    program = chain.build()
    for turn in range(3):
        run = program.launch()
        axpy(x, y, 1.0)
        run.wait()
        assert y.tolist() == [sum(1.0 + n * (t + 1) for t in range(turn + 1))] * 64


@loom.kernel(workgroup=64)
def count_up(x: InOut[f32], n: u32):
    i = loom.global_id()
    total = x[i]
    for _ in range(n):
        total += 1.0
    x[i] = total
