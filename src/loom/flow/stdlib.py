"""Kernels by path: ``stdlib/loom/kernels/sieve_init.spv`` names a kernel of Loom's own.

Layer: flow. They run on every device, so no file is read. Invariant: a path under ``stdlib/loom/kernels`` is one of
these or an error that names them.
"""

from __future__ import annotations

from functools import cache

from loom.core.dtype import f32
from loom.core.errors import ArgumentError, near_matches
from loom.ir.frontend.base.annotations import InOut
from loom.ir.frontend.decorator import KernelFunction, kernel
from loom.ir.frontend.intrinsics import global_id

__all__ = ["FOLDER", "stdlib_kernel"]

FOLDER = "stdlib/loom/kernels/"


@kernel(workgroup=256)
def double(registers: InOut[f32]) -> None:
    """Double every register, taken as f32; one workgroup for 256 of them."""
    i = global_id()
    if i < len(registers):
        registers[i] = registers[i] * 2.0


@cache
def _kernels() -> dict[str, KernelFunction]:
    from loom.flow.kernels import FILES
    from loom.kernels.sieve.words import sieve_count, sieve_init, sieve_mark

    sieve = {"sieve_count": sieve_count, "sieve_init": sieve_init, "sieve_mark": sieve_mark}
    named = {"math/double": double, **FILES, **sieve, **{f"sieve/{name}": found for name, found in sieve.items()}}
    return {f"{FOLDER}{name}.spv": found for name, found in named.items()}


def stdlib_kernel(path: str, where: str) -> KernelFunction:
    """Return the kernel at ``path``; ArgumentError names those there are."""
    found = _kernels().get(path)
    if found is None:
        raise ArgumentError(where, f"no kernel of the library is at {path!r}", remedy=near_matches(path, _kernels()))
    return found
