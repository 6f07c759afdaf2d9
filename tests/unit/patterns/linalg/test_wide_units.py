"""Order-free products over 64 rows at once, as Hopper takes them: the bits of the definition on every device."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import loom
from loom.core.caps import Caps
from loom.kernels.matmul.panels import PANEL_ROWS, groups_of_panels, panels_by_k, panels_by_row, panels_of_view
from loom.kernels.matmul.units import Patch
from loom.kernels.matmul.wide import WidePatch, multiply_panels, wide_patches_of
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


PATCHES = [(name, patch) for name in NAMES for patch in wide_patches_of(PRECISIONS[name])]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "patch"), PATCHES)
def test_patches_that_hopper_takes(name: str, patch: WidePatch) -> None:
    a, b = numbers(2, 200, 1500), numbers(1500, 141)
    found = multiplied("cpu", a, b, name, patch, turn_a=False, turn_b=False)
    assert same_bits(found, np.stack([order_free_product(x, b, name) for x in a]))


@pytest.mark.parametrize("name", NAMES)
def test_numbers_at_their_largest_stay_exact(name: str) -> None:
    a = np.full((64, 128), TOPS[name], np.float32)
    a[::2], a[:, ::3] = -a[::2], np.abs(a[:, ::3])
    b = np.ascontiguousarray(a[:32].T)
    found = multiplied("cpu", a, b, name, small(name), turn_a=False, turn_b=False)
    assert same_bits(found, order_free_product(a, b, name))


@pytest.mark.parametrize(("name", "patch"), PATCHES)
def test_tensor_cores_do_all_of_it(name: str, patch: WidePatch) -> None:
    precision = PRECISIONS[name]
    kernel = multiply_panels(patch, precision).verified
    where = replace(machine("ptx"), wide=True, cpu="sm_90a")
    text = LlvmTarget(where).compile(kernel, Bounds.TRUSTED).data.decode()
    products = {"q8": 1, "q12": 3, "q24": 9}[name]
    assert text.count(f"wgmma.mma_async.sync.aligned.m64n{patch.width}k32") == products * 4
    assert "dp4a" not in text
    assert patch.shared_nbytes(precision) <= OPTED_NBYTES
    assert not patch.height % PANEL_ROWS | patch.width % PANEL_ROWS, "extremes are told of whole panels"


@pytest.mark.parametrize("name", NAMES)
def test_a_device_takes_the_patch_that_keeps_it_busy(name: str) -> None:
    first, *_, last = wide_patches_of(PRECISIONS[name])
    what = Multiplication(8192, 8192, 256, product_types(loom.f32, loom.f32, precision=name))
    assert unit_for(HOPPER, what) == first
    assert unit_for(HOPPER, replace(what, m=256, n=256)) == last, "few rows and columns: small patches"
    assert isinstance(unit_for(replace(HOPPER, wide_nbytes=0), what), Patch), "no unit for 64 rows"
    assert isinstance(unit_for(replace(HOPPER, wide_nbytes=48 << 10), what), Patch), "too little room"
    assert isinstance(unit_for(HOPPER, replace(what, n=63)), Patch), "too few columns"
    assert unit_for(replace(HOPPER, wide_nbytes=0, tiles=False), what) is None


@pytest.mark.parametrize("by_k", [False, True])
@pytest.mark.parametrize("viewed", [False, True])
def test_extremes_of_panels_tell_of_nan(by_k: bool, viewed: bool) -> None:
    rows, depth, filled, q12 = 50, 200, 64, PRECISIONS["q12"]
    x = np.exp2(np.random.default_rng(0).integers(-90, 90, (rows, depth))).astype(np.float32)
    x[40, 150] = np.nan
    held = np.ascontiguousarray(x if by_k else x.T).reshape(-1)
    out, scales = np.zeros(filled * 2 * 3 * 32, np.int32), np.zeros((2, filled), np.float32)
    ends: Any = np.zeros((2, filled // PANEL_ROWS, 2), np.float32)
    chain = loom.Chain("cpu")
    places, depths = np.arange(rows) * (depth if by_k else 1), np.arange(depth) * (1 if by_k else rows)
    table = np.concatenate([places, depths]).astype(np.uint32)
    kernel = panels_of_view(loom.f32, q12, by_k=by_k) if viewed else (panels_by_row, panels_by_k)[by_k](loom.f32, q12)
    given, params = ([held, table], [rows, depth, rows, 0, 0]) if viewed else ([held], [rows, depth])
    buffers = [*given, out, scales.reshape(-1), ends.reshape(-1)]
    chain.dispatch(kernel, buffers, [*params, filled], groups=groups_of_panels(filled, depth, 1))
    chain.build().run()
    for block, first in ((0, 0), (0, 32), (1, 0)):
        some = scales[block, first : first + PANEL_ROWS]
        assert ends[block, first // PANEL_ROWS].tolist() == [some.min(), some.max()]
    assert ends[1, 1, 0] == np.nanmin(scales[1, 32:])
    assert np.isnan(ends[1, 1, 1])
