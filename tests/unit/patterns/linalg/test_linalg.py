"""``loom.linalg``: factorisations bit for bit as the plain algorithms in numpy, and against numpy's and scipy's.

The plain algorithms are written here with numpy's elementwise operations, column by column, which round as the
documents say; no panel, tile or lane is in them. Tolerances are backward errors in eps times sqrt(n): below 1 is seen.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.linalg

import loom
from loom.core.errors import ArgumentError, DTypeError, ShapeError
from loom.patterns import linalg
from unit.patterns.canonical import canonical_sum, same_bits

Array = np.ndarray[Any, Any]

SIZES = (1, 2, 3, 16, 63, 64, 65, 130)
FLOATS = ("float32", "float64")


def normal(shape: Any, dtype: str, seed: int = 0) -> Array:
    return np.random.default_rng([seed, *np.atleast_1d(shape)]).normal(size=shape).astype(dtype)


def definite(n: int, dtype: str) -> Array:
    a = normal((n, n), "float64")
    return (a @ a.T + n * np.eye(n)).astype(dtype)


def eliminated(a: Array, b: Array) -> tuple[Array, Array, Array]:
    """Factors, pivots and the right-hand sides after elimination."""
    a, b, n = a.copy(), b.copy(), len(a)
    pivots = np.zeros(n, np.uint32)
    for k in range(n):
        p = k + int(np.argmax(abs(a[k:, k])))
        pivots[k] = p
        for x in (a, b):
            x[[k, p]] = x[[p, k]]
        a[k + 1 :, k] = a[k + 1 :, k] / a[k, k]
        factors = a[k + 1 :, k : k + 1]
        a[k + 1 :, k + 1 :] = a[k + 1 :, k + 1 :] - factors * a[k, k + 1 :]
        b[k + 1 :] = b[k + 1 :] - factors * b[k]
    return a, pivots, b


def solved(a: Array, b: Array) -> Array:
    factors, _, y = eliminated(a, b)
    for k in reversed(range(len(a))):
        y[k] = y[k] / factors[k, k]
        y[:k] = y[:k] - factors[:k, k : k + 1] * y[k]
    return y


def lower_root(a: Array) -> Array:
    a = np.tril(a)
    for k in range(len(a)):
        a[k, k] = np.sqrt(a[k, k])
        a[k + 1 :, k] = a[k + 1 :, k] / a[k, k]
        column = a[k + 1 :, k]
        a[k + 1 :, k + 1 :] = np.tril(a[k + 1 :, k + 1 :] - column[:, None] * column[None, :])
    return a


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("n", SIZES)
def test_elimination_is_the_plain_algorithm(n: int, dtype: str) -> None:
    a, b = normal((n, n), dtype), normal((n, 3), dtype)
    factors, pivots, _ = eliminated(a, b)
    found, chosen = linalg.lu(a)
    assert same_bits(found, factors)
    assert same_bits(chosen, pivots)
    assert np.array_equal(chosen, scipy.linalg.lu_factor(a)[1])
    assert same_bits(linalg.solve(a, b), solved(a, b))
    assert same_bits(linalg.solve(a, b[:, 0]), solved(a, b)[:, 0])
    assert same_bits(linalg.inv(a), solved(a, np.eye(n, dtype=dtype)))
    with np.errstate(over="ignore"):
        signs = np.where(pivots == np.arange(n), factors.diagonal(), -factors.diagonal())
        product = a.dtype.type(1)
        for sign in signs:
            product = product * sign
    assert same_bits(linalg.det(a), product)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("n", SIZES)
def test_cholesky_is_the_plain_algorithm(n: int, dtype: str) -> None:
    a = definite(n, dtype)
    found = linalg.cholesky(a)
    assert same_bits(found, lower_root(a))
    above = a + np.triu(np.full((n, n), np.nan, dtype), 1)
    assert same_bits(linalg.cholesky(above), found)


@pytest.mark.parametrize("dtype", FLOATS)
def test_backward_errors(dtype: str) -> None:
    n, eps = 200, float(np.finfo(dtype).eps)
    a, b = normal((n, n), dtype), normal((n, 2), dtype)
    wide, norm = a.astype(float), np.linalg.norm
    bar = eps * n**0.5
    x = linalg.solve(a, b)
    assert norm(wide @ x - b) < bar * norm(a) * norm(x)
    inverse = linalg.inv(a)
    assert norm(wide @ inverse - np.eye(n)) < bar * norm(a) * norm(inverse)
    s = definite(n, dtype)
    root = linalg.cholesky(s).astype(float)
    assert norm(root @ root.T - s) < bar * norm(s)
    assert norm(root - np.linalg.cholesky(s.astype(float))) < bar * norm(root)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize(("m", "n"), [(1, 1), (2, 2), (5, 3), (3, 5), (64, 64), (65, 10), (70, 130), (257, 3)])
def test_qr(m: int, n: int, dtype: str) -> None:
    a = normal((m, n), dtype)
    q, r = linalg.qr(a)
    k, bar = min(m, n), 3 * float(np.finfo(dtype).eps) * max(m, n) ** 0.5
    assert (q.shape, r.shape) == ((m, k), (k, n))
    assert np.linalg.norm(q.astype(float) @ r - a) < bar * np.linalg.norm(a)
    assert np.linalg.norm(q.T.astype(float) @ q - np.eye(k)) < bar * k**0.5
    assert not np.tril(r, -1).any()
    theirs = np.linalg.qr(a.astype(float))
    assert np.array_equal(np.sign(r.diagonal()), np.sign(theirs[1].diagonal()))  # LAPACK's signs
    assert np.linalg.norm(r - theirs[1]) < 300 * bar * np.linalg.norm(a)


def test_columns_already_zero_below_are_left_as_they_are() -> None:
    q, r = linalg.qr(np.array([[2.0, 1.0], [0.0, -3.0], [0.0, 0.0]]))
    assert q.tolist() == [[1, 0], [0, 1], [0, 0]]
    assert r.tolist() == [[2, 1], [0, -3]]
    q, r = linalg.qr(np.zeros((3, 2), np.float32))
    assert q.tolist() == [[1, 0], [0, 1], [0, 0]]
    assert not r.any()


def results(on: str, n: int, dtype: str) -> list[Array]:
    a, b = normal((2, n, n), dtype), normal((2, n, 2), dtype)
    s = np.stack([definite(n, dtype)] * 2)
    factors = [linalg.solve(a, b, on=on), *linalg.lu(a, on=on), linalg.det(a, on=on), linalg.cholesky(s, on=on)]
    return [*factors, *linalg.qr(a[:, :, : n // 2 + 1], on=on), linalg.inv(a[0], on=on)]


@pytest.mark.parametrize("n", [3, 10])
def test_the_same_bits_everywhere(place: str, n: int) -> None:
    expected = results("interp" if place == "cpu" else "cpu", n, "float32")
    for found, other in zip(results(place, n, "float32"), expected, strict=True):
        assert same_bits(found, other)


@pytest.mark.slow
def test_the_same_bits_over_several_panels(place: str) -> None:
    expected = results("interp" if place == "cpu" else "cpu", 70, "float64")
    for found, other in zip(results(place, 70, "float64"), expected, strict=True):
        assert same_bits(found, other)


def test_products_everywhere(place: str) -> None:
    x, y = normal((70, 3), "float32"), normal((70, 3), "float32", 1)
    with np.errstate(all="ignore"):
        a, b = x.T, y.T
        crossed = np.stack([a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]], axis=1)
        lengths = np.sqrt(np.array([canonical_sum(row * row) for row in x]))
    assert same_bits(linalg.cross(x, y, on=place), crossed)
    assert same_bits(linalg.outer(x[:, 0], y[0], on=place), x[:, :1] * y[0])
    assert same_bits(linalg.normalize(x, on=place), x / lengths[:, None])
    assert same_bits(linalg.transpose(x, on=place), np.ascontiguousarray(x.T))


@pytest.mark.parametrize(
    ("dtype", "tiny", "least", "huge"), [("f4", 1e-23, 2.0**-149, 1e38), ("f8", 1e-170, 5e-324, 1e308)]
)
def test_vectors_whose_squares_are_out_of_range_are_normalised(
    place: str, dtype: str, tiny: float, least: float, huge: float
) -> None:
    """The answer is [0.6, 0.8] whatever the size: powers of two change no bit."""
    exact = np.array([0.75, 1.0], dtype)
    wanted = exact / np.sqrt((exact * exact).sum())
    for size in (2.0 ** np.round(np.log2(tiny)), least * 4, 2.0 ** np.floor(np.log2(huge)), 1.0, least * 2.0**60):
        rows = (exact * np.array(size, dtype)).astype(dtype)
        found = linalg.normalize(np.stack([rows, exact, np.zeros(2, dtype)]), on=place)
        assert same_bits(np.ascontiguousarray(found), np.stack([wanted, wanted, np.zeros(2, dtype)])), size
    assert np.isnan(linalg.normalize(np.array([np.inf, 1.0, np.nan], dtype), on=place)[2])


def test_a_matrix_of_a_batch_has_the_bits_it_has_alone() -> None:
    a, b = normal((2, 3, 20, 20), "float32"), normal((2, 3, 20, 2), "float32")
    whole = linalg.solve(a, b), linalg.inv(a), *linalg.qr(a)
    for at in np.ndindex(2, 3):
        alone = linalg.solve(a[at], b[at]), linalg.inv(a[at]), *linalg.qr(a[at])
        for found, expected in zip(whole, alone, strict=True):
            assert same_bits(np.ascontiguousarray(found[at]), expected)
    assert np.allclose(linalg.det(a), np.linalg.det(a), rtol=1e-4)


def test_the_first_of_equal_pivots_is_taken() -> None:
    a = np.array([[1.0, 2.0, 3.0], [-2.0, 1.0, 1.0], [2.0, 5.0, 1.0]])
    assert linalg.lu(a)[1].tolist() == [1, 2, 2]


def test_programs_start_clean_after_a_nan() -> None:
    a, b = normal((20, 20), "float32"), normal(20, "float32")
    before = linalg.solve(a, b), linalg.cholesky(definite(20, "float32")), *linalg.qr(a)
    spoilt = np.full((20, 20), np.nan, np.float32)
    assert np.isnan(linalg.solve(spoilt, b)).all()
    with pytest.raises(ArgumentError, match="not positive definite"):
        linalg.cholesky(spoilt)
    assert np.isnan(linalg.qr(spoilt)[0]).any()
    after = linalg.solve(a, b), linalg.cholesky(definite(20, "float32")), *linalg.qr(a)
    for x, y in zip(before, after, strict=True):
        assert same_bits(x, y)


@pytest.mark.parametrize("size", [1, 255, 256, 257, 65_537, 10**6])
def test_products_of_vectors(size: int) -> None:
    x, y = normal(size, "float32"), normal(size, "float32", 1)
    assert same_bits(linalg.dot(x, y), canonical_sum(x * y))
    assert same_bits(linalg.norm(x), np.sqrt(canonical_sum(x * x)))
    assert same_bits(linalg.normalize(x), x / np.sqrt(canonical_sum(x * x)))
    crossed = linalg.cross(np.resize(x, (size, 3)), y[0] * np.ones(3, np.float32))
    assert crossed.shape == (size, 3)
    assert np.array_equal(linalg.outer(x[:300], y[:200]), np.outer(x[:300], y[:200]))


def test_products_of_matrices() -> None:
    a, x = normal((2, 5, 7), "float64"), normal(7, "float64")
    assert np.allclose(linalg.matvec(a, x), a @ x, rtol=0, atol=1e-14)
    assert np.allclose(linalg.dot(a[0], a[1].T.copy()), a[0] @ a[1].T, rtol=0, atol=1e-14)
    assert same_bits(linalg.dot(a[0], x), linalg.matvec(a[0], x))
    for axis in (-1, 0, 1):
        expected = a / np.linalg.norm(a, axis=axis, keepdims=True)
        assert abs(linalg.normalize(a, axis=axis) - expected).max() < 4e-16
    for dtype in (bool, np.int8, np.uint16, np.float16, np.float32, np.int64):
        found = linalg.transpose((a * 10).astype(dtype))
        assert found.dtype == dtype
        assert np.array_equal(found, (a * 10).astype(dtype).swapaxes(1, 2))
    assert linalg.transpose([1, 2]).tolist() == [1, 2]
    assert linalg.transpose(np.zeros((0, 3))).shape == (3, 0)


def test_nothing_to_do() -> None:
    none = np.zeros((0, 0))
    assert linalg.solve(none, np.zeros(0)).shape == (0,)
    assert linalg.solve(np.zeros((0, 3, 3)), np.zeros((0, 3, 1))).shape == (0, 3, 1)
    assert linalg.solve(np.eye(3), np.zeros((3, 0))).shape == (3, 0)
    assert linalg.inv(none).shape == linalg.cholesky(none).shape == (0, 0)
    assert linalg.det(none) == 1
    assert [x.shape for x in linalg.qr(np.zeros((4, 0)))] == [(4, 0), (0, 0)]
    assert linalg.outer([], [1.0]).shape == (0, 1)
    assert linalg.cross(np.zeros((0, 3)), np.zeros((0, 3))).shape == (0, 3)


def test_results_stay_on_the_device() -> None:
    a, b = loom.array(normal((3, 3), "float32")), loom.array(normal(3, "float32"))
    for found in (linalg.solve(a, b), *linalg.qr(a), *linalg.lu(a), linalg.transpose(a), linalg.cross(a, b)):
        assert isinstance(found, loom.Array)
    assert same_bits(linalg.inv(a).numpy(), linalg.inv(a.numpy()))


def test_errors() -> None:
    singular = [[1.0, 2.0, 3.0], [2.0, 4.0, 6.0], [0.0, 1.0, 1.0]]
    with pytest.raises(ArgumentError, match=r"\[linalg.solve\] the matrix is singular: expected a pivot other than 0 in"
                       r" every column, got none in column 2. Check the matrix"):  # fmt: skip
        linalg.solve(singular, [1.0, 2.0, 3.0])
    assert linalg.det(singular) == 0
    several = np.stack([np.eye(2), np.zeros((2, 2))])[None]
    with pytest.raises(ArgumentError, match=r"\[linalg.inv\] .* got none in column 0 of matrix \(0, 1\). Check"):
        linalg.inv(several)
    with pytest.raises(ArgumentError, match=r"\[linalg.cholesky\] the matrix is not positive definite: expected a"
                       r" diagonal above 0 left in every column, got none in column 1. Check"):  # fmt: skip
        linalg.cholesky([[1.0, 2.0], [2.0, 1.0]])
    with pytest.raises(
        ShapeError, match=r"\[linalg.solve\] right-hand sides that do not fit: expected 3 rows, got \(4,\)"
    ):
        linalg.solve(np.eye(3), np.ones(4))
    with pytest.raises(ShapeError, match=r"\[linalg.det\] the matrix is not square: .* got shape \(2, 3\)"):
        linalg.det(np.ones((2, 3)))
    with pytest.raises(ShapeError, match=r"\[linalg.qr\] not a matrix: expected at least 2 dimensions"):
        linalg.qr([1.0])
    with pytest.raises(DTypeError, match=r"\[linalg.inv\] unsupported dtype: expected f16, bf16, f32 or f64, got i64"):
        linalg.inv(np.eye(2, dtype=np.int64))
    assert linalg.solve(np.eye(2), np.ones(2, np.float32)).dtype == np.float64
    with pytest.raises(ShapeError, match=r"\[linalg.cross\] not vectors of 3: .* got \(2,\) and \(3,\)"):
        linalg.cross([1.0, 2.0], [1.0, 2.0, 3.0])
    with pytest.raises(ShapeError, match=r"\[linalg.matvec, x\] not a vector: expected 1 dimension, got 2"):
        linalg.matvec(np.eye(2), np.eye(2))
