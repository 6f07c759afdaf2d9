"""Compiled programs: updates, memory, fusion, launching."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from loom import tensor
from loom.core.errors import ArgumentError, LoomError, ShapeError
from loom.tensor import Tensor, TensorProgram


def _parameter(*values: float) -> Tensor:
    return tensor.parameter(list(values), "f32", on="cpu")


def test_updates_are_made_of_the_old_values() -> None:
    p, q = _parameter(1, 2), _parameter(10, 20)
    step = tensor.compile([p + q], {p: q * 2, q: p + 1})
    step.run()
    assert (p.tolist(), q.tolist(), step.read()[0].tolist()) == ([20, 40], [2, 3], [11, 22])
    step.run()
    assert (p.tolist(), q.tolist()) == ([4, 6], [21, 41])


def test_parameters_can_be_exchanged_and_turned() -> None:
    p, q = _parameter(1, 2), _parameter(3, 4)
    tensor.compile([], [(p, q), (q, p)]).run()
    assert (p.tolist(), q.tolist()) == ([3, 4], [1, 2])
    m = tensor.parameter([[1.0, 2.0], [3.0, 4.0]], on="cpu")
    tensor.compile([], [(m, m.T)]).run()
    assert m.tolist() == [[1, 3], [2, 4]]
    tensor.compile([], [(m, m @ m + tensor.reverse(m, 0))]).run()
    assert m.tolist() == [[7 + 2, 15 + 4], [10 + 1, 22 + 3]]


def test_an_output_is_the_old_value_of_a_parameter() -> None:
    p = _parameter(1, 2)
    step = tensor.compile([p, p.reshape(2, 1)], [(p, p * 3)])
    step.run()
    assert [r.tolist() for r in step.read()] == [[1, 2], [[1], [2]]]
    assert p.tolist() == [3, 6]


def test_a_chain_of_operations_is_one_kernel() -> None:
    x = tensor.input("x", (8, 6))
    row, column = tensor.parameter(np.ones(6, np.float32)), tensor.parameter(np.ones((8, 1), np.float32))
    y = ((x * row + column).exp() - x).relu()
    assert tensor.compile([y, y * 2]).dispatches == 1


def test_adam_is_one_kernel() -> None:
    p, m, v = (tensor.parameter(np.ones((7, 5), np.float32), on="cpu") for _ in range(3))
    g = tensor.input("g", (7, 5))
    m_next, v_next = m * 0.9 + g * 0.1, v * 0.99 + g * g * 0.01
    step = tensor.compile([], [(m, m_next), (v, v_next), (p, p - m_next / (v_next.sqrt() + 1e-8))])
    assert step.dispatches == 1
    step.run(g=np.full((7, 5), 2, np.float32))
    assert m.tolist()[0][0] == pytest.approx(1.1)
    assert p.tolist()[0][0] == pytest.approx(1 - 1.1 / 1.03**0.5, abs=2e-7)


def test_more_buffers_than_a_kernel_may_have_are_split() -> None:
    parts = [tensor.parameter(np.full(9, k, np.float32), on="cpu") for k in range(20)]
    total = parts[0] * 1
    sums = []
    for part in parts[1:]:
        total = total + part
        sums.append(total)
    step = tensor.compile(sums)
    step.run()
    assert [s[0] for s in step.read()] == np.cumsum(range(20)).tolist()[1:]


def _deep(layers: int = 8) -> TensorProgram:
    x = tensor.input("x", (64, 32))
    w = tensor.parameter(np.eye(32, dtype=np.float32), on="cpu")
    y = x
    for _ in range(layers):
        y = (y @ w).tanh()
    return tensor.compile([y])


def test_memory_is_shared_by_what_does_not_live_together() -> None:
    plan = _deep().plan
    assert plan.peak_nbytes < 0.5 * plan.sum_nbytes
    by_block: dict[int, list[tuple[int, int]]] = {}
    for buffer, block in plan.block_of.items():
        assert buffer.nbytes <= plan.blocks[block]
        by_block.setdefault(block, []).append(plan.lives[buffer])
    for lives in by_block.values():
        ordered = sorted(lives)
        assert all(a[1] < b[0] for a, b in itertools.pairwise(ordered))


def test_a_budget_is_checked_before_anything_is_allocated(monkeypatch: pytest.MonkeyPatch) -> None:
    import loom

    x = tensor.input("x", (64, 64))
    y = (x @ x).sum()
    device = loom.device("cpu")

    def refuse(*_: Any, **__: Any) -> Any:
        raise AssertionError("something was allocated")

    monkeypatch.setattr(type(device), "allocate", refuse)
    with pytest.raises(
        ArgumentError, match=r"needs more memory than it may have: expected at most 1000 bytes, got \d+"
    ):
        tensor.compile([y], on="cpu", budget_nbytes=1000)


def test_what_nobody_needs_is_left_out() -> None:
    x = tensor.input("x", (4, 4))
    y = x + 1
    _ = (y @ y).exp()
    assert tensor.compile([y]).dispatches == 1


def test_equal_operations_are_done_once() -> None:
    x = tensor.input("x", (4, 4))
    assert tensor.compile([(x @ x) + (x @ x)]).dispatches == 2


def test_launching_and_feeding() -> None:
    x = tensor.input("x", (3,))
    total = _parameter(0, 0, 0)
    step = tensor.compile([x * 2], [(total, total + x)])
    for k in range(5):
        submission = step.launch(x=np.full(3, k, np.float32))
    submission.wait()
    assert total.tolist() == [10, 10, 10]
    assert step.read()[0].tolist() == [8, 8, 8]
    step.run(x=tensor.array([1.0, 2.0, 3.0], on="cpu") * 2)
    assert total.tolist() == [12, 14, 16]
    step.run()
    assert total.tolist() == [14, 18, 22]


def test_errors_of_compiling_and_feeding() -> None:
    p, x = _parameter(1, 2), tensor.input("x", (2,))
    with pytest.raises(ArgumentError, match=r"updates\] only parameters can be updated"):
        tensor.compile([], [(x, p)])
    with pytest.raises(ArgumentError, match=r"a parameter is updated twice"):
        tensor.compile([], [(p, x), (p, x)])
    with pytest.raises(
        ShapeError, match=r"the new value is not like the parameter: expected f32 of \(2,\), got f32 of \(\)"
    ):
        tensor.compile([], [(p, x.sum())])
    with pytest.raises(ArgumentError, match=r"two inputs are called 'x'"):
        tensor.compile([x + tensor.input("x", (2,))])
    with pytest.raises(ArgumentError, match=r"on different devices: expected one device, got cpu and interp"):
        tensor.compile([p, tensor.array([1.0], on="interp")])
    step = tensor.compile([x + p], name="step")
    with pytest.raises(ArgumentError, match=r"\[step\] there is no input 'y': expected x, got y"):
        step.run(y=1)
    with pytest.raises(ShapeError, match=r"\[step, input 'x'\] another shape: expected \(2,\), got \(3,\)"):
        step.run(x=np.ones(3, np.float32))
    with pytest.raises(ShapeError, match=r"\[tensor.assign\] another shape"):
        p.assign([1, 2, 3])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: tensor.create((-1,)), r"\[tensor.create\] not a shape: expected whole numbers of .* 0, got \(-1,\)"),
        (lambda: tensor.zeros("a"), r"\[tensor.full\] not a shape: .*, got a"),
        (lambda: tensor.input("x", (2, 1.5)), r"\[tensor.input\] not a shape: .*, got \(2, 1.5\)"),
        (lambda: tensor.grad(3, []), r"\[tensor.grad\] not a tensor: expected a tensor, got 3"),  # type: ignore[arg-type]
        (lambda: tensor.compile([2.0]), r"\[tensor.compile\] not a tensor: .*, got 2.0"),  # type: ignore[list-item]
        (lambda: tensor.compile([], [(tensor.parameter([1.0]), 2)]), r"not a tensor: .*, got 2"),  # type: ignore[list-item]
    ],
)  # fmt: skip
def test_what_is_no_shape_or_no_tensor(call: Any, message: str) -> None:
    with pytest.raises(LoomError, match=message):
        call()


def test_shapes_may_be_one_number_or_whole_numbers_of_numpy() -> None:
    assert tensor.zeros(3).shape == tensor.zeros(np.int64(3)).shape == tensor.ones([np.uint8(3)]).shape == (3,)
