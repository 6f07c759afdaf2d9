"""The functions of the array API standard over tensors. Oracles: numpy, whose names and meanings they share; Python's
own ``//`` and ``%``; literals of the standard's special cases."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from loom import tensor as xp
from loom.core.errors import ArgumentError, DTypeError, LoomError, ShapeError

_FLOATS = np.array([[-2.5, -0.0, 0.0, 0.75], [1.0, 3.5, -7.0, 40.0]])
_INTS = np.array([[-7, -2, 0, 1], [3, 12, 100, -5]])
_SPECIAL = [0.0, -0.0, 1.0, -1.0, 2.5, -2.5, math.inf, -math.inf, math.nan, 1e-30, -3e30]

_ONE = {
    "abs": np.abs, "acosh": np.arccosh, "asinh": np.arcsinh, "atan": np.arctan, "atanh": np.arctanh, "ceil": np.ceil,
    "cos": np.cos, "exp": np.exp, "expm1": np.expm1, "floor": np.floor, "isfinite": np.isfinite, "isinf": np.isinf,
    "isnan": np.isnan, "log": np.log, "log10": np.log10, "log1p": np.log1p, "log2": np.log2,
    "logical_not": np.logical_not, "negative": np.negative, "positive": np.positive, "reciprocal": np.reciprocal,
    "round": np.round, "sign": np.sign, "signbit": np.signbit, "sin": np.sin, "sqrt": np.sqrt, "square": np.square,
    "tanh": np.tanh, "trunc": np.trunc,
}  # fmt: skip
_TWO = {
    "add": np.add, "atan2": np.arctan2, "copysign": np.copysign, "divide": np.divide, "equal": np.equal,
    "floor_divide": np.floor_divide, "greater": np.greater, "greater_equal": np.greater_equal, "hypot": np.hypot,
    "less": np.less, "less_equal": np.less_equal, "logaddexp": np.logaddexp, "logical_and": np.logical_and,
    "logical_or": np.logical_or, "logical_xor": np.logical_xor, "maximum": np.maximum, "minimum": np.minimum,
    "multiply": np.multiply, "nextafter": np.nextafter, "not_equal": np.not_equal, "pow": np.power,
    "remainder": np.remainder, "subtract": np.subtract,
}  # fmt: skip


_ZERO = {
    "maximum": lambda a, b: np.where(a & b, -0.0, 0.0), "minimum": lambda a, b: np.where(a | b, -0.0, 0.0),
}  # fmt: skip


def _close(found: Any, wanted: np.ndarray) -> None:
    got = found.numpy()
    assert got.dtype == wanted.dtype
    assert got.shape == wanted.shape
    np.testing.assert_allclose(
        got, wanted, rtol=8 * float(np.finfo(wanted.dtype).eps) if wanted.dtype.kind == "f" else 0
    )
    if wanted.dtype.kind == "f":
        zeros = wanted == 0
        assert (np.signbit(got[zeros]) == np.signbit(wanted[zeros])).all()


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("name", sorted(_ONE))
def test_of_one_float(name: str, dtype: str) -> None:
    x = np.array([*_SPECIAL, *_FLOATS.ravel()], dtype)
    with np.errstate(all="ignore"):
        wanted = _ONE[name](x)
    if name == "sign":
        wanted = wanted + 0.0
    _close(getattr(xp, name)(xp.array(x)), wanted)


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("name", sorted(_TWO))
def test_of_two_floats(name: str, dtype: str) -> None:
    """Every special value with every other."""
    x, y = (a.ravel() for a in np.meshgrid(np.array([*_SPECIAL, 7.25, -0.1], dtype), np.array([*_SPECIAL, 0.3], dtype)))
    with np.errstate(all="ignore"):
        wanted = _TWO[name](x, y)
    if name == "floor_divide":  # by and of infinite numbers the standard asks for x / y, numpy has -1 and NaN
        with np.errstate(all="ignore"):
            wanted = np.where(np.isinf(x) | np.isinf(y), x / y, wanted)
    if name in ("maximum", "minimum"):  # of zeros Loom takes the sign into account, numpy the first one
        wanted = np.where((x == 0) & (y == 0), _ZERO[name](np.signbit(x), np.signbit(y)), wanted).astype(dtype)
    _close(getattr(xp, name)(xp.array(x), xp.array(y)), wanted)


@pytest.mark.parametrize("dtype", ["i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8"])
def test_integers(dtype: str) -> None:
    rng = np.random.default_rng(3)
    info = np.iinfo(dtype)
    x = rng.integers(info.min, info.max, 200, dtype=dtype, endpoint=True)
    y = rng.integers(max(info.min, -9), 9, 200, dtype=dtype, endpoint=True)
    a, b = xp.array(x), xp.array(y)
    with np.errstate(all="ignore"):
        for name in ("add", "floor_divide", "remainder", "multiply", "maximum", "bitwise_and", "bitwise_xor", "less"):
            wanted = getattr(np, name)(x, y)
            wanted = np.where(y == 0, x, wanted) if name == "remainder" else wanted
            assert getattr(xp, name)(a, b).tolist() == wanted.tolist(), name
        for name in ("abs", "sign", "square", "floor", "round", "bitwise_invert", "negative"):
            assert getattr(xp, name)(a).tolist() == getattr(np, name)(x).tolist(), name
    counts = np.arange(200).astype("u1").astype(dtype) % np.array(100, dtype)
    with np.errstate(all="ignore"):
        inside = counts % np.array(info.bits, dtype)
        assert xp.bitwise_left_shift(a, xp.array(counts)).tolist() == np.left_shift(x, inside).tolist()
        assert xp.bitwise_right_shift(a, xp.array(counts)).tolist() == np.right_shift(x, inside).tolist()
        assert xp.pow(a, xp.array(counts)).tolist() == np.power(x, counts).tolist()
    assert xp.sum(a, dtype=xp.int8).tolist() == int(x.astype(np.int64).sum().astype(np.int8))


def test_python_divides_the_same(on: str) -> None:
    pairs = [(a, b) for a in (7.5, -7.5, 1.0, 0.0, 1e16, -1e-300) for b in (2.0, -2.0, 0.1, 3e-5, 1e300)]
    x, y = (xp.array(list(side), "f64", on=on) for side in zip(*pairs, strict=True))
    assert xp.floor_divide(x, y).tolist() == [a // b for a, b in pairs]
    assert xp.remainder(x, y).tolist() == [a % b for a, b in pairs]


_MADE: list[tuple[Callable[[], Any], np.ndarray]] = [
    (lambda: xp.arange(5), np.arange(5)), (lambda: xp.arange(2, 20, 3), np.arange(2, 20, 3)),
    (lambda: xp.arange(5, -5, -2, dtype=xp.int8), np.arange(5, -5, -2, "i1")), (lambda: xp.arange(3, 3), np.arange(0)),
    (lambda: xp.arange(0.0, 1.0, 0.25), np.arange(0, 1, 0.25, "f4")),
    (lambda: xp.arange(2**63, 2**64 - 1, 2**61, dtype=xp.uint64), np.arange(2**63, 2**64 - 1, 2**61, "u8")),
    (lambda: xp.linspace(0, 1, 7, dtype=xp.float64), np.linspace(0, 1, 7)),
    (lambda: xp.linspace(3, -1, 4, endpoint=False), np.linspace(3, -1, 4, endpoint=False, dtype="f4")),
    (lambda: xp.linspace(5, 6, 1), np.linspace(5, 6, 1, dtype="f4")), (lambda: xp.linspace(0, 1, 0), np.zeros(0, "f4")),
    (lambda: xp.eye(3), np.eye(3, dtype="f4")), (lambda: xp.eye(2, 4, k=-1), np.eye(2, 4, -1, "f4")),
    (lambda: xp.full((2, 2), 7), np.full((2, 2), 7)), (lambda: xp.full(3, True), np.full(3, True)),
    (lambda: xp.full_like(xp.arange(3), 4), np.full(3, 4)), (lambda: xp.ones_like(xp.arange(2), dtype="f4"), None),
    (lambda: xp.tril(xp.array(_INTS)), np.tril(_INTS)), (lambda: xp.triu(xp.array(_INTS), k=1), np.triu(_INTS, 1)),
    (lambda: xp.asarray([[1, 2], [3, 4]], dtype=xp.uint8), np.array([[1, 2], [3, 4]], "u1")),
    (lambda: xp.from_dlpack(_INTS), _INTS), (lambda: xp.empty((2, 0)), np.empty((2, 0), "f4")),
]  # fmt: skip


@pytest.mark.parametrize("number", range(len(_MADE)))
def test_making(number: int) -> None:
    call, wanted = _MADE[number]
    if wanted is None:
        with pytest.raises(DTypeError, match="no dtype is called 'f4'"):
            call()
        return
    found = call()
    assert found.numpy().dtype == wanted.dtype
    assert found.tolist() == wanted.tolist()


def test_grids_and_shapes() -> None:
    x = xp.array(_FLOATS, "f64")
    for indexing in ("xy", "ij"):
        for got, wanted in zip(
            xp.meshgrid(xp.arange(3), xp.arange(2), xp.arange(4), indexing=indexing),
            np.meshgrid(np.arange(3), np.arange(2), np.arange(4), indexing=indexing), strict=True,
        ):  # fmt: skip
            assert got.tolist() == wanted.tolist()
    rows: list[tuple[Any, Any]] = [
        (xp.roll(x, 3), np.roll(_FLOATS, 3)), (xp.roll(x, (1, -1), axis=(0, 1)), np.roll(_FLOATS, (1, -1), (0, 1))),
        (xp.flip(x), np.flip(_FLOATS)), (xp.flip(x, axis=1), np.flip(_FLOATS, 1)),
        (xp.moveaxis(xp.ones((2, 3, 4)), (0, 2), (-1, 0)), np.moveaxis(np.ones((2, 3, 4)), (0, 2), (-1, 0))),
        (xp.repeat(x, 2), np.repeat(_FLOATS, 2)), (xp.repeat(x, 3, axis=0), np.repeat(_FLOATS, 3, 0)),
        (xp.repeat(x, xp.array([0, 2, 1, 3]), axis=1), np.repeat(_FLOATS, [0, 2, 1, 3], 1)),
        (xp.tile(x, (2,)), np.tile(_FLOATS, 2)), (xp.tile(x, (2, 1, 3)), np.tile(_FLOATS, (2, 1, 3))),
        (xp.concat([x, x], axis=None), np.concatenate([_FLOATS, _FLOATS], None)),
        (xp.reshape(x, (4, -1)), _FLOATS.reshape(4, -1)), (xp.reshape(x, 2, 4), _FLOATS),
        (xp.permute_dims(x, (1, 0)), _FLOATS.T),
        (xp.broadcast_arrays(xp.arange(3), xp.ones((2, 1)))[0], np.broadcast_to(np.arange(3), (2, 3))),
        (xp.unstack(x, axis=1)[2], _FLOATS[:, 2]),
    ]  # fmt: skip
    for got, wanted in rows:
        assert got.shape == wanted.shape
        assert got.tolist() == wanted.tolist()


@pytest.mark.parametrize("axis", [None, 0, -1, (0, 2), ()])
@pytest.mark.parametrize("keepdims", [False, True])
def test_reductions(axis: Any, keepdims: bool) -> None:
    data = np.random.default_rng(1).normal(size=(3, 5, 4))
    x = xp.array(data, "f64")
    for name, more in (("sum", {}), ("prod", {}), ("mean", {}), ("max", {}), ("min", {}), ("std", {"correction": 1}),
                       ("var", {"correction": 0.5}), ("all", {}), ("any", {})):  # fmt: skip
        if axis == () and more:
            continue
        words = {"ddof" if word == "correction" else word: value for word, value in more.items()}
        wanted = getattr(np, name)(data, axis=axis, keepdims=keepdims, **words)
        found = getattr(xp, name)(x, axis=axis, keepdims=keepdims, **more)
        assert found.shape == wanted.shape
        np.testing.assert_allclose(found.numpy(), wanted, rtol=1e-13)
    ints = (data * 9).astype("i2")
    assert xp.prod(xp.array(ints), axis=axis).tolist() == np.prod(ints, axis=axis, dtype="i8").tolist()


def test_of_none() -> None:
    empty = xp.zeros((0, 3))
    assert xp.all(empty, axis=0).tolist() == [True] * 3
    assert xp.any(empty).item() is False
    assert xp.prod(empty, axis=0).tolist() == [1.0] * 3
    assert xp.sum(empty).item() == 0.0
    assert math.isnan(xp.var(xp.ones(1), correction=1).item())
    for name in ("mean", "var", "std"):
        found = getattr(xp, name)(empty, axis=0, keepdims=True)
        assert found.shape == (1, 3)
        assert xp.all(xp.isnan(found)).item()


def test_complex_numbers() -> None:
    data = np.array([1.5 - 2.5j, complex(math.nan, 0), complex(0, math.inf), 0, -3j])
    x = xp.array(data)
    for name in ("isnan", "isinf", "isfinite"):
        assert getattr(xp, name)(x).tolist() == getattr(np, name)(data).tolist()
    assert xp.round(x[:1]).tolist() == np.round(data[:1]).tolist()
    assert xp.sign(x[3:]).tolist() == [0, -1j]
    assert xp.linspace(0, 1 + 2j, 3, dtype=xp.complex128).tolist() == np.linspace(0, 1 + 2j, 3).tolist()
    assert xp.finfo(xp.complex64).dtype == xp.float32


def test_types() -> None:
    assert xp.result_type(xp.uint8, xp.arange(2, dtype=xp.int8), 1) == xp.int16
    assert xp.isdtype(xp.float32, ("integral", "real floating"))
    assert not xp.isdtype(xp.bool, "numeric")
    for dtype, name in ((xp.float32, "f4"), (xp.float64, "f8"), (xp.float16, "f2")):
        mine, theirs = xp.finfo(dtype), np.finfo(name)
        assert (mine.eps, mine.max, mine.min, mine.smallest_normal, mine.bits) == (
            theirs.eps, theirs.max, theirs.min, theirs.smallest_normal, theirs.bits)  # fmt: skip
    assert (xp.iinfo(xp.int16).max, xp.iinfo(xp.uint8).min) == (32767, 0)
    assert xp.can_cast(xp.int32, xp.int64)
    assert not xp.can_cast(xp.int64, xp.int32)
    info = xp.__array_namespace_info__()
    assert info.default_device() in info.devices()
    assert info.default_dtypes()["integral"] == xp.int64
    assert set(info.dtypes(kind="unsigned integer")) == {"uint8", "uint16", "uint32", "uint64"}
    assert xp.ones(1).__array_namespace__(api_version="2024.12") is xp


@pytest.mark.parametrize("name", ["acosh", "asinh", "atanh", "log10", "reciprocal", "square"])
def test_slopes(name: str) -> None:
    """Against differences of numpy's function."""
    at = (
        np.array([1.25, 2.5])
        if name == "acosh"
        else np.array([0.25, -0.5])
        if name != "log10"
        else np.array([0.5, 9.0])
    )
    p = xp.parameter(at, "f64")
    (slope,) = xp.grad(xp.sum(getattr(xp, name)(p)), [p])
    step = 1e-6
    wanted = (_ONE[name](at + step) - _ONE[name](at - step)) / (2 * step)
    np.testing.assert_allclose(slope.numpy(), wanted, rtol=1e-8)


@pytest.mark.parametrize("name", ["hypot", "remainder", "logaddexp", "copysign"])
def test_slopes_of_two(name: str) -> None:
    x, y = np.array([1.25, -2.5, 7.3]), np.array([0.5, 2.0, -1.7])
    p, q = xp.parameter(x, "f64"), xp.parameter(y, "f64")
    slopes = xp.grad(xp.sum(getattr(xp, name)(p, q)), [p, q])
    step = 1e-6
    wanted = [
        (_TWO[name](x + step, y) - _TWO[name](x - step, y)) / (2 * step),
        (_TWO[name](x, y + step) - _TWO[name](x, y - step)) / (2 * step),
    ]
    for got, want in zip(slopes, wanted, strict=True):
        np.testing.assert_allclose(got.numpy(), want, rtol=1e-7, atol=1e-9)


_WRONG: list[tuple[Callable[[], Any], type[LoomError], str]] = [
    (lambda: xp.arange(3, 1, 0), ArgumentError, "it leads nowhere"),
    (lambda: xp.arange(0, 300, dtype=xp.uint8), DTypeError, "299 does not fit u8"),
    (lambda: xp.arange(0.5, 3, dtype=xp.int32), DTypeError, "floats in i32"),
    (lambda: xp.asarray([1.0], copy=False), ArgumentError, "the elements must be copied"),
    (lambda: xp.zeros(2, device="cpu", on="interp"), ArgumentError, "device and on differ"),
    (lambda: xp.reshape(xp.ones(4), (2, 2), copy=False), ArgumentError, "do not share"),
    (lambda: xp.tril(xp.ones(3)), ShapeError, "not a matrix"),
    (lambda: xp.meshgrid(xp.ones(3), indexing="ab"), ArgumentError, "'ab' is not known"),
    (lambda: xp.roll(xp.ones((2, 2)), (1, 2), axis=0), ArgumentError, "not one for each axis"),
    (lambda: xp.repeat(xp.ones(3), [1, 2]), ShapeError, "not one for each place"),
    (lambda: xp.repeat(xp.ones(3), xp.ones(3)), DTypeError, "no whole numbers"),
    (lambda: xp.moveaxis(xp.ones((2, 2)), (0, 1), 0), ArgumentError, "the axes do not match"),
    (lambda: xp.broadcast_arrays(xp.ones(2), xp.ones(3)), ShapeError, "do not broadcast"),
    (lambda: xp.bitwise_left_shift(xp.ones(2), 1), DTypeError, "expected integers"),
    (lambda: xp.nextafter(xp.ones(2, "f16"), 1), DTypeError, "expected f32 or f64"),
    (lambda: xp.finfo(xp.int8), DTypeError, "not a type of floats"),
    (lambda: xp.iinfo(xp.float32), DTypeError, "not a type of integers"),
    (lambda: xp.isdtype(xp.float32, "floats"), ArgumentError, "'floats' is not known"),
    (xp.result_type, ArgumentError, "nothing to join"),
    (lambda: xp.add(1, 2), DTypeError, "no tensor among the operands"),
    (lambda: xp.clip(xp.ones(2), 0, min=1), TypeError, "multiple values"),
    (lambda: xp.clip(xp.ones(2), min=0, low=1), ArgumentError, "low is given twice"),
    (lambda: xp.ones(1).__array_namespace__(api_version="1999.12"), ArgumentError, "another version"),
]  # type: ignore[list-item]


@pytest.mark.parametrize("number", range(len(_WRONG)))
def test_refusals(number: int) -> None:
    call, kind, text = _WRONG[number]
    with pytest.raises(kind, match=text):
        call()
