"""Types of statistics and products: patterns and tensors give one answer for every dtype; numpy is the oracle."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import loom
from loom import tensor
from loom.core.dtype import SCALARS, f64
from loom.core.errors import DTypeError

DTYPES = list(SCALARS)
GRID = np.array([[1, 0, 1, 5], [3, 1, 0, 2], [0, 0, 7, 1]])

STATISTICS: dict[str, tuple[Callable[..., Any], Callable[..., Any], Callable[..., Any]]] = {
    "mean": (loom.gpu_mean, lambda x, a: x.mean(a), np.mean),
    "sum": (loom.gpu_sum, lambda x, a: x.sum(a), np.sum),
    "min": (loom.gpu_min, lambda x, a: x.min(a), np.min),
    "max": (loom.gpu_max, lambda x, a: x.max(a), np.max),
    "variance": (loom.stats.variance, tensor.variance, np.var),
    "argmax": (loom.gpu_argmax, tensor.argmax, np.argmax),
}


@pytest.mark.parametrize("dtype", DTYPES)
def test_statistics(dtype: str) -> None:
    data = GRID != 0 if dtype == "bool" else GRID
    x = tensor.array(data, dtype, on="interp")
    y = loom.array(x, on="interp")
    for name, (pattern, method, oracle) in STATISTICS.items():
        for axis in (None, 0, 1):
            one, other = pattern(y, axis=axis), method(x, axis)
            assert (one.dtype, one.shape) == (other.dtype, other.shape), (name, axis)
            assert one.host_elements()[0].tobytes() == other.host_elements()[0].tobytes(), (name, axis)
            np.testing.assert_allclose(np.asarray(one, np.float64), oracle(data, axis=axis), rtol=1e-2, err_msg=name)


@pytest.mark.parametrize("dtype", [t for t in DTYPES if t != "bool"])
def test_products(dtype: str) -> None:
    a, b = (tensor.array(m, dtype, on="interp") for m in (GRID, GRID.T))
    one = loom.gpu_matmul(loom.array(a, on="interp"), loom.array(b, on="interp"))
    other = a @ b
    assert one.dtype == other.dtype
    assert one.tolist() == other.tolist() == (GRID @ GRID.T).tolist()
    own = tensor.matmul(a, b, out_dtype=dtype)
    assert own.dtype == a.dtype
    assert own.tolist() == one.astype(dtype).tolist()


def test_bools_have_no_matrix_product() -> None:
    x = tensor.array([[True]], on="interp")
    for product in (lambda: x @ x, lambda: loom.gpu_matmul(loom.array(x, on="interp"), loom.array(x, on="interp"))):
        with pytest.raises(DTypeError):
            product()


def test_means_of_integers_beyond_their_sum() -> None:
    for data, mean in ((np.array([2**62] * 3), 2.0**62), (np.array([2**63, 2**63], np.uint64), 2.0**63),
                       (np.array([2**63 - 1] * 2), 2.0**63)):  # fmt: skip
        assert tensor.array(data, on="interp").mean().item() == mean == float(loom.gpu_mean(data, on="interp"))
    assert tensor.variance(tensor.array([1, 2, 3], on="interp")).item() == np.var([1, 2, 3])
    assert tensor.variance(tensor.array([1, 2, 3], on="interp")).dtype == f64


def test_chains_of_integer_products_go_on_in_the_wider_type() -> None:
    x = np.full((2, 2), 100, np.int8)
    found = tensor.einsum("ij,jk,kl->il", *[tensor.array(x, on="interp")] * 3)
    assert found.tolist() == np.einsum("ij,jk,kl->il", *[x.astype(np.int64)] * 3).tolist()


@pytest.mark.parametrize("dtype", ["f16", "bf16"])
def test_half_sums_over_axes_apart_are_rounded_once(dtype: str) -> None:
    data = np.random.default_rng(5).normal(size=(7, 3, 9)).astype(np.float32) * 30
    x = tensor.array(data, dtype, on="interp")
    wide = x.astype("f32").sum((0, 2)).astype(dtype)
    assert x.sum((0, 2)).tolist() == wide.tolist()


def test_choices_keep_the_type_of_the_arrays() -> None:
    c = np.array([True, False])
    for dtype in SCALARS.values():
        x = tensor.array([True, True] if dtype.is_bool else [1, 2], dtype, on="interp")
        held = loom.array(x, on="interp")
        number = True if dtype.is_bool else 3
        for a, b in ((held, held), (held, number), (number, held)):
            assert loom.gpu_where(loom.array(c, on="interp"), a, b).dtype == dtype
        eager = loom.gpu_where(c, x.numpy(), number, on="interp")
        assert loom.array(eager, on="interp").dtype == dtype
    for numbers, wanted in (((1, 0), np.int64), ((1, 0.5), np.float64), ((True, False), np.bool_)):
        eager = loom.gpu_where(c, *numbers, on="interp")
        assert (eager.dtype, eager.tolist()) == (wanted, list(numbers))
        lazy = loom.gpu_where(loom.array(c, on="interp"), *numbers).numpy()
        assert (lazy.dtype, lazy.tolist()) == (wanted, list(numbers))
    with pytest.raises(DTypeError, match="no integer type holds all the numbers"):
        loom.gpu_where(c, 2**63, -1)
