"""What somebody who knows numpy writes: slices backwards, 2 ** x, writing from several threads; and random graphs."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest

import loom
from loom import tensor
from loom.core.errors import ArgumentError, DTypeError
from loom.kernels.maps.nest import ELEMENTWISE


def test_updates_of_several_threads_are_all_there() -> None:
    """An operation records and starts as one: before, another's write fell between and was lost."""
    a, b, eye = tensor.create((2, 2)), tensor.create((2, 2)), tensor.ones((2, 2))
    errors: list[BaseException] = []

    def work() -> None:
        try:
            for _ in range(25):
                a.enqueue(lambda x: x + 1, a).wait(30)
                b.enqueue_gemm(eye, eye, beta=1.0).wait(30)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(60)
    assert not errors
    assert a.tolist() == [[100.0] * 2] * 2
    assert b.tolist() == [[200.0] * 2] * 2


def _slice(rng: np.random.Generator, n: int) -> slice:
    def at() -> int | None:
        return None if rng.random() < 0.3 else int(rng.integers(-n - 2, n + 3))

    return slice(at(), at(), int(rng.choice([-3, -2, -1, 1, 2])))


def test_slices_go_backwards_as_in_numpy() -> None:
    rng = np.random.default_rng(5)
    held = np.arange(60, dtype=np.float32).reshape(3, 4, 5)
    x = tensor.array(held)
    for _ in range(60):
        keys: list[Any] = [_slice(rng, n) if rng.random() < 0.8 else int(rng.integers(-n, n)) for n in held.shape]
        key = tuple(keys[: rng.integers(1, 4)])
        assert x[key].tolist() == held[key].tolist(), key
    assert x[::-1, None, ..., 3:0:-2].shape == (3, 1, 4, 2)
    weight = tensor.parameter(held)
    (g,) = tensor.grad((weight[2:0:-1, ::-2] * tensor.array(held[:2, :2])).sum(), [weight])
    wanted = np.zeros_like(held)
    wanted[2:0:-1, ::-2] = held[:2, :2]
    assert g.tolist() == wanted.tolist()
    with pytest.raises(DTypeError, match="not a slice of ints: expected ints, the step not 0"):
        x[::0]


def test_powers_of_numbers_and_orders_in_one_sequence() -> None:
    x = tensor.parameter([0.0, 1.0, 3.0, -1.0])
    assert (2**x).tolist() == [1.0, 2.0, 8.0, 0.5]
    (g,) = tensor.grad((2**x).sum(), [x])
    assert np.allclose(g.numpy(), np.log(2) * np.array([1.0, 2.0, 8.0, 0.5]), rtol=1e-6)
    y = tensor.zeros((2, 3, 4))
    assert y.permute((2, 0, 1)).shape == y.permute([2, 0, 1]).shape == y.permute(2, 0, 1).shape == (4, 2, 3)


def test_select_says_what_to_use() -> None:
    assert "select" not in tensor.OPERATIONS
    x = tensor.array([1.0])
    with pytest.raises(ArgumentError, match=r"Use tensor.where\(condition, a, b\)"):
        x.map("select", 1.0, 2.0)


def test_relu_is_no_operation_by_name_and_says_what_to_use() -> None:
    assert "relu" not in tensor.OPERATIONS
    with pytest.raises(ArgumentError, match=r"\[tensor.map\] no operation is called 'relu'. Use x.relu\(\)"):
        tensor.array([-1.0, 2.0]).map("relu")
    with pytest.raises(ArgumentError, match=r"\[gpu_map\] no operation is called 'relu'. Use tensor.relu"):
        loom.gpu_map([-1.0, 2.0], "relu")
    assert tensor.relu(tensor.array([-1.0, 2.0])).tolist() == [0.0, 2.0]


def test_every_operation_is_taken_by_both_doors() -> None:
    assert set(tensor.OPERATIONS) == set(ELEMENTWISE)


def _step(rng: np.random.Generator, x: Any, y: Any, t: Any) -> Any:
    """Do one operation, the same with tensors and (``t`` None) with numpy."""
    which, axis = int(rng.integers(0, 8)), int(rng.integers(0, 2))
    if which == 0:
        return x + y * 0.5
    if which == 1:
        return x[::-1, ::-1] - y
    if which == 2:
        return x * 1.25 - y[:, ::-1]
    if which == 3:
        return x.sum(axis, keepdims=True) * 0.25 + y
    if which == 4:
        return x.max(axis, keepdims=True) - x
    if which == 5:
        return t.where(x > y, x, -y) if t else np.where(x > y, x, -y)
    if which == 6:
        return x @ y.T * 0.125
    return t.maximum(x, y) if t else np.maximum(x, y)


@pytest.mark.parametrize("seed", range(6))
def test_random_graphs_are_numpys(seed: int) -> None:
    """Of small dyadic numbers, so that f64 holds every result: in any order of sums the bits are numpy's."""
    start = [np.random.default_rng(seed + k).integers(-8, 9, (4, 4)) / 4 for k in (0, 50)]
    worlds = {}
    for name, leaves in (("numpy", start), *((d, [tensor.array(v, on=d) for v in start]) for d in ("cpu", "interp"))):
        rng = np.random.default_rng(seed)
        nodes: list[Any] = list(leaves)
        for _ in range(7):
            a, b = (nodes[k] for k in rng.integers(max(0, len(nodes) - 3), len(nodes), 2))
            nodes.append(_step(rng, a, b, None if name == "numpy" else tensor))
        worlds[name] = [n if name == "numpy" else n.numpy() for n in nodes]
    for name in ("cpu", "interp"):
        for got, wanted in zip(worlds[name], worlds["numpy"], strict=True):
            assert (got + 0.0).tobytes() == (wanted + 0.0).tobytes()


@pytest.mark.parametrize("operation", [np.ones(2, np.float32), np.rec.array([(1, 2)]), None, 3])
def test_a_map_of_what_is_no_name_is_refused(operation: object) -> None:
    with pytest.raises(ArgumentError, match=r"\[tensor.map\] no operation is called"):
        tensor.array([1.0, 2.0]).map(operation)  # type: ignore[arg-type]
