"""Functions of complex numbers: beside mpmath over all magnitudes, C99's special cases, equal bits everywhere, slopes.

An error is the distance from the true number over its size, in units of 2^-23 or 2^-52: bars are what the guide says.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from functools import cache
from typing import Any

import mpmath as mp
import numpy as np
import pytest

from deferred import functions_of
from loom import tensor
from loom.tensor import Tensor
from loom.tensor.complexes.arithmetic import analytic

_NUMPY = {
    "exp": np.exp, "expm1": np.expm1, "log": np.log, "log1p": np.log1p, "log2": np.log2, "log10": np.log10,
    "sqrt": np.sqrt, "sinh": np.sinh, "cosh": np.cosh, "tanh": np.tanh, "sin": np.sin, "cos": np.cos, "tan": np.tan,
    "asinh": np.arcsinh, "asin": np.arcsin, "acos": np.arccos, "acosh": np.arccosh, "atanh": np.arctanh,
    "atan": np.arctan,
}  # fmt: skip
_EXACT: dict[str, Callable[[Any], Any]] = {
    "log2": lambda z: mp.log(z) / mp.log(2),
    "log1p": lambda z: mp.log(1 + z),
    **{name: getattr(functions_of(mp), name) for name in _NUMPY if name not in ("log2", "log1p")},
}
_TYPES = {"complex64": (2.0**-23, 120.0, 95.0), "complex128": (2.0**-52, 1000.0, 720.0)}
_BAR = 2.5
_BARS = {"tan": 3.3, "tanh": 3.3}
_WORST: list[tuple[str, str, complex]] = [
    ("tan", "complex64", -0.015641043 + 0.2362127j),
    ("tan", "complex64", -0.0137817245 + 0.26309165j),
    ("tanh", "complex64", -0.12972608 - 1.573185j),
    ("tanh", "complex64", 0.8978167 - 3.0059714j),
    ("expm1", "complex64", 1.0423884 - 0.002815622j),
    ("log10", "complex64", 0.32807764 + 0.0036337287j),
    ("asinh", "complex64", -0.23133947 - 0.55253536j),
    ("log10", "complex128", 1.7099957502960976 - 8.628231543120422e-08j),
    ("tanh", "complex128", 6.283185400806343 - 3.2373764477138357e-06j),
    ("atanh", "complex128", 8.270523207235676e-08 - 0.12419854150252416j),
    ("tan", "complex128", 0.09543566023889558 + 6.283185307179586j),
    ("tan", "complex128", 3.141564551712369 + 0.0004959980396110592j),
    ("acos", "complex128", 1.0002456362253607 - 3.469508570748167e-09j),
]
"""The worst that searches have found."""
_UNBOUNDED = {"exp": 0, "expm1": 0, "sinh": 0, "cosh": 0, "tanh": 0, "sin": 1, "cos": 1, "tan": 1}
"""Functions that mpmath cannot evaluate for a large real (0) or imaginary (1) part."""


def _apply(name: str, z: np.ndarray[Any, Any], on: str | None = None) -> np.ndarray[Any, Any]:
    return analytic(name, tensor.array(z, on=on)).numpy()


def _samples(dtype: str) -> np.ndarray[Any, Any]:
    """Return numbers of all magnitudes, near 1 in size, near 1, -1, i and -i, and such as e^z reaches the limits."""
    rng = np.random.default_rng(7)
    epsilon, most, edge = _TYPES[dtype]

    def wide(n: int, exponent: float) -> Any:
        parts = [rng.choice([-1, 1], n) * 2.0 ** rng.uniform(-exponent, exponent, n) for _ in range(2)]
        return parts[0] + 1j * parts[1]

    unit = np.exp(1j * rng.uniform(0, 6.3, 25)) * (1 + rng.normal(size=25) * 1e-3)
    near = rng.choice([1, -1, 1j, -1j], 25) + wide(25, 20) * epsilon
    limits = rng.uniform(-edge, edge, 25) + 1j * rng.uniform(-9, 9, 25)
    return np.concatenate([wide(25, most), wide(50, 12), unit, near, limits, 1j * limits.conj()]).astype(dtype)


def _error(found: complex, wanted: Any, dtype: str) -> float:
    limits = np.finfo(dtype)
    if abs(wanted) < 4 * float(limits.tiny) or max(abs(wanted.real), abs(wanted.imag)) >= float(limits.max):
        return 0.0
    if not np.isfinite(found):
        return float("inf")
    return float(abs(mp.mpc(found) - wanted) / abs(wanted)) / _TYPES[dtype][0]


@pytest.mark.parametrize("dtype", _TYPES)
@pytest.mark.parametrize("name", _NUMPY)
def test_functions_are_near_the_true_ones(name: str, dtype: str) -> None:
    z = _samples(dtype)
    worst = 0.0
    with mp.workprec(2300 if dtype == "complex128" else 500):
        for x, y in zip(z.tolist(), _apply(name, z).tolist(), strict=True):
            if name in _UNBOUNDED and abs((x.real, x.imag)[_UNBOUNDED[name]]) > 1e4:
                continue
            worst = max(worst, _error(y, mp.mpc(_EXACT[name](mp.mpc(x))), dtype))
    assert worst < _BARS.get(name, _BAR)


@pytest.mark.parametrize(("name", "dtype", "z"), _WORST)
def test_bars_hold_at_the_worst_that_was_found(name: str, dtype: str, z: complex) -> None:
    at = np.array([z], dtype)
    (found,) = _apply(name, at).tolist()
    with mp.workprec(500):
        wanted = mp.mpc(_EXACT[name](mp.mpc(at.tolist()[0])))
        assert _error(found, wanted, dtype) < _BARS.get(name, _BAR)


@pytest.mark.parametrize("dtype", _TYPES)
def test_quotients_sizes_and_powers_are_near_the_true_ones(dtype: str) -> None:
    a, b = _samples(dtype), np.random.default_rng(8).permutation(_samples(dtype))
    x, y = tensor.array(a), tensor.array(b)
    quotients, sizes, powers = (x / y).numpy(), abs(x).numpy(), (x / abs(x)).map("pow", 1.5 + 0.5j).numpy()
    with mp.workprec(500):
        pairs = [(mp.mpc(p), mp.mpc(q)) for p, q in zip(a.tolist(), b.tolist(), strict=True)]
        assert max(_error(f, p / q, dtype) for f, (p, q) in zip(quotients.tolist(), pairs, strict=True)) < _BAR
        assert max(_error(f, mp.mpc(abs(p)), dtype) for f, (p, _) in zip(sizes.tolist(), pairs, strict=True)) < 1.0
        units = (x / abs(x)).numpy().tolist()
        exact = [mp.mpc(u) ** mp.mpc(1.5, 0.5) for u in units]
        assert max(_error(f, w, dtype) for f, w in zip(powers.tolist(), exact, strict=True)) < 10.0


_SPECIAL = [0.0, -0.0, 1.0, -1.0, 0.5, -3.0, float("inf"), -float("inf"), float("nan")]
_SIGNS_OPEN = {"exp", "sinh", "cosh", "tanh", "sin", "cos", "tan"}
"""Functions that have results of either sign where a part is no finite number."""


@pytest.mark.parametrize("name", [n for n in _NUMPY if n != "expm1"])
def test_special_cases_are_those_of_c99(name: str) -> None:
    z = np.array([complex(*pair) for pair in itertools.product(_SPECIAL, _SPECIAL)])
    with np.errstate(all="ignore"):
        wanted = _NUMPY[name](z)
    found = _apply(name, z)
    for x, w, f in zip(z, wanted, found, strict=True):
        is_open = name in _SIGNS_OPEN and not np.isfinite(x)
        for a, b in ((w.real, f.real), (w.imag, f.imag)):
            if not np.isfinite(a) or a == 0:
                assert np.isnan(a) == np.isnan(b), (x, w, f)
                assert np.isnan(a) or abs(a) == abs(b), (x, w, f)
                assert np.isnan(a) or is_open or np.signbit(a) == np.signbit(b), (x, w, f)


def test_expm1_where_a_part_is_infinite_is_as_the_standard_says() -> None:
    inf, nan = float("inf"), float("nan")
    z = np.array([complex(inf, 0), complex(-inf, inf), complex(inf, 2), complex(-inf, 2), complex(nan, 0)])
    assert [str(x) for x in _apply("expm1", z).tolist()] == [
        "(inf+0j)", "(-1+0j)", "(-inf+infj)", "(-1+0j)", "(nan+0j)",
    ]  # fmt: skip


def test_functions_have_the_same_bits_everywhere(on: str) -> None:
    for dtype in _TYPES:
        for (name, a), b in zip(_all(dtype, on).items(), _reference(dtype).values(), strict=True):
            same = (a.view(np.uint8) == b.view(np.uint8)).reshape(2 * a.size, -1).all(1)
            parts = a.view(a.real.dtype), b.view(b.real.dtype)
            assert (same | (np.isnan(parts[0]) & np.isnan(parts[1]))).all(), name


def _all(dtype: str, on: str) -> dict[str, np.ndarray[Any, Any]]:
    z = np.concatenate([_samples(dtype), [complex(*p) for p in itertools.product(_SPECIAL, _SPECIAL)]]).astype(dtype)
    x, y = tensor.array(z, on=on), tensor.array(z[::-1].copy(), on=on)
    names = _NUMPY if dtype == "complex64" else ("log", "tanh", "acos", "sqrt")  # f64 takes lavapipe long to compile
    found = {name: analytic(name, x) for name in names} | {"div": x / y, "mul": x * y, "abs": abs(x) + 0j}
    return {name: r.numpy() for name, r in found.items()}


@cache
def _reference(dtype: str) -> dict[str, np.ndarray[Any, Any]]:
    return _all(dtype, "interp")


# gradients

_A = np.random.default_rng(3).normal(size=(3, 4)) + 1j * np.random.default_rng(4).normal(size=(3, 4))
_B = np.random.default_rng(5).normal(size=(4, 2)) + 1j * np.random.default_rng(6).normal(size=(4, 2))
_DIFFERENTIABLE: dict[str, Callable[[Tensor], Tensor]] = {
    **{name: (lambda z, name=name: analytic(name, z)) for name in _NUMPY},
    "products": lambda z: z * tensor.array(_A, on="interp") * z - 2j * z,
    "quotients": lambda z: (z * z + 1) / (z - 2j) + 3 / z + z / 2,
    "sizes": lambda z: abs(z) * z + tensor.angle(z),
    "pow": lambda z: z.map("pow", z) + z**3 - 1 / z**2,
    "matmul": lambda z: z @ tensor.array(_B, on="interp") @ tensor.conj(tensor.array(_B, on="interp").T),
    "parts": lambda z: tensor.real(z) * tensor.imag(z) + tensor.conj(z) * 1j,
    "pairs": lambda z: tensor.view_as_complex(tensor.view_as_real(z) * 2) * z,
    "moves": lambda z: tensor.concat([z[1:3, ::2], z[0:2, ::2]]) * tensor.where(tensor.real(z[:1, :2]) > 0, z[:1, :2],
        0)    + z[0, 0],
    "sums": lambda z: z.sum(0) * z.mean(1, keepdims=True) + tensor.variance(z),
    "einsum": lambda z: tensor.einsum("ij,ik->jk", z, tensor.conj(z)),
    "checkpoint": lambda z: tensor.checkpoint(lambda x: x.exp() * x)(z) * z,
}  # fmt: skip


def _loss(y: Tensor) -> Tensor:
    return (tensor.real(y) * 0.7 + tensor.imag(y) * 0.3).sum()


@pytest.mark.parametrize("name", _DIFFERENTIABLE)
def test_gradients_are_slopes_by_both_parts(name: str) -> None:
    fn = _DIFFERENTIABLE[name]
    (found,) = tensor.grad(_loss(fn(z := tensor.array(_A, on="interp"))), [z])
    step = 1e-6
    moved = tensor.input("z", _A.shape, "c128")
    program = tensor.compile([_loss(fn(moved))], on="interp")

    def value(z: Any) -> float:
        program.run(z=z)
        return float(program.read()[0])

    wanted = np.zeros_like(_A)
    for at in np.ndindex(*_A.shape):
        for way in (1, 1j):
            there, back = _A.copy(), _A.copy()
            there[at] += way * step
            back[at] -= way * step
            wanted[at] += way * (value(there) - value(back)) / (2 * step)
    assert np.abs(found.numpy() - wanted).max() < 1e-7 * np.abs(wanted).max()


def test_gradients_are_those_of_torch() -> None:
    torch = pytest.importorskip("torch")
    t = torch.tensor(_A, requires_grad=True)
    loss = (t.exp() / (t + 2)).abs().sum() + (t @ torch.tensor(_B)).real.square().sum()
    loss.backward()
    z = tensor.array(_A)
    product = tensor.real(z @ tensor.array(_B))
    (g,) = tensor.grad(abs(z.exp() / (z + 2)).sum() + (product * product).sum(), [z])
    assert np.abs(g.numpy() - t.grad.numpy()).max() < 1e-12


def test_gradients_of_what_lies_between_and_of_gradients() -> None:
    z = tensor.array(_A)
    y = z * 2
    by_y, by_z = tensor.grad(_loss(y * y), [y, z])
    assert np.allclose(by_y.numpy() * 2, by_z.numpy())
    (first,) = tensor.grad(_loss(z * z * z), [z])
    (second,) = tensor.grad(_loss(first), [z])
    assert np.abs(second.numpy()).max() > 0
    (none,) = tensor.grad(_loss(y), [tensor.array(_B)])
    assert (none.numpy() == 0).all()
    assert none.dtype.name == "c128"
