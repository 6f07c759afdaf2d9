"""Products of matrices by a vendor's own library, in the place of kernels: fast, and promised nothing of their bits.

Layer: runtime. A chain records such a call as it records a kernel, so that memory, waits and slots go the way of every
dispatch; a driver hands it to the library. Invariant: what holds one is promised no more than FAST, and nobody gets one
who did not ask for it; ``calls_begun`` tells how many were handed over, so that whoever vouches for bits sees that
none was.
"""

from __future__ import annotations

import hashlib
from functools import cached_property, lru_cache
from typing import Protocol

from loom.core.dtype import DType, bf16, f16, f32, u32
from loom.core.errors import ArgumentError, DeviceError, DTypeError, ShapeError
from loom.core.late.dataclass import dataclass
from loom.core.numerics import Guarantee
from loom.ir.kernel import Access, Block, Kernel, Memory, Space
from loom.ir.passes.uniformity import Uniformity
from loom.ir.verified import VerifiedKernel

__all__ = [
    "DenseProduct", "LibraryKernel", "SparseProduct", "calls_begun", "library_kernel", "note_begun", "refuse_library",
    "require_fast",
]  # fmt: skip

_DENSE = (f32, f16, bf16)
_SPARSE = (f32,)
_MOST = (1 << 31) - 1
"""What the libraries count rows, columns and places by."""
_begun = 0


class FastPlace(Protocol):
    """A device, as far as it matters here."""

    name: str
    kind: str


@dataclass(frozen=True, slots=True)
class DenseProduct:
    """``batches`` products of a (m by k; k by m if transposed) and b (k by n; n by k): elements row by row.

    ``a_shared`` and ``b_shared``: one matrix for all batches. f16 and bf16 are added in f32.
    """

    m: int
    n: int
    k: int
    element: DType
    result: DType
    transpose_a: bool = False
    transpose_b: bool = False
    batches: int = 1
    a_shared: bool = False
    b_shared: bool = False

    library = "cublas"

    @property
    def buffers(self) -> tuple[tuple[str, DType, Access], ...]:
        """Names, types and uses of what is bound."""
        return (("a", self.element, Access.READ), ("b", self.element, Access.READ), ("out", self.result, Access.WRITE))


@dataclass(frozen=True, slots=True)
class SparseProduct:
    """A sparse matrix (m by k, by rows, with ``places`` elements) times a dense one (k by n)."""

    m: int
    n: int
    k: int
    places: int
    element: DType

    library = "cusparse"

    @property
    def buffers(self) -> tuple[tuple[str, DType, Access], ...]:
        """Names, types and uses of what is bound."""
        read = Access.READ
        return (("starts", u32, read), ("columns", u32, read), ("values", self.element, read),
                ("dense", self.element, read), ("out", self.element, Access.WRITE))  # fmt: skip


@dataclass(frozen=True, eq=False)
class LibraryKernel(VerifiedKernel):
    """A call of a library in the place of a kernel."""

    language = "library"
    call: DenseProduct | SparseProduct

    @cached_property
    def hash(self) -> str:
        """SHA-256 of what is called."""
        return hashlib.sha256(repr(self.call).encode()).hexdigest()

    @cached_property
    def reads(self) -> frozenset[Memory]:
        """Buffers that are operands."""
        return frozenset(m for m in self.kernel.buffers if m.access.reads)

    @cached_property
    def writes(self) -> frozenset[Memory]:
        """The buffer of the result."""
        return frozenset(m for m in self.kernel.buffers if m.access.writes)


@lru_cache(maxsize=256)
def library_kernel(call: DenseProduct | SparseProduct) -> LibraryKernel:
    """Return a call as a kernel."""
    buffers = tuple(Memory(name, dtype, Space.BUFFER, access=access) for name, dtype, access in call.buffers)
    name = f"{call.library} {call.m}x{call.n}x{call.k}"
    kernel = Kernel(name, buffers, (), (1, 1, 1), Block(), trusted=True, guarantee=Guarantee.FAST)
    return LibraryKernel(kernel, Uniformity(), call)


def require_fast(call: DenseProduct | SparseProduct, on: FastPlace | None, where: str) -> None:
    """Raise an error where nothing faster than the exact product is there: on what is no GPU of CUDA, for other types,
    for more than the library counts. ``on`` None: a device is not known yet."""
    allowed = _DENSE if isinstance(call, DenseProduct) else _SPARSE
    if call.element not in allowed:
        raise DTypeError(f"{where}, guarantee", f"nothing fast multiplies {call.element}",
                         expected=" or ".join(map(str, allowed)), got=call.element,
                         remedy="Leave guarantee out, or convert the operands")  # fmt: skip
    if max(call.m, call.n, call.k, getattr(call, "places", 0)) > _MOST:
        raise ShapeError(f"{where}, guarantee", "too large for what is fast", expected="sides below 2^31",
                         got=(call.m, call.k, call.n), remedy="Leave guarantee out, or multiply in parts")  # fmt: skip
    if on is not None and on.kind != "cuda":
        raise DeviceError(f"{where}, guarantee", f"nothing fast multiplies on device {on.name!r}",
                          expected="a GPU of CUDA", got=on.kind,
                          remedy="Leave guarantee out, or use a device 'cuda'")  # fmt: skip


def refuse_library(kernel: VerifiedKernel, where: str) -> None:
    """Raise ArgumentError for a call of a library, which is no code of Loom's to write down."""
    if isinstance(kernel, LibraryKernel):
        raise ArgumentError(where, "a product with guarantee='fast' cannot be exported", expected="kernels of Loom's",
                            got=kernel.name, remedy="Leave guarantee out")  # fmt: skip


def note_begun() -> None:
    """Count a call that is handed to a library, or a run of which nothing is promised."""
    global _begun  # noqa: PLW0603 - counted for the process
    _begun += 1


def calls_begun() -> int:
    """Return how many calls this process has handed to libraries, and how many runs it began without a promise."""
    return _begun
