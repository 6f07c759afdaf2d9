"""``gpu_sum``, ``gpu_mean``, ``gpu_min``, ``gpu_max``: exact bits, on every device, at every kind of length."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from loom import gpu_max, gpu_mean, gpu_min, gpu_sum
from unit.patterns.canonical import canonical_sum, canonical_sum_in_python, same_bits
from unit.patterns.conftest import placed

Array = np.ndarray[Any, Any]

SMALL = (1, 2, 7, 8, 63, 64, 65, 255, 256, 257)
TILES = (4095, 4096, 4097, 65_537)
LONG = 1_000_003
INTEGERS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
FLOATS = ("float16", "float32", "float64")


def sizes_on(place: str) -> tuple[int, ...]:
    return (*SMALL, *TILES) if place == "cpu" else (*SMALL, 4097)


def numbers(dtype: str, size: int) -> Array:
    """Numbers of very different size, so that any other order of additions gives other bits."""
    rng = np.random.default_rng([size, ord(dtype[0]), int(dtype[-1])])
    if dtype in INTEGERS:
        info = np.iinfo(dtype)
        return rng.integers(info.min, info.max, size, dtype, endpoint=True)
    return (rng.normal(size=size) * 10.0 ** rng.uniform(-2, 1, size)).astype(dtype)


def expected_sum(x: Array) -> Any:
    """The sum Loom promises: floats in the canonical order, integers exactly, modulo 2^64."""
    if x.dtype.kind == "f":
        wide = x.astype(np.float32) if x.dtype == np.float16 else x
        return canonical_sum(wide).astype(x.dtype)
    total = sum(x.tolist()) % 2**64
    return np.uint64(total).view(np.int64) if x.dtype.kind == "i" else np.uint64(total)


def expected_mean(x: Array) -> Any:
    if x.dtype.kind == "f":
        wide = x.astype(np.float32) if x.dtype == np.float16 else x
        return (canonical_sum(wide) / wide.dtype.type(x.size)).astype(x.dtype)
    if x.dtype.itemsize == 8:
        return canonical_sum(x.astype(np.float64)) / np.float64(x.size)
    return np.float64(int(expected_sum(x))) / np.float64(x.size)


def test_the_two_oracles_agree() -> None:
    for size in (1, 2, 65, 257, 4095, 4097, 9000):
        x = numbers("float64", size)
        assert same_bits(canonical_sum(x), np.float64(canonical_sum_in_python(x.tolist())))


def test_the_order_can_be_seen_in_the_bits() -> None:
    arrays = [numbers("float32", size) for size in range(60_000, 60_030)]
    others = (
        np.sum,
        lambda x: np.cumsum(x)[-1],
        lambda x: canonical_sum(x[::-1]),
        lambda x: canonical_sum(x[1:]) + x[0],
    )
    for other in others:
        assert sum(same_bits(canonical_sum(x), other(x)) for x in arrays) < 20


@pytest.mark.parametrize(
    ("place", "dtype"),
    placed([*FLOATS, *INTEGERS], ("float16", "float32", "float64", "int64", "uint8")),
    indirect=["place"],
)
def test_sums_and_means(place: str, dtype: str) -> None:
    for size in sizes_on(place):
        x = numbers(dtype, size)
        assert same_bits(gpu_sum(x, on=place), expected_sum(x)), size
        assert same_bits(gpu_mean(x, on=place), expected_mean(x)), size


@pytest.mark.parametrize(
    ("place", "dtype"),
    placed([*FLOATS, *INTEGERS], ("float16", "float32", "float64", "int8", "uint64")),
    indirect=["place"],
)
def test_extremes(place: str, dtype: str) -> None:
    for size in sizes_on(place):
        x = numbers(dtype, size)
        assert same_bits(gpu_min(x, on=place), np.sort(x)[0]), size
        assert same_bits(gpu_max(x, on=place), np.sort(x)[-1]), size


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int64", "uint8"])
def test_a_million_elements(dtype: str) -> None:
    x = numbers(dtype, LONG)
    assert same_bits(gpu_sum(x), expected_sum(x))
    assert same_bits(gpu_mean(x), expected_mean(x))
    assert same_bits(gpu_min(x), np.sort(x)[0])
    assert same_bits(gpu_max(x), np.sort(x)[-1])


def test_three_levels_of_tiles() -> None:
    x = np.resize(numbers("float32", 65_537), 4096 * 4096 + 1)
    assert same_bits(gpu_sum(x), canonical_sum(x))


@pytest.mark.parametrize("at", [0, 1, 63, 64, 4095, 4096, 4999])
def test_an_extreme_is_found_wherever_it_is(place: str, at: int) -> None:
    x = np.full(5000, 7, np.int32)
    x[at] = -9
    assert gpu_min(x, on=place) == -9
    x[at] = 12
    assert gpu_max(x, on=place) == 12


def test_bools_are_counted_and_their_extremes_are_bools(place: str) -> None:
    x = np.arange(5000) % 3 == 0
    assert same_bits(gpu_sum(x, on=place), np.int64(1667))
    assert same_bits(gpu_mean(x, on=place), np.float64(1667) / np.float64(5000))
    assert same_bits(gpu_max(x, on=place), np.True_)
    assert same_bits(gpu_min(x, on=place), np.False_)
    assert same_bits(gpu_max([False, True], on=place), np.True_)


# special values

NAN, INF = np.nan, np.inf


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize(
    ("values", "smallest", "largest", "total"),
    [
        ([0.0, -0.0], -0.0, 0.0, 0.0),
        ([-0.0, 0.0], -0.0, 0.0, 0.0),
        ([-0.0, -0.0], -0.0, -0.0, 0.0),  # a sum starts from +0
        ([-0.0], -0.0, -0.0, 0.0),
        ([1, NAN, 2], NAN, NAN, NAN),
        ([NAN], NAN, NAN, NAN),
        ([INF, 1], 1, INF, INF),
        ([-INF, INF], -INF, INF, NAN),
        ([-INF, -1], -INF, -1, -INF),
        ([INF, NAN, -INF], NAN, NAN, NAN),
    ],
)
def test_special_floats(
    place: str, dtype: str, values: list[float], smallest: float, largest: float, total: float
) -> None:
    x = np.array(values, dtype)
    kind = np.dtype(dtype).type
    assert same_bits(gpu_min(x, on=place), kind(smallest))
    assert same_bits(gpu_max(x, on=place), kind(largest))
    assert same_bits(gpu_sum(x, on=place), kind(total))
    with np.errstate(all="ignore"):
        assert same_bits(gpu_mean(x, on=place), kind(total) / kind(x.size))


@pytest.mark.parametrize("at", [0, 100, 4095, 4096, 4999])
def test_one_nan_anywhere_wins(place: str, at: int) -> None:
    x = np.ones(5000, np.float32)
    x[at] = NAN
    for reduce in (gpu_sum, gpu_mean, gpu_min, gpu_max):
        assert np.isnan(reduce(x, on=place))


def test_subnormals_are_kept(place: str) -> None:
    x = np.full(100, 1e-45, np.float32)
    assert gpu_sum(x, on=place).view(np.uint32) == 100
    assert gpu_max(x, on=place).view(np.uint32) == 1


def test_float_sums_overflow_to_infinity_and_halves_do_not_before_the_end(place: str) -> None:
    assert gpu_sum(np.full(2, 3e38, np.float32), on=place) == INF
    halves = np.array([60000, 60000, -60000], np.float16)
    assert same_bits(gpu_sum(halves, on=place), np.float16(60000))
    assert same_bits(gpu_mean(np.array([60000, 60000], np.float16), on=place), np.float16(60000))
    assert gpu_sum(halves[:2], on=place) == INF


def test_integer_sums_wrap_in_64_bits(place: str) -> None:
    assert same_bits(gpu_sum(np.array([2**63 - 1, 1]), on=place), np.int64(-(2**63)))
    assert same_bits(gpu_sum(np.array([2**64 - 1, 3], np.uint64), on=place), np.uint64(2))
    assert same_bits(gpu_sum(np.full(5000, 2**31 - 1, np.int32), on=place), np.int64(5000 * (2**31 - 1)))
    assert same_bits(gpu_sum(np.full(5000, -128, np.int8), on=place), np.int64(-640_000))


def test_a_mean_divides_once_by_the_number_of_elements(place: str) -> None:
    assert same_bits(gpu_mean(np.array([1, 1, 2], np.uint8), on=place), np.float64(4) / 3)
    assert same_bits(gpu_mean(np.array([1, 1, 2], np.float32), on=place), np.float32(4) / np.float32(3))


def test_a_mean_of_64_bit_integers_does_not_wrap(place: str) -> None:
    assert same_bits(gpu_mean(np.full(3, 2**63, np.uint64), on=place), np.float64(2**63))
    assert same_bits(gpu_mean(np.full(2, -(2**63)), on=place), np.float64(-(2**63)))


def extreme_by_hand(x: Array, *, largest: bool) -> Any:
    if np.isnan(x).any():
        return x.dtype.type(np.nan)
    found = x.max() if largest else x.min()
    signs = np.signbit(x[x == found])  # of zeros: -0 is below +0
    return np.copysign(found, -1 if (signs.all() if largest else signs.any()) else 1) if found == 0 else found


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_extremes_of_values_that_are_hard_to_compare(place: str, dtype: str) -> None:
    hard = np.array([0, -0.0, 1, -1, INF, -INF, NAN, 3e38, -3e38, 1e-45, -1e-45], dtype)
    rng = np.random.default_rng(7)
    for size in (1, 3, 64, 65, 100, 4097, 16_384, 16_390, 40_000):
        for _ in range(6):
            x = rng.choice(rng.choice(hard, rng.integers(1, 5)), size).astype(dtype)
            for reduce, largest in ((gpu_max, True), (gpu_min, False)):
                assert same_bits(reduce(x, on=place), extreme_by_hand(x, largest=largest))


@pytest.mark.parametrize("size", [130, 20_000])
@pytest.mark.parametrize("at", [64, 69, 127])
def test_the_sign_of_one_zero_late_in_its_lane_counts(place: str, size: int, at: int) -> None:
    for reduce, many, one in ((gpu_max, -0.0, 0.0), (gpu_min, 0.0, -0.0)):
        x = np.full(size, many, np.float32)
        x[at] = one
        assert same_bits(reduce(x, on=place), np.float32(one))
