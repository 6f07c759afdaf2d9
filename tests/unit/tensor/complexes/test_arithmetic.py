"""Complex tensors: what operators, moves, reductions and products give, beside numpy's; what is refused."""

from __future__ import annotations

import itertools
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import loom
from loom import tensor
from loom.core.errors import DTypeError, LoomError
from loom.tensor import Tensor

_EPS = {"complex64": 2.0**-23, "complex128": 2.0**-52}
BOTH = pytest.mark.parametrize("dtype", list(_EPS))


def numbers(*shape: int, dtype: str = "complex64", seed: int = 1) -> np.ndarray[Any, Any]:
    """Return complex numbers with normal parts."""
    rng = np.random.default_rng(seed)
    return (rng.normal(size=shape) + 1j * rng.normal(size=shape)).astype(dtype)


def error(found: Tensor, wanted: np.ndarray[Any, Any]) -> float:
    """Return the largest error in units of the last place of the largest number."""
    got = found.numpy()
    assert got.shape == wanted.shape
    assert got.dtype == (np.complex64 if wanted.dtype == np.complex64 else wanted.dtype)
    scale = max(np.abs(wanted).max(initial=0.0), 1e-30)
    return float(np.abs(got - wanted).max(initial=0.0) / scale / np.finfo(got.dtype).eps)


_OPERATORS: dict[str, Callable[[Any, Any], Any]] = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "/": lambda a, b: a / b,
    "real": lambda a, b: a * b.real if isinstance(a, np.ndarray) else a * tensor.real(b),
    "real first": lambda a, b: b.real / a if isinstance(a, np.ndarray) else tensor.real(b) / a,
    "numbers": lambda a, b: (2 - a) * (1 + 2j) / 3 + -b,
    "powers": lambda a, b: a**3 + 1 / b**2 + a**0,
    "neg": lambda a, _: -a,
}


@BOTH
@pytest.mark.parametrize("name", _OPERATORS)
def test_operators(name: str, dtype: str) -> None:
    a, b = numbers(3, 4, dtype=dtype), numbers(4, dtype=dtype, seed=2)
    operate = _OPERATORS[name]
    assert error(operate(tensor.array(a), tensor.array(b)), operate(a, b).astype(dtype)) < 6


def test_products_and_sums_are_the_formulas_bit_for_bit(on: str) -> None:
    a, b = numbers(1000), numbers(1000, seed=2)
    x, y = (tensor.array(v, on=on) for v in (a, b))
    product = np.empty_like(a)
    product.real = a.real * b.real - a.imag * b.imag
    product.imag = a.real * b.imag + a.imag * b.real
    for found, wanted in ((x * y, product), (x + y, a + b), (x - y, a - b), (x * tensor.real(y), None)):
        if wanted is None:
            wanted = np.empty_like(a)
            wanted.real, wanted.imag = a.real * b.real, a.imag * b.real
        assert (found.numpy().view(np.uint32) == wanted.view(np.uint32)).all()


def test_types_meet() -> None:
    z, w = tensor.array([1j]), tensor.array(np.array([1j]))
    x, d, i, t = tensor.array([1.0]), tensor.array([1.0], "f64"), tensor.array([1], "i32"), tensor.array([True])
    got = [(a * b).dtype.name for a, b in ((z, w), (z, x), (z, d), (z, i), (t, z), (x, w))]
    assert got == ["c128", "c64", "c128", "c64", "c64", "c128"]
    assert [(x * 1j).dtype.name, (d + 1j).dtype.name, (i - 1j).dtype.name] == ["c64", "c128", "c64"]
    assert (z == 1j).numpy().tolist() == (z != 2j).numpy().tolist() == [True]
    assert (x == z).numpy().tolist() == [False]
    assert z.astype("c128").dtype.name == "c128"
    assert tensor.array([0j, 1j, -0.0]).astype("bool").tolist() == [False, True, False]
    assert x.astype("c64").tolist() == [1 + 0j]


_REFUSED: dict[str, tuple[Callable[[Tensor], Any], str]] = {
    "<": (lambda z: z < z * 2, "complex numbers have no order"),
    ">=": (lambda z: z >= 1, "complex numbers have no order"),
    "max": (lambda z: tensor.maximum(z, z), "complex numbers have no order"),
    "a reduction": (lambda z: z.max(), "complex numbers"),
    "floor": (lambda z: z.map("floor"), "not for complex numbers"),
    "erf": (lambda z: z.map("erf"), "not for complex numbers"),
    "to reals": (lambda z: z.astype("f32"), "complex numbers do not become real ones"),
    "argmax": (tensor.argmax, "complex numbers"),
    "softmax": (tensor.softmax, "unsupported dtype"),
    "parts": (lambda z: tensor.complex(z, z), "parts are real"),
    "a complex loss": (lambda z: tensor.grad(z.sum(), [z]), "the loss is complex"),
    "a kernel": (lambda z: loom.Chain().dispatch(_scale, [z, z], [2], groups=1), "Bind tensor.view_as_real"),
    "a pattern": (loom.gpu_sum, "complex numbers"),
}


@loom.kernel
def _scale(x: loom.In[loom.f32], y: loom.Out[loom.f32], n: loom.u32):
    i = loom.global_id()
    if i < n:
        y[i] = x[i] * 2.0


@pytest.mark.parametrize("name", _REFUSED)
def test_what_is_refused(name: str) -> None:
    call, text = _REFUSED[name]
    with pytest.raises(LoomError, match=text):
        call(tensor.array([1j, 2.0]))


_MOVES: dict[str, Callable[[Any, Any], Any]] = {
    "index": lambda x, _: x[1],
    "slices": lambda x, _: x[::2, 1:3],
    "backwards": lambda x, _: x[::-1, None, -1],
    "reshape": lambda x, _: x.reshape(2, 6),
    "transpose": lambda x, _: x.T,
    "concat": lambda x, m: m.concatenate([x, x * 2], 1) if m is np else tensor.concat([x, x * 2], 1),
    "stack": lambda x, m: m.stack([x, x + 1], 1),
    "pad": lambda x, m: m.pad(x, ((1, 0), (0, 2)), constant_values=1j) if m is np
    else tensor.pad(x, [(1, 0), (0, 2)], 1j),
    "broadcast": lambda x, m: m.broadcast_to(x, (2, 3, 4)),
    "where": lambda x, m: m.where(x.real > 0, x, 1j) if m is np else tensor.where(tensor.real(x) > 0, x, 1j),
    "gather": lambda x, m: x[[2, 0]] if m is np else tensor.gather(x, tensor.array([2, 0])),
    "reverse": lambda x, m: x[:, ::-1] if m is np else tensor.reverse(x, 1),
    "sum": lambda x, _: x.sum(0),
    "sum of all": lambda x, _: x.sum(),
    "mean": lambda x, _: x.mean(1),
    "prod": lambda x, m: m.prod(x, axis=1),
    "std": lambda x, m: m.std(x, axis=0),
    "variance": lambda x, m: x.var(1) if m is np else tensor.variance(x, 1),
    "matmul": lambda x, _: x @ x.T,
    "with a vector": lambda x, _: x @ x[0],
    "with reals": lambda x, m: x.real @ x.T if m is np else tensor.real(x) @ x.T,
    "einsum": lambda x, m: m.einsum("ij,kj,j->ik", x, x, x[0]),
    "conj": lambda x, m: m.conj(x),
    "real": lambda x, m: m.real(x) - m.imag(x),
    "angle": lambda x, m: m.angle(x),
    "abs": lambda x, _: abs(x),
}  # fmt: skip


@BOTH
@pytest.mark.parametrize("name", _MOVES)
def test_moves_and_reductions(name: str, dtype: str) -> None:
    x = numbers(3, 4, dtype=dtype)
    assert error(_MOVES[name](tensor.array(x), tensor), _MOVES[name](x, np)) < 4


def test_nothing_and_one_number() -> None:
    none = tensor.array(np.zeros((0, 3), np.complex64))
    assert (none * 2 + 1j).numpy().shape == (0, 3)
    assert none.sum(0).tolist() == [0, 0, 0]
    assert (none.T @ none).tolist() == [[0] * 3] * 3
    one = tensor.array(3 + 4j)
    assert abs(one).item() == 5
    assert tensor.conj(one).item() == 3 - 4j
    assert (one * one).tolist() == -7 + 24j


def test_views_as_pairs_go_into_kernels_and_come_back() -> None:
    z = tensor.array([1 + 2j, 3 - 1j])
    pairs = tensor.view_as_real(z)
    out = tensor.parameter(np.zeros((2, 2), np.float32))
    chain = loom.Chain()
    chain.dispatch(_scale, [pairs, out], [4], groups=1)
    chain.build().run()
    assert tensor.view_as_complex(out).tolist() == [2 + 4j, 6 - 2j]


def test_pickle_and_dlpack() -> None:
    z = tensor.array([1 + 2j, 3 - 1j])
    assert np.from_dlpack(z * 2).tolist() == [2 + 4j, 6 - 2j]
    assert pickle.loads(pickle.dumps(z.dtype)) is z.dtype


def test_programs_have_complex_inputs_parameters_and_results(on: str) -> None:
    a = numbers(4, 5)
    w, x = tensor.parameter(a, on=on), tensor.input("x", (4, 5), "c64")
    step = tensor.compile([w * x, abs(w * x).sum(), w, x.exp()], [(w, w - x * 0.5)],
                          on=on)  # fmt: skip
    step.run(x=a * 2)
    product, total, before, grown = step.read()
    assert np.abs(product - a * a * 2).max() < 1e-5
    assert abs(total - np.abs(a * a * 2).sum()) < 1e-3
    assert (before == a).all()
    assert np.abs(grown - np.exp(a * 2)).max() < 1e-4
    assert (w.numpy() == 0).all()
    step.run(x=tensor.array(a, on=on))
    assert np.abs(w.numpy() + a / 2).max() < 1e-6


def test_a_value_is_kept_when_its_parameter_is_written() -> None:
    w = tensor.parameter([1j, 2j])
    double = w * 2
    w.assign([0, 0])
    assert double.tolist() == [2j, 4j]
    assert w.tolist() == [0, 0]


def test_division_of_what_is_special() -> None:
    special = [0.0, -0.0, 1.0, -2.0, np.inf, -np.inf]
    a = np.array([complex(*p) for p in itertools.product(special, special)])
    found = (tensor.array(a[:, None]) / tensor.array(a)).numpy()
    infinite, zero = np.isinf(a), a == 0
    with np.errstate(all="ignore"):
        to_zero = found[:, zero][~zero & ~infinite]
        by_infinite = found[~infinite][:, infinite]
        of_infinite = found[infinite][:, ~infinite & ~zero]
    assert np.isinf(to_zero).all()
    assert (by_infinite == 0).all()
    assert np.isinf(of_infinite).all()


def test_numbers_are_refused_where_they_do_not_fit() -> None:
    with pytest.raises(DTypeError, match="does not become"):
        tensor.full((2,), 1j, "f32")
    assert tensor.full((2,), 1j, "c64").tolist() == [1j, 1j]
    assert tensor.zeros((1,), "c128").tolist() == [0]
    assert tensor.ones((1,), "complex64").tolist() == [1]
