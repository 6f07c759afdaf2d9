"""``gpu_map``: operations by name and Python functions, over arrays and scalars; result types."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import count
from typing import Any

import numpy as np
import pytest

import loom
from loom import gpu_map
from loom.core.conversions import show
from loom.core.errors import OutOfBounds
from loom.patterns.maps import fusion
from unit.patterns.canonical import same_bits

Array = np.ndarray[Any, Any]

SIZES = (0, 1, 7, 8, 9, 511, 512, 513, 5000)
X = np.random.default_rng(7).normal(size=5000).astype(np.float32) * 100
Y = np.random.default_rng(8).normal(size=5000).astype(np.float32)
K = np.random.default_rng(9).integers(-(2**31), 2**31, 5000, np.int32)
J = np.random.default_rng(10).integers(-40, 40, 5000, np.int32)


def _dot(left: type, right: type, a: Array, b: Array, c: Array) -> Array:
    products = a.view(left).astype(np.int64) * b.view(right)
    return (products.reshape(len(a), -1).sum(1) + c).astype(np.int32)


BY_NAME: dict[str, tuple[tuple[Array, ...], Callable[..., Array]]] = {
    "add": ((X, Y), np.add),
    "sub": ((K, J), np.subtract),
    "mul": ((K, J), np.multiply),
    "div": ((X, Y), np.divide),
    "neg": ((X,), np.negative),
    "abs": ((K,), np.abs),
    "min": ((X, Y), np.minimum),
    "max": ((K, J), np.maximum),
    "floor": ((X,), np.floor),
    "ceil": ((X,), np.ceil),
    "rint": ((X,), np.rint),
    "trunc": ((X,), np.trunc),
    "sqrt": ((np.abs(X),), np.sqrt),
    "and": ((K, J), np.bitwise_and),
    "or": ((K, J), np.bitwise_or),
    "xor": ((K, J), np.bitwise_xor),
    "not": ((K,), np.invert),
    "shl": ((K, J & 31), np.left_shift),
    "shr": ((K, J & 31), np.right_shift),
    "idiv": ((K, J | 1), lambda a, b: np.trunc(a / b).astype(np.int32)),
    "irem": ((K, J | 1), np.fmod),
    "mulhi": ((K, J), lambda a, b: (a.astype(np.int64) * b >> 32).astype(np.int32)),
    "dot4_i8": ((K, J, J[::-1]), partial(_dot, np.int8, np.int8)),
    "dot4_u8i8": ((K, J, J[::-1]), partial(_dot, np.uint8, np.int8)),
    "dot2_i16": ((K, J, J[::-1]), partial(_dot, np.int16, np.int16)),
    "popcount": ((J,), lambda a: np.array([bin(v % 2**32).count("1") for v in a.tolist()], np.int32)),
    "clz": ((J,), lambda a: np.array([32 - (v % 2**32).bit_length() for v in a.tolist()], np.int32)),
    "eq": ((J, J[::-1]), np.equal),
    "ne": ((J, J[::-1]), np.not_equal),
    "lt": ((X, Y), np.less),
    "le": ((J, J[::-1]), np.less_equal),
    "gt": ((X, Y), np.greater),
    "ge": ((J, J[::-1]), np.greater_equal),
}  # fmt: skip


def test_every_operation_is_tried_by_name() -> None:
    from loom.kernels.maps.nest import OPERATIONS

    assert set(BY_NAME) == set(OPERATIONS)


@pytest.mark.parametrize("name", BY_NAME)
def test_operations_by_name(name: str) -> None:
    arrays, numpy = BY_NAME[name]
    for place in ("cpu", "interp"):
        assert same_bits(gpu_map(arrays[0], name, *arrays[1:], on=place), numpy(*arrays))


def test_any_length_on_any_device(place: str) -> None:
    for size in SIZES:
        assert same_bits(gpu_map(X[:size], "mul", Y[:size], on=place), X[:size] * Y[:size])
        assert same_bits(gpu_map(X[:size], lambda x, a: x * 2 + a, 0.5, on=place), X[:size] * 2 + np.float32(0.5))


@pytest.mark.parametrize("dtype", ["int8", "int16", "int64", "uint8", "uint16", "uint32", "uint64", "float64"])
def test_types_are_kept_and_integers_wrap(dtype: str) -> None:
    x = np.arange(-300, 300).astype(dtype)
    assert same_bits(gpu_map(x, "add", x), x + x)
    assert same_bits(gpu_map(x, "mul", 3), x * np.dtype(dtype).type(3))
    assert same_bits(gpu_map(x, lambda a: a * a - 1), x * x - np.dtype(dtype).type(1))


def test_half_is_computed_in_single_and_rounded_once(place: str) -> None:
    x = np.random.default_rng(3).normal(size=2000).astype(np.float16)
    y = x[::-1]
    wide_x, wide_y = x.astype(np.float32), y.astype(np.float32)
    assert same_bits(gpu_map(x, "mul", y, on=place), (wide_x * wide_y).astype(np.float16))
    got = gpu_map(x, lambda a, b: a * b + a * 0.1, y, on=place)
    assert same_bits(got, (wide_x * wide_y + wide_x * np.float32(0.1)).astype(np.float16))
    assert same_bits(gpu_map(x, "lt", y, on=place), wide_x < wide_y)
    assert not same_bits(got, x * y + x * np.float16(0.1)), "rounding at every step would not be seen"


def test_bools(place: str) -> None:
    a, b = np.array([True, True, False, False]), np.array([True, False, True, False])
    assert same_bits(gpu_map(a, "and", b, on=place), a & b)
    assert same_bits(gpu_map(a, "xor", True, on=place), ~a)
    assert same_bits(gpu_map(a, lambda p, q: p and not q, b, on=place), a & ~b)
    assert same_bits(gpu_map(a, "eq", b, on=place), a == b)


# operands


def test_scalars_of_every_kind() -> None:
    x = np.array([1, 2, 3], np.int32)
    for scalar in (2, 2.0, np.int8(2), np.uint64(2), np.float64(2)):
        assert same_bits(gpu_map(x, "mul", scalar), x * 2)
    f = x.astype(np.float32)
    for scalar in (0.1, np.float64(0.1), np.float32(0.1)):
        assert same_bits(gpu_map(f, "mul", scalar), f * np.float32(0.1))
    assert same_bits(gpu_map(f, "mul", 3), f * np.float32(3))
    assert same_bits(gpu_map(x.astype(np.uint64), "add", 2**64 - 1), x.astype(np.uint64) - np.uint64(1))
    assert same_bits(gpu_map(f, "add", float("nan")), np.full(3, np.nan, np.float32))


def test_lists_take_the_type_of_the_data() -> None:
    x = np.array([1, 2, 3], np.uint8)
    assert same_bits(gpu_map(x, "add", [255, 0, 1]), np.array([0, 2, 4], np.uint8))
    assert same_bits(gpu_map(x, "add", [1.0, 2.0, 3.0]), x + x)
    f = np.ones(2, np.float32)
    assert same_bits(gpu_map(f, "mul", [0.1, 2]), np.array([0.1, 2], np.float32))
    assert same_bits(gpu_map([1.5, 2.5], "add", (1, 2)), np.array([2.5, 4.5]))


def test_many_operands_in_any_order() -> None:
    got = gpu_map(X, lambda x, a, y, b: (x - a) * y + b, 3, Y, 0.25)
    assert same_bits(got, (X - np.float32(3)) * Y + np.float32(0.25))
    assert same_bits(gpu_map(X, lambda x, y: y, Y), Y)


@pytest.mark.parametrize("shape", [(), (1,), (3, 4), (2, 0, 5), (1, 1, 1)])
def test_the_result_has_the_shape_of_the_data(shape: tuple[int, ...]) -> None:
    x = np.arange(np.prod(shape, dtype=int), dtype=np.float32).reshape(shape)
    assert same_bits(gpu_map(x, "add", x), np.asarray(x + x))
    assert same_bits(gpu_map(x, lambda v: v + 1), np.asarray(x + np.float32(1)))


def test_a_number_is_an_array_without_dimensions() -> None:
    assert same_bits(gpu_map(3.0, "neg"), np.array(-3.0))


def test_one_array_may_be_several_operands() -> None:
    assert same_bits(gpu_map(X, lambda a, b, c: a * b - c, X, X), X * X - X)


# Python functions


def test_closures_and_constants_are_those_of_the_call() -> None:
    def scaled(factor: float) -> Callable[..., Any]:
        return lambda x: x * factor

    for factor in (2.0, 3.0, 2.0):
        assert same_bits(gpu_map(X, scaled(factor)), X * np.float32(factor))


OFFSET = 1


def _shifted(x: Any) -> Any:
    return x + OFFSET


def test_a_global_that_changes_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    assert gpu_map([1, 2], _shifted).tolist() == [2, 3]
    monkeypatch.setitem(_shifted.__globals__, "OFFSET", 10)
    assert gpu_map([1, 2], _shifted).tolist() == [11, 12]


TABLE = [5]


def test_a_value_that_may_change_without_notice_is_read_at_every_call() -> None:
    def chosen(x: Any) -> Any:
        return x + TABLE[0]

    assert gpu_map([1], chosen).tolist() == [6]
    TABLE[0] = 7
    assert gpu_map([1], chosen).tolist() == [8]


def test_branches_loops_and_helpers() -> None:
    def clamp(x: Any, low: Any, high: Any) -> Any:
        return max(low, min(x, high))

    def collatz(n: Any) -> Any:
        steps = loom.u32(0)
        while n != 1:
            n = n // 2 if n % 2 == 0 else 3 * n + 1
            steps += 1
        return steps

    assert gpu_map(np.array([-5, 3, 99]), lambda x: clamp(x, 0, 10)).tolist() == [0, 3, 10]
    steps = gpu_map(np.arange(1, 10), collatz)
    assert steps.dtype == np.uint32
    assert steps.tolist() == [0, 1, 7, 2, 5, 8, 16, 3, 19]  # OEIS A006577


@pytest.mark.parametrize(
    ("function", "result"),
    [
        (lambda x: x > 2, np.array([False, False, True])),
        (lambda x: loom.f32(x) / 2, np.array([0.5, 1, 1.5], np.float32)),
        (lambda x: loom.f64(x) / 3, np.array([1, 2, 3]) / 3),
        (lambda x: loom.u8(x + 255), np.array([0, 1, 2], np.uint8)),
        (lambda x: loom.f16(loom.f32(x)), np.array([1, 2, 3], np.float16)),
        (lambda x: loom.bf16(loom.f32(x)), show(np.array([0x3F80, 0x4000, 0x4040], np.uint16), loom.bf16)),
        (lambda x: 7, np.array([7, 7, 7])),
        (lambda x: x, np.array([1, 2, 3])),
    ],
)
def test_a_function_may_return_another_type(function: Callable[..., Any], result: Array) -> None:
    for place in ("cpu", "interp"):
        assert same_bits(gpu_map(np.array([1, 2, 3]), function, on=place), result)


def test_results_do_not_share_memory() -> None:
    first, second = gpu_map(X, "neg"), gpu_map(Y, "neg")
    assert same_bits(first, -X)
    assert same_bits(second, -Y)
    assert not np.shares_memory(first, second)


_SHIFTS = count(1)


def test_an_index_outside_a_large_table_is_told_and_later_reads_zero(place: str) -> None:
    table = np.arange(20, dtype=np.float32) + (shift := next(_SHIFTS))  # each time another map
    at, out = np.array([3, 20, -1, 30, 1 << 20, 1 << 30], np.int32), np.full(6, 7, np.float32)
    with pytest.raises(OutOfBounds, match=r"outside buffer 'table' in lane 1: .*got 20\. Guard it"):
        loom.gpu_map(at, lambda i: table[i] + 1.0, on=place, out=out)
    assert out.tolist() == [7] * 6
    loom.gpu_map(at % 20, lambda i: table[i] + 1.0, on=place)
    found = loom.gpu_map(at, lambda i: table[i] + 1.0, on=place) - np.float32([shift, 0, 0, 0, 0, 0])
    assert found.tolist() == [4, 1, 1, 1, 1, 1]


def test_an_index_outside_a_small_table_is_told(place: str) -> None:
    table = (1.0, 2.0, float(next(_SHIFTS)))  # chosen by comparison, which loads nothing
    at, out = np.array([2, 0, 25], np.uint32), np.full(3, 7, np.float32)
    with pytest.raises(OutOfBounds, match=r"outside axis 0 of table 'table' in lane 2: .*got 25\. Guard it"):
        loom.gpu_map(at, lambda i: table[i], on=place, out=out)
    assert out.tolist() == [7] * 3
    assert loom.gpu_map(at % 3, lambda i: table[i], on=place).tolist() == [table[2], 1, 2]
    assert loom.gpu_map(at, lambda i: table[i % 3], on=place).tolist() == [table[2], 1, 2]


def test_a_number_that_is_an_index_is_looked_at_by_itself(place: str) -> None:
    table = np.arange(20, dtype=np.uint32) * 2 + next(_SHIFTS)
    x = np.zeros(3, np.uint32)
    assert loom.gpu_map(x, lambda v, k: v + table[k], 3, on=place).tolist() == [table[3]] * 3
    for _ in range(2):
        with pytest.raises(OutOfBounds, match=r"outside buffer 'table' in lane 0: .*got 20"):
            loom.gpu_map(x, lambda v, k: v + table[k], 20, on=place)


def test_a_map_that_surely_stays_inside_is_not_run_in_the_form_that_tells(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[bool] = []
    recorded = fusion.keep

    def note(key: tuple[object, ...], *rest: Any) -> Any:
        told.append(bool(key[3]))
        return recorded(key, *rest)

    monkeypatch.setattr(fusion, "keep", note)
    table = np.arange(20, dtype=np.uint32) * 3 + next(_SHIFTS)
    x = np.array([3, 21], np.uint32)
    assert loom.gpu_map(x, lambda v: table[v % 20], on="cpu").tolist() == [table[3], table[1]]
    assert loom.gpu_map(x, lambda v: table[min(v, 19)], on="cpu").tolist() == [table[3], table[19]]
    for _ in range(2):  # not proved: the first run tells
        assert loom.gpu_map(x // 2, lambda v: table[v - v % 4], on="cpu").tolist() == [table[0], table[8]]
    assert told == [False, False, True, False]
