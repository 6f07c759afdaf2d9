"""SPIR-V modules of somebody else's as kernels that a chain can record.

Layer: runtime. A module's own code is never looked at: buffers, push constants and workgroup come from reflection, so
that binding, parameters and waits go the way of every kernel. Invariant: what a module does not promise (never
written, never read) is taken to happen, and its results are promised no more than run to run.
"""

from __future__ import annotations

import hashlib
import os
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from loom.core.dtype import u32
from loom.core.errors import ArgumentError
from loom.core.late.dataclass import dataclass
from loom.core.numerics import Guarantee
from loom.ir.kernel import Access, Block, Kernel, Memory, Param, Space
from loom.ir.verified import VerifiedKernel

if TYPE_CHECKING:
    from loom.targets.spirv.reflect import ForeignModule

__all__ = ["ForeignKernel", "foreign_kernel"]


@dataclass(frozen=True, eq=False)
class ForeignKernel(VerifiedKernel):
    """A module in the place of a kernel; its buffers are words of memory, by binding."""

    language = "spirv"
    module: ForeignModule

    @cached_property
    def hash(self) -> str:
        """SHA-256 of the module."""
        return hashlib.sha256(self.module.data).hexdigest()

    @cached_property
    def reads(self) -> frozenset[Memory]:
        """Buffers that are not declared NonReadable."""
        return frozenset(m for m in self.kernel.buffers if m.access.reads)

    @cached_property
    def writes(self) -> frozenset[Memory]:
        """Buffers that are not declared NonWritable."""
        return frozenset(m for m in self.kernel.buffers if m.access.writes)


def foreign_kernel(source: bytes | str | os.PathLike[str], where: str) -> ForeignKernel:
    """Return a SPIR-V module, given as bytes or by the path of its file, as a kernel.

    ArgumentError for a file that cannot be read, KernelError for what is no usable module.
    """
    if isinstance(source, bytes):
        return _kernel(source, "spirv")
    try:
        data = Path(source).read_bytes()
    except (OSError, ValueError) as error:
        raise ArgumentError(
            where, f"no SPIR-V file can be read there ({error})", expected="a kernel, or the path of a .spv file",
            got=repr(os.fspath(source)), remedy="Compile it with glslangValidator -V or spirv-as",
        ) from None  # fmt: skip
    return _kernel(data, Path(source).name)


@lru_cache(maxsize=256)
def _kernel(data: bytes, name: str) -> ForeignKernel:
    from loom.ir.passes.uniformity import Uniformity
    from loom.targets.spirv.reflect import reflect  # few kernels are modules of others

    module = reflect(data, f"SPIR-V module {name!r}")
    access = {(True, True): Access.READ_WRITE, (True, False): Access.READ, (False, True): Access.WRITE}
    buffers = tuple(
        Memory(f"binding {b.binding}", u32, Space.BUFFER, access=access.get((b.reads, b.writes), Access.READ))
        for b in module.buffers
    )
    params = tuple(Param(m.name, m.dtype) for m in module.push)
    kernel = Kernel(name, buffers, params, module.workgroup, Block(), trusted=True, guarantee=Guarantee.RUN_TO_RUN)
    return ForeignKernel(kernel, Uniformity(), module)
