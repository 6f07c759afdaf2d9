"""NVIDIA's cuBLAS and cuSPARSE, for products that were asked for with ``guarantee="fast"``.

Layer: runtime. The libraries are found by ``cuda-pathfinder`` (wheels, toolkit, system), which comes with
``cuda-bindings``, and called in Loom's stream, in order with all else. Nothing is loaded before it is needed.
Invariant: a library computes known products rightly, in every layout, before it is given any
other; f32 is multiplied in f32 (TF32 stays off) and f16 and bf16 are added in f32; no more is said of the bits.

Source: the manuals of cuBLAS (cublasGemmStridedBatchedEx) and of cuSPARSE (cusparseSpMM).
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Protocol

import numpy as np

from loom.core.arithmetic import ordinary_arithmetic
from loom.core.dtype import DType, bf16, f16, f32
from loom.core.errors import DeviceError
from loom.core.optional import load
from loom.runtime.drivers.cuda.librarytest import Probe, dense_probes, sparse_probe
from loom.runtime.plans.library import DenseProduct, SparseProduct, note_begun

__all__ = ["Libraries", "fast_products"]

_TYPES: dict[DType, int] = {f32: 0, f16: 2, bf16: 14}
"""Elements as CUDA's libraries count them (cudaDataType)."""
_COMPUTE_F32, _DEFAULT_WAY = 68, -1
_INDEX, _BY_ROWS = 2, 2
"""CUSPARSE_INDEX_32I, since places are below 2^31; CUSPARSE_ORDER_ROW."""
_PACKAGES = ("nvidia-{0}", "nvidia-{0}-cu12")

_address, _int, _long = ctypes.c_void_p, ctypes.c_int, ctypes.c_longlong


class LibraryOwner(Protocol):
    """An opened GPU, as far as libraries are concerned."""

    name: str
    stream: Any
    lock: Any
    current: Any

    @property
    def memory(self) -> Any: ...


def fast_products() -> str:
    """Return what ``loom devices`` says of products with ``guarantee="fast"``; no library is loaded for it."""
    found = [f"{name} {said}" for name in ("cublas", "cusparse") if (said := _version(name))]
    return ", ".join(found) or "by cuBLAS of a toolkit, if there is one: pip install nvidia-cublas"


def _version(library: str) -> str:
    for package in _PACKAGES:
        try:
            return version(package.format(library))
        except PackageNotFoundError:
            continue
    return ""


class _Library:
    """A library, opened for one GPU: its handle works in Loom's stream."""

    def __init__(self, owner: LibraryOwner, name: str, prefix: str, create: str, set_stream: str) -> None:
        self.name, self.where = name, f"device {owner.name!r}, guarantee"
        with ordinary_arithmetic():
            self.functions = self._load(name)
        self.handle = _address()
        self._prefix = prefix
        self.call(create, ctypes.byref(self.handle))
        self.call(set_stream, self.handle, _address(int(owner.stream)))

    def _load(self, name: str) -> Any:
        try:
            found = load("cuda.pathfinder", self.where).load_nvidia_dynamic_lib(name)
            return ctypes.CDLL(found.abs_path)
        except Exception as error:  # the finder's own errors, and those of the system's loader
            raise DeviceError(
                self.where, f"NVIDIA's lib{name} cannot be loaded ({' '.join(str(error).split())[:200]})",
                remedy=f"Run pip install nvidia-{name} (nvidia-{name}-cu12 for a driver of CUDA 12), or leave it out",
            ) from error  # fmt: skip

    def call(self, function: str, *given: Any) -> None:
        """Call a function; DeviceError for what it answers if not 0."""
        answer = getattr(self.functions, self._prefix + function)(*given)
        if answer:
            raise DeviceError(self.where, f"{self.name}'s {function} fails with {answer}",
                              remedy="Leave guarantee out: the exact product needs no library")  # fmt: skip


class Libraries:
    """What a GPU has of them."""

    def __init__(self, owner: LibraryOwner) -> None:
        self.owner = owner
        self._blas: _Library | None = None
        self._sparse: _Library | None = None
        self._room: Any = None  # scratch memory of the newest sparse product

    def require(self, call: DenseProduct | SparseProduct) -> None:
        """Load what a call needs; DeviceError without it."""
        with self.owner.lock, self.owner.current:
            if isinstance(call, DenseProduct) and self._blas is None:
                self._blas = _Library(self.owner, "cublas", "cublas", "Create_v2", "SetStream_v2")
                self._try(dense_probes())
            elif isinstance(call, SparseProduct) and self._sparse is None:
                self._sparse = _Library(self.owner, "cusparse", "cusparse", "Create", "SetStream")
                self._try([sparse_probe()])

    def _try(self, probes: Iterable[Probe]) -> None:
        """Compute known products; DeviceError, and no library, if one is wrong."""
        try:
            for call, operands, wanted in probes:
                held = [self.owner.memory.allocate(each.nbytes, zeroed=False) for each in (*operands, wanted)]
                for storage, each in zip(held, operands, strict=False):
                    storage.write(0, np.ascontiguousarray(each).reshape(-1).view(np.uint8))
                self._hand(call, [storage.address for storage in held])
                if not np.array_equal(held[-1].read(0, wanted.nbytes), wanted.reshape(-1).view(np.uint8)):
                    where = f"device {self.owner.name!r}, guarantee"
                    raise DeviceError(where, f"{call.library} computes {call} wrongly",
                                      remedy="Leave guarantee out, or install another version of it")  # fmt: skip
        except BaseException:
            self._blas, self._sparse = None, None
            raise

    def run(self, call: DenseProduct | SparseProduct, addresses: list[int]) -> None:
        """Hand a call to the stream; ``addresses`` of what is bound, in order."""
        self.require(call)
        note_begun()
        self._hand(call, addresses)

    def _hand(self, call: DenseProduct | SparseProduct, addresses: list[int]) -> None:
        with self.owner.lock, self.owner.current:
            if isinstance(call, DenseProduct):
                self._dense(call, *addresses)
            else:
                self._multiply_sparse(call, *addresses)

    def _dense(self, call: DenseProduct, a: int, b: int, out: int) -> None:
        """Multiply: what lies by rows is, by columns, transposed, and so is the product, of b and a."""
        blas = self._blas
        assert blas is not None
        m, n, k = call.m, call.n, call.k
        one, none = ctypes.c_float(1.0), ctypes.c_float(0.0)
        element, result = _TYPES[call.element], _TYPES[call.result]
        a_step, b_step = (0 if shared else rows * k for shared, rows in ((call.a_shared, m), (call.b_shared, n)))
        blas.call(
            "GemmStridedBatchedEx", blas.handle, _int(call.transpose_b), _int(call.transpose_a), _int(n), _int(m),
            _int(k), ctypes.byref(one), _address(b), _int(element), _int(k if call.transpose_b else n), _long(b_step),
            _address(a), _int(element), _int(m if call.transpose_a else k), _long(a_step), ctypes.byref(none),
            _address(out), _int(result), _int(n), _long(m * n), _int(call.batches), _int(_COMPUTE_F32),
            _int(_DEFAULT_WAY),
        )  # fmt: skip

    def _multiply_sparse(self, call: SparseProduct, starts: int, columns: int, values: int, dense: int,
                         out: int) -> None:  # fmt: skip
        lib = self._sparse
        assert lib is not None
        m, n, k, kind = call.m, call.n, call.k, _TYPES[call.element]
        matrix, left, right = _address(), _address(), _address()
        one, none, size = ctypes.c_float(1.0), ctypes.c_float(0.0), ctypes.c_size_t()
        lib.call("CreateCsr", ctypes.byref(matrix), _long(m), _long(k), _long(call.places), _address(starts),
                 _address(columns), _address(values), _int(_INDEX), _int(_INDEX), _int(0),
                 _int(kind))  # fmt: skip
        lib.call("CreateDnMat", ctypes.byref(left), _long(k), _long(n), _long(n), _address(dense), _int(kind),
                 _int(_BY_ROWS))  # fmt: skip
        lib.call("CreateDnMat", ctypes.byref(right), _long(m), _long(n), _long(n), _address(out), _int(kind),
                 _int(_BY_ROWS))  # fmt: skip
        given = (lib.handle, _int(0), _int(0), ctypes.byref(one), matrix, left, ctypes.byref(none), right, _int(kind),
                 _int(0))  # fmt: skip
        try:
            lib.call("SpMM_bufferSize", *given, ctypes.byref(size))
            self._room = self.owner.memory.allocate(size.value, zeroed=False)  # freed in the stream's order
            lib.call("SpMM", *given, _address(self._room.address))
        finally:
            lib.call("DestroySpMat", matrix)
            lib.call("DestroyDnMat", left)
            lib.call("DestroyDnMat", right)
