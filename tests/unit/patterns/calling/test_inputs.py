"""What patterns accept as an array, and the text of every refusal."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from loom import gpu_map, gpu_max, gpu_mean, gpu_min, gpu_sum
from loom.core import arrays
from loom.core.arrays import read_array
from loom.core.errors import ArgumentError, DeviceError, DTypeError, EmptyError, LoomError, ShapeError
from unit.patterns.canonical import same_bits

Array = np.ndarray[Any, Any]
GRID = np.arange(60, dtype=np.float32).reshape(3, 4, 5)


class Interface:
    """An object that shows its memory by ``__array_interface__`` alone."""

    def __init__(self, array: Array) -> None:
        self.__array_interface__ = array.__array_interface__
        self.kept = array


class Dlpack:
    """An object that shows its memory by DLPack alone."""

    def __init__(self, array: Array) -> None:
        self.kept = array

    def __dlpack__(self, **options: Any) -> Any:
        return self.kept.__dlpack__(**options)

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.kept.__dlpack_device__()


class Elsewhere(Dlpack):
    def __dlpack__(self, **options: Any) -> Any:
        raise BufferError("it lives on another device")


@pytest.mark.parametrize(
    ("data", "total"),
    [
        ([1, 2, 3], np.int64(6)),
        ((1.5, 2.5), np.float64(4)),
        ([[1, 2], [3, 4]], np.int64(10)),
        ([True, False, True], np.uint64(2)),
        ([1, 2.5], np.float64(3.5)),
        (range(5), np.int64(10)),
        (7, np.int64(7)),
        (2.5, np.float64(2.5)),
        (True, np.uint64(1)),
        (np.float32(2.5), np.float32(2.5)),
        (np.array(3, np.uint8), np.uint64(3)),
        (bytearray(b"ab"), np.uint64(195)),
        (memoryview(np.arange(4.0)), np.float64(6)),
        ([2**63, 1 + 2**63], np.uint64(1)),
        ([1, 2**63], np.uint64(1 + 2**63)),
        (np.array([1, 2], ">f4"), np.float32(3)),
        (np.array([1, -2], ">i8"), np.int64(-1)),
        (np.array([1, 2], "longlong"), np.int64(3)),
        (Interface(np.arange(5, dtype=np.uint16)), np.uint64(10)),
        (Dlpack(np.arange(5, dtype=np.float32)), np.float32(10)),
        ([], np.float64(0)),
        (np.zeros((3, 0), np.int8), np.int64(0)),
        (np.zeros(0, np.float16), np.float16(0)),
    ],
    ids=lambda p: type(p).__name__,
)
def test_accepted(data: Any, total: Any) -> None:
    assert same_bits(gpu_sum(data), total)


VIEWS: dict[str, Callable[[Array], Array]] = {
    "transposed": lambda x: x.T,
    "Fortran order": np.asfortranarray,
    "every other": lambda x: x[:, ::2],
    "reversed": lambda x: x[::-1, ::-1, ::-1],
    "a column": lambda x: x[1, :, 2],
    "broadcast": lambda x: np.broadcast_to(x[0, 0], (7, 5)),
    "read-only": lambda x: np.frombuffer(x.tobytes(), x.dtype),
    "misaligned": lambda x: np.frombuffer(b"?" + x.tobytes(), x.dtype, offset=1),
    "0-d": lambda x: x[1, 2, 3, ...],
}


@pytest.mark.parametrize("view", VIEWS)
def test_any_layout_is_read_in_logical_order_and_left_alone(place: str, view: str) -> None:
    x = VIEWS[view](GRID.copy())
    before = x.tobytes()
    doubled = gpu_map(x, "add", x, on=place)
    assert same_bits(doubled, np.ascontiguousarray(x + x).reshape(x.shape))
    assert gpu_sum(x, on=place) == x.sum()  # exact: small whole numbers
    assert (gpu_min(x, on=place), gpu_max(x, on=place)) == (x.min(), x.max())
    assert x.tobytes() == before


def test_an_array_in_order_is_used_in_place() -> None:
    for x in (GRID, GRID[1], np.array(3.0)):
        taken, _ = read_array(x, "here")
        assert np.shares_memory(taken, x)
        assert taken.shape == x.shape


UNSUPPORTED = (
    "[gpu_sum] unsupported dtype: expected one of bool, int8-64, uint8-64, float16, bfloat16, float32, float64 in "
    "native byte order, got {}. Convert first, for example with array.astype(numpy.float32)."
)
COMPLEX = (
    "[gpu_sum] complex numbers: expected bools, ints or floats, got complex128. Pass .real and .imag apart; "
    "loom.signal.fft and its kin take them."
)
NOT_NUMBERS = "[gpu_sum] not numbers: expected bools, ints or floats, got {}. Pass numbers."
TEXTS = NOT_NUMBERS.replace(
    "Pass numbers", "Number texts first: numpy.unique(array, return_inverse=True) gives names and numbers"
)
RANGES = (
    "[gpu_sum] no integer type holds all the numbers: expected int64 or uint64 for all of them, got {}. Write "
    "them as floats."
)


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (np.array([1], np.longdouble), UNSUPPORTED.format(np.dtype(np.longdouble))),
        (np.array([1j]), COMPLEX),
        ([1j], COMPLEX),
        (np.array(["2020-01-01"], "M8[D]"), NOT_NUMBERS.format("datetime64[D]")),
        (np.array(["a"]), TEXTS.format("<U1")),
        (np.array([None]), NOT_NUMBERS.format("object")),
        (
            np.zeros(2, "f4,i4"),
            "[gpu_sum] not numbers: expected bools, ints or floats, got [('f0', '<f4'), ('f1', '<i4')]. Pass one "
            "field, as in array['f0'].",
        ),
        (None, NOT_NUMBERS.format("NoneType")),
        ("text", TEXTS.format("<U4")),
        (b"text", TEXTS.format("|S4")),
        ({1: 2}, NOT_NUMBERS.format("dict")),
        ({1, 2}, NOT_NUMBERS.format("set")),
        (iter([1]), NOT_NUMBERS.format("list_iterator")),
        ([1, None], NOT_NUMBERS.format("NoneType")),
        ([2**64], RANGES.format(2**64)),
        ([-1, 2**63], RANGES.format("ints of both ranges")),
        ([[-1], [2**64 - 1]], RANGES.format("ints of both ranges")),
        (
            [2**53 + 1, 0.5],
            f"[gpu_sum] float64 does not hold {2**53 + 1}: expected ints that it holds among floats, got {2**53 + 1}. "
            "Write it as a float to have it rounded.",
        ),
        (
            np.ma.array([1, 2, 3], mask=[False, True, False]),
            "[gpu_sum] the array has a mask: expected a plain array, got MaskedArray. "
            "Use its compressed() or filled().",
        ),
        (
            Elsewhere(GRID),
            "[gpu_sum] the array cannot be shared (it lives on another device): expected an array of numbers in host "
            "memory, got Elsewhere. Move it to the CPU first.",
        ),
    ],
    ids=lambda p: type(p).__name__,
)
def test_refused(data: Any, text: str) -> None:
    with pytest.raises(DTypeError) as caught:
        gpu_sum(data)
    assert str(caught.value) == text
    assert isinstance(caught.value, TypeError)


def test_floats_beyond_the_integers_are_floats() -> None:
    assert same_bits(gpu_sum([2.0**63, 1.0]), np.float64(2.0**63))
    assert same_bits(gpu_max([1e300, 1]), np.float64(1e300))


def test_a_ragged_list_is_refused() -> None:
    with pytest.raises(DTypeError) as caught:
        gpu_mean([[1, 2], [3]])
    assert str(caught.value) == (
        "[gpu_mean] the rows differ in length: expected numbers in a regular shape, got a ragged list. Pad them, or "
        "pass them apart."
    )


@pytest.mark.parametrize("data", [[], np.zeros((4, 0, 2), np.int32)], ids=["list", "array"])
@pytest.mark.parametrize(("reduce", "what"), [(gpu_mean, "mean"), (gpu_min, "minimum"), (gpu_max, "maximum")])
def test_nothing_has_no_mean_and_no_extremes(reduce: Callable[..., Any], what: str, data: Any) -> None:
    with pytest.raises(EmptyError) as caught:
        reduce(data)
    assert str(caught.value) == (
        f"[{reduce.__name__}] no elements to take the {what} of: expected at least 1, got 0. Check for emptiness first."
    )
    assert isinstance(caught.value, ValueError)


def test_too_many_elements(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrays, "_MOST_ELEMENTS", 59)
    with pytest.raises(ShapeError) as caught:
        gpu_sum(GRID)
    assert str(caught.value) == "[gpu_sum] too many elements: expected less than 2^32, got 60. Process it in parts."


@pytest.mark.parametrize("call", [lambda: gpu_sum([1], on="gpus"), lambda: gpu_map([1], "neg", on="gpus")])
def test_a_device_that_does_not_exist(call: Callable[[], Any]) -> None:
    with pytest.raises(DeviceError, match=re.escape("no device is called 'gpus'")):
        call()


def test_wrong_settings_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("LOOM_THREADS", "many"), ("LOOM_SIMD", "99")):
        with monkeypatch.context() as patched:
            patched.setenv(name, value)
            with pytest.raises(ArgumentError, match=f"environment {name}"):
                gpu_sum([1])


def test_an_error_leaves_the_pattern_usable() -> None:
    for wrong in ("text", None, [[1], [2, 3]]):
        with pytest.raises(LoomError):
            gpu_sum(wrong)
        assert gpu_sum([1, 2]) == 3
