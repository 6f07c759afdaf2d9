"""Order-free products over 64 rows at once, as Hopper takes them: the bits of the definition on every device."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import loom
from loom.core.caps import Caps
from loom.kernels.matmul.panels import extremes_of_scales
from loom.kernels.matmul.units import Patch
from loom.kernels.matmul.wide import WidePatch, multiply_panels, wide_patch_of
from loom.kernels.precisions import PRECISIONS
from loom.kernels.types import product_types
from loom.schedules.matmul import Multiplication
from loom.schedules.matmul.order_free import unit_for
from loom.targets.base import Bounds
from loom.targets.llvm.machine import machine
from loom.targets.llvm.target import LlvmTarget
from unit.patterns.canonical import same_bits
from unit.patterns.linalg.order_free import TOPS, order_free_product
from unit.patterns.linalg.test_units import multiplied, numbers

NAMES = list(TOPS)
OPTED_NBYTES = 227 << 10
"""Shared memory that a group may ask for on Hopper."""
HOPPER = Caps(
    32, 48 << 10, 1024, False, 132, 1 << 20, threads=True, dots="dot4_i8", tiles=True, wide_nbytes=OPTED_NBYTES
)


def small(name: str) -> WidePatch:
    """A patch that other devices have the shared memory for."""
    return WidePatch(1, 32, 2 if name == "q24" else 3)


@pytest.mark.parametrize("name", ["q12", *(pytest.param(n, marks=pytest.mark.slow) for n in ("q8", "q24"))])
def test_the_bits_are_those_of_the_definition(name: str) -> None:
    a, b = numbers(70, 300), numbers(300, 41)
    expected = order_free_product(a, b, name)
    for turn_a, turn_b in ((False, False), (True, True)):
        found = multiplied("cpu", a, b, name, small(name), turn_a=turn_a, turn_b=turn_b)
        assert same_bits(found, expected), (turn_a, turn_b)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_the_interpreter_has_the_same_bits(name: str) -> None:
    a, b = numbers(19, 400), numbers(400, 9)
    found = multiplied("interp", a, b, name, small(name), turn_a=False, turn_b=True)
    assert same_bits(found, order_free_product(a, b, name))


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_chunks_batches_and_groups_in_bands(name: str) -> None:
    a, b = numbers(2, 14 * 64 + 3, 4225), numbers(4225, 70)
    a[0, 5, 7], a[1, 69, 149] = np.nan, np.inf
    found = multiplied("cpu", a, b, name, small(name), turn_a=False, turn_b=False)
    assert same_bits(found, np.stack([order_free_product(x, b, name) for x in a]))


@pytest.mark.parametrize("name", ["q8", *(pytest.param(n, marks=pytest.mark.slow) for n in ("q12", "q24"))])
def test_scales_at_the_ends_of_the_range(name: str) -> None:
    a, b = numbers(32, 256), numbers(256, 16)
    a[:8] *= np.float32(2.0**100)
    a[8:12, 128:] *= np.float32(2.0**-110)
    a[12, 3], a[13, 200], b[7, 2], b[9, 3] = np.inf, np.nan, -np.inf, np.nan
    b[:, 8:12] *= np.float32(2.0**90)
    b[:, 12:] *= np.float32(2.0**-100)
    found = multiplied("cpu", a, b, name, small(name), turn_a=False, turn_b=True)
    assert same_bits(found, order_free_product(a, b, name))


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_patches_that_hopper_takes(name: str) -> None:
    a, b = numbers(2, 200, 1500), numbers(1500, 141)
    found = multiplied("cpu", a, b, name, wide_patch_of(PRECISIONS[name]), turn_a=False, turn_b=False)
    assert same_bits(found, np.stack([order_free_product(x, b, name) for x in a]))


@pytest.mark.parametrize("name", NAMES)
def test_numbers_at_their_largest_stay_exact(name: str) -> None:
    a = np.full((64, 128), TOPS[name], np.float32)
    a[::2], a[:, ::3] = -a[::2], np.abs(a[:, ::3])
    b = np.ascontiguousarray(a[:32].T)
    found = multiplied("cpu", a, b, name, small(name), turn_a=False, turn_b=False)
    assert same_bits(found, order_free_product(a, b, name))


@pytest.mark.parametrize("name", NAMES)
def test_tensor_cores_do_all_of_it(name: str) -> None:
    precision, patch = PRECISIONS[name], wide_patch_of(PRECISIONS[name])
    kernel = multiply_panels(patch, precision).verified
    where = replace(machine("ptx"), wide=True, cpu="sm_90a")
    text = LlvmTarget(where).compile(kernel, Bounds.TRUSTED).data.decode()
    products = {"q8": 1, "q12": 3, "q24": 9}[name]
    assert text.count(f"wgmma.mma_async.sync.aligned.m64n{patch.width}k32") == products * 4
    assert "dp4a" not in text
    assert patch.shared_nbytes(precision) <= OPTED_NBYTES


@pytest.mark.parametrize("name", NAMES)
def test_a_device_takes_the_widest_unit_it_has(name: str) -> None:
    precision = PRECISIONS[name]
    what = Multiplication(4096, 1024, 256, product_types(loom.f32, loom.f32, precision=name))
    assert unit_for(HOPPER, what) == wide_patch_of(precision)
    assert isinstance(unit_for(replace(HOPPER, wide_nbytes=0), what), Patch), "no unit for 64 rows"
    assert isinstance(unit_for(replace(HOPPER, wide_nbytes=48 << 10), what), Patch), "too little room"
    assert isinstance(unit_for(HOPPER, replace(what, n=63)), Patch), "too few columns"
    assert isinstance(unit_for(HOPPER, replace(what, m=512, n=512)), Patch), "too few patches"
    assert unit_for(replace(HOPPER, wide_nbytes=0, tiles=False), what) is None


def test_extremes_tell_of_nan() -> None:
    scales = np.exp2(np.random.default_rng(0).integers(-120, 100, (3, 300))).astype(np.float32)
    scales[1, 299] = np.nan
    out: Any = np.zeros((3, 2), np.float32)
    chain = loom.Chain("cpu")
    chain.dispatch(extremes_of_scales(), [scales.reshape(-1), out.reshape(-1)], [300], groups=3)
    chain.build().run()
    assert out[[0, 2]].tolist() == [[x.min(), x.max()] for x in scales[[0, 2]]]
    assert out[1, 0] == scales[1, :299].min()
    assert np.isnan(out[1, 1])
