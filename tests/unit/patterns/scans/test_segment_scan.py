"""``gpu_segment_scan``: the scan's tree over pairs (mark, value), against the same tree on Python pairs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import loom
from loom import gpu_scan, gpu_segment_scan
from loom.core.errors import ArgumentError, DTypeError, ShapeError
from unit.patterns.canonical import same_bits, scan_of_items

Array = np.ndarray[Any, Any]

SIZES = (1, 2, 64, 65, 255, 257, 512, 513, 4095, 4096, 4097, 9000)
NAN, INF = np.nan, np.inf
BOTH = pytest.mark.parametrize("place", ["cpu", "interp"])


def sizes_on(place: str) -> tuple[int, ...]:
    return SIZES if place == "cpu" else (1, 65, 257, 577)


def marks_of(size: int, seed: int = 0) -> Array:
    """Segments of very different length."""
    rng = np.random.default_rng([size, seed])
    marks = rng.random(size) < (0.02 if seed % 2 else 0.002)
    marks[size // 3 : size // 3 + 5] = True
    return marks


def floats(dtype: str, size: int) -> Array:
    rng = np.random.default_rng([size, 9])
    return (rng.normal(size=size) * 10.0 ** rng.uniform(-2, 1, size)).astype(dtype)


def segmented(x: Array, marks: Array, operation: Any) -> Array:
    """The definition: a scan of pairs in the canonical tree."""

    def join(a: tuple[bool, Any], b: tuple[bool, Any]) -> tuple[bool, Any]:
        return a[0] or b[0], b[1] if b[0] else operation(a[1], b[1])

    with np.errstate(all="ignore"):
        pairs = scan_of_items(list(zip(marks.tolist(), x, strict=True)), join)
    return np.array([value for _, value in pairs], x.dtype)


def started_anew(inclusive: Array, marks: Array, identity: Any) -> Array:
    out = np.empty_like(inclusive)
    out[0], out[1:] = identity, inclusive[:-1]
    out[marks] = identity
    return out


@pytest.mark.parametrize("op", ["sum", "product"])
def test_floats_follow_the_tree_of_pairs(place: str, op: str) -> None:
    for size in sizes_on(place):
        x, marks = floats("float32", size), marks_of(size)
        if op == "product":
            x = np.copysign(2 ** (np.abs(x) % 0.6 - 0.3), x).astype(np.float32)
        whole = segmented(x, marks, np.add if op == "sum" else np.multiply)
        assert same_bits(gpu_segment_scan(x, marks, op, on=place), whole), size
        exclusive = started_anew(whole, marks, int(op == "product"))
        assert same_bits(gpu_segment_scan(x, marks, op, exclusive=True, on=place), exclusive), size


@BOTH
@pytest.mark.parametrize("dtype", ["float16", "float64"])
def test_other_floats(place: str, dtype: str) -> None:
    for size in sizes_on(place)[1::3]:
        x, marks = floats(dtype, size), marks_of(size, 1)
        wide = x.astype(np.float32) if dtype == "float16" else x
        assert same_bits(gpu_segment_scan(x, marks, on=place), segmented(wide, marks, np.add).astype(dtype)), size


def test_one_segment_is_a_scan(place: str) -> None:
    for size in sizes_on(place)[::2]:
        x = floats("float32", size)
        assert same_bits(gpu_segment_scan(x, np.zeros(size, bool), on=place), gpu_scan(x, on=place)), size
        assert same_bits(gpu_segment_scan(x, np.ones(size, bool), on=place), x), size


@BOTH
@pytest.mark.parametrize("dtype", ["int8", "uint32", "int64"])
def test_integers_equal_numpy_segment_by_segment(place: str, dtype: str) -> None:
    info = np.iinfo(dtype)
    for size in sizes_on(place)[1::2]:
        x = np.random.default_rng(size).integers(info.min, info.max, size, dtype, endpoint=True)
        marks = marks_of(size, 1)
        pieces = np.split(x, np.flatnonzero(marks))
        wide = np.uint64 if x.dtype.kind == "u" else np.int64
        sums = np.concatenate([np.cumsum(p, dtype=wide) for p in pieces])
        assert same_bits(gpu_segment_scan(x, marks, on=place), sums), size
        largest = np.concatenate([np.maximum.accumulate(p) for p in pieces])
        assert same_bits(gpu_segment_scan(x, marks, "max", on=place), largest), size
        exclusive = started_anew(largest, marks, info.min)
        assert same_bits(gpu_segment_scan(x, marks, "max", exclusive=True, on=place), exclusive), size


@BOTH
@pytest.mark.parametrize("dtype", ["int8", "uint16", "int64"])
def test_numbers_of_segments(place: str, dtype: str) -> None:
    x, marks = floats("float64", 600), marks_of(600, 1)
    ids = (np.cumsum(marks) * 7 % 50).astype(dtype)  # neighbours differ, numbers come again
    ids[0] = 99
    marks[1] = True
    assert same_bits(gpu_segment_scan(x, ids, on=place), gpu_segment_scan(x, marks, on=place))


@BOTH
def test_a_nan_lasts_until_its_segment_ends(place: str) -> None:
    x, marks = np.ones(300, np.float32), np.zeros(300, bool)
    marks[[70, 200]] = True
    x[100] = NAN
    for op in ("sum", "product", "min", "max"):
        inside = (np.arange(300) >= 100) & (np.arange(300) < 200)
        assert (np.isnan(gpu_segment_scan(x, marks, op, on=place)) == inside).all()


@BOTH
def test_zeros_bools_and_nothing(place: str) -> None:
    zeros, marks = np.full(200, -0.0, np.float32), marks_of(200, 1)
    assert np.signbit(gpu_segment_scan(zeros, marks, on=place)).all()
    exclusive = gpu_segment_scan(np.ones(5, bool), [0, 0, 1, 1, 1], "min", exclusive=True, on=place)
    assert same_bits(exclusive, np.ones(5, bool))
    assert same_bits(gpu_segment_scan(np.ones(5, bool), [0, 0, 1, 1, 1], on=place), np.array([1, 2, 1, 2, 3], np.int64))
    assert same_bits(gpu_segment_scan(np.zeros(0, np.int8), [], on=place), np.zeros(0, np.int64))
    assert gpu_segment_scan(loom.array([1.0, 2.0]), [1, 2]).tolist() == [1, 2]


def test_a_million_elements() -> None:
    x, marks = np.arange(1_000_003), marks_of(1_000_003)
    marks[0] = True
    running = np.cumsum(x)
    starts = np.flatnonzero(marks)
    before = np.repeat(running[starts] - x[starts], np.diff(np.append(starts, x.size)))
    assert same_bits(gpu_segment_scan(x, marks), running - before)


def test_errors() -> None:
    with pytest.raises(ShapeError) as caught:
        gpu_segment_scan([1, 2, 3], [1, 2])
    assert str(caught.value) == (
        "[gpu_segment_scan, segments] another length than data: expected 3, got 2. Give one for each element."
    )
    with pytest.raises(DTypeError) as caught_dtype:
        gpu_segment_scan([1, 2], [0.0, 1.0])
    assert str(caught_dtype.value) == (
        "[gpu_segment_scan, segments] neither marks nor numbers of segments: expected bools or integers, got f64. "
        "Convert them."
    )
    with pytest.raises(ArgumentError, match=r"^\[gpu_segment_scan, op\] no scan is called 'add'\. Known names"):
        gpu_segment_scan([1, 2], [0, 1], "add")
    with pytest.raises(ShapeError, match=r"^\[gpu_segment_scan\] wrong number of dimensions: expected 1, got 2"):
        gpu_segment_scan(np.zeros((2, 2)), [0, 1])
