"""Gradients through copies, other devices, maps of patterns, and tensors that are assigned to afterwards."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import loom
from loom import tensor

X = np.array([-1.5, 0.25, 0.75, 2.0, 0.0], np.float32)


def gradient(fn, given=X):
    x = tensor.array(given)
    y = fn(x)
    return tensor.grad((y * y).sum(), [x])[0]


@pytest.mark.parametrize("copy", [
    tensor.array, loom.array, lambda x: tensor.asarray(x, copy=True), lambda x: x.copy(),
    lambda x: x.to_device("interp"), lambda x: x.to("interp"), lambda x: tensor.astype(x, "f32", device="interp"),
    lambda x: tensor.asarray(x, device="interp"), lambda x: tensor.from_dlpack(x, device="interp"),
    lambda x: x.to_device("interp").to_device("cpu"), lambda x: tensor.array(x, "f64"),
    lambda x: tensor.array(x, "f64", on="interp"),
])  # fmt: skip
def test_copies_have_gradients_on_the_device_of_what_they_are_copies_of(copy):
    found = gradient(copy)
    assert found.numpy().tolist() == (2 * X).tolist()
    assert found.home.name == "cpu"


def test_a_copy_on_another_device_has_second_derivatives():
    x = tensor.array(X)
    y = x.to_device("interp")
    (first,) = tensor.grad((y * y * y).sum(), [x])
    (second,) = tensor.grad(first.sum(), [x])
    assert second.numpy().tolist() == (6 * X).tolist()


@pytest.mark.parametrize("made", [
    lambda x: tensor.array([x[0], x[1]]), lambda x: tensor.array([[1.0, x[0]], [x[1], 2.0]]),
    lambda x: tensor.array(x.astype("f64"), "f32"), loom.stats.rank,
])  # fmt: skip
def test_what_is_computed_outside_the_record_has_no_gradient_and_says_so(made):
    with pytest.raises(loom.LoomError, match="not recorded"):
        gradient(made)


def test_a_copy_of_what_a_program_is_fed_is_a_record():
    x = tensor.input("x", (3,))
    program = tensor.compile([tensor.array(x) * 2])
    program.run(x=[1.0, 2.0, 3.0])
    assert program.read()[0].tolist() == [2.0, 4.0, 6.0]
    with pytest.raises(loom.LoomError, match="no elements to copy"):
        tensor.array(tensor.array(X, on="cpu") * tensor.input("y", (5,)), on="interp")


def _torch_pairs():
    return {
        "where": (lambda x, y: loom.gpu_where(x > 0, x * 2, y), lambda x, y: torch.where(x > 0, x * 2, y)),
        "where of a number": (lambda x, y: loom.gpu_where(x > 0, 1.0, y), lambda x, y: torch.where(x > 0, 1.0, y)),
        "where, a number last": (lambda x, _: loom.gpu_where(x > 0, x, 2.0), lambda x, _: torch.where(x > 0, x, 2.0)),
        "clip": (lambda x, _: loom.gpu_clip(x, -1, 0.5), lambda x, _: torch.clip(x, -1, 0.5)),
        "clip to tensors": (lambda x, y: loom.gpu_clip(x, y - 9, y), lambda x, y: torch.clip(x, y - 9, y)),
        "sign": (lambda x, y: loom.gpu_sign(x) * y * x, lambda x, y: torch.sign(x) * y * x),
        "relu": (lambda x, y: loom.gpu_relu(x) * y, lambda x, y: torch.relu(x) * y),
        "square": (lambda x, _: loom.gpu_square(x), lambda x, _: x * x),
    }


@pytest.mark.parametrize("name", _torch_pairs())
def test_maps_of_patterns_have_the_gradients_of_torch(name):
    mine, theirs = _torch_pairs()[name]
    other = np.array([1.0, 2.0, -1.0, 0.5, 3.0], np.float32)
    x, y = tensor.array(X), tensor.array(other)
    a, b = (torch.tensor(v, requires_grad=True) for v in (X, other))
    result = mine(x, y)
    wanted = theirs(a, b)
    assert result.numpy().tolist() == wanted.tolist()
    wanted.sum().backward()
    for found, expected in zip(tensor.grad(result.sum(), [x, y]), (a.grad, b.grad), strict=True):
        assert found.numpy().tolist() == (torch.zeros(5) if expected is None else expected).tolist()


@pytest.mark.parametrize("name", ["where", "where of a number", "where, a number last", "clip", "sign", "relu"])
def test_maps_of_tensors_have_the_bits_of_those_of_numpy(name):
    mine, _ = _torch_pairs()[name]
    odd = np.array([np.nan, -np.nan, np.inf, -np.inf, -0.0], np.float32)
    for element in (np.float32, np.float16, np.float64):
        values, other = odd.astype(element), np.array([1, np.nan, -2, -0.0, 0], element)
        found = mine(tensor.array(values), tensor.array(other)).numpy()
        apart = loom.gpu_where(values > 0, 2 * values, other) if name == "where" else {
            "where of a number": lambda v, w: loom.gpu_where(v > 0, 1.0, w),
            "where, a number last": lambda v, _: loom.gpu_where(v > 0, v, 2.0),
            "clip": lambda v, _: loom.gpu_clip(v, -1, 0.5),
            "sign": lambda v, w: loom.gpu_mul(loom.gpu_mul(loom.gpu_sign(v), w), v),
            "relu": lambda v, w: loom.gpu_mul(loom.gpu_relu(v), w),
        }[name](values, other)  # fmt: skip
        assert np.array_equal(np.isnan(found), np.isnan(apart))
        held = ~np.isnan(found)
        assert found[held].tobytes() == apart[held].tobytes()


# what is assigned to between the computation and its gradient


def _functions():
    index = np.array([[0, 1, 0], [2, 2, 1]])
    return {
        "convolve": lambda x, w: tensor.convolve(tensor.reshape(x, (1, 4, 4, 1)), tensor.reshape(w[:9], (3, 3, 1, 1))),
        "padded": lambda x, w: tensor.convolve(x.reshape(1, 4, 4, 1), w[:9].reshape(3, 3, 1, 1), padding=1),
        "max_pool": lambda x, _: tensor.max_pool(tensor.reshape(x, (1, 4, 4, 1)), 2),
        "scatter_reduce": lambda x, w: tensor.scatter_reduce(
            tensor.reshape(x, (4, 4)), 0, tensor.array(index), tensor.reshape(w[:6], (2, 3)), "amax"),
        "softplus": lambda x, _: tensor.softplus(x), "logsumexp": lambda x, _: tensor.logsumexp(x),
        "layer_norm": tensor.layer_norm, "solve": lambda x, w: tensor.linalg.solve(
            x.reshape(4, 4) + tensor.array(8 * np.eye(4)), w[:4]),
        "cummax": lambda x, _: tensor.cummax(x)[0], "logcumsumexp": lambda x, _: tensor.logcumsumexp(x),
        "checkpoint": tensor.checkpoint(lambda x, w: (x * w).exp() * w),
        "eigh": lambda x, _: tensor.linalg.eigh(x.reshape(4, 4) + x.reshape(4, 4).T)[0],
        "svd": lambda x, _: tensor.linalg.svd(x.reshape(4, 4))[0],
        "expm": lambda x, _: tensor.linalg.expm(x.reshape(4, 4) * 0.1),
        "norm": lambda x, _: tensor.linalg.vector_norm(x), "bce": lambda x, w: tensor.bce(x.sigmoid(), w.sigmoid()),
        "qr": lambda x, _: tensor.linalg.qr(x.reshape(4, 4))[1], "lstsq": lambda x, w: tensor.linalg.lstsq(
            x.reshape(8, 2), w[:8])[0], "det": lambda x, _: tensor.linalg.det(x.reshape(4, 4)),
        "instance_norm": lambda x, _: tensor.instance_norm(x.reshape(1, 2, 8)),
        "quantile": lambda x, _: tensor.quantile(x, 0.3), "inv": lambda x, _: tensor.linalg.inv(x.reshape(4, 4)),
        "cholesky": lambda x, _: tensor.linalg.cholesky(
            x.reshape(4, 4) @ x.reshape(4, 4).T + tensor.array(np.eye(4))),
    }  # fmt: skip


def _operands():
    rng = np.random.default_rng(5)
    return rng.normal(size=16), rng.normal(size=16)


@pytest.mark.parametrize("name", _functions())
@pytest.mark.parametrize("written", [0, 1])
def test_gradients_are_those_of_the_elements_at_the_time(name, written):
    """A handle that is assigned to afterwards changes no gradient; what cannot be told is refused."""
    fn, values = _functions()[name], _operands()
    made = []
    for spoiled in (False, True):
        sources = [tensor.array(v) for v in values]
        handles = [tensor.array(v) for v in sources]  # what the function sees, and what may be assigned to
        y = fn(*handles)
        if spoiled:
            handles[written][...] = 0.5
        made.append([g.numpy() for g in tensor.grad((y * y).sum(), sources)])
    for plain, after in zip(*made, strict=True):
        assert plain.tobytes() == after.tobytes()


@pytest.mark.parametrize("name", ["convolve", "padded", "max_pool", "scatter_reduce", "layer_norm", "solve",
                                  "checkpoint", "qr"])  # fmt: skip
def test_gradients_of_parameters_that_are_written_afterwards(name):
    fn, values = _functions()[name], _operands()
    made = []
    for spoiled in (False, True):
        sources = [tensor.parameter(v) for v in values]
        y = fn(*sources)
        if spoiled:
            for source in sources:
                source.assign(np.full(16, 0.5))
        made.append([g.numpy() for g in tensor.grad((y * y).sum(), sources)])
    for plain, after in zip(*made, strict=True):
        assert plain.tobytes() == after.tobytes()


def test_a_derivative_of_a_user_that_holds_what_was_assigned_to_is_refused():
    x, w = tensor.array(X), tensor.array(X + 1)
    y = tensor.routed(x * w, [x], lambda _node, g: [g * w])
    w[0] = 9.0
    with pytest.raises(loom.LoomError, match="assigned to since"):
        tensor.grad(y.sum(), [x])


SECOND = [
    name for name in _functions() if name not in ("max_pool", "cummax", "scatter_reduce", "quantile", "lstsq", "expm")
]


@pytest.mark.parametrize("name", SECOND)
def test_second_derivatives_against_finite_differences(name):
    """Derivatives hold tensors of their own: those must lead to the operands as well."""
    fn, (a, b) = _functions()[name], _operands()
    along = np.random.default_rng(6).normal(size=16)

    def first(values):
        x, w = tensor.array(values), tensor.array(b)
        y = fn(x, w)
        return x, tensor.grad((y * y * y).sum(), [x])[0]

    x, slope = first(a)
    found = tensor.grad((slope * tensor.array(along)).sum(), [x])[0].numpy()
    step = 1e-5
    for k in (0, 5, 11):
        moved = [a.copy(), a.copy()]
        moved[0][k] += step
        moved[1][k] -= step
        ends = [float(first(m)[1].numpy() @ along) for m in moved]
        wanted = (ends[0] - ends[1]) / (2 * step)
        assert found[k] == pytest.approx(wanted, rel=2e-4, abs=2e-4 * (1 + abs(found).max()))
