"""Kernels over type variables: instances by the arrays that are bound, and by hand. Oracle: numpy."""

from __future__ import annotations

import re
import typing
from typing import Any

import numpy as np
import pytest

import loom
from loom import In, Out, f32, f64, i32, u32
from loom.core.errors import DTypeError

T = loom.TypeVar("T", f32, f64)  # type: ignore[misc]
U = typing.TypeVar("U")  # type: ignore[misc]


def doubled(v: Any) -> Any:
    return v + T(1.5) * v if v > T(0) else -v


@loom.kernel
def scaled(x: In[T], y: Out[T], index: In[U], told: Out[u32], a: T = 2.0) -> None:
    i = loom.global_id()
    if i < len(y):
        scratch = loom.private(T, 2)
        scratch[i % 2] = a
        y[i] = doubled(x[u32(index[i])]) * scratch[i % 2] + T(0.1)
        told[i] = 64 if T is f64 else 32


@pytest.mark.parametrize("kind", [np.float32, np.float64])
@pytest.mark.parametrize("index", [np.uint8, np.int64])
def test_the_arrays_tell(on: str, kind: Any, index: Any) -> None:
    x, y = np.linspace(-1, 1, 70).astype(kind), np.zeros(70, kind)
    order, told = np.arange(70, dtype=index)[::-1].copy(), np.zeros(70, np.uint32)
    expected = np.where(x > 0, x + kind(1.5) * x, -x)[::-1] * kind(2) + kind(0.1)
    chain = loom.Chain(on)
    chain.dispatch(scaled, [x, y, order, told])
    chain.build().run()
    assert y.tobytes() == expected.tobytes()
    assert (told == 8 * y.itemsize).all()
    y[:] = 0
    scaled(x, y, told=told, index=order, on=on)
    assert y.tobytes() == expected.tobytes()
    with loom.boot(0, bindings={"x": x, "y": y * 0, "index": order, "told": told}, device=on) as unit:
        unit.dispatch(scaled, {"a": 2.0})
        unit.build().run()
        assert unit.read(binding="y").tobytes() == expected.tobytes()


def test_instances_are_made_once_and_by_hand() -> None:
    assert scaled[f32, i32] is scaled.specialize(U=i32, T=f32) is scaled.specialize("float32", np.int32)
    assert scaled[f32, i32].name == "scaled[f32,i32]"
    assert scaled[f64, u32].verified.hash != scaled[f32, u32].verified.hash
    assert [str(m.dtype) for m in scaled[f64, loom.u8].verified.buffers] == ["f64", "f64", "u8", "u32"]
    chain = loom.Chain()
    storage = loom.device("cpu").allocate(64)
    chain.dispatch(scaled[f32, u32], [storage, np.zeros(2, np.float32), np.zeros(2, np.uint32), np.zeros(2, np.uint32)])
    chain.build().run()


def test_what_does_not_fit_is_told() -> None:
    f, d, u = np.zeros(2, np.float32), np.zeros(2), np.zeros(2, np.uint32)
    for given, text in (
        ([f, d, u, u], "'x' and 'y' are both of T: expected one type, f32 as 'x', got f64"),
        ([u, u.copy(), u, u], "T cannot be u32: expected f32, f64, got u32"),
        ([f, f.copy(), loom.device("cpu").allocate(8), u], "the type U is not chosen"),
    ):
        with pytest.raises(DTypeError, match=re.escape(text)):
            loom.Chain().dispatch(scaled, given)
    with pytest.raises(DTypeError, match=re.escape("the types T, U are not chosen")):
        _ = scaled.verified
    with pytest.raises(DTypeError, match="no type is given for U"):
        _ = scaled[f32]
    with pytest.raises(DTypeError, match="types for other variables"):
        scaled.specialize(V=f32)


def test_variables_may_be_local() -> None:
    V = loom.TypeVar("V", f32, f64)  # type: ignore[misc]

    @loom.kernel
    def shifted(x: loom.InOut[V], by: V = 1.0) -> None:
        i = loom.global_id()
        if i < len(x):
            x[i] += by * V(2)

    x = np.zeros(3)
    shifted(x)
    assert x.tolist() == [2.0] * 3
    assert shifted[f32].annotations["by"] is f32
