"""Linear algebra of tensors against numpy and scipy in f64, its invariants, and what has no answer."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest
import scipy.linalg

import loom
from loom import tensor
from loom.core.errors import LoomError
from loom.tensor import linalg

Array = np.ndarray[Any, Any]
_EPS = {"f4": 2.0**-23, "f8": 2.0**-52}
_SIZES = ((5, 3), (2, 7), (17, 17))
_QUICK = (("f8", (5, 3)), ("f4", (17, 17)))


def _t(x: Array) -> Array:
    return x.swapaxes(-1, -2)


def _close(found: Any, wanted: Any, bound: float) -> None:
    mine = found.numpy() if isinstance(found, tensor.Tensor) else found
    assert mine.shape == np.shape(wanted)
    assert np.abs(mine.astype("f8") - wanted).max(initial=0) <= bound


def _is_orthonormal(q: Array, bound: float) -> None:
    _close(_t(q) @ q, np.broadcast_to(np.eye(q.shape[-1]), (*q.shape[:-2], q.shape[-1], q.shape[-1])), bound)


def _random(kind: str, *shape: int) -> Array:
    return np.random.default_rng(sum(shape)).standard_normal(shape).astype(kind)


_CASES = [
    pytest.param(kind, shape, marks=[pytest.mark.slow] * ((kind, shape) not in _QUICK))
    for kind in ("f4", "f8")
    for shape in _SIZES
]


@pytest.mark.parametrize(("kind", "shape"), _CASES)
def test_qr_and_svd(kind: str, shape: tuple[int, int]) -> None:
    x = _random(kind, 2, *shape)
    eps, wide, t = _EPS[kind], x.astype("f8"), tensor.array(x)
    k = min(shape)
    for mode in ("reduced", "complete"):
        q, r = (a.numpy().astype("f8") for a in linalg.qr(t, mode=mode))
        assert [a.shape for a in (q, r)] == [a.shape for a in np.linalg.qr(wide, mode=mode)]
        _close(q @ r, wide, 60 * eps)
        _is_orthonormal(q, 20 * eps)
        assert (np.tril(r, -1) == 0).all()
    values = np.linalg.svd(wide)[1]
    for is_full in (True, False):
        u, s, vh = (a.numpy().astype("f8") for a in linalg.svd(t, full_matrices=is_full))
        assert [a.shape for a in (u, s, vh)] == [a.shape for a in np.linalg.svd(wide, full_matrices=is_full)]
        _close(u[..., :k] * s[..., None, :] @ vh[..., :k, :], wide, 30 * eps * s.max())
        _close(s, values, 30 * eps * s.max())
        _is_orthonormal(u, 30 * eps)
        _is_orthonormal(_t(vh), 30 * eps)
    assert (linalg.svdvals(t).numpy() == s.astype(kind)).all()
    assert (linalg.matrix_rank(t).numpy() == k).all()
    _close(linalg.pinv(t), np.linalg.pinv(wide), 1e3 * eps * np.linalg.cond(wide).max() ** 2)
    right = _random(kind, 2, shape[0], 3)
    found = linalg.lstsq(t, tensor.array(right))
    _close(found.x, np.linalg.pinv(wide) @ right, 1e3 * eps * np.linalg.cond(wide).max() ** 2)
    assert found.rank.tolist() == [k, k]


@pytest.mark.parametrize("kind", ["f4", pytest.param("f8", marks=pytest.mark.slow)])
@pytest.mark.parametrize("n", [1, pytest.param(4, marks=pytest.mark.slow), 17])
def test_square_matrices(kind: str, n: int) -> None:
    x = _random(kind, 2, n, n) + n * np.eye(n, dtype=kind)
    eps, wide, t = _EPS[kind], x.astype("f8"), tensor.array(x)
    _close(linalg.inv(t), np.linalg.inv(wide), 50 * n * eps)
    _close(linalg.solve(t, tensor.array(x[0])), np.linalg.solve(wide, wide[0]), 50 * n * eps)
    sign, size = linalg.slogdet(t)
    _close(sign, np.linalg.slogdet(wide)[0], 0)
    _close(size, np.linalg.slogdet(wide)[1], 20 * n * eps)
    _close(linalg.det(t) / tensor.array(np.linalg.det(wide).astype(kind)), [1, 1], 20 * n * eps)
    p, low, up = (a.numpy().astype("f8") for a in linalg.lu(t))
    _close(p @ low @ up, wide, 20 * n * eps)
    spd = (wide @ _t(wide)).astype(kind)
    low = linalg.cholesky(tensor.array(np.tril(spd))).numpy().astype("f8")
    _close(low @ _t(low), spd, 20 * n * eps * spd.max())
    assert (linalg.cholesky(tensor.array(spd), upper=True).numpy() == _t(low)).all()
    w, v = (a.numpy().astype("f8") for a in linalg.eigh(tensor.array(np.tril(spd))))
    _close(w, np.linalg.eigvalsh(spd.astype("f8")), 20 * eps * w.max())
    _close(spd @ v, v * w[:, None, :], 30 * eps * w.max())
    _is_orthonormal(v, 20 * eps)
    assert (linalg.eigvalsh(tensor.array(spd)).numpy() == w.astype(kind)).all()
    small = (wide / (2 * n)).astype(kind)
    _close(linalg.expm(tensor.array(small)), scipy.linalg.expm(small.astype("f8")), 100 * eps)
    _close(linalg.matrix_power(tensor.array(small), -3), np.linalg.matrix_power(small.astype("f8"), -3), 1e5 * eps)
    for p_norm in (None, 1, np.inf):
        wanted = np.linalg.cond(wide, p_norm or 2)
        _close(linalg.cond(t, p=p_norm) / tensor.array(wanted.astype(kind)), [1, 1], 100 * n * eps)


def _hard(n: int) -> dict[str, Array]:
    rng = np.random.default_rng(5)
    q = np.linalg.qr(rng.standard_normal((n, n)))[0]
    c, k = 0.3, np.arange(n)
    kahan = (0.95 ** (k / 2))[:, None] * (np.eye(n) - c * np.triu(np.ones((n, n)), 1))
    return {
        "hilbert": 1 / (1.0 + np.add.outer(k, k)),
        "kahan": kahan,
        "graded": np.exp2(-2.0 * np.add.outer(k, k)) * rng.standard_normal((n, n)),
        "deficient": q[:, :3] @ rng.standard_normal((3, n)),
        "clustered": q * np.repeat([1.0, 1.0 + 1e-12, 2.0], [n - n // 2 - 1, n // 2, 1]) @ q.T,
        "zeros": np.zeros((n, n)),
        "identity": np.eye(n),
        "ones": np.ones((n, n)),
        "wilkinson": np.diag(np.abs(k - n // 2).astype("f8")) + np.eye(n, k=1) + np.eye(n, k=-1),
        "huge": rng.standard_normal((n, n)) * 2.0**1000,
        "tiny": rng.standard_normal((n, n)) * 2.0**-1000,
        "shifted up": np.eye(n, k=1),
    }


@pytest.mark.parametrize("n", [12, pytest.param(24, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", list(_hard(4)))
def test_hard_matrices(n: int, name: str) -> None:
    x = _hard(n)[name]
    scale = np.abs(x).max() or 1.0
    u, s, vh = (a.numpy() for a in linalg.svd(tensor.array(x)))
    bound = 20 * n * 2.0**-52
    _close(u * (s / scale) @ vh, x / scale, bound)
    _close(s / scale, np.linalg.svd(x / scale)[1], bound * max(1, s[0] / scale))
    _is_orthonormal(u, bound)
    _is_orthonormal(vh.T, bound)
    own = np.tril(x) + np.tril(x, -1).T
    w, v = (a.numpy() for a in linalg.eigh(tensor.array(own)))
    _close(w / scale, np.linalg.eigvalsh(own / scale), bound * max(1, np.abs(w).max() / scale))
    _close(own / scale @ v, v * (w / scale), bound * max(1, np.abs(w).max() / scale))
    _is_orthonormal(v, bound)
    q, r = (a.numpy() for a in linalg.qr(tensor.array(x)))
    _close(q @ (r / scale), x / scale, bound)
    _is_orthonormal(q, bound)


def test_signs_of_vectors_are_fixed() -> None:
    x = _random("f8", 9, 9)
    u, _, _ = linalg.svd(tensor.array(x))
    _, v = linalg.eigh(tensor.array(x + x.T))
    for vectors in (u.numpy(), v.numpy()):
        assert (np.take_along_axis(vectors, np.abs(vectors).argmax(0)[None], 0) > 0).all()


@pytest.mark.parametrize("n", [3, 17])
def test_what_is_not_finite_gives_nan(n: int) -> None:
    x = np.stack([np.eye(n), np.eye(n), np.eye(n)])
    x[1, 2, 1] = np.nan
    x[2, 2, 1] = np.inf
    for found in (*linalg.svd(tensor.array(x)), *linalg.eigh(tensor.array(x)), linalg.svdvals(tensor.array(x))):
        mine = found.numpy()
        assert not np.isnan(mine[0]).any()
        assert np.isnan(mine[1:]).all()


def test_matrices_without_an_answer_raise_where_their_elements_are_decided() -> None:
    singular = tensor.array([[[1.0, 0.0], [0.0, 1.0]], [[1.0, 2.0], [2.0, 4.0]]])
    for call in (linalg.inv, lambda x: linalg.solve(x, x), lambda x: linalg.matrix_power(x, -1)):
        with pytest.raises(linalg.LinAlgError, match=r"singular: .* got none in column 1 of matrix \(1,\)"):
            call(singular)
    with pytest.raises(np.linalg.LinAlgError, match="not positive definite"):
        linalg.cholesky(tensor.array([[1.0, 2.0], [2.0, 1.0]]))
    assert issubclass(linalg.LinAlgError, LoomError)
    parameter = tensor.parameter(singular.numpy())
    assert not np.isfinite(linalg.inv(parameter).numpy()[1]).all()
    assert linalg.det(singular).tolist() == [1.0, 0.0]
    assert [x.tolist() for x in linalg.slogdet(singular)] == [[1.0, 0.0], [0.0, -np.inf]]


@pytest.mark.parametrize("shape", [(0, 3, 3), (2, 0, 0)])
def test_no_elements(shape: tuple[int, ...]) -> None:
    x = np.zeros(shape)
    t = tensor.array(x)
    for name in ("inv", "det", "eigvalsh", "cholesky", "svdvals", "pinv"):
        wanted = np.linalg.svd(x)[1] if name == "svdvals" else getattr(np.linalg, name)(x)
        _close(getattr(linalg, name)(t), wanted, 0)
    for name in ("qr", "svd", "eigh", "slogdet"):
        for mine, wanted in zip(getattr(linalg, name)(t), getattr(np.linalg, name)(x), strict=True):
            assert mine.shape == wanted.shape
    assert linalg.solve(t, t).shape == shape


def test_products() -> None:
    rng = np.random.default_rng(2)
    a, b = rng.integers(-9, 9, (2, 3, 4)), rng.integers(-9, 9, (4, 3))
    x, y = tensor.array(a), tensor.array(b)
    assert (linalg.tensordot(x, y, axes=([1, 2], [1, 0])).numpy() == np.tensordot(a, b, ([1, 2], [1, 0]))).all()
    assert (linalg.tensordot(x, y, axes=0).numpy() == np.tensordot(a, b, 0)).all()
    assert (linalg.vecdot(x, tensor.array(b.T)).numpy() == (a * b.T).sum(-1)).all()
    assert (linalg.vecdot(x, tensor.array(b.T), axis=-2).numpy() == (a * b.T).sum(-2)).all()
    assert (linalg.outer(x[0, 0], y[0]).numpy() == np.outer(a[0, 0], b[0])).all()
    assert (linalg.cross(y, y[0]).numpy() == np.cross(b, b[0])).all()
    for offset in range(-4, 6):
        assert (linalg.diagonal(x, offset=offset).numpy() == np.diagonal(a, offset, 1, 2)).all()
        assert (linalg.trace(x, offset=offset).numpy() == np.trace(a, offset, 1, 2)).all()
    assert linalg.matmul(tensor.array([[100]], "i8"), tensor.array([[2]], "i8")).tolist() == [[200]]
    assert str(linalg.matmul(tensor.array([[1]], "i8"), tensor.array([[2.0]], "f64")).dtype) == "f64"


@pytest.mark.parametrize("order", [0, 1, 2, 3.5, -1, np.inf, -np.inf])
def test_vector_norms(order: float) -> None:
    x = _random("f8", 3, 4) * 2.0**600
    if abs(order) in (0, 2, np.inf, 1):
        wanted = np.linalg.norm(x / 2.0**600, order, axis=1) * (2.0**600 if order else 1)
        _close(linalg.vector_norm(tensor.array(x), axis=1, ord=order), wanted, 1e-13 * wanted.max())
    small = x / 2.0**600
    wanted = np.linalg.norm(small.reshape(-1), order)
    _close(linalg.vector_norm(tensor.array(small), ord=order, keepdims=True), [[wanted]], 1e-13 * wanted)


@pytest.mark.parametrize("order", ["fro", "nuc", 1, -1, 2, -2, np.inf, -np.inf])
def test_matrix_norms(order: Any) -> None:
    x = _random("f8", 2, 3, 4)
    _close(linalg.matrix_norm(tensor.array(x), ord=order), np.linalg.norm(x, order, axis=(1, 2)), 1e-13)


@cache
def _reference(n: int) -> list[Array]:
    return _bits(n, "interp")


def _bits(n: int, device: str) -> list[Array]:
    t = tensor.array(_random("f4", n, n), on=device)
    parts = [*linalg.svd(t), *linalg.eigh(t)]
    if n < 17:
        parts += [*linalg.qr(t, mode="complete"), *linalg.lu(t), linalg.solve(t, t)]
    return [part.numpy().view("u4") for part in parts]


@pytest.mark.parametrize("n", [4, pytest.param(18, marks=pytest.mark.slow)])
def test_bits_are_the_same_everywhere(on: str, n: int) -> None:
    for mine, wanted in zip(_bits(n, on), _reference(n), strict=True):
        assert (mine == wanted).all()


def test_wide_batches_change_no_bit() -> None:
    x = _random("f4", 37, 6, 6)
    together = [*linalg.svd(tensor.array(x)), *linalg.eigh(tensor.array(x))]
    one = [*linalg.svd(tensor.array(x[35])), *linalg.eigh(tensor.array(x[35]))]
    for mine, wanted in zip(together, one, strict=True):
        assert (mine.numpy()[35].view("u4") == wanted.numpy().view("u4")).all()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["c8", "c16"])
def test_complex_matrices(kind: str) -> None:
    rng = np.random.default_rng(4)
    shapes = ((2, 5, 5), (2, 5, 3))
    x, tall = ((rng.standard_normal(s) + 1j * rng.standard_normal(s)).astype(kind) for s in shapes)
    eps, t = _EPS["f4" if kind == "c8" else "f8"] * 100, tensor.array(x)

    def close(found: Any, wanted: Any) -> None:
        assert found.shape == np.shape(wanted)
        assert np.abs(found.numpy() - wanted).max() <= eps * max(1, np.abs(wanted).max())

    wide = x.astype("c16")
    close(linalg.solve(t, tensor.array(tall)), np.linalg.solve(wide, tall))
    close(linalg.inv(t), np.linalg.inv(wide))
    close(linalg.det(t), np.linalg.det(wide))
    for mine, wanted in zip(linalg.slogdet(t), np.linalg.slogdet(wide), strict=True):
        close(mine, wanted)
    close(linalg.matrix_power(t, 3), np.linalg.matrix_power(wide, 3))
    close(linalg.vector_norm(t, axis=1), np.linalg.norm(wide, axis=1))
    close(linalg.vecdot(t, t), (wide.conj() * wide).sum(-1))
    close(linalg.svdvals(tensor.array(tall)), np.linalg.svd(tall)[1])
    close(linalg.pinv(tensor.array(tall)), np.linalg.pinv(tall))
    assert linalg.matrix_rank(tensor.array(tall)).tolist() == [3, 3]
    for order in ("fro", "nuc", 2, 1):
        close(linalg.matrix_norm(t, ord=order), np.linalg.norm(wide, order, axis=(1, 2)))
    definite = wide @ _t(wide).conj() + np.eye(5)
    close(linalg.cholesky(tensor.array(np.tril(definite).astype(kind))), np.linalg.cholesky(definite))
    for given in (tall, _t(tall)):
        for mode in ("reduced", "complete"):
            q, r = linalg.qr(tensor.array(given), mode=mode)
            close(linalg.matmul(q, r), given)
            close(
                linalg.matmul(tensor.conj(linalg.matrix_transpose(q)), q),
                np.broadcast_to(np.eye(q.shape[-1]), (2, q.shape[-1], q.shape[-1])),
            )
            close(r, np.linalg.qr(given.astype("c16"), mode=mode)[1])


def test_the_gradient_of_a_complex_determinant() -> None:
    x = np.array([[1 + 1j, 2.0], [3j, 4 - 1j]])
    (found,) = tensor.grad(tensor.real(linalg.det(t := tensor.array(x))), [t])
    assert np.abs(found.numpy() - np.array([[4 - 1j, -3j], [-2.0, 1 + 1j]]).conj()).max() < 1e-14


@pytest.mark.parametrize(("n", "m"), [(1, 1), (3, 5), (16, 2)])
def test_small_matrices_have_the_bits_of_the_general_way(n: int, m: int) -> None:
    """``loom.linalg`` takes the general way for every size."""
    square, other = _random("f4", 20, n, n), _random("f4", 20, n, m)
    pairs = [
        (linalg.solve(tensor.array(square), tensor.array(other)), loom.linalg.solve(square, other)),
        (linalg.inv(tensor.array(square)), loom.linalg.inv(square)),
        *zip(linalg.qr(tensor.array(other)), loom.linalg.qr(other), strict=True),
        *zip(linalg.qr(tensor.array(_t(other))), loom.linalg.qr(_t(other)), strict=True),
    ]
    for mine, wanted in pairs:
        assert (mine.numpy().view("u4") == wanted.view("u4")).all()
