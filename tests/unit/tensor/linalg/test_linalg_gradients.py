"""Gradients of linear algebra, and their own gradients, against central finite differences in f64.

Quotients with step 1e-5 have errors near 1e-9 for matrices of condition 10; 2e-6 relative is far above that, and far
below what a wrong formula gives.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from loom import tensor
from loom.core.errors import ArgumentError
from loom.tensor import Tensor, linalg

Array = np.ndarray[Any, Any]
_STEP = 1e-5
_RNG = np.random.default_rng(3)
_A = _RNG.standard_normal((2, 3, 3))
_B = _RNG.standard_normal((2, 3, 2))
_SPD = _A @ _A.swapaxes(1, 2) + np.eye(3)
_TALL, _WIDE = _RNG.standard_normal((4, 3)), _RNG.standard_normal((3, 4))


def _quotients(program: Any, places: list[Tensor], arrays: list[Array], result: int) -> list[Array]:
    found: list[Array] = []
    for place, array in zip(places, arrays, strict=True):
        slopes = np.zeros_like(array)
        for at in np.ndindex(array.shape):
            ends: list[float] = []
            for sign in (1, -1):
                moved = array.copy()
                moved[at] += sign * _STEP
                place.assign(moved)
                program.run()
                ends.append(program.read()[result].item())
            slopes[at] = (ends[0] - ends[1]) / (2 * _STEP)
        place.assign(array)
        found.append(slopes)
    return found


def _check(fn: Callable[..., Any], *arrays: Array) -> None:
    """Compare first and second derivatives of sum(weights * fn(*arrays)) with difference quotients."""
    places = [tensor.parameter(a, "f64", on="cpu") for a in arrays]
    result = fn(*places)
    weights = tensor.array(np.random.default_rng(1).standard_normal(result.shape), on="cpu")
    loss = (result * weights).sum()
    gradients = tensor.grad(loss, places)
    aims = [tensor.array(np.random.default_rng(2).standard_normal(a.shape), on="cpu") for a in arrays]
    slope = sum(((g * v).sum() for g, v in zip(gradients, aims, strict=True)), start=loss * 0)
    program = tensor.compile([loss, slope, *gradients, *tensor.grad(slope, places)])
    program.run()
    _, _, *found = program.read()
    wanted = _quotients(program, places, list(arrays), 0) + _quotients(program, places, list(arrays), 1)
    for k, (mine, theirs) in enumerate(zip(found, wanted, strict=True)):
        scale = max(1.0, float(np.abs(theirs).max()))
        bound = (2e-6 if k < len(arrays) else 4e-5) * scale
        assert np.abs(mine - theirs).max() < bound, k


def _symmetric(x: Tensor) -> Tensor:
    return (x + linalg.matrix_transpose(x)) * 0.5


_CASES: dict[str, tuple[Any, ...]] = {
    "solve": (linalg.solve, _A, _B),
    "solve a vector": (linalg.solve, _A, _B[0, :, 0]),
    "solve many": (linalg.solve, _A[0], _B),
    "lower": (linalg.solve_triangular, _A + 3 * np.eye(3), _B),
    "inv": (linalg.inv, _A),
    "det": (linalg.det, _A),
    "slogdet": (lambda x: linalg.slogdet(x).logabsdet, _A),
    "cholesky": (lambda x: linalg.cholesky(_symmetric(x)), _SPD),
    "lu, L": (lambda x: linalg.lu(x).L, _A),
    "lu, U": (lambda x: linalg.lu(x).U, _A),
    "eigh, values": (lambda x: linalg.eigh(_symmetric(x)).eigenvalues, _A),
    "eigh, vectors": (lambda x: linalg.eigh(_symmetric(x)).eigenvectors, _A),
    "eigvalsh": (lambda x: linalg.eigvalsh(_symmetric(x)), _A),
    "lstsq": (lambda a, b: linalg.lstsq(a, b).x, _TALL, _RNG.standard_normal((2, 4, 2))),
    "lstsq, wide": (lambda a, b: linalg.lstsq(a, b).x, _WIDE, _RNG.standard_normal(3)),
    "expm": (linalg.expm, _A[0]),
    "power": (lambda x: linalg.matrix_power(x, -2), _A[0]),
    "norm": (lambda x: linalg.vector_norm(x, axis=1), _A),
    "norm 3": (lambda x: linalg.vector_norm(x, axis=1, ord=3), _A),
    "nuclear": (lambda x: linalg.matrix_norm(x, ord="nuc"), _A),
    "cross": (linalg.cross, _A[0], _A[1, 0]),
    "vecdot": (linalg.vecdot, _A[0], _A[1, 0]),
    "tensordot": (lambda a, b: linalg.tensordot(a, b, axes=1), _A[0], _WIDE),
    "trace": (lambda x: linalg.trace(x, offset=1), _A),
    "outer": (linalg.outer, _A[0, 0], _TALL[0]),
}
for _name, _x in (("square", _A[0]), ("tall", _TALL), ("wide", _WIDE)):
    _CASES[f"Q, {_name}"] = (lambda x: linalg.qr(x).Q, _x)
    _CASES[f"R, {_name}"] = (lambda x: linalg.qr(x).R, _x)
    _CASES[f"U, {_name}"] = (lambda x: linalg.svd(x, full_matrices=False).U, _x)
    _CASES[f"S, {_name}"] = (lambda x: linalg.svd(x, full_matrices=False).S, _x)
    _CASES[f"Vh, {_name}"] = (lambda x: linalg.svd(x, full_matrices=False).Vh, _x)
    _CASES[f"pinv, {_name}"] = (linalg.pinv, _x)
_QUICK = ("solve", "slogdet", "cholesky", "eigh, vectors", "R, wide", "U, tall", "pinv, tall")  # fmt: skip


@pytest.mark.parametrize("name", [pytest.param(n, marks=[pytest.mark.slow] * (n not in _QUICK)) for n in _CASES])
def test_gradients_are_the_difference_quotients(name: str) -> None:
    fn, *arrays = _CASES[name]
    _check(fn, *arrays)


def test_a_norm_of_zeros_has_the_gradient_zero() -> None:
    x = tensor.array([0.0, 0.0], "f64")
    assert tensor.grad(linalg.vector_norm(x), [x])[0].tolist() == [0.0, 0.0]


def test_equal_eigenvalues_leave_out_what_has_no_derivative() -> None:
    x = tensor.array(np.diag([1.0, 1.0, 3.0]))
    w, v = linalg.eigh(x)
    invariant = linalg.matmul(v * tensor.expand_dims(w, 0), linalg.matrix_transpose(v))  # it is x itself
    (found,) = tensor.grad((invariant * tensor.array([[1.0, 0, 0], [0, 2.0, 0], [0, 0, 4.0]], "f64")).sum(), [x])
    assert np.abs(found.numpy() - np.diag([1.0, 2.0, 4.0])).max() < 1e-12


@pytest.mark.parametrize("what", ["qr", "svd"])
def test_vectors_that_are_no_function_of_the_matrix_have_no_gradient(what: str) -> None:
    x = tensor.array(_TALL)
    found = linalg.qr(x, mode="complete").Q if what == "qr" else linalg.svd(x).U
    with pytest.raises(ArgumentError, match="no gradient"):
        tensor.grad(found.sum(), [x])
