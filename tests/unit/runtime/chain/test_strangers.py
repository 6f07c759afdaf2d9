"""Arguments of chains, swarms, devices, engines and proofs that mean nothing are refused by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import loom
from loom import InOut, u32
from loom.core.errors import ArgumentError, ShapeError


@loom.kernel(workgroup=64)
def add(registers: InOut[u32], k: u32) -> None:
    i = loom.global_id()
    if i < len(registers):
        registers[i] = registers[i] + k


@pytest.mark.parametrize("asked", ["BIT_EXACT", 3, None])
def test_a_guarantee_is_one(asked: Any) -> None:
    chain = loom.Chain("cpu")
    chain.dispatch(add, [np.zeros(4, np.uint32)], [1])
    if asked is None:
        chain.build(asked).run()
        return
    with pytest.raises(ArgumentError, match=r"\[chain.build, guarantee\] not a guarantee: .*Guarantee.BIT_EXACT"):
        chain.build(asked)


def test_parameters_of_no_such_name() -> None:
    with pytest.raises(ArgumentError, match=r"kernel 'add' has no parameter 'q': expected .*, got 'q'\."):
        loom.Chain("cpu").dispatch(add, [np.zeros(4, np.uint32)], {"q": 1})


@pytest.mark.parametrize(("size", "message"), [(-1, "out of range"), (1.5, "not a whole number"), ("4", "not a whole")])
def test_sizes_of_storage(device: Any, size: Any, message: str) -> None:
    with pytest.raises(ArgumentError, match=rf"\[device.allocate, nbytes\] {message}"):
        device.allocate(size)
    assert device.allocate(np.int64(16)).nbytes == 16


def test_a_range_of_less_than_nothing() -> None:
    with loom.boot(registers=8) as unit, pytest.raises(ShapeError, match=r"within its 8 elements, got 3 \+ -1\."):
        unit.read(3, -1)


@pytest.mark.parametrize("count", [-1, 1.5, "x", True])
def test_a_number_of_frames(count: Any) -> None:
    steps: list[int] = []
    with (
        loom.Engine(mains={"a": {"registers": 1}}) as engine,
        pytest.raises(ArgumentError, match=r"\[loom.Engine.frames, count\]"),
    ):
        engine.frames(lambda n: steps.append(n) or len(steps) < 5, count=count)
    assert steps == []


@pytest.mark.parametrize(("layers", "message"), [(9, "no such layer"), ("x", "not a whole|no such"), (1.5, "not a")])
def test_layers_of_a_proof(layers: Any, message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        loom.verify("cpu", layers=layers)


def test_one_layer_of_a_proof() -> None:
    asked: list[str] = []
    verify: Callable[..., Any] = loom.verify
    assert list(verify("cpu", layers=1, progress=asked.append).layers) == ["1"]
