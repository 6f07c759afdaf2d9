"""DLPack's capsules, with the types and devices that numpy has no words for.

Layer: core (numpy alone). numpy makes a capsule, reads one, keeps what it is of alive and lets go of it, all of it in
C. So memory of a GPU, or of bf16, goes through numpy as memory of the host, or of 16-bit integers: the words of the
capsule that say otherwise are changed before anybody sees them. Invariant: numpy never reads an element of memory that
is not the host's, and a capsule says of its memory what is true when it is handed on.

Source: dlpack.h, version 1.1 (DLManagedTensor, DLManagedTensorVersioned).
"""

from __future__ import annotations

import ctypes
import sys
from typing import Any

import numpy as np

from loom.core.dtype import DType, bf16, of_numpy
from loom.core.errors import ArgumentError, DTypeError
from loom.core.given import is_int, is_list
from loom.core.late.dataclass import dataclass

__all__ = ["CPU", "CUDA", "Taken", "cuda_home", "give", "is_torch", "over_memory", "require_no_gradient", "take"]

CPU, CUDA = 1, 2
_NEWEST = (1, 0)
_DEVICES = {
    1: "the CPU", 2: "CUDA", 3: "the CPU, pinned for CUDA", 4: "OpenCL", 7: "Vulkan", 8: "Metal", 9: "VPI", 10: "ROCm",
    11: "the CPU, pinned for ROCm", 13: "CUDA, managed", 14: "oneAPI", 15: "WebGPU", 16: "Hexagon", 17: "MAIA",
}  # fmt: skip
_ON_HOST = (1, 3, 11, 13)
"""Devices whose memory the host reads as it is."""
_FLOAT, _BFLOAT = 2, 4
_CODES = {
    0: "int", 1: "uint", 2: "float", 3: "a handle of", 4: "bfloat", 5: "complex", 6: "bool", 7: "float8_e3m4 of",
    8: "float8_e4m3 of", 9: "float8_e4m3b11fnuz of", 10: "float8_e4m3fn of", 11: "float8_e4m3fnuz of",
    12: "float8_e5m2 of", 13: "float8_e5m2fnuz of", 14: "float8_e8m0fnu of", 15: "float6_e2m3fn of",
    16: "float6_e3m2fn of", 17: "float4_e2m1fn of",
}  # fmt: skip
_MOST_AXES = 64
_COPIED = 2
"""The flag of memory that was copied for who takes it."""

Array = np.ndarray[Any, Any]


class _Tensor(ctypes.Structure):
    _fields_ = (
        ("data", ctypes.c_void_p), ("device", ctypes.c_int32), ("number", ctypes.c_int32), ("ndim", ctypes.c_int32),
        ("code", ctypes.c_uint8), ("bits", ctypes.c_uint8), ("lanes", ctypes.c_uint16),
        ("shape", ctypes.POINTER(ctypes.c_int64)), ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
    )  # fmt: skip


class _Versioned(ctypes.Structure):
    _fields_ = (
        ("major", ctypes.c_uint32), ("minor", ctypes.c_uint32), ("context", ctypes.c_void_p),
        ("deleter", ctypes.c_void_p), ("flags", ctypes.c_uint64), ("tensor", _Tensor),
    )  # fmt: skip


_pointer = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.py_object, ctypes.c_char_p)(
    ("PyCapsule_GetPointer", ctypes.pythonapi)
)
_name = ctypes.PYFUNCTYPE(ctypes.c_char_p, ctypes.py_object)(("PyCapsule_GetName", ctypes.pythonapi))
_PLAIN, _WITH_VERSION = b"dltensor", b"dltensor_versioned"


@dataclass(frozen=True, slots=True)
class Taken:
    """What came through DLPack: an array over its memory, which the host reads only if ``device`` is the CPU's.

    bf16 comes as its 16 bits. ``device`` is DLPack's number of a kind of devices, ``number`` which of them. ``copied``:
    it is no memory of the object's but a copy made for who takes it, which is only to be read.
    """

    array: Array
    dtype: DType
    device: int
    number: int
    copied: bool = False


_HAS_VERSIONS = np.lib.NumpyVersion(np.__version__) >= "2.1.0"
"""Whether numpy writes capsules with a version; older ones write those that every taker reads."""

# giving


def give(
    array: Array, max_version: Any, device: tuple[int, int] = (CPU, 0), *, is_bf16: bool = False, copied: bool = False
) -> Any:
    """Return a capsule of an array whose elements lie on a device, in a version that who takes it knows.

    ``is_bf16``: its 16-bit integers are those of bf16. ``copied``: nobody else has the memory. BufferError for what is
    no version, and for what no capsule without one can say.
    """
    if max_version is not None and not (
        is_list(max_version) and all(map(is_int, max_version)) and len(max_version) == 2
    ):
        raise BufferError(f"no version of DLPack: {max_version!r}; pass a pair of ints, or leave it out")
    if max_version is None or not _HAS_VERSIONS:
        capsule = array.__dlpack__()
    else:
        capsule = array.__dlpack__(max_version=tuple(max_version))
    if _name(capsule) == _WITH_VERSION and copied:
        _Versioned.from_address(_pointer(capsule, _WITH_VERSION)).flags |= _COPIED
    found = _tensor_in(capsule)
    if is_bf16:
        found.code = _BFLOAT
    found.device, found.number = device
    return capsule


class _Elsewhere:
    """Says where memory is, and keeps what it is of."""

    def __init__(self, interface: dict[str, Any], owner: Any) -> None:
        self.__array_interface__ = interface
        self.owner = owner


def over_memory(
    address: int, dtype: DType, shape: tuple[int, ...], owner: Any, strides: Any = None, *, read_only: bool = False
) -> Array:
    """Return an array that says where memory is which the host may not read; it keeps ``owner`` alive."""
    said: dict[str, Any] = {"shape": shape, "typestr": dtype.numpy.str, "data": (address, read_only), "version": 3}
    if strides is not None:
        said["strides"] = tuple(strides)
    return np.asarray(_Elsewhere(said, owner))


# taking


def cuda_home(data: Any) -> int | None:
    """Return on which GPU of CUDA the elements of another library's array are, -1 if it does not say, None for none."""
    if hasattr(data, "__dlpack_device__"):
        try:
            kind, number = data.__dlpack_device__()
        except Exception:  # whatever another library raises: who takes the array finds out
            return None
        return int(number) if kind == CUDA else None
    return -1 if hasattr(data, "__cuda_array_interface__") else None


def take(data: Any, where: str, *, stream: int | None = None, devices: tuple[int, ...] = _ON_HOST) -> Taken:
    """Return the memory of an object with DLPack; ``stream`` is the caller's, where its elements are on a GPU.

    DTypeError for elements that Loom has no type for, or on no device of ``devices``; ArgumentError for a tensor of
    PyTorch's whose gradient would end here.
    """
    require_no_gradient(data, where)
    try:
        capsule = _capsule_of(_detach(data), stream)
        found = _tensor_in(capsule)
        _require_memory(found)
    except Exception as error:  # whatever another library raises
        raise _not_shared(data, error, where) from error
    copied = _is_copy(capsule) or _is_lazy(data)
    device, number, code = int(found.device), int(found.number), int(found.code)
    _require_known(found, where)
    if device not in devices:
        name = _DEVICES.get(device, f"device kind {device}")
        raise DTypeError(where, f"its elements are on {name}", expected="an array in memory of the host",
                         got=f"{type(data).__name__} on {name}", remedy="Move it to the CPU first")  # fmt: skip
    if code == _BFLOAT:
        found.code = 1
    found.device, found.number = CPU, 0
    try:
        array = np.from_dlpack(_Given(capsule))
    except Exception as error:
        raise _not_shared(data, error, where) from error
    if copied:
        array.flags.writeable = False
    dtype = bf16 if code == _BFLOAT else of_numpy(array.dtype, where, complexes=True)
    return Taken(array, dtype, CPU if device in _ON_HOST else device, number, copied)


def is_torch(data: object) -> bool:
    """Tell whether an object is a tensor of PyTorch's, of a class of a user's too."""
    kind = getattr(sys.modules.get("torch"), "Tensor", None)
    return kind is not None and isinstance(data, kind)


def require_no_gradient(data: object, where: str) -> None:
    """Raise ArgumentError for a tensor of PyTorch's that is part of a computation which it will differentiate.

    Loom's result would be a constant to it, and what comes before would have no gradient. Under ``torch.no_grad()``
    nothing is to be differentiated. Tangents of forward mode and what ``torch.vmap`` and ``torch.func`` wrap would be
    lost alike.
    """
    if not is_torch(data):
        return
    _refuse_transformed(data, where)
    if getattr(data, "requires_grad", False) and sys.modules["torch"].is_grad_enabled():
        raise ArgumentError(
            where,
            "the tensor requires a gradient, which would end here: PyTorch does not differentiate what Loom computes",
            expected="a tensor without",
            got="requires_grad=True",
            remedy="Pass x.detach(), or write it under torch.no_grad(), if no gradient is to go through",
        )


def _refuse_transformed(data: object, where: str) -> None:
    """Refuse what ``torch.vmap`` and ``torch.func`` wrap, and tensors with a tangent of forward mode."""
    torch = sys.modules["torch"]
    is_wrapped = getattr(getattr(torch._C, "_functorch", None), "is_functorch_wrapped_tensor", None)
    if is_wrapped is not None and is_wrapped(data):
        raise ArgumentError(
            where,
            "the tensor stands for others: torch.vmap and torch.func do not see what Loom computes",
            expected="a tensor of elements",
            got="one inside of torch.vmap or torch.func",
            remedy="Call it outside of them, with the whole batch",
        )
    if torch.autograd.forward_ad.unpack_dual(data).tangent is not None:
        raise ArgumentError(
            where,
            "the tensor has a tangent, which would end here: PyTorch does not differentiate what Loom computes",
            expected="a tensor without",
            got="a dual tensor of forward mode",
            remedy="Pass x.detach(), if no tangent is to go through",
        )


def _detach(data: Any) -> Any:
    """Return an array, torch's as its numbers."""
    return data.detach().resolve_conj().resolve_neg() if is_torch(data) else data


def _is_lazy(data: Any) -> bool:
    """Tell whether a tensor of torch's has numbers that are not in its memory but conjugate or negative to it."""
    return is_torch(data) and bool(data.is_conj() or data.is_neg())


_COPY_IT = "Pass a copy of its elements as a numpy array"
_REMEDIES = {
    "layout": "Write x.to_dense()", "QInt": "Write x.dequantize()", "nulls": "Write x.fill_null(..)",
    "device": "Move it to the CPU first",
}  # fmt: skip
"""What others say of arrays that they do not share, and what makes others of them."""


def _not_shared(data: Any, error: Exception, where: str) -> DTypeError:
    said = str(error)
    remedy = next((r for word, r in _REMEDIES.items() if word in said), _COPY_IT)
    return DTypeError(
        where, f"the array cannot be shared ({error})", expected="an array of numbers in host memory",
        got=type(data).__name__, remedy=remedy,
    )  # fmt: skip


class _Given:
    """A capsule that is handed on."""

    def __init__(self, capsule: Any) -> None:
        self.capsule = capsule

    def __dlpack__(self, **_asked: Any) -> Any:
        return self.capsule

    def __dlpack_device__(self) -> tuple[int, int]:
        return CPU, 0


def _capsule_of(data: Any, stream: int | None) -> Any:
    """Return the capsule of an object, of the newest version that it knows how to make."""
    asked: dict[str, Any] = {} if stream is None else {"stream": stream}
    try:
        return data.__dlpack__(max_version=_NEWEST, **asked)
    except TypeError as error:  # it is of the time before versions, or says what is wrong with the elements
        try:
            return data.__dlpack__(**asked)
        except Exception as again:
            raise (again if "argument" in str(error) else error) from None


def _tensor_in(capsule: Any) -> Any:
    """Return the description in a capsule; BufferError for one of a version to come, or that was taken already."""
    name = _name(capsule)
    if name == _PLAIN:
        return _Tensor.from_address(_pointer(capsule, name))
    if name != _WITH_VERSION:
        raise BufferError(f"no capsule of DLPack, or one that was taken already: {name!r}")
    found = _Versioned.from_address(_pointer(capsule, name))
    if found.major > _NEWEST[0]:
        raise BufferError(f"a capsule of DLPack {found.major}.{found.minor}, and {_NEWEST[0]} is the newest known")
    return found.tensor


def _is_copy(capsule: Any) -> bool:
    """Tell whether a capsule says that its memory is a copy for who takes it."""
    if _name(capsule) != _WITH_VERSION:
        return False
    return bool(_Versioned.from_address(_pointer(capsule, _WITH_VERSION)).flags & _COPIED)


def _require_memory(found: Any) -> None:
    """Raise BufferError for a description without what its number of axes asks for, in place of reading there."""
    axes, offset = int(found.ndim), int(found.byte_offset)
    if not 0 <= axes <= _MOST_AXES:
        raise BufferError(f"{axes} axes, and numpy has at most {_MOST_AXES}")
    if axes and not found.shape:
        raise BufferError("a capsule without a shape")
    if not found.data and all(found.shape[i] for i in range(axes)):
        raise BufferError("a capsule of elements without memory")
    if offset + (found.data or 0) >= 1 << 63:
        raise BufferError(f"a capsule whose elements begin {offset} bytes behind its memory, where nothing is")


def _require_known(found: Any, where: str) -> None:
    """Raise DTypeError for elements that no type of Loom's is, by DLPack's name for them."""
    code, bits, lanes = int(found.code), int(found.bits), int(found.lanes)
    widths = {0: (8, 16, 32, 64), 1: (8, 16, 32, 64), _FLOAT: (16, 32, 64), _BFLOAT: (16,), 5: (64, 128), 6: (8,)}
    if lanes == 1 and bits in widths.get(code, ()):
        return
    name = _CODES.get(code, f"type {code} of")
    told = f"{name}{'' if name[-1] != 'f' else ' '}{bits}{' bits' if name[-1] == 'f' else ''}"
    told += f" in vectors of {lanes}" if lanes != 1 else ""
    raise DTypeError(
        where, "elements of a type that Loom has not", expected="bool, integers of 8 to 64 bits, f16, bf16, f32, f64",
        got=told, remedy="Convert it with the other library first",
    )  # fmt: skip
