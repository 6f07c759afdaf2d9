"""Buffers and arrays of several dimensions: indexes, shapes, rows, bounds of each axis, what may be bound.

Oracle: numpy's indexing of the same arrays.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

import loom
from loom import In, InOut, Out, f16, f32, i32, i64, u32, u64
from loom.core.errors import KernelError, OutOfBounds, ShapeError
from loom.ir.text import hash_kernel, parse_kernel, print_kernel
from loom.runtime.memory.storage import ShapedStorage


def run(on: str, kernel: Any, buffers: Any, params: Any = (), groups: Any = 1) -> None:
    chain = loom.Chain(on)
    chain.dispatch(kernel, buffers, params, groups)
    chain.build().run()


@loom.kernel(workgroup=(8, 4))
def blurred(x: In[f32, 2], y: Out[f32, 2]) -> None:
    j, i = loom.global_id(0), loom.global_id(1)
    rows, columns = x.shape
    if i < rows and j < columns:
        total = x[i, j]
        if i > 0 and j > 0 and i + 1 < rows and j + 1 < columns:
            total = total + x[i - 1, j] + x[i + 1, j] + x[i, j - 1] + x[i, j + 1]
        y[i, j] = total


def blur(x: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    y, inner = x.copy(), x[1:-1, 1:-1]
    y[1:-1, 1:-1] = inner + x[:-2, 1:-1] + x[2:, 1:-1] + x[1:-1, :-2] + x[1:-1, 2:]
    return y


@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (13, 40), (37, 3), (0, 7), (7, 0)])
def test_a_stencil_of_two_axes(on: str, shape: tuple[int, int]) -> None:
    x = np.random.default_rng(1).random(shape, np.float32)
    y = np.full(shape, -1, np.float32)
    run(on, blurred, [x, y], groups=(5, 10))
    assert y.tobytes() == (blur(x) if x.size else y).tobytes()


@loom.kernel
def of_four(a: InOut[i32, 4], told: Out[u32]) -> None:
    i = loom.global_id()
    if i == 0:
        told[0], told[1], told[2], told[3] = a.shape
        told[4], told[5], told[6], told[7] = a.size, len(a), a.ndim, len(a[0])
        for p in range(a.shape[0]):
            for q in range(a.shape[1]):
                row = a[p, q]
                for r in range(len(row)):
                    for s in range(row.shape[1]):
                        row[r][s] += i32(p * 1000 + q * 100 + r * 10 + s)


@pytest.mark.parametrize("shape", [(2, 3, 4, 5), (1, 1, 1, 1), (2, 0, 3, 1), (0, 0, 0, 0)])
def test_four_axes_with_rows_in_between(on: str, shape: tuple[int, ...]) -> None:
    a, told = np.full(shape, 7, np.int32), np.zeros(8, np.uint32)
    run(on, of_four, [a, told])
    p, q, r, s = np.indices(shape)
    assert (a == 7 + p * 1000 + q * 100 + r * 10 + s).all()
    assert told.tolist() == [*shape, a.size, shape[0], 4, shape[1]]


@loom.kernel
def by_types(a: In[u32, 2], y: Out[u32]) -> None:
    i = loom.global_id()
    if i < 4:
        y[i] = a[u64(i), i64(1)] + a[i32(i), 1] + a[loom.i8(2), loom.u16(0)] + a[3, i]


def test_indexes_of_any_integer_type_may_meet(on: str) -> None:
    a, y = np.arange(100, 116, dtype=np.uint32).reshape(4, 4), np.zeros(4, np.uint32)
    run(on, by_types, [a, y])
    assert (y == 2 * a[:, 1] + a[2, 0] + a[3]).all()


@loom.kernel
def beyond(a: In[u32, 2], y: Out[u32]) -> None:
    y[0], y[1], y[2], y[3] = a[0, 5], a[i32(-1), 0], a[u64(1 << 33), 0], a[1, i64(-1)]


def test_an_index_beyond_its_axis_is_the_element_of_that_place_or_zero(on: str) -> None:
    a, y = np.arange(1, 9, dtype=np.uint32).reshape(2, 4), np.zeros(4, np.uint32)
    run(on, beyond, [a, y])
    assert y.tolist() == [a[1, 1], 0, 0, a[0, 3]]


@loom.kernel
def reaches(a: InOut[u32, 2], column: u32) -> None:
    i = loom.global_id()
    if i < 3:
        a[i, column + i] = 1


def test_an_index_beyond_its_axis_is_told_with_the_axis(on: str, monkeypatch: pytest.MonkeyPatch) -> None:
    a = np.zeros((3, 4), np.uint32)
    run(on, reaches, [a], [1])
    monkeypatch.setenv("LOOM_CHECK", "1")
    run(on, reaches, [a], [1])  # the last element of the last row: inside
    with pytest.raises(OutOfBounds, match=re.escape(
        "access outside axis 1 of buffer 'a' in lane 2: expected an index from 0 to 3, got 4. "
        "Guard it, for example with: if i < a.shape[1]."
    )):  # fmt: skip
        run(on, reaches, [a], [2])


@loom.kernel(workgroup=(16, 16))
def turned(x: In[f16, 2], y: Out[f16, 2]) -> None:
    tile = loom.shared(f32, (16, 17))
    i, j = loom.local_id(1), loom.local_id(0)
    row, column = loom.group_id(1) * 16 + i, loom.group_id(0) * 16 + j
    if row < x.shape[0] and column < x.shape[1]:
        tile[i, j] = x[row, column]
    loom.barrier()
    row, column = loom.group_id(0) * 16 + i, loom.group_id(1) * 16 + j
    if row < y.shape[0] and column < y.shape[1]:
        y[row, column] = tile[j, i]


def test_shared_arrays_have_axes_too(on: str) -> None:
    x = np.random.default_rng(2).random((35, 50)).astype(np.float16)
    y = np.zeros((50, 35), np.float16)
    run(on, turned, [x, y], groups=(4, 3))
    assert (y == x.T).all()


@loom.kernel
def of_vectors(x: In[loom.f32x3, 2], y: InOut[u32, 2], z: InOut[u32, 2]) -> None:
    i = loom.global_id()
    if i < x.shape[0]:
        for j in range(x.shape[1]):
            loom.atomic_add(y, (0, j), u32(x[i, j].z))
            loom.atomic_max(z[1], j, u32(x[i, j].y))


def test_vectors_and_atomics(on: str) -> None:
    x = np.random.default_rng(3).integers(0, 50, (20, 3, 3)).astype(np.float32)
    y = np.zeros((2, 3), np.uint32)
    z = np.zeros((2, 3), np.uint32)
    run(on, of_vectors, [x, y, z])
    assert (y + z == np.stack([x[..., 2].sum(0), x[..., 1].max(0)])).all()


# what may be bound


@loom.kernel
def total(x: In[f32], y: Out[f32]) -> None:
    found = 0.0
    for i in range(x.shape[0]):
        found += x[i]
    y[0] = found + f32(x.size) + f32(x.ndim)


def test_a_buffer_without_axes_is_flat(on: str) -> None:
    x, y = np.ones((3, 4), np.float32), np.zeros(1, np.float32)
    run(on, total, [x, y])
    assert y[0] == 12 + 12 + 1


def test_arrays_of_loom_and_units_know_their_shape(on: str) -> None:
    x, y = np.random.default_rng(4).random((6, 9), np.float32), np.zeros((6, 9), np.float32)
    run(on, blurred, [loom.array(x, on=on), y], groups=(2, 2))
    assert (y == blur(x)).all()
    with loom.boot(0, bindings={"x": x, "y": (f32, (6, 9))}, device=on) as unit:
        unit.dispatch(blurred, groups=(2, 2))
        unit.build().run()
        assert (unit.read(binding="y").reshape(6, 9) == blur(x)).all()


WRONG = {
    "flat": (np.zeros(12, np.float32), "expected 2 dimensions, got shape (12,). Pass array.reshape(rows, columns)"),
    "too many": (np.zeros((1, 3, 4), np.float32), "expected 2 dimensions, got shape (1, 3, 4)"),
    "none": (np.zeros((), np.float32), "expected 2 dimensions, got shape ()"),
    "storage": (loom.device("cpu").allocate(64), "the buffer has 2 dimensions, and what is bound has no shape"),
}


@pytest.mark.parametrize("case", WRONG)
def test_another_number_of_dimensions_is_refused(case: str) -> None:
    given, text = WRONG[case]
    with pytest.raises(ShapeError, match=re.escape(text)):
        loom.Chain("cpu").dispatch(blurred, [given, np.zeros((3, 4), np.float32)], groups=1)


def test_storage_with_a_shape_may_be_bound() -> None:
    y = np.zeros((3, 4), np.float32)
    storage = loom.device("cpu").allocate(48)
    run("cpu", blurred, [ShapedStorage(storage, (3, 4)), y], groups=1)
    with pytest.raises(ShapeError, match="expected 2 dimensions and a last axis of 3 for f32x3"):
        run("cpu", of_vectors, [np.zeros((3, 4), np.float32), *np.zeros((2, 2, 3), np.uint32)])


def test_lengths_are_given_by_nobody() -> None:
    assert [p.name for p in blurred.verified.given] == []
    with pytest.raises(loom.LoomError, match="takes 0 parameters: expected none, got 1"):
        loom.Chain("cpu").dispatch(blurred, [np.zeros((3, 4), np.float32), np.zeros((3, 4), np.float32)], [3])


@pytest.mark.parametrize("kernel", [blurred, of_four, by_types, turned, of_vectors])
def test_the_text_says_all(kernel: Any) -> None:
    text = print_kernel(kernel.ir)
    parsed = parse_kernel(text)
    assert print_kernel(parsed) == text
    assert hash_kernel(parsed) == hash_kernel(kernel.ir)
    assert [m.ndim for m in parsed.buffers] == [m.ndim for m in kernel.ir.buffers]


# what is refused


def test_what_is_no_element_is_refused_with_its_axes() -> None:
    @loom.kernel
    def row(a: InOut[f32, 2]) -> None:
        a[0] = 1.0

    @loom.kernel
    def value(a: InOut[f32, 2]) -> None:
        a[0, 0] = a[1] + 1.0

    @loom.kernel
    def many(a: InOut[f32, 2]) -> None:
        a[0, 0, 0] = 1.0

    @loom.kernel
    def flat(a: InOut[f32]) -> None:
        a[0, 0] = 1.0

    @loom.kernel
    def tile() -> None:
        t = loom.shared(f32, (4, 4))
        t[0, 4] = 1.0

    for kernel, text in (
        (row, "'a' has 2 dimensions: expected 2 indexes, got 1. Write a[i, j]."),
        (value, "got a part of the buffer 'a' of 2 dimensions. Index every axis: a[i, j]."),
        (many, "'a' has 2 dimensions: expected 2 indexes at most, got 3. Write a[i, j]."),
        (flat, "Declare it as In[f32, 2] (or InOut, Out) to index rows and columns"),
        (tile, "no element 4 along axis 1 of 't': expected at most 3, got 4."),
    ):
        with pytest.raises(KernelError, match=re.escape(text)):
            _ = kernel.verified


@pytest.mark.parametrize("ndim", [0, -1, 9, 1.5, True, "2"])
def test_a_number_of_dimensions_is_one(ndim: Any) -> None:
    with pytest.raises(KernelError, match=r"\[In\] no number of dimensions: expected 1 to 8, got"):
        _ = In[f32, ndim]


def test_a_call_finds_lengths_and_size(on: str) -> None:
    for shape in ((5, 9), (9, 5), (5, 9), (1, 45)):
        x = np.random.default_rng(5).random(shape, np.float32)
        y = np.zeros(shape, np.float32)
        blurred(x, y, on=on)
        assert (y == blur(x)).all()
        assert (np.asarray(blurred(x, on=on)) == blur(x)).all()
    with pytest.raises(ShapeError, match="expected 2 dimensions, got shape"):
        blurred(np.zeros(4, np.float32), np.zeros(4, np.float32), on=on)
