"""The kernels of maps: translated once for what they mean, and run over memory of the host or of a device.

Layer: patterns. Invariant: a kernel does what its function meant when it was asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from types import FunctionType
from typing import Any, NamedTuple

import numpy as np

from loom.core.dtype import DType
from loom.core.errors import OutOfBounds
from loom.core.late.dataclass import dataclass
from loom.core.options import check_bounds
from loom.ir.frontend.meaning import function_meaning
from loom.ir.interp.debugger import current_debug
from loom.ir.verified import VerifiedKernel
from loom.kernels.maps.nest import LoopNest, one_value
from loom.runtime.calls.knownlengths import Lengths, Settled
from loom.runtime.chain import Chain
from loom.runtime.chain.arguments import encode_params
from loom.runtime.chain.kept import Kept, NumberPlace, keep, shares_memory
from loom.runtime.memory.storage import HostSlot, HostStorage
from loom.runtime.port.device import Device
from loom.schedules.maps import lanes_of, map_groups, map_kernel

__all__ = ["Scalar", "kernel_of", "map_host", "meaning_of", "numbers_of"]

_MOST_KEPT = 256
_known: dict[str, Lengths] = {}
"""Of maps that index something of their own, by hash, which calls surely stay inside."""


@dataclass(frozen=True, slots=True)
class Scalar:
    """A number among the operands, in the dtype it takes."""

    value: Any
    dtype: DType


_kernels: dict[Hashable, tuple[tuple[VerifiedKernel, DType], LoopNest]] = {}
"""Kernel and result type by what they depend on, with the nest, so that the functions' code stays alive."""


def kernel_of(operation: Any, operands: Sequence[tuple[DType, bool]], where: Device) -> tuple[VerifiedKernel, DType]:
    """Return the kernel and result type of one operation over (dtype, is it an array) operands."""
    lanes, meaning = lanes_of(where.caps), meaning_of(operation)
    key = None if meaning is None else (meaning, *operands, lanes)
    return _recall(key, lambda: one_value(operation, operands), lanes)


def _recall(key: Hashable, nest: Callable[[], LoopNest], lanes: int) -> tuple[VerifiedKernel, DType]:
    """Return the kernel of a nest, translated once per key; None is what cannot be known again."""
    if key is None:
        return map_kernel(nest(), lanes)
    found = _kernels.get(key)
    if found is None:
        whole = nest()
        found = map_kernel(whole, lanes), whole
        if len(_kernels) >= _MOST_KEPT:
            _kernels.clear()
        _kernels[key] = found
    return found[0]


def meaning_of(operation: Any) -> Hashable:
    """Return what an operation computes, the outer values of a function included; None if that is not known."""
    return function_meaning(operation) if isinstance(operation, FunctionType) else operation


def map_host(
    kernel: Any,
    arrays: Sequence[np.ndarray[Any, Any]],
    scalars: Sequence[Scalar],
    out: np.ndarray[Any, Any],
    where: Device,
) -> None:
    """Run a map's kernel over arrays in host memory, on whatever device."""
    given = [HeldMemory(a, a.nbytes) for a in (*arrays, out)]
    if shares_memory(where):
        run_kernel(kernel, given, scalars, out.size, where)
        return
    there = [HeldMemory(where.allocate(nbytes, zeroed=False), nbytes) for _, nbytes in given]
    for array, place in zip(arrays, there, strict=False):
        place.memory.write(0, array.reshape(-1).view(np.uint8))
    run_kernel(kernel, there, scalars, out.size, where)
    out.reshape(-1).view(np.uint8)[:] = there[-1].memory.read(0, out.nbytes)


class HeldMemory(NamedTuple):
    """An array's memory (numpy's, or storage that may be longer) and bytes."""

    memory: Any
    nbytes: int


def numbers_of(kernel: Any, size: int, scalars: Sequence[Scalar], where: str) -> list[int]:
    """Return the scalars that a map's kernel is given as words; DTypeError for one that does not fit."""
    return encode_params(kernel, [size, *(s.value for s in scalars)], 1, where)[0, 1:].tolist()


def run_kernel(kernel: Any, places: Sequence[HeldMemory], scalars: Sequence[Scalar], size: int, where: Device) -> None:
    """Run a map's kernel over ``size`` elements: inputs and, at last, the result.

    A function that indexes tables or arrays of its own, and is not proved to stay inside, tells of an index outside
    when it is first run over so many (docs/adr/0033); OutOfBounds then, and the result is what it was.
    """
    words = numbers_of(kernel, size, scalars, "gpu_map")
    if not size:
        return
    settled = _standing(kernel, places, [size, *words])
    reports = not (settled.is_inside or check_bounds() or current_debug())
    result = places[-1].memory
    before = result.tobytes() if reports and isinstance(result, np.ndarray) else b""

    in_place = shares_memory(where)

    def make() -> Kept:
        chain, slots = Chain(where, name="gpu_map"), [HostSlot(place.nbytes) for place in places]
        chain.reports = reports
        chain.dispatch(kernel, slots, [size, *(s.value for s in scalars)], groups=map_groups(kernel, size))
        params = chain.recorded[-1].params
        numbers = [NumberPlace(params, 1 + n, n) for n in range(len(scalars))] if in_place else ()
        return Kept(chain.build(), slots, in_place=in_place, numbers=numbers)

    key = "gpu_map", kernel.hash, size, reports, () if in_place else tuple(words)  # elsewhere they are recorded
    memory = [m.bytes[:nbytes] if isinstance(m, HostStorage) else m for m, nbytes in places]
    try:
        keep(key, where, make).run(*memory, numbers=words if in_place else ())
    except OutOfBounds:
        if before:
            result.reshape(-1).view(np.uint8)[:] = np.frombuffer(before, np.uint8)
        raise
    settled.is_inside = settled.is_inside or reports


def _standing(kernel: VerifiedKernel, places: Sequence[HeldMemory], words: Sequence[int]) -> Settled:
    """Return what is known of a call of a map."""
    if kernel.trusted:
        return Settled(is_inside=True)
    if kernel.hash not in _known and len(_known) >= _MOST_KEPT:
        _known.clear()
    given = (m for m in kernel.kernel.buffers if m.data is None)
    elements = [place.nbytes // m.dtype.nbytes for m, place in zip(given, places, strict=True)]
    return _known.setdefault(kernel.hash, Lengths(kernel)).standing(elements, words, (map_groups(kernel, words[0]),))
