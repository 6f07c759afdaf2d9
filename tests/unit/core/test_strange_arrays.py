"""Arrays that strangers pass: with nulls, with masks, copies in place of their memory, and capsules that lie.

What is refused here was read before as other numbers, written to memory that nobody sees, or ended the process.
"""

from __future__ import annotations

import ctypes
import itertools
from collections.abc import Callable
from typing import Any, ClassVar

import ml_dtypes
import numpy as np
import pytest
import torch

import loom
from loom import InOut, f32
from loom.core.errors import ArgumentError, DTypeError, LoomError

_DATA, _AXES, _SHAPE, _OFFSET = 32, 48, 56, 72
"""Where a capsule with a version has its address, its number of axes, its shape and its offset."""
_FLAGS, _COPIED = 24, 2
_pointer = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.py_object, ctypes.c_char_p)(
    ("PyCapsule_GetPointer", ctypes.pythonapi)
)


@loom.kernel
def _add_one(y: InOut[f32]):  # type: ignore[no-untyped-def]
    i = loom.global_id()
    if i < len(y):
        y[i] = y[i] + 1


_DOORS: dict[str, Callable[[Any], Any]] = {
    "array": loom.array,
    "asarray": loom.tensor.asarray,
    "sum": loom.gpu_sum,
    "kernel": _add_one,
    "shared": lambda x: loom.from_dlpack(x, copy=False, device="cpu"),
}


class _Liar:
    """DLPack of an array whose capsule says something else at an offset."""

    def __init__(self, array: np.ndarray[Any, Any], offset: int, word: Any) -> None:
        self.array, self.offset, self.word = array, offset, word

    def __dlpack__(self, **_asked: Any) -> Any:
        capsule = self.array.__dlpack__(max_version=(1, 0))
        type(self.word).from_address(_pointer(capsule, b"dltensor_versioned") + self.offset).value = self.word.value
        return capsule

    def __dlpack_device__(self) -> tuple[int, int]:
        return 1, 0


_LIES = {
    "null data": (_DATA, ctypes.c_uint64(0)),
    "null shape": (_SHAPE, ctypes.c_uint64(0)),
    "axes": (_AXES, ctypes.c_int32(100_000)),
    "no axes": (_AXES, ctypes.c_int32(-1)),
    "offset": (_OFFSET, ctypes.c_uint64(1 << 63)),
}


@pytest.mark.parametrize(("lie", "door"), list(itertools.product(_LIES, _DOORS)))
def test_a_capsule_without_memory_is_refused(lie: str, door: str) -> None:
    with pytest.raises(DTypeError, match="the array cannot be shared"):
        _DOORS[door](_Liar(np.arange(3, dtype=np.float32), *_LIES[lie]))


def test_no_elements_need_no_memory() -> None:
    empty = _Liar(np.zeros((0, 3), np.float32), _DATA, ctypes.c_uint64(0))
    assert loom.array(empty).shape == (0, 3)


def _negative() -> torch.Tensor:
    return torch.complex(torch.zeros(3), torch.tensor([1.0, 2.0, 3.0])).conj().imag


def test_a_kernel_writes_no_copy_that_nobody_sees() -> None:
    x = _negative()
    assert x.is_neg()
    with pytest.raises(ArgumentError, match="read-only"):
        _add_one(x)
    with pytest.raises(ArgumentError, match="must be copied"):
        loom.from_dlpack(x, copy=False, device="cpu")
    assert loom.array(x).tolist() == [-1, -2, -3]
    found = x.clone()  # the remedy
    _add_one(found)
    assert found.tolist() == [0, -1, -2]
    copied = _Liar(np.arange(3, dtype=np.float32), _FLAGS, ctypes.c_uint64(_COPIED))
    with pytest.raises(ArgumentError, match="read-only"):
        _add_one(copied)
    with pytest.raises(ArgumentError, match="must be copied"):
        _DOORS["shared"](copied)
    assert loom.array(copied).tolist() == [0, 1, 2]


class _Interface:
    def __init__(self, array: np.ndarray[Any, Any], **more: Any) -> None:
        self.array = array
        self.__array_interface__ = array.__array_interface__ | more


class _OnGpu:
    __cuda_array_interface__: ClassVar[Any] = {"shape": (3,), "typestr": "<f4", "data": (4096, False), "version": 3}


def test_masks_and_memory_of_gpus_are_told() -> None:
    mask = np.array([True, False, True])
    numbers = np.arange(3, dtype=np.float32)
    for door in ("array", "sum", "kernel"):
        with pytest.raises(DTypeError, match="has a mask"):
            _DOORS[door](_Interface(numbers, mask=mask))
    for door in _DOORS.values():
        with pytest.raises(DTypeError, match="has a mask"):
            door(np.ma.array(numbers, mask=mask))
    for door in ("array", "sum"):
        with pytest.raises(LoomError, match="CUDA"):
            _DOORS[door](_OnGpu())


def test_nulls_are_no_numbers() -> None:
    arrow, pandas = pytest.importorskip("pyarrow"), pytest.importorskip("pandas")
    ints, floats = [2**53 + 1, None], [1.5, None]
    lacking = [arrow.array(ints), arrow.array(floats), arrow.chunked_array([floats]), arrow.table({"a": floats}),
               pandas.array(ints, dtype="Int64"), pandas.Series(pandas.array(floats, dtype="Float32")),
               arrow.array([True, None])]  # fmt: skip
    for each, door in itertools.product(lacking, ("array", "asarray", "sum")):
        with pytest.raises(DTypeError, match="elements are missing"):
            _DOORS[door](each)
    assert loom.array(arrow.array(ints).fill_null(0)).tolist() == [2**53 + 1, 0]
    assert loom.array(pandas.Series(pandas.array(ints, dtype="Int64")).fillna(0)).tolist() == [2**53 + 1, 0]
    assert loom.array(arrow.table({"a": [1.0], "b": [2.0]})).tolist() == [[1, 2]]
    assert np.isnan(loom.array(pandas.Series([1.0, float("nan")])).tolist()[1])
    with pytest.raises(DTypeError, match="nulls"):
        loom.from_dlpack(arrow.array(floats), copy=False)


def test_what_cannot_be_shared_says_so_with_a_remedy_that_works() -> None:
    swapped = np.arange(3, dtype=">f4")
    with pytest.raises(ArgumentError, match="Leave copy out"):
        loom.from_dlpack(swapped, copy=False, device="cpu")
    assert loom.from_dlpack(swapped).tolist() == [0, 1, 2]
    halves = np.arange(3).astype(ml_dtypes.bfloat16)
    shared = loom.from_dlpack(halves, copy=False, device="cpu")
    halves[0] = 7
    assert shared.dtype == loom.bf16
    assert shared.tolist() == [7, 1, 2]
    with pytest.raises(DTypeError, match="Pass the array whose capsule it is"):
        loom.from_dlpack(halves.view(np.uint16).__dlpack__())


def test_copy_is_a_truth() -> None:
    x = loom.array([1.0, 2.0])
    for wrong in (0, 1, "no"):
        with pytest.raises(ArgumentError, match="True or False"):
            x.__dlpack__(copy=wrong)
