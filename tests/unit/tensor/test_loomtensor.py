"""LoomTensor: tensors written in place, streams, handles, sparse products; against numpy and scipy."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse

from loom import tensor
from loom.core.errors import ArgumentError, ShapeError

_RNG = np.random.default_rng(9)
_A, _B, _C = _RNG.normal(size=(5, 7)), _RNG.normal(size=(9, 5)), _RNG.normal(size=(7, 9))


pytestmark = pytest.mark.needs("compiled")


def test_products_with_transposes_and_factors(on: str) -> None:
    a, b, c = (tensor.create(x.shape, "f64", on=on, data=x) for x in (_A, _B, _C))
    c.gemm(a, b, transpose_a=True, transpose_b=True, alpha=2.0, beta=0.5)
    np.testing.assert_allclose(c.numpy(), 2 * (_A.T @ _B.T) + 0.5 * _C, rtol=1e-13)
    handle = c.enqueue_gemm(a, b, transpose_a=True, transpose_b=True)
    handle.wait()
    assert handle.done
    np.testing.assert_allclose(c.numpy(), _A.T @ _B.T, rtol=1e-12)


def test_fill_copy_write_reduce_contract(on: str) -> None:
    a, b = (tensor.create(x.shape, "f64", on=on, data=x) for x in (_A, _B))
    c, s = tensor.create((7, 9), "f64", on=on), tensor.create((7,), "f64", on=on)
    c.fill(2.5)
    assert np.unique(c.numpy()).tolist() == [2.5]
    s.reduce_sum(a, 0)
    np.testing.assert_allclose(s.numpy(), _A.sum(0), rtol=1e-13)
    c.contract("ij,ki->jk", a, b)
    np.testing.assert_allclose(c.numpy(), _A.T @ _B.T, rtol=1e-12)
    d = tensor.create((7, 9), "f64", on=on)
    d.copy_from(c)
    d.sync()
    assert np.array_equal(d.numpy(), c.numpy())
    d.write(_C)
    assert np.array_equal(d.numpy(), _C)


def test_operations_of_a_stream_are_in_order(on: str) -> None:
    stream = tensor.Stream(on)
    a = tensor.create((4, 4), "f32", on=on, data=np.eye(4))
    c = tensor.create((4, 4), "f32", on=on)
    c.set_stream(stream)
    for _ in range(10):
        c.enqueue_gemm(a, a, beta=1.0)
    stream.wait()
    assert np.array_equal(c.numpy(), 10 * np.eye(4))


@pytest.mark.parametrize("dtype", ["f32", "f64"])
def test_sparse_products_and_their_gradients(dtype: str, on: str) -> None:
    rng = np.random.default_rng(3)
    m = scipy.sparse.random(6, 5, 0.4, format="csr", random_state=1, data_rvs=lambda n: rng.integers(-9, 9, n))
    dense = rng.integers(-9, 9, (5, 70)).astype(dtype.replace("f32", "f4").replace("f64", "f8"))
    matrix = tensor.csr(m.shape, m.indptr, m.indices, m.data, dtype, on=on)
    x = tensor.array(dense, on=on)
    y = tensor.spmm(matrix, x)
    assert np.array_equal(y.numpy(), m @ dense)
    by_dense, by_value = tensor.grad((y * y).sum(), [x, matrix.values])
    outer = 2 * (m @ dense)
    assert np.array_equal(by_dense.numpy(), m.T @ outer)
    rows, columns = m.nonzero()
    assert np.array_equal(by_value.numpy(), [(outer[r] * dense[c]).sum() for r, c in zip(rows, columns, strict=True)])


def test_errors() -> None:
    a = tensor.create((2, 3), on="cpu")
    with pytest.raises(
        ShapeError, match=r"\[LoomTensor\] the result does not fit: expected f32 of \(2, 3\), got f32 of \(2, 2\)"
    ):
        a.gemm(a, a, transpose_b=True)
    with pytest.raises(ArgumentError, match=r"the stream is of another device"):
        a.set_stream(tensor.Stream("interp"))
    with pytest.raises(ShapeError, match=r"\[tensor.csr, starts\] not row pointers"):
        tensor.csr((2, 3), [0, 1], [0], [1.0])
    with pytest.raises(
        ArgumentError, match=r"\[tensor.csr, columns\] a column is outside: expected 0 to 2, got 3 to 3"
    ):
        tensor.csr((1, 3), [0, 1], [3], [1.0])
    with pytest.raises(ShapeError, match=r"\[spmm\] the shapes do not fit"):
        tensor.spmm(tensor.csr((1, 3), [0, 1], [2], [1.0], "f32", on="cpu"), a)


def test_devices_are_listed() -> None:
    assert [d.kind for d in tensor.device_query()][:2] == ["cpu", "interp"]
