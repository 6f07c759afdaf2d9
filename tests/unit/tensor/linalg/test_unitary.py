"""Complex eigenvalues and singular values against numpy, torch and finite differences, and on every device."""

from __future__ import annotations

import warnings
from typing import Any

import mpmath
import numpy as np
import pytest
import scipy.linalg
import torch

import loom
from deferred import functions_of
from loom import tensor
from loom.tensor import linalg

Array = np.ndarray[Any, Any]


def _random(kind: Any, *shape: int) -> Array:
    rng = np.random.default_rng(sum(shape))
    return (rng.standard_normal(shape) + 1j * rng.standard_normal(shape)).astype(kind)


def _h(x: Array) -> Array:
    return x.conj().swapaxes(-1, -2)


def _is_unitary(x: Array, bound: float) -> None:
    assert np.abs(_h(x) @ x - np.eye(x.shape[-1])).max() <= bound


@pytest.mark.parametrize("kind", [np.complex64, np.complex128])
@pytest.mark.parametrize("shape", [(1, 1), (2, 2), (3, 5, 5), (17, 17), (66, 66)])
def test_eigenvalues_of_hermitian_matrices(kind: Any, shape: tuple[int, ...]) -> None:
    x = _random(kind, *shape)
    x = x + _h(x)
    junk = x + np.triu(np.full(shape, 9 - 7j), 1).astype(kind) + 3j * np.eye(shape[-1], dtype=kind)
    w, v = (a.numpy() for a in linalg.eigh(tensor.array(junk)))  # above the diagonal nothing is read
    wanted = np.linalg.eigvalsh(x.astype(np.complex128))
    bound = 40 * np.finfo(kind).eps * shape[-1] ** 0.5
    assert np.abs(w - wanted).max() <= bound * np.abs(wanted).max()
    assert np.abs(x @ v - v * w[..., None, :]).max() <= bound * np.abs(wanted).max()
    _is_unitary(v, bound)
    assert (linalg.eigvalsh(tensor.array(junk)).numpy() == w).all()
    largest = np.take_along_axis(v, np.abs(v).argmax(-2)[..., None, :], -2)
    assert (largest.real > 0).all()
    assert np.abs(largest.imag).max() <= np.finfo(kind).eps


@pytest.mark.parametrize("kind", [np.complex64, np.complex128])
@pytest.mark.parametrize("shape", [(1, 1), (6, 3), (3, 6), (2, 5, 5), (20, 20), (70, 66)])
def test_singular_values_of_complex_matrices(kind: Any, shape: tuple[int, ...]) -> None:
    x, k = _random(kind, *shape), min(shape[-2:])
    wanted = np.linalg.svd(x.astype(np.complex128), compute_uv=False)
    bound = 40 * np.finfo(kind).eps * k**0.5
    for full in (True, False):
        u, s, vh = (a.numpy() for a in linalg.svd(tensor.array(x), full_matrices=full))
        assert [a.shape for a in (u, s, vh)] == [a.shape for a in np.linalg.svd(x, full_matrices=full)]
        assert np.abs(s - wanted).max() <= bound * wanted.max()
        assert np.abs((u[..., :k] * s[..., None, :]) @ vh[..., :k, :] - x).max() <= bound * wanted.max()
        _is_unitary(u, bound)
        _is_unitary(_h(vh), bound)
        assert (linalg.svdvals(tensor.array(x)).numpy() == s).all()


_EDGES = {
    "zero": np.zeros((3, 3)), "unit": np.eye(3) * 1j, "diagonal": np.diag([1, -2j, 3]), "one": np.ones((4, 3)) * 1j,
    "nilpotent": np.array([[0, 1], [0, 0]]), "huge": np.array([[1e300, 1e300j], [0, 1e290]]),
    "tiny": np.array([[1e-310, 1e-310j], [0, 3e-312]]), "single": np.array([[-2j]]),
    "turned": np.triu(np.ones((5, 5)) * 1j), "mixed": np.array([[1e-200, 1j], [1e-180, 1e100]]),
}  # fmt: skip


@pytest.mark.parametrize("name", _EDGES)
def test_edges(name: str) -> None:
    x = _EDGES[name].astype(np.complex128)
    u, s, vh = (a.numpy() for a in linalg.svd(tensor.array(x), full_matrices=False))
    wanted = np.linalg.svd(x, compute_uv=False)
    assert np.abs(s - wanted).max() <= 1e-15 * 4 * wanted.max()
    assert np.abs((u * s) @ vh - x).max() <= 1e-14 * np.abs(x).max() + 5e-324
    _is_unitary(u, 1e-14)
    _is_unitary(_h(vh), 1e-14)
    if x.shape[0] == x.shape[1]:
        both = x + _h(x)
        w, v = (a.numpy() for a in linalg.eigh(tensor.array(both)))
        assert np.abs(both @ v - v * w).max() <= 1e-14 * np.abs(both).max() + 5e-324
        _is_unitary(v, 1e-14)


@pytest.mark.parametrize("odd", [np.nan, np.inf, 1j * np.inf])
def test_what_is_not_finite_gives_nan(odd: complex) -> None:
    for x in (np.array([[1, odd], [1, 1]]), np.array([[1, 2], [odd, 1]])):
        assert np.isnan(linalg.svd(tensor.array(x)).S.numpy()).all()
        lower = np.tril(x) + np.tril(x, -1).T if np.isfinite(np.tril(x)).all() else x
        values = linalg.eigh(tensor.array(lower)).eigenvalues.numpy()
        assert np.isnan(values).all() == (not np.isfinite(np.tril(x)).all())


def test_matrices_of_no_elements() -> None:
    u, s, vh = linalg.svd(tensor.zeros((2, 0, 3), "c64"))
    assert [str(a.dtype) for a in (u, s, vh)] == ["c64", "f32", "c64"]
    assert [a.shape for a in (u, s, vh)] == [(2, 0, 0), (2, 0), (2, 3, 3)]
    w, v = linalg.eigh(tensor.zeros((2, 0, 0), "c128"))
    assert (str(w.dtype), str(v.dtype), w.shape, v.shape) == ("f64", "c128", (2, 0), (2, 0, 0))


def test_the_bits_are_those_of_every_device(on: str) -> None:
    x = _random(np.complex64, 5, 3)
    square = x[:3] + _h(x[:3])

    def bits(device: str | None) -> list[bytes]:
        parts = *linalg.svd(tensor.array(x, on=device)), *linalg.eigh(tensor.array(square, on=device))
        return [part.numpy().tobytes() for part in parts]

    assert bits(on) == bits("cpu")


def test_least_squares_of_complex_numbers() -> None:
    a, b = _random(np.complex128, 6, 4), _random(np.complex128, 6, 2)
    a[:, 3] = a[:, 0] * 2j
    found = linalg.lstsq(tensor.array(a), tensor.array(b))
    wanted = np.linalg.lstsq(a, b, rcond=1e-12)
    assert np.abs(found.x.numpy() - wanted[0]).max() < 1e-13
    assert np.abs(found.residuals.numpy() - (np.abs(a @ wanted[0] - b) ** 2).sum(0)).max() < 1e-13
    assert found.rank.item() == wanted[2] == 3
    assert np.abs(found.s.numpy() - wanted[3]).max() < 1e-14
    real = linalg.lstsq(tensor.array(a.real.copy()), tensor.array(b[:, 0]))
    assert np.abs(real.x.numpy() - np.linalg.lstsq(a.real, b[:, 0], rcond=None)[0]).max() < 1e-13


# gradients


_WEIGHTS = np.arange(1, 6.0)
_PLACES = np.arange(7)[:, None] + 1j * np.arange(5)


def _eigen_loss(eigh: Any, x: Any, mod: Any, weights: Any) -> Any:
    w, v = eigh(x)
    return (w * w * w).sum() + (mod(x @ v) * weights).sum()


def _qr_loss(qr: Any, x: Any, real: Any, size: Any) -> Any:
    q, r = qr(x)
    return (real(q) * size(q) * 2).sum() + (real(r * r) * size(r)).sum()


def _pairs() -> dict[str, Any]:
    weights, places = tensor.array(_WEIGHTS), tensor.array(_PLACES)
    b = _random(np.complex128, 7, 2)

    def recomposed(svd: Any, x: Any, w: Any, p: Any, real: Any) -> Any:
        u, s, vh = svd(x, full_matrices=False)
        return (s * s * s).sum() + real((u * w) @ vh * p[: x.shape[0]]).sum()

    return {
        "eigh": ((5, 5), lambda x: _eigen_loss(linalg.eigh, x + tensor.conj(x.mT), tensor.abs, weights),
                 lambda x: _eigen_loss(torch.linalg.eigh, x + x.mH, torch.abs, torch.tensor(_WEIGHTS))),
        "eigvalsh": ((2, 5, 5), lambda x: (linalg.eigvalsh(x + tensor.conj(x.mT)) ** 3).sum(),
                     lambda x: (torch.linalg.eigvalsh(x + x.mH) ** 3).sum()),
        "svdvals": ((2, 4, 5), lambda x: (linalg.svdvals(x) ** 3).sum(),
                    lambda x: (torch.linalg.svdvals(x) ** 3).sum()),
        **{f"svd {m}": ((m, 5), lambda x: recomposed(linalg.svd, x, weights.astype("c128"), places, tensor.real),
                        lambda x: recomposed(torch.linalg.svd, x, torch.tensor(_WEIGHTS + 0j), torch.tensor(_PLACES),
                                             torch.real))
           for m in (5, 7)},
        "lstsq": ((7, 4), lambda x: (tensor.abs(linalg.lstsq(x, tensor.array(b))[0]) ** 2).sum(),
                  lambda x: (torch.linalg.lstsq(x, torch.tensor(b))[0].abs() ** 2).sum()),
        "cond": ((4, 3), linalg.cond, functions_of(torch.linalg).cond),
        **{f"qr {m}": ((m, 5), lambda x: _qr_loss(linalg.qr, x, tensor.real, tensor.abs),
                       lambda x: _qr_loss(torch.linalg.qr, x, torch.real, torch.abs)) for m in (3, 5, 7)},
    }  # fmt: skip


@pytest.mark.parametrize("name", _pairs())
def test_gradients_of_complex_matrices_are_those_of_torch(name: str) -> None:
    shape, mine, theirs = _pairs()[name]
    x = _random(np.complex128, *shape)
    given, other = tensor.array(x), torch.tensor(x, requires_grad=True)
    loss, wanted = mine(given), theirs(other)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        wanted.backward()
    assert loss.item() == pytest.approx(wanted.item(), rel=1e-12)
    found = tensor.grad(loss, [given])[0].numpy()
    assert np.abs(found - other.grad.numpy()).max() <= 1e-12 * np.abs(found).max()


@pytest.mark.parametrize("which", ["eigenvectors", "left", "right"])
def test_vectors_are_functions_of_the_matrix_so_that_any_loss_has_a_gradient(which: str) -> None:
    """torch refuses a loss that depends on the phase of vectors; here the phase is a part of the function."""
    x, weights = _random(np.complex128, 4, 4), tensor.array(_random(np.complex128, 4, 5)[:, :4])

    def loss(values: Array) -> tuple[Any, Any]:
        t = tensor.array(values)
        vectors = linalg.eigh(t + tensor.conj(t.mT))[1] if which == "eigenvectors" else linalg.svd(t)[
            0 if which == "left" else 2]  # fmt: skip
        return t, tensor.real(vectors * weights).sum()

    t, value = loss(x)
    found, step = tensor.grad(value, [t])[0].numpy(), 1e-6
    for place in ((0, 0), (1, 2), (3, 1)):
        wanted = 0j
        for along in (1, 1j):
            ends = []
            for sign in (1, -1):
                moved = x.copy()
                moved[place] += sign * step * along
                ends.append(loss(moved)[1].item())
            wanted += along * (ends[0] - ends[1]) / (2 * step)
        assert abs(found[place] - wanted) < 1e-7


def test_patterns_take_complex_arrays() -> None:
    """``loom.linalg`` over numpy's complex arrays and lists gives numpy's, with the bits of ``tensor.linalg``."""
    x, b = _random(np.complex64, 4, 4), _random(np.complex64, 4)
    t = tensor.array(x)
    pairs = {
        "svd": (loom.linalg.svd(x), linalg.svd(t)), "eigh": (loom.linalg.eigh(x), linalg.eigh(t)),
        "solve": (loom.linalg.solve(x, b), linalg.solve(t, tensor.array(b))),
        "inv": (loom.linalg.inv(x), linalg.inv(t)), "det": (loom.linalg.det(x), linalg.det(t)),
        "qr": (loom.linalg.qr(x), linalg.qr(t)),
        "expm": (loom.linalg.expm(x), linalg.expm(t)), "pinv": (loom.linalg.pinv(x), linalg.pinv(t)),
        "triangular": (loom.linalg.solve_triangular(x, x, upper=True), linalg.solve_triangular(t, t, upper=True)),
        "cond": (loom.linalg.cond(x), linalg.cond(t)), "rank": (loom.linalg.matrix_rank(x), linalg.matrix_rank(t)),
    }  # fmt: skip
    for mine, wanted in pairs.values():
        for a, other in zip(*(p if isinstance(p, tuple) else (p,) for p in (mine, wanted)), strict=True):
            assert not isinstance(a, tensor.Tensor)
            assert np.asarray(a).tobytes() == other.numpy().tobytes()
    definite = x @ _h(x) + np.eye(4, dtype=x.dtype)
    assert np.abs(loom.linalg.cholesky(definite) - np.linalg.cholesky(definite)).max() < 1e-5
    assert np.abs(loom.linalg.solve_triangular(x, b[:, None]) - np.linalg.solve(np.tril(x), b[:, None])).max() < 1e-4
    assert np.abs(loom.linalg.expm(x) - scipy.linalg.expm(x)).max() < 1e-4
    assert np.abs(loom.linalg.solve([[1.0, 1j], [0.0, 2.0]], [1.0, 1.0]) - [1 - 0.5j, 0.5]).max() < 1e-15
    with pytest.raises(loom.LoomError, match="singular"):
        loom.linalg.inv(np.array([[1, 1j], [1j, -1]]))


def test_products_of_integers_wrap_in_32_or_64_bits() -> None:
    rng = np.random.default_rng(3)
    for kind in ("i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8"):
        info = np.iinfo(kind)
        a, b = (rng.integers(info.min, info.max, shape, kind, endpoint=True) for shape in ((2, 5, 7), (7, 3)))
        for found in (tensor.matmul(tensor.array(a), tensor.array(b)), tensor.array(a) @ tensor.array(b),
                      linalg.matmul(tensor.array(a), tensor.array(b))):  # fmt: skip
            wide = np.dtype({"u2": "u4", "i8": "i8", "u8": "u8", "u4": "u4"}.get(kind, "i4"))
            assert found.numpy().dtype == wide
            assert (found.numpy() == a.astype(wide) @ b.astype(wide)).all()
    small = tensor.array(np.full((1, 300), 100, "i1"))
    assert tensor.matmul(small, small.T, out_dtype="i32").tolist() == [[3_000_000]]
    assert str(tensor.matmul(small.astype("f16"), small.T.astype("f16"), out_dtype="f32").dtype) == "f32"
    with pytest.raises(loom.LoomError, match="do not give f32"):
        tensor.matmul(small, small.T, out_dtype="f32")


@pytest.mark.parametrize("size", [0.1, 10.0, 1e5])
def test_errors_of_expm_are_those_of_rounding_the_elements(size: float) -> None:
    """Oracle: mpmath with 60 digits. Of a large skew matrix the exponential turns by its norm: epsilon times that."""
    x = np.random.default_rng(0).normal(size=(4, 4))
    x = (x - x.T) * size
    with mpmath.workdps(60):
        wanted = np.array(mpmath.expm(mpmath.matrix(x.tolist())).tolist()).astype(float)
    norm = np.abs(x).sum(0).max()
    assert np.abs(linalg.expm(tensor.array(x)).numpy() - wanted).max() <= 2.0**-52 * (4 + norm)
