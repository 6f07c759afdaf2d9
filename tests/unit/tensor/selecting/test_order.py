"""Sorted, running, searched and counted tensors, against numpy and torch: values exactly where no sum rounds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import loom
from loom import tensor
from loom.core.errors import ArgumentError, DTypeError, EmptyError, ShapeError
from loom.tensor import Tensor

_RNG = np.random.default_rng(11)
_X = _RNG.permutation(60).reshape(3, 4, 5).astype(np.float64) / 4 - 7
_TIES = _RNG.integers(-3, 3, (3, 4, 5)).astype(np.float64)


def _compare(
    ours: Callable[[Tensor], Tensor], theirs: Callable[[Any], Any], array: Any, on: str, tol: float = 0
) -> None:
    """Compare values and gradients of sum(weights * result)."""
    mine, other = tensor.array(array, on=on), torch.tensor(array, requires_grad=True)
    found, wanted = ours(mine), theirs(other)
    np.testing.assert_allclose(found.numpy(), wanted.detach().numpy(), rtol=tol, atol=tol, strict=True)
    weights = np.random.default_rng(2).integers(-5, 5, found.shape).astype(np.float64)
    (wanted * torch.tensor(weights)).sum().backward()
    (g,) = tensor.grad((found * tensor.array(weights, on=on)).sum(), [mine])
    np.testing.assert_allclose(g.numpy(), other.grad.numpy(), rtol=max(tol, 1e-14), atol=max(tol, 1e-14))


_CASES: dict[str, tuple[Callable[[Tensor], Tensor], Callable[[Any], Any]]] = {
    "sort": (tensor.sort, lambda x: x.sort(-1)[0]),
    "sort down": (lambda x: tensor.sort(x, 0, descending=True), lambda x: x.sort(0, descending=True)[0]),
    "topk": (lambda x: tensor.topk(x, 3, 1)[0], lambda x: x.topk(3, 1)[0]),
    "topk smallest": (lambda x: tensor.topk(x, 1, largest=False)[0], lambda x: x.topk(1, largest=False)[0]),
    "kthvalue": (lambda x: tensor.kthvalue(x, 2, 0)[0], lambda x: x.kthvalue(2, 0)[0]),
    "quantile": (
        lambda x: tensor.quantile(x, [0.25, 0.8], 1),
        lambda x: x.quantile(torch.tensor([0.25, 0.8], dtype=torch.float64), 1),
    ),
    "median of all": (
        lambda x: tensor.median(x * 1),
        lambda x: x.reshape(-1).quantile(torch.tensor(0.5, dtype=torch.float64)),
    ),
    "cumsum": (lambda x: tensor.cumsum(x, 1), lambda x: x.cumsum(1)),
    "cumprod": (lambda x: tensor.cumprod(x, 2), lambda x: x.cumprod(2)),
    "cummax": (lambda x: tensor.cummax(x, 0)[0], lambda x: x.cummax(0).values),
    "cummin": (lambda x: tensor.cummin(x, 2)[0], lambda x: x.cummin(2).values),
    "diff": (lambda x: tensor.diff(x, 2, 1), lambda x: x.diff(2, 1)),
}


@pytest.mark.parametrize("name", _CASES)
def test_values_and_gradients(name: str, on: str) -> None:
    _compare(*_CASES[name], _X, on, 1e-13 if name in ("cumprod", "quantile", "median of all") else 0)


def test_running_products_of_zeros_have_gradients() -> None:
    _compare(lambda x: tensor.cumprod(x, 1), lambda x: x.cumprod(1), _TIES, "cpu", 1e-13)
    long = np.where(_RNG.random(700) < 0.01, 0, _RNG.uniform(0.9, 1.1, 700))
    _compare(tensor.cumprod, lambda x: x.cumprod(0), long, "cpu", 1e-12)


def test_running_logarithms(on: str) -> None:
    x = np.concatenate([_X.reshape(-1) * 30, [700.0, -np.inf, 3.0, 710.0]])
    _compare(tensor.logcumsumexp, lambda x: x.logcumsumexp(0), x, on, 1e-12)
    assert tensor.logcumsumexp(tensor.array([-np.inf, -np.inf], on=on)).tolist() == [-np.inf] * 2
    assert tensor.logcumsumexp(tensor.array([np.inf, 1.0, np.nan], on=on)).tolist()[:2] == [np.inf] * 2


def test_positions_of_ties_are_the_first(on: str) -> None:
    x, t = tensor.array(_TIES, on=on), torch.tensor(_TIES)
    for axis in range(3):
        for descending in (False, True):
            wanted = torch.sort(t, dim=axis, descending=descending, stable=True)
            assert tensor.argsort(x, axis, descending=descending).tolist() == wanted.indices.tolist()
            k = 2
            values, at = tensor.topk(x, k, axis, largest=descending)
            assert at.tolist() == wanted.indices.narrow(axis, 0, k).tolist()
            assert values.tolist() == wanted.values.narrow(axis, 0, k).tolist()
        for ours, theirs in ((tensor.cummax, torch.cummax), (tensor.cummin, torch.cummin)):
            assert ours(x, axis)[1].tolist() == theirs(t, axis).indices.tolist()


@pytest.mark.parametrize("dtype", ["bool", "i8", "u16", "i32", "u32", "i64", "u64", "f16", "bf16", "f32"])
def test_all_types(on: str, dtype: str) -> None:
    numbers = _RNG.integers(0, 2 if dtype == "bool" else 99, (7, 20))
    x = tensor.array(numbers.astype(bool) if dtype == "bool" else numbers, dtype, on=on)
    wanted = np.sort(numbers, -1)
    assert tensor.sort(x).tolist() == wanted.tolist()
    assert tensor.argsort(x, 0).tolist() == np.argsort(numbers, 0, kind="stable").tolist()
    values, at = tensor.topk(x, 4)  # a heap
    assert values.tolist() == wanted[:, :-5:-1].tolist()
    assert at.tolist() == np.argsort(-numbers, -1, kind="stable")[:, :4].tolist()
    assert tensor.cummax(x, 1)[0].tolist() == np.maximum.accumulate(numbers, 1).tolist()
    assert tensor.unique(x).tolist() == np.unique(numbers).tolist()
    assert tensor.count_nonzero(x, 1).tolist() == np.count_nonzero(numbers, 1).tolist()


@pytest.mark.parametrize("n", [1, 16, 17, 300, 5000])
def test_the_first_of_rows_are_those_of_the_whole_order(n: int) -> None:
    data = _RNG.integers(0, 40, (3, n)).astype(np.float32)
    data[0] = np.sort(data[0])  # every element is better than all before
    data[1, n // 2] = np.nan
    x = tensor.array(data, on="cpu")
    order = tensor.argsort(x, descending=True).numpy()
    for k in {min(n, size) for size in (0, 1, 10, 16, 17, 256, 257)}:
        assert np.array_equal(tensor.topk(x, k)[1].numpy(), order[:, :k])


def test_order_is_that_of_the_patterns(on: str) -> None:
    x = np.array([0.0, np.nan, -0.0, np.inf, -np.nan, -np.inf, 1.0, -0.0], np.float32)
    for descending in (False, True):
        wanted = loom.gpu_sort(x, descending=descending).view(np.uint32)
        found = tensor.sort(tensor.array(x, on=on), descending=descending).numpy().view(np.uint32)
        assert np.array_equal(found, wanted)
    q = np.linspace(0, 1, 23)
    data = np.append(_RNG.normal(size=40), [np.inf, -np.inf, 1e308, -1e308])
    for part in (data, data[:40], data[40:], data[:1]):
        found = tensor.quantile(tensor.array(part, on=on), q).numpy()
        assert np.array_equal(found.view(np.uint64), loom.stats.quantile(part, q).view(np.uint64))


@pytest.mark.parametrize("method", ["lower", "higher", "nearest", "midpoint"])
def test_quantiles_between_ranks(method: str) -> None:
    q = np.linspace(0, 1, 21)
    found = tensor.quantile(tensor.array(_X), q, (0, 2), keepdims=True, method=method)
    np.testing.assert_allclose(found.numpy(), np.quantile(_X, q, (0, 2), keepdims=True, method=method), strict=True)


def test_running_sums_have_types_and_a_beginning(on: str) -> None:
    x = tensor.array([[100, 100], [100, -100]], "i8", on=on)
    assert tensor.cumulative_sum(x, axis=0).tolist() == [[100, 100], [200, 0]]
    assert str(tensor.cumulative_sum(x, axis=0).dtype) == "i64"
    assert tensor.cumulative_sum(x, axis=1, dtype="f32", include_initial=True).tolist() == [[0, 100, 200], [0, 100, 0]]
    assert tensor.cumulative_prod(x > 0, axis=-1, include_initial=True).tolist() == [[1, 1, 1], [1, 1, 0]]
    assert tensor.cumulative_sum(tensor.zeros((2, 0)), axis=1, include_initial=True).tolist() == [[0.0], [0.0]]
    assert str(tensor.cumprod(x, 0, dtype="u8").dtype) == "u8"


def test_searched(on: str) -> None:
    rows = np.sort(_TIES[:, 0], -1)
    values = _RNG.integers(-4, 4, (3, 6)).astype(np.float64)
    for side in ("left", "right"):
        found = tensor.searchsorted(tensor.array(rows, on=on), tensor.array(values, on=on), side=side)
        assert found.tolist() == torch.searchsorted(torch.tensor(rows), torch.tensor(values), side=side).tolist()
        found = tensor.searchsorted(tensor.array(rows[0], on=on), tensor.array(_TIES, on=on), side=side)
        assert np.array_equal(found.numpy(), np.searchsorted(rows[0], _TIES, side))
    shuffled = rows[1][[3, 1, 4, 0, 2]]
    sorter = tensor.argsort(tensor.array(shuffled, on=on))
    found = tensor.searchsorted(tensor.array(shuffled, on=on), tensor.array(values, on=on), sorter=sorter)
    assert np.array_equal(found.numpy(), np.searchsorted(rows[1], values))
    assert tensor.bucketize(tensor.array([1, 5, 9], on=on), tensor.array([1, 5], on=on), right=True).tolist() == [
        1,
        2,
        2,
    ]
    assert tensor.searchsorted(tensor.zeros((0,)), tensor.array([1.0, 2.0])).tolist() == [0, 0]


def test_what_is_not_zero(on: str) -> None:
    data = np.where(_TIES > 0, _TIES, 0)
    x = tensor.array(data, on=on)
    assert [t.tolist() for t in tensor.nonzero(x)] == [a.tolist() for a in np.nonzero(data)]
    assert tensor.argwhere(x).tolist() == np.argwhere(data).tolist()
    assert tensor.flatnonzero(x > 9).tolist() == []
    assert tensor.nonzero(tensor.zeros((0, 3)))[1].shape == (0,)
    assert tensor.argwhere(tensor.array(3.0)).shape == (1, 0)
    picked = tensor.masked_select(x * 2, x > 1)
    assert picked.tolist() == (data * 2)[data > 1].tolist()
    assert np.array_equal(tensor.grad(picked.sum(), [x])[0].numpy(), np.where(data > 1, 2.0, 0.0))


def test_different_elements(on: str) -> None:
    data = np.array([[3.0, -0.0, np.nan, 3.0], [0.0, np.nan, 1.0, -5.0]])
    x = tensor.array(data, on=on)
    values, at, inverse, counts = (t.numpy() for t in tensor.unique_all(x))
    np.testing.assert_array_equal(values, [-5, 0, 1, 3, np.nan, np.nan])
    assert at.tolist() == [7, 1, 6, 0, 2, 5]  # the first of each
    assert inverse.tolist() == [[3, 1, 4, 3], [1, 5, 2, 0]]
    assert counts.tolist() == [1, 2, 1, 2, 1, 1]
    assert tensor.unique_counts(x).counts.tolist() == counts.tolist()
    assert tensor.unique_inverse(x).inverse_indices.tolist() == inverse.tolist()
    together = tensor.unique(x, return_index=True, return_inverse=True, return_counts=True)
    for found, wanted in zip(
        together, np.unique(data, return_index=True, return_inverse=True, return_counts=True), strict=True
    ):
        np.testing.assert_array_equal(found.numpy(), wanted)
    assert tensor.unique_values(tensor.zeros((0,))).shape == (0,)
    assert tensor.unique_all(tensor.zeros((0, 2))).inverse_indices.shape == (0, 2)
    assert tensor.unique_values(tensor.array(7)).tolist() == [7]


def test_counted(on: str) -> None:
    data, weights = _RNG.integers(0, 9, 500), _RNG.integers(1, 5, 500).astype(np.float64)
    x = tensor.array(data, on=on)
    assert tensor.bincount(x, minlength=12).tolist() == np.bincount(data, minlength=12).tolist()
    assert tensor.bincount(x, tensor.array(weights, on=on)).tolist() == np.bincount(data, weights).tolist()
    assert tensor.bincount(x, length=3).tolist() == np.bincount(data)[:3].tolist()
    y = np.append(_RNG.normal(size=600), [np.nan, 2.0, -2.0])
    for kind in (
        {"range": (-2, 2)},
        {"bins": np.array([-1.0, 0, 0.5, 2])},
        {"bins": 7, "range": (-2, 2), "density": True},
    ):
        counts, edges = tensor.histogram(tensor.array(y, on=on), **kind)
        wanted = np.histogram(y, **kind)
        np.testing.assert_allclose(counts.numpy(), wanted[0], rtol=1e-12)
        np.testing.assert_allclose(edges.numpy(), wanted[1], rtol=1e-15)
    counts, edges = tensor.histogram(x, 9, weights=tensor.array(weights, on=on))
    assert counts.tolist() == np.histogram(data, 9, weights=weights)[0].tolist()
    assert tensor.histogram(tensor.array([2.0, 2.0]), 4)[1].tolist() == np.histogram([2.0, 2.0], 4)[1].tolist()


def test_programs_sort_what_they_are_fed() -> None:
    x = tensor.input("x", (2, 6))
    total = tensor.parameter(np.zeros(6, np.float32))
    new = total + tensor.sort(x)[0]
    step = tensor.compile([new, *tensor.topk(x, 2), tensor.bincount(tensor.argsort(x)[1], length=6)], [(total, new)])
    for _ in range(2):
        data = _RNG.normal(size=(2, 6)).astype(np.float32)
        before = total.numpy()
        step.run(x=data)
        assert np.array_equal(total.numpy(), before + np.sort(data[0]))
        assert np.array_equal(step.read()[1], np.sort(data, -1)[:, :-3:-1])
        assert step.read()[3].tolist() == [1] * 6


def test_complex_numbers() -> None:
    data = np.array([1 + 2j, 3, 1 - 1j, 3, -0.0 + 0j, 0, 1 + 2j])
    x = tensor.array(data, on="cpu")
    for ours, theirs in ((tensor.cumsum, np.cumsum), (tensor.cumprod, np.cumprod)):
        assert np.array_equal(ours(x, 0).numpy(), theirs(data))
    found = tensor.unique(x, return_index=True, return_inverse=True, return_counts=True)
    wanted = np.unique(data, return_index=True, return_inverse=True, return_counts=True)
    assert [t.tolist() for t in found] == [a.tolist() for a in wanted]
    with pytest.raises(DTypeError, match="complex numbers have no order"):
        tensor.sort(x)


_BAD: list[tuple[Callable[[Tensor], Any], type[Exception], str]] = [
    (lambda x: tensor.sort(x, 3), ArgumentError, r"\[sort, axis\] there is no such axis: expected -3 to 2, got 3"),
    (lambda x: tensor.topk(x, 6), ArgumentError, r"\[topk, k\] .*0 to 5, got 6"),
    (tensor.cumsum, ArgumentError, r"\[cumsum, axis\] no axis to go along"),
    (lambda x: tensor.quantile(x, 2), ArgumentError, r"\[quantile, q\] out of range"),
    (lambda x: tensor.median(x[:0]), EmptyError, r"\[median\] no elements"),
    (lambda x: tensor.logcumsumexp(x > 0, 0), DTypeError, r"\[logcumsumexp\] unsupported dtype"),
    (lambda x: tensor.searchsorted(x, x[:2]), ShapeError, r"\[searchsorted\] the shapes do not fit"),
    (lambda x: tensor.bincount(tensor.array([-1])), ArgumentError, r"\[bincount\] a negative element"),
    (lambda x: tensor.nonzero(tensor.input("x", (3,)) + 1), ArgumentError,
     r"\[nonzero\] the size of the result depends on what a program is fed.*Use tensor.where"),
    (lambda x: tensor.unique(tensor.input("x", (3,))), ArgumentError, r"\[unique\] the size of the result depends"),
    (lambda x: tensor.bincount(tensor.input("x", (3,), "i32")), ArgumentError, r"Pass length="),
]  # fmt: skip


@pytest.mark.parametrize(("fn", "error", "text"), _BAD)
def test_errors(fn: Callable[[Tensor], Any], error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        fn(tensor.array(_X))
