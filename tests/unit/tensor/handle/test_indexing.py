"""``x[key]`` and ``x[key] = value`` are numpy's, for keys of every kind; gradients go through both."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import loom
from loom import tensor
from loom.core.errors import DTypeError, IndexOutside, LoomError, ShapeError

X = np.arange(2 * 3 * 4, dtype=np.float32).reshape(2, 3, 4)
MASK = X % 3 == 0
KEYS: dict[str, Any] = {
    "int": 1,
    "numpy int": np.int32(-1),
    "ints": (1, 2, 3),
    "slice": slice(1, None),
    "backwards": (slice(None, None, -1), slice(2, 0, -2)),
    "empty slice": (slice(None), slice(2, 1)),
    "dots": (..., 1),
    "new axes": (None, 0, ..., None),
    "list": [1, 0, 1],
    "array of one axis": (slice(None), np.array([[2, 0], [-1, 1]])),
    "two arrays": ([0, 1, 1], [2, 0, -1]),
    "broadcast": (np.array([[0], [1]]), np.array([0, 2])),
    "apart": (np.array([0, 1]), slice(None), np.array([3, -4])),
    "int beside an array": (1, slice(None), [0, 3]),
    "after a new axis": (slice(None), None, [0, 2]),
    "backwards and an array": (slice(None, None, -1), [0, 0, 2], slice(3, None, -2)),
    "no positions": ([],),
    "mask": MASK,
    "mask of one axis": (slice(None), np.array([True, False, True])),
    "mask of two axes": (MASK[..., 0],),
    "mask and a slice": (MASK[:, 0, 0], slice(None), slice(1, 3)),
    "true": True,
    "false": (False, ...),
    "true beside arrays": (True, [0, 1]),
    "nothing true": np.zeros_like(MASK),
}


def _on_tensors(key: Any) -> Any:
    """Return a key with tensors in place of arrays and lists."""
    if isinstance(key, tuple):
        return tuple(_on_tensors(k) for k in key)
    if not isinstance(key, (list, np.ndarray)):
        return key
    return tensor.array(np.asarray(key, np.int64 if len(key) == 0 else None))


@pytest.mark.parametrize("name", KEYS)
@pytest.mark.parametrize("given", [lambda key: key, _on_tensors], ids=["host", "tensors"])
def test_taken_and_assigned_as_numpy_does(name: str, given: Callable[[Any], Any]) -> None:
    key = KEYS[name]
    x = tensor.array(X) * 1.0
    wanted = X[key]
    found = x[given(key)]
    assert found.shape == wanted.shape
    assert np.array_equal(found.numpy(), wanted)
    values = np.arange(wanted.size, dtype=np.float32).reshape(wanted.shape) + 100
    for value in (values, tensor.array(values), 7.0, values[..., :1] if wanted.ndim and wanted.shape[-1] else 3.0):
        for make in (lambda: tensor.array(X) * 1.0, lambda: tensor.array(X)):
            x, after = make(), X.copy()
            before = x + 0.0
            x[given(key)] = value
            after[key] = np.asarray(value)
            assert np.array_equal(x.numpy(), after)
            assert np.array_equal(before.numpy(), X)


@pytest.mark.parametrize("name", KEYS)
def test_gradients_are_those_of_differences(name: str) -> None:
    """The sum weighted by w has for gradient: w at what is read, and nothing at what was overwritten."""
    key = KEYS[name]
    rng = np.random.default_rng(1)
    x, part = tensor.array(X), X[key]
    w = rng.normal(size=part.shape).astype(np.float32)
    (g,) = tensor.grad((x[key] * tensor.array(w)).sum(), [x])
    wanted = np.zeros_like(X)
    np.add.at(wanted, key, w)
    assert np.allclose(g.numpy(), wanted, atol=1e-6)
    whole, value = tensor.array(rng.normal(size=X.shape).astype("f4")), tensor.array(w)
    y = x * 1.0
    y[key] = value
    dx, dv = tensor.grad((y * whole).sum(), [x, value])
    last = np.full(X.shape, -1)
    last[key] = np.arange(part.size).reshape(part.shape)
    assert np.array_equal(dx.numpy(), np.where(last < 0, whole.numpy(), 0))
    hits = np.zeros(part.size, np.float32)
    hits[last[last >= 0]] = whole.numpy()[last >= 0]
    assert np.array_equal(dv.numpy().reshape(-1), hits)


def test_every_dtype_on_every_device(on: Any) -> None:
    for dtype in ("bool", "i8", "u16", "i64", "u64", "f16", "bf16", "f32", "f64", "c64"):
        x = tensor.array([[0, 1, 1], [1, 0, 1]], dtype, on=on)
        x[1] = tensor.array([1, 1, 0], dtype, on=on)
        x[:, 0] = 1
        x[[0, 1], [2, 2]] = 0
        assert [[bool(v) for v in row] for row in x.tolist()] == [[True, True, False], [True, True, False]]
        assert x.dtype == loom.tensor.array([0], dtype).dtype


def test_the_last_of_several_wins(on: Any) -> None:
    x = tensor.zeros((5,)) + tensor.array(np.zeros(5, "f4"), on=on)
    x[[1, 3, 1, 1]] = [1.0, 2.0, 3.0, 4.0]
    assert x.tolist() == [0.0, 4.0, 0.0, 2.0, 0.0]


WRONG: dict[str, tuple[Callable[[Any], Any], type[LoomError], str]] = {
    "outside": (lambda x: x[2], IndexOutside, "index 2 is outside axis 0: expected -2 to 1"),
    "list outside": (lambda x: x[:, [0, -4]], IndexOutside, "index -4 is outside axis 1: expected -3 to 2"),
    "tensor outside": (lambda x: x[tensor.array([0, 5])], IndexOutside, "index 5 is outside axis 0"),
    "assigned outside": (lambda x: x.__setitem__([0, 9], 1.0), IndexOutside, "index 9 is outside axis 0"),
    "too many": (lambda x: x[0, 0, 0, [0]], IndexOutside, "too many indices: expected at most 3, got 4"),
    "mask": (lambda x: x[np.array([True, False, True])], IndexOutside, "the mask has another shape: expected (2,)"),
    "floats": (lambda x: x[[0.5]], DTypeError, "not an index: expected integers, or bools, got f64"),
    "text": (lambda x: x["a"], LoomError, "'a'"),
    "apart": (lambda x: x[[0, 1], [0, 1, 2]], IndexOutside, "the index arrays do not broadcast"),
    "value": (lambda x: x.__setitem__(0, [1.0, 2.0]), ShapeError, "the value does not fit: expected a shape"),
    "number": (lambda x: x.astype("i32").__setitem__(0, 1.5), DTypeError, "1.5"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_refused(name: str) -> None:
    call, error, text = WRONG[name]
    with pytest.raises(error) as caught:
        call(tensor.array(X))
    assert text in str(caught.value)


def test_a_program_is_fed_with_indices() -> None:
    at, x = tensor.input("at", (2,), "i32"), tensor.parameter(X)
    program = tensor.compile([x[at], x[:, at]])
    program.run(at=[1, -2])
    taken, along = program.read()
    assert np.array_equal(taken, X[[1, -2]])
    assert np.array_equal(along, X[:, [1, -2]])
