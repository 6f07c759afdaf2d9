"""Evaluations behind the native door: nothing can be told from the way through Python but the time."""

from __future__ import annotations

import gc
import random
import sys
import threading
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import loom
from loom import tensor
from loom.runtime.calls.native import layouts
from loom.tensor.run import eager

pytestmark = pytest.mark.skipif(sys.platform == "win32" or not layouts.is_known(), reason="the door stays shut there")
_UNARY = ("neg", "abs", "exp", "sqrt", "relu", "sigmoid")
_BINARY = ("add", "sub", "mul", "div", "max", "min", "lt", "eq")


class _Slow:
    """Counts evaluations that go the way through Python."""

    def __init__(self) -> None:
        self.evaluate, self.count = eager.evaluate, 0

    def __call__(self, tensors: Any) -> None:
        self.count += 1
        self.evaluate(tensors)

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
    monkeypatch.setattr(eager, "evaluate", counter)
    return counter


def _array(rng: random.Random, shape: tuple[int, ...], dtype: str, *, is_odd: bool) -> Any:
    numbers = np.random.default_rng(rng.randrange(40)).integers(0, 9, shape).astype(dtype)
    x: Any = tensor.parameter(numbers, on="cpu") if is_odd and rng.random() < 0.2 else tensor.array(numbers, on="cpu")
    kind = rng.randrange(9) if is_odd else 9
    if kind == 0:
        x = x[...]
    elif kind == 1:
        x.lend("test")
    elif kind == 2:
        x = (x + 1).evaluate()
    elif kind == 3:
        x = tensor.array(numbers, on="interp")
    elif kind == 4:
        x = x * 2
    elif kind == 5:
        np.from_dlpack(x)
    return x


def _drawn(seed: int) -> Any:
    """Return what records one operation, most like one before; twice from one seed it is alike."""
    rng = random.Random(seed)
    is_odd = rng.random() < 0.4
    shape, dtype = rng.choice(((1,), (7,), (64,), (65,), (4, 5), (2, 3, 4), ())), rng.choice(("f4", "f4", "f8", "i4"))
    x = _array(rng, shape, dtype, is_odd=is_odd)
    other = rng.random()
    if other < 0.3:
        found = x.map(rng.choice(_UNARY if dtype[0] == "f" else _UNARY[:2]))
    elif other < 0.8:
        y = x if is_odd and rng.random() < 0.2 else _array(rng, shape, dtype, is_odd=is_odd and rng.random() < 0.5)
        if is_odd and rng.random() < 0.3:
            y = rng.choice((2, np.float32(3), 1.5 if dtype[0] == "f" else 7))
        found = x.map(rng.choice(_BINARY), y)
    elif other < 0.9:
        found = x.sum() if rng.random() < 0.5 else x.max()
    elif len(shape) == 2:
        found = x @ x.T if is_odd else tensor.sort(x)
    else:
        found = tensor.sort(x) if shape else -x
    return found.reshape(-1) if rng.random() < 0.2 else found


def _outcome(seed: int, evaluate: Callable[[Any], None]) -> Any:
    try:
        found = _drawn(seed)
        evaluate(found)
        data, where = found.data, found.device
        assert data.address % 64 == 0
        told = found.numpy()
        return told.shape, str(told.dtype), told.tobytes(), where.name, data.nbytes, found.op.name, found.is_fast
    except loom.LoomError as error:
        return type(error), str(error)


@pytest.mark.parametrize("count", [400, pytest.param(20_000, marks=pytest.mark.slow)])
def test_drawn_evaluations_are_the_same_through_both_doors(slow: _Slow, count: int) -> None:
    seeds, served = count // 8, 0
    for turn in range(count):
        seed = turn % seeds
        slow.count = 0
        native = _outcome(seed, eager.evaluate_one)
        served += not slow.count
        assert native == _outcome(seed, vars(eager.evaluate_one)["__wrapped__"]), seed
    assert served > count // 10


def test_operations_like_one_before_go_without_python(slow: _Slow) -> None:
    x, y = (tensor.array(np.arange(64, dtype=np.float32) + n, on="cpu") for n in (1, 2))
    m = tensor.array(np.ones((8, 8), np.float32), on="cpu")
    calls: dict[str, Callable[[], Any]] = {
        "add": lambda: [(x + y).evaluate()],
        "made anew": lambda: [(x + tensor.array(np.ones(64, np.float32), on="cpu")).evaluate()],
        "exp": lambda: tensor.exp(x).numpy(),
        "sum": lambda: tensor.sum(x).item(),
        "matmul": lambda: [(m @ m.T.evaluate()).evaluate()],
        "chain": lambda: [((x + y).evaluate() * x).evaluate()],
        "50 shapes in turn": lambda: [(v + v2).evaluate() for v, v2 in pairs],
    }
    pairs = [
        (tensor.array(np.ones(n, "f4"), on="cpu"), tensor.array(np.ones(n, "f4"), on="cpu")) for n in range(40, 90)
    ]
    found = {name: slow.of(call) for name, call in calls.items()}
    assert found == dict.fromkeys(calls, 0) | {"matmul": found["matmul"]}
    assert (x + y).tolist() == [2 * n + 3 for n in range(64)]


def test_what_an_evaluation_depends_on_sends_it_through_python(slow: _Slow, monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = (tensor.array(np.arange(64, dtype=np.float32), on="cpu") for _ in range(2))

    def call() -> Any:
        return (x + y).evaluate()

    def is_slow() -> bool:
        slow.count = 0
        call()
        return bool(slow.count)

    assert slow.of(call) == 0
    for name, value in (("LOOM_NATIVE", "0"), ("LOOM_SIMD", "1"), ("LOOM_CHECK", "1")):
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


def _spin(v: Any) -> Any:
    total = v
    for _ in range(loom.i32(v)):
        total = total * 2.0
    return total


def test_functions_of_users_whose_loops_may_be_long_can_be_interrupted(slow: _Slow) -> None:
    x = tensor.array(np.full(64, 3, np.float32), on="cpu")
    assert slow.of(lambda: [loom.gpu_map(x, _spin).evaluate()]) == 10
    assert loom.gpu_map(x, _spin).tolist() == [24] * 64


def test_derivatives_go_through_what_was_evaluated(slow: _Slow) -> None:
    x, y = (tensor.array(np.arange(1, 65, dtype=np.float32), on="cpu") for _ in range(2))
    assert slow.of(lambda: [(x * y).evaluate()]) == 0
    product = (x * y).evaluate()
    (gradient,) = tensor.grad(product.sum(), [x])
    assert np.array_equal(gradient.numpy(), y.numpy())


def test_elements_are_the_tensors_own(slow: _Slow) -> None:
    x, y = (tensor.array(np.ones(64, np.float32), on="cpu") for _ in range(2))
    assert slow.of(lambda: [(x + y).evaluate()]) == 0
    first, second = (x + y).evaluate(), (x + y).evaluate()
    first[0] = 7
    assert first.tolist() == [7] + [2] * 63
    assert second.tolist() == [2] * 64
    x[1] = 5  # what was recorded keeps its elements
    third = x + y
    x[1] = 9
    assert third.tolist()[:3] == [2, 6, 2]
    gone = weakref.ref(first)
    data = weakref.ref(first.data)
    del first
    gc.collect()
    assert gone() is None
    assert data() is None


def test_nothing_is_kept(slow: _Slow) -> None:
    x, y = (tensor.array(np.ones(64, np.float32), on="cpu") for _ in range(2))
    assert slow.of(lambda: [(x + y).evaluate()]) == 0
    watched = (x, y, x.data, x.device, x.dtype, None, (), np.empty, tensor.Tensor, (x + y).op)
    before = [sys.getrefcount(each) for each in watched]
    for _ in range(5000):
        (x + y).evaluate()
    after = [sys.getrefcount(each) for each in watched]
    assert max(abs(now - then) for now, then in zip(after, before, strict=True)) < 100


def test_threads_that_evaluate_one_tensor_and_write_its_operand(slow: _Slow) -> None:
    x, y = (tensor.array(np.zeros(64, np.float32), on="cpu") for _ in range(2))
    assert slow.of(lambda: [(x + y).evaluate()]) == 0
    over: list[bool] = []
    faults: list[Any] = []
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)

    def write() -> None:
        for turn in range(300):
            x.fill(float(turn))
        over.append(True)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        while not over:
            kept = x + y
            readers = [threading.Thread(target=kept.evaluate) for _ in range(2)]
            for reader in readers:
                reader.start()
            first = kept.numpy()
            for reader in readers:
                reader.join()
            if not ((first == first[0]).all() and np.array_equal(first, kept.numpy())):
                faults.append(first)
    finally:
        sys.setswitchinterval(interval)
        writer.join()
    assert not faults
    assert (x + y).tolist() == [299.0] * 64
