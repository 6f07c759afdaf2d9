"""Private arrays in a heap: what a lane keeps beyond what its device takes lies in buffers beside the kernel's own.

Layer: targets. Each array has a buffer with room for every lane of every group of a dispatch. Elements of one index
lie side by side for the lanes of a group, which touch them at the same time. Invariant: a lane, one that only looks on
too, reaches nothing of another lane's.
"""

from __future__ import annotations

from math import prod

from loom.ir.kernel import Kernel, Memory
from loom.targets.spirv.features import Features
from loom.targets.spirv.identity import Identity
from loom.targets.spirv.memory import MemoryAccess, constant_indexes

__all__ = ["declare_heap", "heap_arrays"]


def heap_arrays(kernel: Kernel, features: Features) -> tuple[Memory, ...]:
    """Return the private arrays that lie in the heap: the largest, until a device takes the rest."""
    registers = constant_indexes(kernel)
    arrays = [m for m in kernel.private if m not in registers]
    sizes = {m: (m.size or 0) * m.dtype.nbytes for m in arrays}
    rest, found = sum(sizes.values()), set[Memory]()
    for array in sorted(arrays, key=lambda m: -sizes[m]):
        if rest <= features.private_nbytes:
            break
        found.add(array)
        rest -= sizes[array]
    return tuple(m for m in arrays if m in found)


def declare_heap(arrays: tuple[Memory, ...], memory: MemoryAccess, identity: Identity) -> tuple[int, ...]:
    """Declare the heap's buffers, which follow the table of words; return how many bytes of each a group needs."""
    m, lanes = memory.m, prod(identity.local_size)
    nbytes: list[int] = []
    for n, array in enumerate(arrays):
        held, size = memory.element(array.dtype), array.size or 0
        memory.variables[array] = m.buffer(
            identity.table_binding() + 1 + n, memory.buffer_type(array.dtype), held.nbytes, writable=True
        )
        group = m.early("IMul", m.u32(), identity.group_of_part(), m.word(size * lanes))
        memory.heap[array] = m.early("IAdd", m.u32(), group, identity.invocation()), lanes
        nbytes.append(size * lanes * held.nbytes)
    return tuple(nbytes)
