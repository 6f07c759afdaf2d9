"""Order-free products over tiles of bytes, as units of GPUs take them: the bits of the definition on every device."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import loom
from loom.kernels.matmul.units import Patch, multiply_planes, patch_of
from loom.kernels.matmul.wide import WidePatch
from loom.kernels.precisions import PRECISIONS
from loom.kernels.types import product_types
from loom.schedules.matmul import Multiplication, record_matmul
from loom.targets.base import Bounds
from loom.targets.llvm.machine import machine
from loom.targets.llvm.target import LlvmTarget
from unit.patterns.canonical import same_bits
from unit.patterns.linalg.order_free import TOPS, order_free_product

Array = np.ndarray[Any, Any]
NAMES = list(TOPS)
SMALL = Patch(1, 2, 1, 1)


def numbers(*shape: int) -> Array:
    rng = np.random.default_rng(shape)
    found = (rng.standard_normal(shape) * np.exp2(rng.integers(-12, 12, shape))).astype(np.float32)
    found[..., 0, :3] = 0, np.float32(TOPS["q12"]), -np.float32(TOPS["q24"])
    return found


def multiplied(
    on: str, a: Array, b: Array, name: str, patch: Patch | WidePatch, *, turn_a: bool, turn_b: bool
) -> Array:
    device, (m, k), n = loom.device(on), a.shape[-2:], b.shape[-1]
    what = Multiplication(
        m, n, k, product_types(loom.f32, loom.f32, precision=name), turn_a, turn_b, a.shape[:-2], b.shape[:-2]
    )
    out = np.zeros((*what.batch, m, n), np.float32)
    given = [np.ascontiguousarray(x.swapaxes(-1, -2) if turn else x) for x, turn in ((a, turn_a), (b, turn_b))]
    chain, places = loom.Chain(device), [device.allocate(x.nbytes) for x in (*given, out)]
    for place, x in zip(places, given, strict=False):
        place.write(0, x.reshape(-1).view(np.uint8))
    record_matmul(chain, *places, what, schedule=patch)
    chain.build().run()
    return places[2].read(0, out.nbytes).view(np.float32).reshape(out.shape)


@pytest.mark.parametrize("name", ["q8", "q12", pytest.param("q24", marks=pytest.mark.slow)])
@pytest.mark.parametrize(("m", "k", "n"), [(19, 200, 9), pytest.param(3, 4225, 6, marks=pytest.mark.slow)])
def test_the_bits_are_those_of_the_definition(on: str, name: str, m: int, k: int, n: int) -> None:
    a, b = numbers(m, k), numbers(k, n)
    expected = order_free_product(a, b, name)
    for turn_a, turn_b in ((False, False), (True, True)):
        patch = replace(SMALL, staged=name == "q12")
        assert same_bits(multiplied(on, a, b, name, patch, turn_a=turn_a, turn_b=turn_b), expected), (turn_a, turn_b)


@pytest.mark.parametrize("name", NAMES)
def test_scales_at_the_ends_of_the_range(name: str) -> None:
    a, b = numbers(32, 256), numbers(256, 16)
    a[:8] *= np.float32(2.0**100)
    a[8:12, 128:] *= np.float32(2.0**-110)
    a[12, 3], a[13, 200], b[7, 2], b[9, 3] = np.inf, np.nan, -np.inf, np.nan
    b[:, 8:12] *= np.float32(2.0**90)
    b[:, 12:] *= np.float32(2.0**-100)
    found = multiplied("interp", a, b, name, SMALL, turn_a=False, turn_b=True)
    assert same_bits(found, order_free_product(a, b, name))


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_patches_that_gpus_take(name: str) -> None:
    a, b = numbers(2, 70, 150), numbers(150, 41)
    a[0, 5, 7], a[1, 69, 149] = np.nan, np.inf
    found = multiplied("cpu", a, b, name, patch_of(PRECISIONS[name]), turn_a=False, turn_b=False)
    assert same_bits(found, np.stack([order_free_product(x, b, name) for x in a]))


@pytest.mark.parametrize("name", NAMES)
def test_tensor_cores_do_all_of_it(name: str) -> None:
    precision, patch = PRECISIONS[name], patch_of(PRECISIONS[name])
    kernel = multiply_planes(patch, precision).verified
    text = LlvmTarget(replace(machine("ptx"), tiles=True)).compile(kernel, Bounds.TRUSTED).data.decode()
    products = {"q8": 1, "q12": 3, "q24": 9}[name]
    assert text.count("mma.sync.aligned.m16n8k32") == patch.rows * patch.columns * products * 4
    assert "dp4a" not in text
    assert sum(4 * (m.size or 0) for m in kernel.kernel.shared) <= 48 << 10, "what every GPU has"
