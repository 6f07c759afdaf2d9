"""Which kernel does a loop nest, cut how, with which parameters.

Layer: schedules. Axes that lie together in every buffer are merged first; what nests differ in that a kernel can be
told when it runs (the length of an only axis, numbers, where buffers begin) becomes parameters. Where lanes are vectors
of a CPU each makes one element, or some rows; where they are threads, a number of them. Invariant: lengths and ``Caps``
choose the cut, and every cut gives the same bits.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from loom.core.caps import Caps
from loom.core.dtype import DType
from loom.ir.verify import VerifiedKernel
from loom.kernels.functions import EXACT, FUNCTIONS
from loom.kernels.maps.loops import NestCut, write_loops
from loom.kernels.maps.nest import BY_CONSTANTS, Apply, Coordinate, Given, Load, LoopNest, Number, Store, Value
from loom.kernels.maps.pairs import paired

__all__ = ["LANES", "THREADS", "Strided", "lanes_of", "map_groups", "map_kernel", "strided"]

LANES = 512
"""Elements per workgroup where a lane makes one."""
THREADS = 256
"""Elements made at once per workgroup where lanes are threads."""
_TELLING = 128
"""The same where what it makes may print or fail: a lane makes one, so that its number is the element's."""
_TURNS = 16
"""Elements a thread makes: on an H200 groups of fewer are begun too slowly to keep its memory busy."""
_MANY = 1 << 20
"""Elements from which a thread takes several, where the kernel's length is known."""
_GROUP_ELEMENTS = 8192
"""Elements a group of a CPU takes, about: some microseconds, so that small work is not shared between threads."""
_FEW = 4
"""Operations an element that weigh as much as a function."""
_MULTIPLE = 16
_NARROW = 8
"""A last axis of fewer elements shares the lanes with the axes before it."""


def lanes_of(caps: Caps) -> int:
    """Return the lanes of a group on a device: as many as where lanes are threads, or vectors."""
    return THREADS if caps.threads else LANES


def map_kernel(nest: LoopNest, lanes: int) -> tuple[VerifiedKernel, DType]:
    """Return the kernel of a map, a nest of any length, and the type of its last value.

    ``lanes`` is THREADS or LANES. KernelError if it cannot be applied.
    """
    if lanes != THREADS:
        return write_loops(nest, NestCut(lanes))
    found = write_loops(nest, NestCut(THREADS, _TURNS, threads=True, twice=True))
    return write_loops(nest, NestCut(_TELLING)) if found[0].talks else found


def map_groups(kernel: VerifiedKernel, size: int) -> int:
    """Return how many workgroups of a map's kernel ``size`` elements take."""
    lanes = kernel.workgroup[0]
    return -(-size // (lanes * (_TURNS if lanes == THREADS else 1)))


@dataclass(frozen=True, slots=True)
class Strided:
    """A kernel with the parameters and groups that do a nest; the last parameters are ``numbers``."""

    kernel: VerifiedKernel
    params: tuple[Any, ...]
    groups: tuple[int, int]
    numbers: tuple[Number, ...] = ()


def strided(nest: LoopNest, lanes: int) -> Strided:
    """Return what does ``nest``, which has elements. ``lanes`` is THREADS or LANES.

    A nest of one axis has one kernel for all lengths, and nests that differ in their numbers, or in where in the
    buffers they begin, as the steps of a recurrent network do, have one kernel. Bools, and what integers are divided or
    shifted by, stay in the code.
    """
    nest, numbers = _numberless(paired(nest).merged())
    total = math.prod(nest.shape)
    if len(nest.shape) == 1:
        nest = _lengthless(nest, total)
    nest, begins = _begun(nest)
    cut, params, groups = _cut(nest, total, lanes)
    return Strided(_kernel(nest, cut), (params, *begins, *(n.value for n in numbers)), groups, numbers)


@lru_cache(maxsize=4096)
def _kernel(nest: LoopNest, cut: NestCut) -> VerifiedKernel:
    return write_loops(nest, cut)[0]


def _cut(nest: LoopNest, total: int, lanes: int) -> tuple[NestCut, int, tuple[int, int]]:
    """Return how a nest of ``total`` elements is cut, the length that its kernel is told, and groups."""
    if lanes == THREADS:
        turns = _TURNS if total >= _MANY else 1
        return NestCut(THREADS, turns, threads=True), total, (-(-total // (THREADS * turns)), 1)
    if len(nest.shape) == 1:
        lanes = LANES if total > LANES // 2 else max(_MULTIPLE, 1 << (total - 1).bit_length())
        return NestCut(lanes), total, (-(-total // lanes), 1)
    tail, inner = 1, nest.shape[-1]
    while inner < _NARROW and tail < len(nest.shape):
        tail += 1
        inner *= nest.shape[-tail]
    rows = total // inner
    lanes = _breadth(inner)
    together = max(1, min(rows, _GROUP_ELEMENTS // (lanes * _weight(nest))))
    return NestCut(lanes, together, tail), rows, (-(-inner // lanes), -(-rows // together))


def _numberless(nest: LoopNest) -> tuple[LoopNest, tuple[Number, ...]]:
    """Return a nest that gets its numbers from parameters, and these."""
    kept = {v.operands[1] for v in nest.values if isinstance(v, Apply) and v.operation in BY_CONSTANTS}
    numbers: list[Number] = []
    values: list[Value] = []
    for n, value in enumerate(nest.values):
        if isinstance(value, Number) and not value.dtype.is_bool and n not in kept:
            values.append(Given(len(numbers), value.dtype))
            numbers.append(value)
        else:
            values.append(value)
    return LoopNest(nest.shape, tuple(values), nest.stores, nest.buffers), tuple(numbers)


def _weight(nest: LoopNest) -> int:
    """Return about how many times the work of a few operations an element is."""
    applied = [v.operation in FUNCTIONS or v.operation in EXACT for v in nest.values if isinstance(v, Apply)]
    return 1 + sum(applied) + len(applied) // _FEW


def _begun(nest: LoopNest) -> tuple[LoopNest, tuple[int, ...]]:
    """Return a nest that gets from parameters where in its buffers it begins, and these.

    A buffer has one for all its accesses; one with several stores has one for each, as what tells these apart may be a
    length that the kernel does not know.
    """
    stored = [s.buffer for s in nest.stores]
    accesses = [v for v in (*nest.values, *nest.stores) if isinstance(v, (Load, Store))]
    first = {a.buffer: min(_first(o, nest.shape) for o in accesses if o.buffer == a.buffer) for a in accesses}
    params: dict[tuple[int, int], int] = {}

    def move(value: Load | Store | Coordinate) -> Load | Store | Coordinate:
        if isinstance(value, Coordinate):
            return value
        many = stored.count(value.buffer) > 1
        begin = _first(value, nest.shape) if many else first[value.buffer]
        if begin == 0:
            return value
        number = params.setdefault((value.buffer, begin), len(params))
        return replace(value, offset=value.offset - begin, begin=number)

    return nest.changed(move, nest.shape), tuple(at for _, at in params)


def _first(access: Load | Store, shape: tuple[int, ...]) -> int:
    """Return the lowest place of an access; a length of 0 is unknown, and counted in by ``_lengthless``."""
    pairs = zip(access.strides, shape, strict=True)
    return access.offset + sum(stride * (size - 1) for stride, size in pairs if stride < 0 and size)


def _lengthless(nest: LoopNest, size: int) -> LoopNest:
    """Return a nest of one axis without its length; what is read backwards is counted from its last element."""

    def move(value: Load | Store | Coordinate) -> Load | Store | Coordinate:
        if isinstance(value, Coordinate) or value.strides[0] >= 0:
            return value
        return replace(value, offset=value.offset + value.strides[0] * (size - 1))

    return nest.changed(move, (0,))


def _breadth(inner: int) -> int:
    """Return lanes for rows of ``inner`` elements: a divisor if there is one, so that no lane is idle."""
    for lanes in range(LANES - LANES % _MULTIPLE, 2 * _MULTIPLE, -_MULTIPLE):
        if inner % lanes == 0:
            return lanes
    return min(LANES, -(-inner // _MULTIPLE) * _MULTIPLE)
