"""DLPack in memory of the host: every type, layout and option, both ways, with numpy, torch and MLX as the others.

Oracles: what these libraries read, the addresses of memory, and dlpack.h for the words of a capsule.
"""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
import pytest
import torch

import loom
from deferred import Later, functions_of, value_of
from loom import tensor
from loom.core.errors import ArgumentError, DTypeError
from loom.core.numerics import canonical_bits

KINDS = ("bool", "i8", "i16", "i32", "i64", "u8", "u16", "u32", "u64", "f16", "f32", "f64", "c64", "c128")
_FLAGS, _TENSOR = 24, 32
"""Where a capsule with a version has its flags and the description; in that, where its type is."""
_TYPE = 20
_READ_ONLY, _COPIED = 1, 2
_pointer = ctypes.pythonapi.PyCapsule_GetPointer
_pointer.restype, _pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]


def _address(capsule: Any, name: bytes = b"dltensor_versioned") -> int:
    return int(_pointer(capsule, name))


def _flags(capsule: Any) -> int:
    return ctypes.c_uint64.from_address(_address(capsule) + _FLAGS).value


class Theirs:
    """An object that has DLPack alone; ``words`` of its capsule are changed: {offset: (C type, number)}."""

    def __init__(self, array: np.ndarray[Any, Any], words: dict[int, tuple[Any, int]] | None = None) -> None:
        self.array, self.words = array, words or {}

    def __dlpack__(self, **asked: Any) -> Any:
        capsule = self.array.__dlpack__(**asked)
        for offset, (kind, number) in self.words.items():
            kind.from_address(_address(capsule) + offset).value = number
        return capsule

    def __dlpack_device__(self) -> tuple[int, int]:
        return 1, 0


def _numbers(kind: str) -> np.ndarray[Any, Any]:
    dtype = loom.tensor.array([0], kind).dtype.numpy
    raw = np.random.default_rng(1).integers(0, 256, 24 * dtype.itemsize, dtype=np.uint8)
    return (raw & 1).astype(bool).reshape(4, 6) if kind == "bool" else raw.view(dtype).reshape(4, 6)


def _bits(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    flat = np.ascontiguousarray(array).reshape(-1)
    return canonical_bits(flat.view(flat.real.dtype) if flat.dtype.kind == "c" else flat)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "cut", [(...,), (slice(None, None, 2), slice(1, None, 3)), (2,), (1, 1), (slice(0, 0),)], ids=str
)
def test_every_type_and_layout_goes_both_ways(kind: str, cut: tuple[Any, ...]) -> None:
    data = _numbers(kind)
    wanted = _bits(data[cut])
    x = tensor.array(data)[cut]
    for theirs in (np.from_dlpack(x), torch.from_dlpack(x).numpy()):
        assert theirs.shape == x.shape
        assert theirs.dtype == data.dtype
        assert np.array_equal(_bits(theirs), wanted)
    view = torch.from_numpy(data)[cut]
    for given in (Theirs(np.asarray(data[cut])), view):
        back = loom.from_dlpack(given)
        assert (back.shape, back.dtype) == (x.shape, x.dtype)
        assert np.array_equal(_bits(back.numpy()), wanted)


def test_bf16_is_itself_where_it_is_not_copied_and_f32_where_it_is() -> None:
    x = tensor.array([1.5, -2.0, 3.0]).astype("bf16")
    x.evaluate()
    there = torch.from_dlpack(x, copy=False)
    assert (there.dtype, there.tolist()) == (torch.bfloat16, [1.5, -2.0, 3.0])
    assert there.data_ptr() == x.data.address
    assert torch.from_dlpack(x).dtype == torch.float32
    back = loom.from_dlpack(there, copy=False)
    assert (back.dtype.name, back.data.address, back.tolist()) == ("bf16", x.data.address, x.tolist())
    assert loom.from_dlpack(torch.ones(2, 3, dtype=torch.bfloat16).T).tolist() == [[1.0, 1.0]] * 3


def test_capsules_say_what_is_true_of_their_memory() -> None:
    x = tensor.array([1.0, 2.0, 3.0])
    copies = [x.__dlpack__(max_version=(1, 0)), x.__dlpack__(max_version=(1, 1), copy=True, dl_device=(1, 0))]
    assert [_flags(c) for c in copies] == [_COPIED] * 2
    assert _flags(x.__dlpack__(max_version=(1, 0), copy=False)) == _READ_ONLY
    old = x.__dlpack__()
    assert ctypes.cast(_address(old, b"dltensor"), ctypes.POINTER(ctypes.c_void_p))[0] != x.data.address
    assert not np.from_dlpack(x, copy=False).flags.writeable
    assert np.from_dlpack(x, copy=True).flags.writeable


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"stream": 1}, "has no streams"),
        ({"dl_device": (2, 0)}, r"are on device \(1, 0\), and none goes to \(2, 0\)"),
        ({"dl_device": (8, 0), "copy": True}, "none goes to"), ({"dl_device": "cpu"}, "none goes to cpu"),
        ({"max_version": 1}, "no version of DLPack: 1"), ({"max_version": ("1", 0)}, "no version of DLPack"),
        ({"max_version": 1, "copy": False}, "no version of DLPack: 1"),
    ],
)  # fmt: skip
def test_what_a_tensor_cannot_do_is_a_buffer_error(options: dict[str, Any], text: str) -> None:
    with pytest.raises(BufferError, match=text):
        tensor.array([1.0]).__dlpack__(**options)


@pytest.mark.parametrize("make", [np.asarray, functions_of(torch).from_numpy], ids=["numpy", "torch"])
def test_memory_is_shared_where_it_is_asked_to(make: Any) -> None:
    data = np.arange(6, dtype=np.float32).reshape(2, 3)
    x = loom.from_dlpack(make(data), copy=False)
    assert x.data.address == data.ctypes.data
    data[0, 0] = 9
    assert x.tolist() == [[9, 1, 2], [3, 4, 5]]
    x[1] = 7
    x += 1
    assert data.tolist() == [[9, 1, 2], [3, 4, 5]], "nothing of Loom writes there"
    assert x.tolist() == [[10, 2, 3], [8, 8, 8]]
    own = loom.from_dlpack(make(data))
    data[0] = 0
    assert own.tolist() == [[9, 1, 2], [3, 4, 5]]
    zero_d = loom.from_dlpack(make(np.array(2.5)), copy=False)
    assert (zero_d.shape, zero_d.item()) == ((), 2.5)


def test_memory_that_is_only_to_be_read_is_read() -> None:
    fixed = np.arange(3.0)
    fixed.flags.writeable = False
    x = loom.from_dlpack(fixed, copy=False)
    x[0] = 5
    assert (fixed.tolist(), x.tolist()) == ([0, 1, 2], [5, 1, 2])


def test_what_cannot_be_shared_must_be_copied(on: str) -> None:
    data = np.arange(12, dtype=np.float32).reshape(3, 4)
    shares = loom.device(on).adopt(data) is not None
    for given, fits in ((data, shares), (data[:, 1:3], False), (data.T, False)):
        if fits:
            assert loom.from_dlpack(given, copy=False, device=on).tolist() == given.tolist()
            continue
        with pytest.raises(
            ArgumentError, match=r"\[from_dlpack, copy\] the elements must be copied: expected a contig"
        ):
            loom.from_dlpack(given, copy=False, device=on)
        assert loom.from_dlpack(given, device=on).tolist() == given.tolist()


_U8, _U16 = ctypes.c_uint8, ctypes.c_uint16


@pytest.mark.parametrize(
    ("code", "bits", "lanes", "text"),
    [
        (0, 4, 1, "got int4"), (1, 1, 1, "got uint1"), (17, 4, 1, "got float4_e2m1fn of 4 bits"),
        (10, 8, 1, "got float8_e4m3fn of 8 bits"), (2, 128, 1, "got float128"), (5, 32, 1, "got complex32"),
        (2, 32, 4, "got float32 in vectors of 4"), (3, 64, 1, "got a handle of 64 bits"),
        (99, 8, 1, "got type 99 of 8"),
    ],
)  # fmt: skip
def test_types_that_loom_has_not_are_refused_by_name(code: int, bits: int, lanes: int, text: str) -> None:
    at = _TENSOR + _TYPE
    given = Theirs(np.zeros(8, np.uint8), {at: (_U8, code), at + 1: (_U8, bits), at + 2: (_U16, lanes)})
    for take in (loom.from_dlpack, loom.gpu_sum):
        with pytest.raises(DTypeError, match=f"elements of a type that Loom has not.*{text}"):
            take(given)


def test_torch_types_of_eight_bits_are_refused_by_name() -> None:
    with pytest.raises(DTypeError, match="float8_e5m2"):
        loom.from_dlpack(torch.ones(3).to(torch.float8_e5m2))


def test_strange_capsules_are_errors() -> None:
    used = np.arange(3.0).__dlpack__(max_version=(1, 0))
    np.from_dlpack(_Handing(used))
    for given, text in (
        (Theirs(np.zeros(3), {0: (ctypes.c_uint32, 2)}), "a capsule of DLPack 2.0, and 1 is the newest known"),
        (_Handing(used), "no capsule of DLPack, or one that was taken already"),
        (_Handing(None), "cannot be shared"), (Theirs(np.zeros(3), {_TENSOR + 8: (ctypes.c_int32, 10)}), "on ROCm"),
    ):  # fmt: skip
        with pytest.raises(DTypeError, match=text):
            loom.from_dlpack(given)


@pytest.mark.parametrize("given", [
    Later(lambda: torch.ones(3, device="meta")),
    type("Raising", (), {"__dlpack__": 1 .__add__, "__dlpack_device__": 1 .__add__})(),
    type("Odd", (), {"__dlpack__": lambda *_a, **_k: None, "__dlpack_device__": lambda _s: "x"})(),
], ids=["meta", "raising", "odd"])  # fmt: skip
def test_whatever_another_library_raises_is_told(given: Any) -> None:
    for take in (loom.gpu_sum, loom.array, loom.from_dlpack, lambda x: loom.from_dlpack(x, copy=False), _filled):
        with pytest.raises(DTypeError, match="cannot be shared"):
            take(value_of(given))


@loom.kernel
def _filled(x: loom.Out[loom.f32]) -> None:
    x[loom.global_id()] = 1.0


class _Handing:
    def __init__(self, capsule: Any) -> None:
        self.capsule = capsule

    def __dlpack__(self, **_asked: Any) -> Any:
        return self.capsule

    def __dlpack_device__(self) -> tuple[int, int]:
        return 1, 0


# MLX


class OfMetal:
    """What MLX's arrays are like where there is Metal: on a device of that name, in memory of the host, no options."""

    def __init__(self, array: np.ndarray[Any, Any]) -> None:
        self.array = array

    def __dlpack__(self) -> Any:
        return self.array.__dlpack__()

    def __dlpack_device__(self) -> tuple[int, int]:
        return 8, 0


def test_arrays_that_say_metal_and_are_in_unified_memory() -> None:
    data = np.arange(4, dtype=np.float32)
    assert loom.from_dlpack(OfMetal(data), copy=False).data.address == data.ctypes.data
    assert float(loom.gpu_sum(OfMetal(data))) == 6.0


def test_arrays_of_mlx_come_and_go() -> None:
    mx = pytest.importorskip("mlx.core")
    for kind in ("float32", "float16", "bfloat16", "int8", "uint64", "bool_", "complex64"):
        given = mx.array([[1, 0, 1], [0, 1, 1]]).astype(getattr(mx, kind))
        for x in (loom.from_dlpack(given), loom.array(given)):
            assert x.dtype.name == {"bfloat16": "bf16"}.get(kind, x.dtype.name)
            assert x.tolist() == given.tolist()
            assert x.shape == (2, 3)
    x = tensor.array([[1.0, 2.0], [3.0, 4.0]])
    theirs = mx.from_dlpack(x)
    assert (theirs + 1).tolist() == [[2, 3], [4, 5]]
    assert mx.array(x * 2).tolist() == [[2, 4], [6, 8]]
    assert float(loom.gpu_sum(theirs)) == 10.0
    half = loom.from_dlpack(mx.array([1.5, 2.5]).astype(mx.bfloat16))
    assert mx.from_dlpack(half).tolist() == [1.5, 2.5]
