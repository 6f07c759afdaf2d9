"""Random calls of functions by index and by order: against numpy, and with the same bits on every device.

Shapes have axes of 0 and 1 elements, data ties, NaNs, infinities and zeros of both signs, indices repeat and count from
the end. What numpy sums in another order is whole numbers, so that no order can be told; bits of others are compared
between devices alone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from loom import tensor

_TYPES = ("f32", "f64", "f16", "bf16", "i8", "u8", "i16", "u16", "i32", "u32", "i64", "u64", "bool")
Array = np.ndarray[Any, Any]


class _Call:
    """One call: data, an axis, indices, all random."""

    def __init__(self, seed: int) -> None:
        rng = self.rng = np.random.default_rng(seed)
        self.shape = tuple(rng.choice([0, 1, 2, 3, 5, 17, 70], p=[0.04, 0.16, 0.2, 0.2, 0.2, 0.1, 0.1])
                           for _ in range(rng.integers(1, 4)))  # fmt: skip
        self.shape = tuple(map(int, self.shape))
        self.axis = int(rng.integers(-len(self.shape), len(self.shape)))
        self.n = self.shape[self.axis]
        self.dtype = _TYPES[rng.integers(len(_TYPES))]
        self.data = rng.integers(0, 5, self.shape)
        if self.dtype[0] in "fb" and self.dtype != "bool":
            special = rng.random(self.shape)
            self.data = np.where(special < 0.1, -0.0, self.data - 2.0)
            for part, value in ((0.15, np.nan), (0.2, np.inf), (0.25, -np.inf)):
                self.data = np.where(
                    (special > part - 0.05) & (special < part) & (rng.random() < 0.5), value, self.data
                )
        elif self.dtype == "bool":
            self.data = self.data > 2

        self.some = rng.integers(-self.n, self.n, (3, 2)) if self.n else np.zeros(0, np.int64)
        many = list(self.shape)
        many[self.axis] = int(rng.integers(0, 9)) if self.n else 0
        self.along = rng.integers(-self.n, self.n, many) if many[self.axis] else np.zeros(many, np.int64)
        self.k = int(rng.integers(0, self.n + 1))

    def taken(self, x: tensor.Tensor) -> tensor.Tensor:
        return tensor.take_along_axis(x, self.along, self.axis)


def _scattered(c: _Call, x: tensor.Tensor) -> tensor.Tensor:
    return tensor.scatter_add(tensor.astype(x, "i64"), c.axis, c.along, 1)


def _largest(c: _Call, x: tensor.Tensor) -> tensor.Tensor:
    return tensor.scatter_reduce(x * 1, c.axis, c.along, c.taken(x), "amax")


def _found(a: Array) -> Array:
    return np.searchsorted(np.sort(a.reshape(-1)), a) if a.size else np.zeros(a.shape, int)


_CALLS: dict[str, tuple[Callable[..., Any], Callable[..., Any] | None]] = {
    "sort": (lambda c, x: tensor.sort(x, c.axis), lambda c, a: np.sort(a, c.axis)),
    "sort down": (lambda c, x: tensor.sort(x, c.axis, descending=True), None),
    "argsort": (lambda c, x: tensor.argsort(x, c.axis, descending=True), None),
    "take": (lambda c, x: tensor.take(x, c.some, c.axis), lambda c, a: np.take(a, c.some, c.axis)),
    "take_along_axis": (lambda c, x: c.taken(x), lambda c, a: np.take_along_axis(a, c.along, c.axis)),
    "put_along_axis": (lambda c, x: tensor.put_along_axis(x, c.along, tensor.sort(c.taken(x)), c.axis), None),
    "scatter_add": (_scattered, None),
    "amax": (_largest, None),
    "cummax": (lambda c, x: tensor.cummax(x, c.axis)[0], lambda c, a: np.maximum.accumulate(a, c.axis)),
    "cummin at": (lambda c, x: tensor.cummin(x, c.axis)[1], None),
    "cumsum": (lambda c, x: tensor.cumsum(x, c.axis), None),
    "cumprod": (lambda c, x: tensor.cumprod(x, c.axis), None),
    "diff": (lambda c, x: tensor.diff(x, 1, c.axis), None),
    "topk": (lambda c, x: tensor.topk(x, c.k, c.axis)[1], None),
    "unique": (lambda _, x: tensor.unique(x), lambda _, a: np.unique(a)),
    "unique inverse": (lambda _, x: tensor.unique_inverse(x).inverse_indices, None),
    "nonzero": (lambda _, x: tensor.argwhere(x), lambda _, a: np.argwhere(a)),
    "count_nonzero": (lambda c, x: tensor.count_nonzero(x, c.axis), lambda c, a: np.count_nonzero(a, c.axis)),
    "searchsorted": (lambda _, x: tensor.searchsorted(tensor.sort(tensor.flatten(x)), x), lambda _, a: _found(a)),
    "median": (lambda c, x: tensor.median(x, c.axis) if c.n else x, None),
    "logcumsumexp": (lambda c, x: tensor.logcumsumexp(x, c.axis) if c.dtype in ("f32", "f64") else x, None),
    "masked": (lambda _, x: tensor.masked_select(x, x != 0), lambda _, a: a[a != 0]),
}
_REFUSED_BOOLS = ("amax",)


def _run(seed: int, on: str) -> tuple[str, bytes, Array, Array | None]:
    c = _Call(seed)
    name = list(_CALLS)[c.rng.integers(len(_CALLS))]
    if c.dtype == "bool" and name in _REFUSED_BOOLS:
        c.dtype, c.data = "u8", c.data.astype(np.uint8)
    ours, theirs = _CALLS[name]
    x = tensor.array(c.data, c.dtype, on=on)
    found = ours(c, x)
    elements = found.host_elements()[0]
    wanted = None if theirs is None else np.asarray(theirs(c, np.asarray(c.data)))
    shown = found.numpy()
    told = f"{seed}: {name} of {c.dtype} {c.shape}, axis {c.axis}"
    return told, elements.tobytes(), shown.astype(np.float64), wanted


def _check(seed: int, on: str) -> None:
    told, here, shown, wanted = _run(seed, "cpu")
    if wanted is not None:
        assert shown.shape == wanted.shape, told
        np.testing.assert_array_equal(shown, wanted.astype(np.float64), told)
    if on != "cpu":
        assert _run(seed, on)[1] == here, told


@pytest.mark.parametrize("part", range(2))
def test_random_calls(on: str, part: int) -> None:
    for seed in range(part * 20, part * 20 + 20):
        _check(seed, on)


@pytest.mark.slow
def test_many_random_calls(on: str) -> None:
    for seed in range(1000, 2500):
        _check(seed, on)
