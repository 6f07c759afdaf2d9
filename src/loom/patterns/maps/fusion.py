"""Maps over arrays of a device, put off and fused: a map of maps is one kernel that reads its inputs once.

Layer: patterns. An array whose elements are pending knows the map that makes them. It is computed when
something other than a map needs it, or a second map does, since fusing it into both would compute it twice.
Invariant: fusing changes no bit; f16 and bf16 are rounded after every map.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from types import FunctionType
from typing import Any, NamedTuple

import numpy as np

from loom.core.dtype import DType
from loom.ir.frontend.meaning import function_meaning
from loom.ir.verify import VerifiedKernel
from loom.kernels.maps.nest import Apply, Given, Load, LoopNest, Value, apply_operation, map_nest, one_value
from loom.patterns.calling.prepared import prepare, shares_memory
from loom.runtime.array import Array
from loom.runtime.chain import Chain
from loom.runtime.chain.arguments import encode_params
from loom.runtime.chain.kept import NumberPlace
from loom.runtime.device import Device
from loom.runtime.storage import HostSlot, HostStorage, Storage
from loom.schedules.maps import lanes_of, map_groups, map_kernel

__all__ = ["Scalar", "kernel_of", "map_host", "put_off"]

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
        if whole.steps == 1 and len(whole.values) == len(self.operands) + 1:  # as it was when it was put off
            kernel, result = kernel_of(self.operation, [(o.dtype, isinstance(o, Array)) for o in self.operands], home)
        else:
            kernel, result = _kernel_of_many(whole.values, tuple(a.dtype for a in whole.arrays), lanes_of(home.caps))
        storage = home.allocate(size * result.nbytes, zeroed=False)
        places = [*(HeldMemory(a.storage, a.nbytes) for a in whole.arrays), HeldMemory(storage, storage.nbytes)]
        run_kernel(kernel, places, whole.scalars, size, home)
        return storage


class _Whole:
    """A map with everything pending below it: the values in order, the arrays and scalars they take."""

    def __init__(self, root: Map) -> None:
        self.values: list[Value] = []
        self.arrays: list[Array] = []
        self.scalars: list[Scalar] = []
        self.steps = 0
        self._known: dict[int, int] = {}
        self._add(root)

    def _add(self, step: Map) -> int:
        self.steps += 1
        return self._append(apply_operation(step.operation, tuple(self._operand(o) for o in step.operands)))

    def _append(self, value: Value) -> int:
        self.values.append(value)
        return len(self.values) - 1

    def _operand(self, operand: Array | Scalar) -> int:
        if isinstance(operand, Scalar):
            self.scalars.append(operand)
            return self._append(Given(len(self.scalars) - 1, operand.dtype))
        found = self._known.get(id(operand))
        if found is None:
            pending = operand.pending
            if isinstance(pending, Map):
                found = self._add(pending)
            else:
                self.arrays.append(operand)
                found = self._append(Load(len(self.arrays) - 1, 0, (1,)))
            self._known[id(operand)] = found
        return found


def put_off(where: str, operation: Any, operands: Sequence[Array | Scalar]) -> Array:
    """Return the array that ``operation`` makes of ``operands``, to be computed when it is needed.

    Whatever is wrong with operation, dtypes or scalars is raised now.
    """
    arrays = [o for o in operands if isinstance(o, Array)]
    kernel, result = kernel_of(operation, [(o.dtype, isinstance(o, Array)) for o in operands], arrays[0].device)
    encode_params(kernel, [arrays[0].size, *(o.value for o in operands if isinstance(o, Scalar))], 1, where)
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
    return whole.steps > _MOST_STEPS or len(whole.arrays) > _MOST_ARRAYS


_kernels: dict[Hashable, tuple[tuple[VerifiedKernel, DType], LoopNest]] = {}
"""Kernel and result type by what they depend on, with the nest, so that the functions' code stays alive."""


def kernel_of(operation: Any, operands: Sequence[tuple[DType, bool]], where: Device) -> tuple[VerifiedKernel, DType]:
    """Return the kernel and result type of one operation over (dtype, is it an array) operands."""
    lanes, meaning = lanes_of(where.caps), _meaning(operation)
    key = None if meaning is None else (meaning, *operands, lanes)
    return _recall(key, lambda: one_value(operation, operands), lanes)


def _kernel_of_many(values: Sequence[Value], arrays: tuple[DType, ...], lanes: int) -> tuple[VerifiedKernel, DType]:
    """Return the kernel of values over arrays, and the type of the last one."""
    meanings = [_meaning(v.operation) if isinstance(v, Apply) else v for v in values]
    places = [(v.operands, v.dtype) for v in values if isinstance(v, Apply)]
    key = None if None in meanings else (*meanings, *places, arrays, lanes)
    return _recall(key, lambda: map_nest(values, arrays), lanes)


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


def _meaning(operation: Any) -> Hashable:
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


def run_kernel(kernel: Any, places: Sequence[HeldMemory], scalars: Sequence[Scalar], size: int, where: Device) -> None:
    """Run a map's kernel over ``size`` elements: inputs and, at last, the result."""
    params = [size, *(s.value for s in scalars)]
    words = encode_params(kernel, params, 1, "gpu_map")[0, 1:].tolist()
    if not size:
        return

    def record(chain: Chain) -> list[HostSlot]:
        slots = [HostSlot(place.nbytes) for place in places]
        chain.dispatch(kernel, slots, params, groups=map_groups(kernel, size))
        return slots

    def numbers(chain: Chain) -> list[NumberPlace]:
        return [NumberPlace(chain.recorded[-1].params, 1 + n, n) for n in range(len(scalars))]

    memory = [m.bytes[:nbytes] if isinstance(m, HostStorage) else m for m, nbytes in places]
    if shares_memory(where):
        prepared = prepare(("gpu_map", kernel.hash, size), where, record, numbers)
        prepared.run(*memory, numbers=words)
    else:  # the numbers are in what was recorded for the device
        prepare(("gpu_map", kernel.hash, size, tuple(words)), where, record).run(*memory)
