"""Gradients against central finite differences in f64.

The difference quotient with step 1e-5 has an error of about 1e-10 by truncation and 1e-10 by rounding, times the size
of third derivatives and of the values: 1e-6 relative is far above both and far below any wrong formula.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import scipy.special

from deferred import functions_of
from loom import tensor
from loom.core.errors import ArgumentError, DTypeError, ShapeError
from loom.tensor import Tensor

special = functions_of(scipy.special)
_STEP = 1e-5
_RNG = np.random.default_rng(7)


def _values(*shape: int, low: float = -2.0, high: float = 2.0) -> np.ndarray[Any, Any]:
    return np.random.default_rng(sum(shape) + len(shape)).uniform(low, high, shape)


def _check(fn: Callable[..., Tensor], arrays: Sequence[np.ndarray[Any, Any]]) -> None:
    """Compare the gradients of sum(weights * fn(*arrays)) with difference quotients."""
    places = [tensor.parameter(a, "f64", on="cpu") for a in arrays]
    result = fn(*places)
    weights = tensor.array(np.random.default_rng(1).uniform(0.5, 1.5, result.shape), on="cpu")
    loss = (result * weights).sum()
    program = tensor.compile([loss, *tensor.grad(loss, places)])
    program.run()
    _, *found = program.read()
    for place, array, gradient in zip(places, arrays, found, strict=True):
        for at in np.ndindex(array.shape):
            ends = []
            for sign in (1, -1):
                moved = array.copy()
                moved[at] += sign * _STEP
                place.assign(moved)
                program.run()
                ends.append(program.read()[0].item())
            place.assign(array)
            wanted = (ends[0] - ends[1]) / (2 * _STEP)
            assert gradient[at] == pytest.approx(wanted, rel=1e-6, abs=1e-7), at


_UNARY: dict[str, tuple[float, float]] = {
    "neg": (-2, 2),
    "abs": (0.3, 2),
    "sqrt": (0.3, 3),
    "exp": (-2, 2),
    "exp2": (-2, 2),
    "log": (0.3, 3),
    "log1p": (-0.5, 2),
    "log2": (0.3, 3),
    "tanh": (-2, 2),
    "sigmoid": (-3, 3),
    "erf": (-2, 2),
    "erfc": (-2, 2),
    "gelu": (-3, 3),
    "gelu_tanh": (-3, 3),
    "sin": (-3, 3),
    "cos": (-3, 3),
    "tan": (-1, 1),
    "sinh": (-2, 2),
    "cosh": (-2, 2),
    "rsqrt": (0.3, 3),
    "floor": (0.1, 0.9),
    "ceil": (0.1, 0.9),
    "rint": (0.1, 0.4),
    "trunc": (0.1, 0.9),
}


@pytest.mark.parametrize("name", _UNARY)
def test_functions_of_one_operand(name: str) -> None:
    _check(lambda x: x.map(name), [_values(7, low=_UNARY[name][0], high=_UNARY[name][1])])


_NARROW: dict[str, tuple[Any, float, float]] = {
    "asin": (np.arcsin, -0.8, 0.8), "acos": (np.arccos, -0.8, 0.8), "atan": (np.arctan, -2, 2),
    "cbrt": (np.cbrt, 0.3, 3), "expm1": (np.expm1, -2, 2), "j0": (special.j0, 0.5, 4), "j1": (special.j1, 0.5, 4),
    "y0": (special.y0, 0.5, 4), "y1": (special.y1, 0.5, 4),
}  # fmt: skip


@pytest.mark.parametrize("name", _NARROW)
def test_functions_of_f32_alone(name: str) -> None:
    """Against difference quotients of numpy's and scipy's functions in f64: what differs is f32, some 1e-6."""
    fn, low, high = _NARROW[name]
    at = _values(9, low=low, high=high).astype(np.float32)
    x = tensor.array(at, on="cpu")
    wide = at.astype(np.float64)
    wanted = (fn(wide + _STEP) - fn(wide - _STEP)) / (2 * _STEP)
    np.testing.assert_allclose(tensor.grad(x.map(name).sum(), [x])[0].numpy(), wanted, rtol=1e-5, atol=1e-6)


def test_atan2() -> None:
    y, x = (tensor.array(_values(5, low=low).astype(np.float32), on="cpu") for low in (-2, 0.5))
    a, b = (t.numpy().astype(np.float64) for t in (y, x))
    found = tensor.grad(y.map("atan2", x).sum(), [y, x])
    np.testing.assert_allclose(found[0].numpy(), b / (a * a + b * b), rtol=1e-6)
    np.testing.assert_allclose(found[1].numpy(), -a / (a * a + b * b), rtol=1e-6)


_CASES: dict[str, tuple[Callable[..., Tensor], list[np.ndarray[Any, Any]]]] = {
    "add": (lambda a, b: a + b, [_values(3, 4), _values(4)]),
    "sub": (lambda a, b: a - b, [_values(3, 1), _values(3, 4)]),
    "mul": (lambda a, b: a * b, [_values(3, 4), _values(2, 1, 4)]),
    "div": (lambda a, b: a / b, [_values(3, 4), _values(4, low=0.5)]),
    "numbers": (lambda a: 1 - 2 / (a * 3 + 9), [_values(4)]),
    "square": (lambda a: a**2, [_values(4)]),
    "pow": (lambda a, b: a**b, [_values(3, 4, low=0.5), _values(4)]),
    "max": (tensor.maximum, [_values(6), _values(2, 6)]),
    "min": (tensor.minimum, [_values(6), _values(2, 6)]),
    "relu": (lambda a: a.relu(), [_values(8)]),
    "leaky_relu": (lambda a: tensor.leaky_relu(a, 0.1), [_values(8)]),
    "clip": (lambda a: tensor.clip(a, -1, 1), [_values(8)]),
    "silu": (tensor.silu, [_values(8)]),
    "softplus": (tensor.softplus, [_values(8)]),
    "where": (lambda a, b: tensor.where(a > b, a * b, b), [_values(5), _values(2, 5)]),
    "sum": (lambda a: a.sum((0, 2)), [_values(3, 4, 2)]),
    "sum of all": (lambda a: a.sum(), [_values(3, 4)]),
    "mean": (lambda a: a.mean(1, keepdims=True), [_values(3, 4)]),
    "variance": (lambda a: tensor.variance(a, -1), [_values(3, 4)]),
    "max along": (lambda a: a.max(1), [_values(3, 4, 2)]),
    "max of all": (lambda a: a.max(), [_values(3, 4)]),
    "min along": (lambda a: a.min((0, 1)), [_values(3, 4, 2)]),
    "max apart": (lambda a: a.max((0, 2)), [_values(3, 4, 2)]),
    "matmul": (lambda a, b: a @ b, [_values(3, 4), _values(4, 2)]),
    "matmul of batches": (lambda a, b: a @ b, [_values(2, 1, 3, 4), _values(3, 4, 2)]),
    "matmul by one matrix": (lambda a, b: a @ b, [_values(2, 3, 4), _values(4, 2)]),
    "matmul of vectors": (lambda a, b: a @ b, [_values(4), _values(4)]),
    "matmul of a vector": (lambda a, b: a @ b, [_values(2, 3, 4), _values(4)]),
    "matmul transposed": (
        lambda a, b: tensor.matmul(a, b, transpose_a=True, transpose_b=True),
        [_values(4, 3), _values(2, 4)],
    ),
    "einsum": (lambda a, b: tensor.einsum("bij,bkj->ikb", a, b), [_values(2, 3, 4), _values(2, 5, 4)]),
    "einsum of three": (
        lambda a, b, c: tensor.einsum("ij,jk,kl->il", a, b, c),
        [_values(2, 3), _values(3, 4), _values(4, 2)],
    ),
    "einsum of diagonals": (
        lambda a, b: tensor.einsum("...iij,jk,k...->i...", a, b, b[:3]),
        [_values(3, 2, 2, 4), _values(4, 3)],
    ),
    "reshape": (lambda a: (a.T * 2).reshape(2, -1), [_values(4, 3)]),
    "permute": (lambda a: a.permute(2, 0, 1), [_values(2, 3, 4)]),
    "broadcast": (lambda a: a.broadcast_to((2, 3, 4)), [_values(3, 1)]),
    "slice": (lambda a: a[1:, ::2], [_values(3, 5)]),
    "index": (lambda a: a[..., -1] * a[:, 0], [_values(3, 5)]),
    "reverse": (lambda a: tensor.reverse(a, 1) * a, [_values(3, 5)]),
    "windows": (lambda a: tensor.windows(a, (0, 1), (2, 2), (1, 2)), [_values(4, 5)]),
    "windows side by side": (lambda a: tensor.windows(a, (0, 2), (2, 3), (2, 3)), [_values(5, 2, 7)]),
    "pad": (lambda a: tensor.pad(a, [(1, 0), (0, 2)], 3.0), [_values(2, 3)]),
    "concat": (lambda a, b: tensor.concat([a, b * 2, a], 1), [_values(2, 3), _values(2, 1)]),
    "stack": (lambda a, b: tensor.stack([a, b], -1), [_values(2, 3), _values(2, 3)]),
    "split": (
        lambda a: tensor.split(a, 3, 1)[1] * tensor.split(a, 3, 1)[0] + tensor.split(a, 3, 1)[2],
        [_values(2, 6)],
    ),
    "gather": (lambda a: tensor.gather(a, tensor.array([[2, 0, 2], [5, -1, 1]], "i32")), [_values(4, 3)]),
    "sum by index": (lambda a: tensor.sum_by_index(a, tensor.array([2, 0, 2, 7], "i32"), 4), [_values(4, 3)]),
    "softmax": (lambda a: tensor.softmax(a, 1), [_values(2, 5, 2)]),
    "log_softmax": (tensor.log_softmax, [_values(3, 5)]),
    "layer_norm": (tensor.layer_norm, [_values(3, 6), _values(6), _values(6)]),
    "rms_norm": (tensor.rms_norm, [_values(3, 6), _values(6)]),
    "mse": (tensor.mse, [_values(3, 4), _values(3, 4, low=3, high=4)]),
    "mae": (tensor.mae, [_values(3, 4), _values(3, 4, low=3, high=4)]),
    "huber": (tensor.huber, [_values(9, high=0), _values(9, low=0)]),
    "cross_entropy": (lambda a: tensor.cross_entropy(a, tensor.array([1, 0, 3], "i32")), [_values(3, 4)]),
    "cross_entropy, soft": (tensor.cross_entropy, [_values(3, 4), _values(3, 4, low=0.1, high=1)]),
    "binary_cross_entropy": (tensor.binary_cross_entropy, [_values(9), _values(9, low=0, high=1)]),
    "convolve": (
        lambda a, b: tensor.convolve(a, b, stride=2, padding=1, dilation=(1, 2)),
        [_values(2, 4, 5, 2), _values(2, 2, 2, 3)],
    ),
    "convolve along": (tensor.convolve, [_values(2, 5, 2), _values(3, 2, 2)]),
    "max_pool": (lambda a: tensor.max_pool(a, 2), [_values(1, 4, 4, 2)]),
    "average_pool": (lambda a: tensor.average_pool(a, 2, 1), [_values(1, 3, 4, 2)]),
}


@pytest.mark.parametrize("name", _CASES)
def test_operations(name: str) -> None:
    _check(*_CASES[name])


def test_zeros_of_windows_side_by_side_are_those_of_a_sum() -> None:
    factors = np.array([[[-0.0, 1.0], [2.0, -0.0]], [[-3.0, 0.0], [-0.0, 4.0]]], np.float32)  # (2, 2) of (2)
    x = tensor.parameter(np.zeros((5, 2), np.float32))
    (found,) = tensor.grad((tensor.windows(x, (0,), (2,), (2,)) * tensor.array(factors)).sum(), [x])
    expected = np.zeros((5, 2), np.float32)
    expected[:4] = factors.transpose(0, 2, 1).reshape(4, 2) + np.float32(0)
    assert (found.numpy().view(np.uint32) == expected.view(np.uint32)).all()


def test_second_derivatives_are_recorded_like_first_ones() -> None:
    def slope(x: Tensor) -> Tensor:
        (first,) = tensor.grad((x * x * x + x.exp() / (x * x + 1)).sum(), [x])
        return first

    _check(slope, [_values(5)])


def test_a_checkpoint_changes_neither_result_nor_gradients() -> None:
    arrays = [_values(4, 6), _values(6, 6)]

    def deep(x: Tensor, w: Tensor, wrap: Any) -> Tensor:
        for _ in range(3):
            x = wrap(lambda h: ((h @ w).tanh() * h).sigmoid())(x)
        return x

    x, w = (tensor.parameter(a, on="cpu") for a in arrays)
    found = []
    for wrap in (tensor.checkpoint, lambda fn: fn):
        y = deep(x, w, wrap)
        found.append([t.numpy() for t in (y, *tensor.grad((y * y).sum(), [x, w]))])
    for a, b in zip(*found, strict=True):
        assert np.array_equal(a.view(np.uint64), b.view(np.uint64))


def test_a_checkpoint_needs_less_memory() -> None:
    def peak(wrap: Any) -> int:
        w = tensor.parameter(np.eye(64, dtype=np.float32), on="cpu")
        x = tensor.input("x", (256, 64))
        y = x
        for _ in range(6):
            y = wrap(lambda h: ((h @ w).tanh() @ w).sigmoid() @ w)(y)
        return tensor.compile(tensor.grad((y * y).sum(), [w])).peak_nbytes

    assert peak(tensor.checkpoint) < 0.75 * peak(lambda fn: fn)


def test_the_gradient_of_a_maximum_goes_to_the_first_of_several() -> None:
    x = tensor.array([[1.0, 3.0, 3.0], [2.0, 2.0, 2.0]], "f64", on="cpu")
    assert tensor.grad(x.max(1).sum(), [x])[0].tolist() == [[0, 1, 0], [1, 0, 0]]
    assert tensor.grad(tensor.maximum(x, tensor.detach(x)).sum(), [x])[0].sum().item() == 6


def test_the_gradient_of_a_maximum_goes_to_the_nan_that_won() -> None:
    nan = float("nan")
    for join in (tensor.maximum, tensor.minimum):
        a, b = tensor.array([nan, 1.0, nan, 2.0], on="cpu"), tensor.array([1.0, nan, nan, 2.0], on="cpu")
        of_a, of_b = tensor.grad(join(a, b).sum(), [a, b])
        assert (of_a.tolist(), of_b.tolist()) == ([1, 0, 1, 1], [0, 1, 0, 0])


def test_what_the_loss_does_not_depend_on_has_zeros() -> None:
    x, y = tensor.array([1.0, 2.0], on="cpu"), tensor.array([3.0], on="cpu")
    assert tensor.grad((tensor.detach(x) * y + x.sum()).sum(), [x, y])[0].tolist() == [2.0, 2.0]
    assert tensor.grad(y.sum(), [x])[0].tolist() == [0.0, 0.0]


def test_errors() -> None:
    x = tensor.array([[1.0, 2.0]], on="cpu")
    with pytest.raises(
        ShapeError, match=r"\[tensor.grad\] the loss is not one number: expected one element, got \(1, 2\)"
    ):
        tensor.grad(x * x, [x])
    with pytest.raises(DTypeError, match=r"\[tensor.grad\] no floats: .* got i32"):
        tensor.grad(x.sum(), [tensor.array([1], "i32", on="cpu")])
    with pytest.raises(ArgumentError, match=r"\[tensor.grad\] nextafter has no derivative: .*Use tensor.detach"):
        tensor.grad(x.map("nextafter", x).sum(), [x])
    with pytest.raises(ShapeError, match=r"seed\] it is not like the loss: expected f32 of \(1, 2\), got f32 of \(\)"):
        tensor.grad(x * x, [x], seed=x.sum())


def test_derivatives_at_zero() -> None:
    """Where a maximum and a magnitude meet: the whole function is smooth there."""
    zero = tensor.array([0.0], "f32")
    assert tensor.grad(tensor.softplus(zero).sum(), [zero])[0].tolist() == [0.5]
    for target, expected in ((1.0, -0.5), (0.0, 0.5), (0.25, 0.25)):
        loss = tensor.binary_cross_entropy(zero, tensor.array([target], "f32"))
        assert tensor.grad(loss, [zero])[0].tolist() == [expected]
