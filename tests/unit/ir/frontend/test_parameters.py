"""Parameters of kernels: defaults, values by name, buffers by name."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

import loom
from loom import Out, bool_, f32, i32
from loom.core.errors import ArgumentError, KernelError
from loom.ir.frontend.decorator import KernelFunction


@loom.kernel
def filled(y: Out[f32], z: Out[i32], v: f32, n: i32 = 3, twice: bool_ = True) -> None:
    i = loom.global_id()
    if i < len(y):
        y[i] = v * 2.0 if twice else v
        z[i] = n


GIVEN: list[tuple[Any, tuple[float, int]]] = [
    ([1.5], (3.0, 3)),
    ([1.5, 4], (3.0, 4)),
    ([1.5, 4, False], (1.5, 4)),
    ({"v": 2.5}, (5.0, 3)),
    ({"twice": False, "v": 2.5, "n": -1}, (2.5, -1)),
    (np.array([0.5], np.float32), (1.0, 3)),
]


@pytest.mark.parametrize("params", range(len(GIVEN)))
def test_values_in_order_or_by_name_and_defaults(on: str, params: int) -> None:
    given, expected = GIVEN[params]
    y, z = np.zeros(3, np.float32), np.zeros(3, np.int32)
    chain = loom.Chain(on)
    chain.dispatch(filled, {"z": z, "y": y}, given)
    chain.build().run()
    assert (y == expected[0]).all()
    assert (z == expected[1]).all()


def test_units_take_names_too() -> None:
    with loom.boot(0, bindings={"y": (f32, 4), "z": (i32, 4)}) as unit:
        unit.dispatch(filled, {"v": 1.0, "n": 9}, groups=1)
        unit.build().run()
        assert unit.read(binding="z").tolist() == [9] * 4


WRONG: dict[str, tuple[Any, str]] = {
    "none": ([], "takes 3 parameters, and 'v' is not given: expected v: f32, n: i32 = 3, twice: bool = True, got 0"),
    "stray": ({"v": 1.0, "m": 2}, "has no parameter 'm': expected v: f32, n: i32 = 3, twice: bool = True, got 'm'"),
    "many": ([1.0, 2, True, 4], "takes 3 parameters: expected v: f32, n: i32 = 3, twice: bool = True, got 4"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_not_given_right_is_named(case: str) -> None:
    params, text = WRONG[case]
    with pytest.raises(ArgumentError, match=re.escape(text)):
        loom.Chain().dispatch(filled, [np.zeros(1, np.float32), np.zeros(1, np.int32)], params)


def test_buffers_by_name_are_all_given() -> None:
    y = np.zeros(1, np.float32)
    with pytest.raises(ArgumentError, match=r"buffer 'z' is not given: expected y: f32, z: i32, got y\."):
        loom.Chain().dispatch(filled, {"y": y}, [1.0])
    with pytest.raises(ArgumentError, match=r"the kernel has no buffer 'x': expected y: f32, z: i32, got 'x'\."):
        loom.Chain().dispatch(filled, {"x": y}, [1.0])


def _with(default: Any, kind: Any) -> KernelFunction:
    def one(y: Out[f32], v: Any = default) -> None:
        y[0] = f32(v)

    one.__annotations__["v"] = kind
    return loom.kernel(one)


@pytest.mark.parametrize(("default", "kind"), [
    ("a", f32), (1.5, i32), (True, i32), (1, bool_), (1 << 31, i32), (-1, loom.u32), (None, f32), ([1], f32),
])  # fmt: skip
def test_a_default_fits_its_type(default: Any, kind: Any) -> None:
    with pytest.raises(KernelError, match="the default of 'v' does not fit: expected"):
        _ = _with(default, kind).verified


def test_a_buffer_has_no_default() -> None:
    def bad(y: Any = None) -> None:
        y[0] = 1.0

    bad.__annotations__["y"] = Out[f32]
    with pytest.raises(KernelError, match="buffer 'y' has a default"):
        _ = loom.kernel(bad).verified


def test_a_call_fills_defaults_in(on: str) -> None:
    y, z = np.zeros(3, np.float32), np.zeros(3, np.int32)
    filled(y, z, 2.0, on=on)
    assert (y.tolist(), z.tolist()) == ([4.0] * 3, [3] * 3)
    filled(y, z, v=2.0, twice=False, on=on)
    assert y.tolist() == [2.0] * 3
