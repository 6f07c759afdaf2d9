"""Taking and putting by index, against torch and numpy: values exactly, gradients where they are sums within rounding.

Sums are compared in f64 of small whole numbers, so that no order is hidden; the order itself has a test of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from loom import tensor
from loom.core.errors import ArgumentError, DTypeError, IndexOutside, ShapeError
from loom.tensor import Tensor

_RNG = np.random.default_rng(5)
_X = _RNG.integers(-9, 9, (4, 5, 6)).astype(np.float64)
_SRC = _RNG.integers(1, 9, (3, 7, 5)).astype(np.float64)
_PLACES = {
    0: _RNG.integers(0, 4, (3, 5, 5)),
    1: _RNG.integers(0, 5, (3, 7, 5)),
    2: _RNG.integers(0, 6, (3, 5, 5)),
}
"""Indices along each axis, shorter than ``_X`` and ``_SRC`` along others; several of them are equal."""


def _compare(ours: Callable[..., Tensor], theirs: Callable[..., Any], arrays: list[Any], on: str = "cpu") -> None:
    """Compare values and gradients of sum(weights * result)."""
    mine = [tensor.array(a, on=on) for a in arrays]
    other = [torch.tensor(a, requires_grad=True) for a in arrays]
    found, wanted = ours(*mine), theirs(*other)
    assert found.shape == tuple(wanted.shape)
    assert np.array_equal(found.numpy(), wanted.detach().numpy())
    weights = np.random.default_rng(2).integers(-5, 5, found.shape).astype(np.float64)
    (wanted * torch.tensor(weights)).sum().backward()
    for g, t in zip(tensor.grad((found * tensor.array(weights, on=on)).sum(), mine), other, strict=True):
        np.testing.assert_allclose(g.numpy(), t.grad.numpy(), rtol=1e-14, atol=1e-14)


def _part(source: Any, at: Any) -> Any:
    """Return what is used of a source: torch has no gradient of a larger one."""
    return source[tuple(slice(n) for n in at.shape)]


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_taken(on: str, axis: int) -> None:
    at, along = _PLACES[axis % 3], _RNG.integers(0, _X.shape[axis], 7)
    _compare(
        lambda x: tensor.gather(x, tensor.array(at, on=on), axis), lambda x: x.gather(axis, torch.tensor(at)), [_X], on
    )
    _compare(lambda x: tensor.take(x, tensor.array(along, on=on), axis),
             lambda x: x.index_select(axis, torch.tensor(along)), [_X], on)  # fmt: skip


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_added_and_put(on: str, axis: int) -> None:
    at, where = tensor.array(_PLACES[axis], "i32", on=on), torch.tensor(_PLACES[axis])
    _compare(
        lambda x, s: tensor.scatter_add(x, axis, at, s),
        lambda x, s: x.scatter_add(axis, where, _part(s, where)),
        [_X, _SRC],
        on,
    )
    index = _RNG.permutation(_X.shape[axis])[:3]
    part = np.take(_X, index, axis) * 2
    mine, other = tensor.array(index, on=on), torch.tensor(index)
    _compare(
        lambda x, s: tensor.index_copy(x, axis, mine, s), lambda x, s: x.index_copy(axis, other, s), [_X, part], on
    )
    twice = np.array([1, 0, 1])
    mine, other = tensor.array(twice, on=on), torch.tensor(twice)
    _compare(lambda x, s: tensor.index_add(x, axis, mine, s, alpha=2),
             lambda x, s: x.index_add(axis, other, s, alpha=2), [_X, part], on)  # fmt: skip
    _compare(lambda x: tensor.index_fill(x, axis, mine, 7.0), lambda x: x.index_fill(axis, other, 7.0), [_X], on)


@pytest.mark.parametrize("axis", [0, 2])
@pytest.mark.parametrize("kind", ["sum", "prod", "amax", "amin", "mean"])
@pytest.mark.parametrize("included", [True, False])
def test_reduced(axis: int, kind: str, included: bool) -> None:
    """Without zeros and with; torch counts ties with elements that it leaves out, so those differ from all others."""
    at = _PLACES[axis]
    for x, source in ((_X if included else _X + 0.25, _SRC), (_X + 0.5, np.where(_SRC < 3, 0, _SRC))):
        _compare(lambda x, s: tensor.scatter_reduce(x, axis, tensor.array(at), s, kind, include_self=included),
                 lambda x, s: x.scatter_reduce(axis, torch.tensor(at), _part(s, at), kind, include_self=included),
                 [x, source])  # fmt: skip


def test_a_mean_of_integers_is_rounded_down() -> None:
    """Below zero too, where the nearest to zero is another."""
    x, source = tensor.array([-7, -8, 9], "i32"), tensor.array([2, 1, -2, -3], "i32")
    for included in (True, False):
        found = tensor.scatter_reduce(x, 0, [0, 0, 1, 1], source, "mean", include_self=included)
        sums = [-7 * included + 3, -8 * included - 5]
        assert found.tolist() == [*(total // (2 + included) for total in sums), 9], included


def test_the_last_of_several_stays_and_has_the_gradient(on: str) -> None:
    x, s = tensor.zeros((4,)), tensor.array([1.0, 2.0, 3.0, 4.0, 5.0], on=on)
    made = tensor.scatter(x, 0, tensor.array([3, 0, 3, 9, 3], on=on), s)
    assert made.tolist() == [2.0, 0.0, 0.0, 5.0]
    weights = tensor.array([1.0, 2.0, 3.0, 4.0], on=on)
    of_x, of_s = tensor.grad((made * weights).sum(), [x, s])
    assert of_x.tolist() == [0.0, 2.0, 3.0, 0.0]
    assert of_s.tolist() == [0.0, 1.0, 0.0, 0.0, 4.0]


def test_elements_of_one_place_are_added_in_order(on: str) -> None:
    terms = np.array([1e8, 1.0, -1e8, 1.0, 3.0, 1e8], np.float32)
    at = tensor.array([1, 1, 1, 1, 0, 7], on=on)
    assert tensor.scatter_add(tensor.zeros((3,)), 0, at, tensor.array(terms, on=on)).tolist() == [3.0, 1.0, 0.0]
    half = tensor.array(np.full(5000, 0.25, np.float16), on=on)  # added in f32 and rounded once
    assert tensor.scatter_add(tensor.zeros((2,), "f16"), 0, np.zeros(5000, np.int64), half).tolist() == [1250.0, 0.0]


@pytest.mark.parametrize("dtype", ["bool", "i8", "u8", "i16", "u16", "i32", "u32", "i64", "u64", "f16", "bf16", "f32"])
def test_all_types(on: str, dtype: str) -> None:
    data = np.arange(12).reshape(3, 4) % 3
    x = tensor.array(data.astype(bool) if dtype == "bool" else data, dtype, on=on)
    assert tensor.take(x, [2, -3], 0).tolist() == x.numpy()[[2, 0]].tolist()
    assert tensor.take(x, np.array([[3, 0]], np.uint8), 1).tolist() == x.numpy()[:, [[3, 0]]].tolist()
    order = [[1, 0, -1, 1]] * 3
    assert tensor.take_along_axis(x, order, 1).tolist() == np.take_along_axis(x.numpy(), np.array(order), 1).tolist()
    wanted = x.numpy().copy()
    np.put_along_axis(wanted, np.array([[2]]), wanted[:, :1], 1)
    assert tensor.put_along_axis(x, [[2]], x[:, :1]).tolist() == wanted.tolist()


def test_put_at_several_axes(on: str) -> None:
    rows, columns = np.array([[0], [-1]]), np.array([1, 4, 1])
    values = np.arange(36.0).reshape(2, 3, 6)
    for accumulate in (False, True):
        wanted = torch.tensor(_X).index_put((torch.tensor(rows), torch.tensor(columns)), torch.tensor(values * 0 + 2),
                                            accumulate=accumulate)  # fmt: skip
        made = tensor.index_put(tensor.array(_X, on=on), (rows, columns), 2.0, accumulate=accumulate)
        assert np.array_equal(made.numpy(), wanted.numpy())
    made = tensor.index_put(tensor.array(_X, on=on), (rows, columns), values)
    wanted = _X.copy()
    wanted[0, 1], wanted[0, 4], wanted[3, 4], wanted[3, 1] = values[0, 2], values[0, 1], values[1, 1], values[1, 2]
    assert np.array_equal(made.numpy(), wanted)
    outside = tensor.index_put(tensor.zeros((2, 2)), (tensor.array([0, 5]), tensor.array([9, 1])), 1.0)
    assert outside.tolist() == [[0, 0], [0, 0]]


def test_nothing_to_take_or_put() -> None:
    x, none = tensor.array(_X), np.zeros(0, np.int64)
    assert tensor.take(x, none, 1).shape == (4, 0, 6)
    assert np.array_equal(tensor.index_add(x, 1, none, tensor.zeros((4, 0, 6), "f64")).numpy(), _X)
    assert tensor.take(tensor.zeros((0, 3)), [1], 1).shape == (0, 1)
    assert tensor.take(tensor.zeros((0,)), tensor.array([0, -1])).tolist() == [0.0, 0.0]
    assert tensor.scatter_add(tensor.zeros((0, 3)), 1, np.zeros((0, 2), np.int64), tensor.zeros((0, 2))).shape == (0, 3)


def test_indices_of_narrow_types_reach_far(on: str) -> None:
    x = tensor.arange(300)
    assert tensor.take(x, tensor.array([-1, -128, 127], "i8", on=on)).tolist() == [299, 172, 127]
    assert tensor.take(x, tensor.array([2**32 + 1, -(2**40), 2**63 - 1], "i64", on=on)).tolist() == [0, 0, 0]


def test_programs_take_what_they_are_fed() -> None:
    at = tensor.input("at", (3,), "i64")
    table = tensor.parameter(np.arange(4.0, dtype=np.float32))
    new = tensor.scatter_add(table, 0, at, tensor.take(table, at))
    step = tensor.compile([new], [(table, new)])
    step.run(at=np.array([0, 3, 3]))
    assert table.tolist() == [0.0, 1.0, 2.0, 9.0]
    step.run(at=np.array([1, -1, 2]))
    assert table.tolist() == [0.0, 2.0, 4.0, 18.0]


_BAD: list[tuple[Callable[[Tensor], Any], type[Exception], str]] = [
    (lambda x: tensor.take(x, [4], 0), IndexOutside, r"\[take\] there is no such index: expected -4 to 3, got 4"),
    (lambda x: tensor.take(x, [1]), ArgumentError, r"\[take, axis\] no axis to take along"),
    (lambda x: tensor.take(x, [1.5], 0), DTypeError, r"\[take\] indices are no integers"),
    (lambda x: tensor.take_along_axis(x, [1]), ShapeError, r"the index has another number of axes: expected 3"),
    (lambda x: tensor.take_along_axis(x, np.zeros((3, 1, 1), int)), ShapeError, r"the shapes do not broadcast"),
    (lambda x: tensor.gather(x, np.zeros((5, 1, 1), int), 1), ShapeError, r"the indices reach beyond the table"),
    (lambda x: tensor.scatter(x, 0, np.zeros((1, 1, 9), int), 0.0), ShapeError, r"the indices reach beyond the tensor"),
    (lambda x: tensor.scatter(x, 0, [[[0, 1]]], x[:, :, :1]), ShapeError, r"more indices than elements"),
    (lambda x: tensor.scatter(x, 0, [[[0]]], x.astype("f32")), DTypeError, r"of another type: expected f64, got f32"),
    (lambda x: tensor.scatter_reduce(x, 0, [[[0]]], x, "max"), ArgumentError, r"'max' is not known"),
    (lambda x: tensor.index_add(x, 0, [0], x), ShapeError, r"the slices do not fit: expected \(1, 5, 6\)"),
    (lambda x: tensor.index_put(x, [], 1.0), ArgumentError, r"for each axis: expected 1 to 3 of them, got 0"),
    (lambda x: tensor.scatter_add(x > 0, 0, [[[0]]], True), DTypeError, r"bools are no numbers"),
]  # fmt: skip


@pytest.mark.parametrize(("fn", "error", "text"), _BAD)
def test_errors(fn: Callable[[Tensor], Any], error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        fn(tensor.array(_X))
