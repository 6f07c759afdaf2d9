"""Forward results against numpy and scipy, on every device kind.

Integers, comparisons, copies and correctly rounded operations are compared exactly; sums and products of f32 within
1e-6 of their magnitude, some ulp, since numpy adds in another order.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy import special

import loom
from loom import tensor
from loom.core.errors import ArgumentError, DTypeError, EmptyError, ShapeError, StateError
from loom.tensor import Tensor

_A = np.random.default_rng(1).normal(size=(4, 6)).astype(np.float32)
_B = np.random.default_rng(2).normal(size=(4, 6)).astype(np.float32)
_I = np.random.default_rng(3).integers(-50, 50, (4, 6)).astype(np.int32)
_ARRAYS = {"a": _A, "b": _B, "i": _I, "j": _I[::-1].copy(), "h": _A.astype(np.float16)}

_EXACT: dict[str, tuple[Callable[..., Any], Callable[..., Any], str]] = {
    "arithmetic": (lambda a, b: (a + b) * a - b / a, lambda a, b: (a + b) * a - b / a, "ab"),
    "numbers": (lambda a: 2 - a * 3, lambda a: 2 - a * 3, "a"),
    "integers": (lambda i, j: i * j - (i & j) + (i ^ 7), lambda i, j: i * j - (i & j) + (i ^ 7), "ij"),
    "f16 rounds after each operation": (lambda h: h * h + h / 3, lambda h: h * h + h / np.float16(3), "h"),
    "comparisons": (lambda a, b: (a < b) | ~(a >= 0), lambda a, b: (a < b) | ~(a >= 0), "ab"),
    "where": (lambda a, b: tensor.where(a > b, a, 0), lambda a, b: np.where(a > b, a, np.float32(0)), "ab"),
    "clip": (lambda a: tensor.clip(a, -0.5, 0.5), lambda a: np.clip(a, -0.5, 0.5), "a"),
    "sqrt": (lambda a: abs(a).sqrt(), lambda a: np.sqrt(np.abs(a)), "a"),
    "casts": (lambda a: (a * 100).astype("i32").astype("f64"), lambda a: (a * 100).astype("i4").astype("f8"), "a"),
    "broadcast": (lambda a, b: a[:, :1] + b[0], lambda a, b: a[:, :1] + b[0], "ab"),
    "views": (
        lambda a: a.T[1:5:2].reshape(2, 2, 2).permute(2, 0, 1) * 2,
        lambda a: a.T[1:5:2].reshape(2, 2, 2).transpose(2, 0, 1) * 2, "a"),
    "reverse": (lambda a: tensor.reverse(a, (0, 1))[:, 1:], lambda a: a[::-1, ::-1][:, 1:], "a"),
    "new axes": (lambda a: a[None, 1, ..., None], lambda a: a[None, 1, ..., None], "a"),
    "squeeze": (lambda a: tensor.squeeze(tensor.expand_dims(a, 1)), lambda a: a, "a"),
    "pad": (
        lambda a: tensor.pad(a, [(1, 2), (0, 3)], 7), lambda a: np.pad(a, [(1, 2), (0, 3)], constant_values=7), "a"),
    "concat": (
        lambda a, b: tensor.concat([a, b.T.reshape(4, 6)], 1),
        lambda a, b: np.concatenate([a, b.T.reshape(4, 6)], 1), "ab"),
    "stack": (lambda a, b: tensor.stack([a, b], 1), lambda a, b: np.stack([a, b], 1), "ab"),
    "split": (lambda a: tensor.split(a, [1, 3, 2], 1)[1], lambda a: np.split(a, [1, 4], 1)[1], "a"),
    "max": (lambda a: a.max(0), lambda a: a.max(0), "a"),
    "min": (lambda a: a.min(), lambda a: a.min(), "a"),
    "argmax": (lambda a: tensor.argmax(a, 1), lambda a: a.argmax(1), "a"),
    "argmin": (tensor.argmin, lambda a: a.argmin(), "a"),
    "sum of integers": (lambda i: i.sum((0, 1)), lambda i: i.sum(dtype="i8"), "i"),
    "sum of bools": (lambda a: (a > 0).sum(0), lambda a: (a > 0).sum(0, dtype="i8"), "a"),
    "product of integers": (lambda i, j: i @ j.T, lambda i, j: i @ j.T, "ij"),
    "gather": (lambda a, i: tensor.gather(a, abs(i).map("irem", 4)), lambda a, i: a[abs(i) % 4], "ai"),
    "arange": (lambda i: i + tensor.arange(6), lambda i: i + np.arange(6), "i"),
    "full": (lambda a: tensor.full((2, 3), 2.5), lambda a: np.full((2, 3), 2.5, "f4"), "a"),
    "one_hot": (lambda i: tensor.one_hot(abs(i).map("irem", 3), 3), lambda i: np.eye(3, dtype="f4")[abs(i) % 3], "i"),
    "windows": (
        lambda a: tensor.windows(a, (1,), (3,), (2,)) * 1,
        lambda a: np.lib.stride_tricks.sliding_window_view(a, 3, 1)[:, ::2], "a"),
}  # fmt: skip

_CLOSE: dict[str, tuple[Callable[..., Any], Callable[..., Any], str]] = {
    "sum": (lambda a: a.sum(1, keepdims=True), lambda a: a.sum(1, keepdims=True), "a"),
    "mean": (lambda a: a.mean(), lambda a: a.mean(), "a"),
    "variance": (lambda a: tensor.variance(a, 0), lambda a: a.var(0), "a"),
    "matmul": (lambda a, b: a @ b.T, lambda a, b: a @ b.T, "ab"),
    "batches": (
        lambda a, b: a.reshape(4, 2, 3) @ b.reshape(1, 4, 3, 2)[:, :1],
        lambda a, b: a.reshape(4, 2, 3) @ b.reshape(1, 4, 3, 2)[:, :1], "ab"),
    "einsum": (lambda a, b: tensor.einsum("ij,kj->ki", a, b), lambda a, b: np.einsum("ij,kj->ki", a, b), "ab"),
    "softmax": (tensor.softmax, lambda a: special.softmax(a, -1), "a"),
    "log_softmax": (lambda a: tensor.log_softmax(a, 0), lambda a: special.log_softmax(a, 0), "a"),
    "functions": (lambda a: a.exp() + a.tanh() * a.sigmoid(), lambda a: np.exp(a) + np.tanh(a) * special.expit(a), "a"),
    "softplus": (lambda a: tensor.softplus(a * 50), lambda a: np.logaddexp(a * 50, 0), "a"),
}  # fmt: skip


def _both(case: tuple[Callable[..., Any], Callable[..., Any], str], on: str) -> tuple[Any, Any]:
    ours, theirs, names = case
    arrays = [_ARRAYS[n] for n in names]
    return ours(*(tensor.array(a, on=on) for a in arrays)).numpy(), np.asarray(theirs(*arrays))


@pytest.mark.parametrize("name", _EXACT)
def test_exact_results(name: str, on: str) -> None:
    found, wanted = _both(_EXACT[name], on)
    assert found.dtype == wanted.dtype
    assert found.shape == wanted.shape
    assert found.tobytes() == np.ascontiguousarray(wanted).tobytes()


@pytest.mark.parametrize("name", _CLOSE)
def test_close_results(name: str, on: str) -> None:
    found, wanted = _both(_CLOSE[name], on)
    np.testing.assert_allclose(found, wanted, rtol=2e-6, atol=2e-6, strict=True)


def test_long_reductions_take_several_levels() -> None:
    data = np.random.default_rng(4).integers(-9, 9, (3, 20_000)).astype(np.int32)
    x = tensor.array(data, on="cpu")
    assert x.sum(1).tolist() == data.sum(1).tolist()
    assert x.T.sum(0).tolist() == data.sum(1).tolist()
    assert x.sum().item() == data.sum()
    assert tensor.argmax(x, 1).tolist() == data.argmax(1).tolist()


def test_bf16_is_stored_in_16_bits() -> None:
    x = tensor.array([1.0, 1.00390625, 3.0e38], "bf16", on="cpu")
    assert x.tolist() == [1.0, 1.0, 226 / 128 * 2.0**127]  # a tie goes to even
    assert (x * 3).host_elements()[0].tolist() == [0x4040, 0x4040, 0x7F80]
    assert x.numpy().astype(np.float32).tolist() == x.tolist()


def test_rows_are_summed_in_the_order_of_their_positions() -> None:
    rows = np.array([[1e8], [1.0], [-1e8], [1.0]], np.float32)
    x, at = tensor.array(rows, on="cpu"), tensor.array([1, 1, 1, 1], "i32", on="cpu")
    assert tensor.sum_by_index(x, at, 3).tolist() == [[0], [1], [0]]


@pytest.mark.needs("compiled")
@pytest.mark.parametrize("n", [3, 300, 1500, 3000])
def test_sums_by_index_of_any_number(on: str, n: int) -> None:
    rng = np.random.default_rng(n)
    rows, at = rng.normal(size=(n, 3)).astype(np.float32), rng.integers(-1, 71, n).astype(np.int32)
    wanted = np.zeros((70, 3), np.float32)
    inside = (at >= 0) & (at < 70)
    np.add.at(wanted, at[inside], rows[inside])  # one after the other
    found = tensor.sum_by_index(tensor.array(rows, on=on), tensor.array(at, on=on), 70)
    assert np.array_equal(found.numpy().view(np.uint32), wanted.view(np.uint32))


def test_sizes_of_zero() -> None:
    x = tensor.zeros((0, 3)) + tensor.array([1.0, 2.0, 3.0], on="cpu")
    assert x.numpy().shape == (0, 3)
    assert x.sum(0).tolist() == [0, 0, 0]
    assert (tensor.array(np.zeros((2, 0), np.float32)) @ x).tolist() == [[0, 0, 0], [0, 0, 0]]
    with pytest.raises(EmptyError, match=r"\[max\] no elements: expected at least 1, got \(0, 3\)"):
        x.max(0)
    with pytest.raises(EmptyError, match=r"\[argmin\] no elements: expected at least 1, got \(0, 3\)"):
        tensor.argmin(x)  # of all, whose shape is told as it came


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8"])
@pytest.mark.parametrize(("shape", "axis"), [((1,), None), ((1,), 0), ((3, 1), 1), ((), None), ((2, 1, 1), (1, 2))])
def test_a_sum_begins_at_0(dtype: str, shape: tuple[int, ...], axis: Any) -> None:
    """So it is never -0, of one element alone neither."""
    x = tensor.array(np.full(shape, -0.0, dtype))
    for total in (tensor.sum(x, axis=axis), tensor.mean(x, axis=axis), tensor.sum(x * 1, axis=axis)):
        assert not np.signbit(total.numpy()).any()


def test_the_same_operations_are_compiled_once(monkeypatch: pytest.MonkeyPatch) -> None:
    from loom.runtime.chain import kept

    monkeypatch.setattr(kept, "_programs", kept.KeptPrograms())  # full ones, of earlier tests, do not grow
    x = tensor.array(np.ones((3, 5), np.float32), on="cpu")
    (tensor.softmax(x) * 3).evaluate()
    before = len(kept.program_cache())
    for k in range(3):
        y = tensor.array(np.full((3, 5), k, np.float32), on="cpu")
        assert (tensor.softmax(y) * 3).sum().item() == pytest.approx(9)
        (tensor.softmax(y) * 3).evaluate()
    assert len(kept.program_cache()) == before + 1


def test_protocols() -> None:
    x = tensor.array(np.arange(4, dtype=np.float32), on="cpu")
    assert np.asarray(x * 2).tolist() == [0, 2, 4, 6]
    assert np.from_dlpack(x + 1).tolist() == [1, 2, 3, 4]
    assert tensor.array(x + 1, on="cpu").tolist() == [1, 2, 3, 4]
    assert (float(x.sum()), int(x.sum()), bool(x[0] == 0), len(x)) == (6.0, 6, True, 4)
    assert repr(x * 2) == "tensor([0., 2., 4., 6.], f32, cpu)"
    assert (x * 2).recipe() == "<tensor f32, 4, mul>"
    assert repr(tensor.input("x", (2, 3)) + 1) == "<tensor f32, 2 x 3, add>"


_BAD: list[tuple[str, Callable[[Tensor, Tensor], Any], type[Exception], str]] = [
    ("shapes", lambda a, i: a + a[:, :5], ShapeError,
     r"\[add\] the shapes do not broadcast: .* got \(4, 6\) and \(4, 5\)\. Reshape one"),
    ("types", lambda a, i: i * i.astype("u64"), DTypeError,
     r"\[mul\] no integer type holds all numbers of both: .* got i32 and u64"),
    ("no tensor", lambda a, i: a + "one", DTypeError, r"\[add\] .* is no number: expected a tensor, or a number"),
    ("a large int", lambda a, i: i + 2**40, DTypeError, r"\[add\] 1099511627776 does not fit i32"),
    ("bits of floats", lambda a, i: a & a, DTypeError, r"\[and\] unsupported dtype: expected an integer or bool"),
    ("unknown", lambda a, i: a.map("expp"), ArgumentError, r"no operation is called 'expp'.*exp"),
    ("axis", lambda a, i: a.sum(2), ArgumentError, r"\[sum, axis\] there is no such axis: expected -2 to 1, got 2"),
    ("axes", lambda a, i: a.sum((0, -2)), ArgumentError, r"an axis is named twice"),
    ("reshape", lambda a, i: a.reshape(5, 5), ShapeError, r"\[reshape\] the elements do not fit: .*24 elements"),
    ("matmul", lambda a, i: a @ a, ShapeError, r"\[matmul\] the inner dimensions differ: .* got \(4, 6\) @ \(4, 6\)"),
    ("concat", lambda a, i: tensor.concat([a, a[:, 1:]], 0), ShapeError, r"\[concat\] the shapes do not fit"),
    ("index", lambda a, i: a[4], ArgumentError, r"index 4 is outside axis 0: expected -4 to 3, got 4"),
    ("step", lambda a, i: a[::0], DTypeError, r"not a slice of ints: expected ints, the step not 0"),
    ("einsum", lambda a, i: tensor.einsum("i%->i", a), ArgumentError, r"\[einsum\] unusable subscripts"),
    ("condition", lambda a, i: tensor.where(a, a, a), DTypeError, r"\[where\] the condition is no bool"),
    ("indices", lambda a, i: tensor.gather(a, a), DTypeError, r"\[gather\] indices are no integers"),
    ("window", lambda a, i: tensor.windows(a, (0,), (5,), (1,)), ShapeError, r"a window does not fit axis 0"),
    ("item", lambda a, i: a.item(), ShapeError, r"\[tensor.item\] not one element"),
    ("input", lambda a, i: (a + tensor.input("x", (4, 6))).numpy(), StateError, r"input 'x' has no elements"),
    ("devices", lambda a, i: a + tensor.array(_A, on="interp"), ArgumentError,
     r"\[add\] the tensors are on different devices: expected cpu, got interp"),
]  # fmt: skip


@pytest.mark.parametrize(("fn", "error", "text"), [case[1:] for case in _BAD], ids=[case[0] for case in _BAD])
def test_errors(fn: Callable[[Tensor, Tensor], Any], error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        fn(tensor.array(_A, on="cpu"), tensor.array(_I, on="cpu"))


@pytest.mark.parametrize(("m", "n", "k"), [(64, 10, 392), (3000, 6, 25), (5, 6, 9000), (70, 80, 90)])
def test_products_have_the_bits_of_gpu_matmul(m: int, n: int, k: int) -> None:
    rng = np.random.default_rng(m)
    a, b = rng.normal(size=(m, k)).astype(np.float32), rng.normal(size=(k, n)).astype(np.float32)
    wanted = loom.gpu_matmul(a, b, on="cpu").tobytes()
    x, y = tensor.array(a, on="cpu"), tensor.array(b, on="cpu")
    turned = tensor.array(np.ascontiguousarray(a.T), on="cpu"), tensor.array(np.ascontiguousarray(b.T), on="cpu")
    assert (x @ y).numpy().tobytes() == wanted
    assert (turned[0].T @ turned[1].T).numpy().tobytes() == wanted


@pytest.mark.parametrize("shape", [(3, 5000), (5000, 3), (300, 7), (2, 9000, 2)])
def test_sums_have_the_bits_of_gpu_sum(shape: tuple[int, ...]) -> None:
    data = np.random.default_rng(1).normal(size=shape).astype(np.float32)
    for axis in range(len(shape)):
        wanted = loom.gpu_sum(data, axis=axis, on="cpu").tobytes()
        assert tensor.array(data, on="cpu").sum(axis).numpy().tobytes() == wanted
