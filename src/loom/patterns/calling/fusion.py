"""Maps over arrays of a device, put off and fused: a map of maps is one kernel that reads its inputs once.

Layer: patterns. An array whose elements are pending knows the map that makes them. It is computed when
something other than a map needs it, or a second map does, since fusing it into both would compute it twice.
Invariant: fusing changes no bit; f16 and bf16 are rounded after every map.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from types import FunctionType
from typing import Any, NamedTuple

import numpy as np

from loom.core.dtype import DType
from loom.ir.frontend.meaning import function_meaning
from loom.kernels.maps.elementwise import From, Step, fused_kernel, map_groups
from loom.patterns.calling.prepared import prepare, shares_memory
from loom.runtime.array import Array
from loom.runtime.chain import Chain
from loom.runtime.chain.arguments import encode_params
from loom.runtime.chain.kept import NumberPlace
from loom.runtime.device import Device
from loom.runtime.storage import HostSlot, HostStorage, Storage

__all__ = ["Scalar", "kernel_of", "map_host", "one_step", "put_off"]

_MOST_KEPT = 256
_MOST_STEPS = 32
_MOST_ARRAYS = 7
"""Arrays a fused kernel reads; with the result they are as many buffers as every GPU can bind."""


@dataclass(frozen=True, slots=True)
class Scalar:
    """A number among the operands, in the dtype it takes."""

    value: Any
    dtype: DType


class Map:
    """Elements that are pending: ``operation`` over operands, which may be pending themselves."""

    __slots__ = ("dtype", "host_dtype", "operands", "operation", "owner", "shape", "taken")

    def __init__(self, operation: Any, operands: Sequence[Array | Scalar]) -> None:
        self.operation = operation
        self.operands = tuple(operands)
        self.taken = False
        """Whether another pending map is to compute this one inside its kernel."""

    def compute(self) -> Storage:
        """Compute the elements in one kernel with all that is pending below."""
        whole = _Whole(self)
        home, size = whole.arrays[0].device, whole.arrays[0].size
        dtypes = [a.dtype for a in whole.arrays], [s.dtype for s in whole.scalars]
        kernel, result = kernel_of(whole.steps, *dtypes, threads=home.caps.threads)
        storage = home.allocate(size * result.nbytes, zeroed=False)
        places = [*(Place(a.storage, a.nbytes) for a in whole.arrays), Place(storage, storage.nbytes)]
        run_kernel(kernel, places, whole.scalars, size, home)
        return storage


class _Whole:
    """A map with everything pending below it: the steps in order, the arrays and scalars they take."""

    def __init__(self, root: Map) -> None:
        self.steps: list[Step] = []
        self.arrays: list[Array] = []
        self.scalars: list[Scalar] = []
        self._known: dict[int, From] = {}
        self._add(root)

    def _add(self, step: Map) -> From:
        operands = tuple(self._operand(o) for o in step.operands)
        self.steps.append(Step(step.operation, operands))
        return From("step", len(self.steps) - 1)

    def _operand(self, operand: Array | Scalar) -> From:
        if isinstance(operand, Scalar):
            self.scalars.append(operand)
            return From("scalar", len(self.scalars) - 1)
        found = self._known.get(id(operand))
        if found is None:
            pending = operand.pending
            if isinstance(pending, Map):
                found = self._add(pending)
            else:
                self.arrays.append(operand)
                found = From("array", len(self.arrays) - 1)
            self._known[id(operand)] = found
        return found


def put_off(where: str, operation: Any, operands: Sequence[Array | Scalar]) -> Array:
    """Return the array that ``operation`` makes of ``operands``, to be computed when it is needed.

    Whatever is wrong with operation, dtypes or scalars is raised now.
    """
    arrays = [o for o in operands if isinstance(o, Array)]
    typed = one_step(operation, [(o.dtype, isinstance(o, Array)) for o in operands])
    kernel, result = kernel_of(*typed, threads=arrays[0].device.caps.threads)
    encode_params(kernel, [*(o.value for o in operands if isinstance(o, Scalar)), arrays[0].size], 1, where)
    made = Map(operation, operands)
    pending = {id(a): (a, a.pending) for a in arrays if isinstance(a.pending, Map)}
    if any(p.taken for _, p in pending.values()) or _is_large(made):
        for a, _ in pending.values():
            _ = a.storage  # computes it
    else:
        for _, p in pending.values():
            p.taken = True
    later = Array(made, arrays[0].device, result, arrays[0].shape)
    for array in arrays:
        array.read_later(later)
    return later


def _is_large(step: Map) -> bool:
    whole = _Whole(step)
    return len(whole.steps) > _MOST_STEPS or len(whole.arrays) > _MOST_ARRAYS


def one_step(operation: Any, operands: Sequence[tuple[DType, bool]]) -> tuple[list[Step], list[DType], list[DType]]:
    """Return steps, array dtypes and scalar dtypes of one operation over (dtype, is it an array) operands."""
    dtypes: dict[str, list[DType]] = {"array": [], "scalar": []}
    places = []
    for dtype, is_array in operands:
        kind = "array" if is_array else "scalar"
        places.append(From(kind, len(dtypes[kind])))
        dtypes[kind].append(dtype)
    return [Step(operation, tuple(places))], dtypes["array"], dtypes["scalar"]


_kernels: dict[Any, tuple[Any, Any]] = {}
"""Kernel and result type by what they depend on, with the steps, so that the functions' code stays alive."""


def kernel_of(
    steps: Sequence[Step], arrays: Sequence[DType], scalars: Sequence[DType], *, threads: bool = False
) -> Any:
    """Return the kernel and result type, translated once per steps, outer values of functions, and types."""
    meanings = [function_meaning(s.operation) if isinstance(s.operation, FunctionType) else s.operation for s in steps]
    if any(m is None for m in meanings):
        return fused_kernel(steps, arrays, scalars, threads=threads)
    key = (*zip(meanings, (s.operands for s in steps), strict=True), tuple(arrays), tuple(scalars), threads)
    found = _kernels.get(key)
    if found is None:
        found = fused_kernel(steps, arrays, scalars, threads=threads), steps
        if len(_kernels) >= _MOST_KEPT:
            _kernels.clear()
        _kernels[key] = found
    return found[0]


def map_host(
    kernel: Any,
    arrays: Sequence[np.ndarray[Any, Any]],
    scalars: Sequence[Scalar],
    out: np.ndarray[Any, Any],
    where: Device,
) -> None:
    """Run a map's kernel over arrays in host memory, on whatever device."""
    given = [Place(a, a.nbytes) for a in (*arrays, out)]
    if shares_memory(where):
        run_kernel(kernel, given, scalars, out.size, where)
        return
    there = [Place(where.allocate(nbytes, zeroed=False), nbytes) for _, nbytes in given]
    for array, place in zip(arrays, there, strict=False):
        place.memory.write(0, array.reshape(-1).view(np.uint8))
    run_kernel(kernel, there, scalars, out.size, where)
    out.reshape(-1).view(np.uint8)[:] = there[-1].memory.read(0, out.nbytes)


class Place(NamedTuple):
    """An array's memory (numpy's, or storage that may be longer) and bytes."""

    memory: Any
    nbytes: int


def run_kernel(kernel: Any, places: Sequence[Place], scalars: Sequence[Scalar], size: int, where: Device) -> None:
    """Run a map's kernel over ``size`` elements: inputs and, at last, the result."""
    params = [*(s.value for s in scalars), size]
    words = encode_params(kernel, params, 1, "gpu_map")[0].tolist()
    if not size:
        return

    def record(chain: Chain) -> tuple[list[HostSlot], Any]:
        slots = [HostSlot(place.nbytes) for place in places]
        chain.dispatch(kernel, slots, params, groups=map_groups(kernel, size))
        return slots, None

    def numbers(chain: Chain) -> list[NumberPlace]:
        return [NumberPlace(chain.recorded[-1].params, n, n) for n in range(len(scalars))]

    memory = [m.bytes[:nbytes] if isinstance(m, HostStorage) else m for m, nbytes in places]
    if shares_memory(where):
        prepared = prepare(("gpu_map", kernel.hash, size), where, record, numbers)
        prepared.run(*memory, numbers=words)
    else:  # the numbers are in what was recorded for the device
        prepare(("gpu_map", kernel.hash, size, tuple(words)), where, record).run(*memory)
