"""Which kernel does a loop nest, cut how, with which parameters.

Layer: schedules. Axes that lie together in every buffer are merged first; what nests differ in that a kernel can be
told when it runs (the length of an only axis, numbers, where buffers begin) becomes parameters. Where lanes are vectors
of a CPU each makes one element, or some rows; where they are threads, a number of them. Where shapes come and go, as in
expressions evaluated at once, small nests of several axes share a kernel that is told shape and strides as well.
Invariant: lengths and ``Caps`` choose the cut, and every cut gives the same bits.
"""

from __future__ import annotations

import math
from dataclasses import replace
from functools import lru_cache
from typing import Any

from loom.core.caps import Caps
from loom.core.dtype import DType
from loom.core.late.dataclass import dataclass
from loom.ir.verified import VerifiedKernel
from loom.kernels.functions import EXACT, FUNCTIONS
from loom.kernels.maps.nest import (
    BY_CONSTANTS,
    Apply,
    Coordinate,
    Given,
    Load,
    LoopNest,
    NestCut,
    Number,
    Store,
    Stride,
    Told,
    Value,
    constant_strides,
)
from loom.kernels.maps.pairs import pair_words

__all__ = ["LANES", "THREADS", "Strided", "lanes_of", "map_groups", "map_kernel", "numberless", "plan_strided"]

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

_SHARED_ELEMENTS = 1 << 16
"""Nests of at most so many elements share kernels: to compile one takes as long as a thousand runs."""
_SHARED_DIVISIONS = 1 << 12
"""The same for divisions by a number, that many times slower by one that the kernel is told."""
_RANKS = (1, 2, 4, 8)
"""Numbers of axes that shared kernels have; nests of another get axes of one element in front."""
_MOST_TOLD = 48
"""Lengths and strides a kernel is told at most."""
_NARROW_LANES = 16
_BROAD_LANES = 128


def lanes_of(caps: Caps) -> int:
    """Return the lanes of a group on a device: as many as where lanes are threads, or vectors."""
    return THREADS if caps.threads else LANES


def map_kernel(nest: LoopNest, lanes: int) -> tuple[VerifiedKernel, DType]:
    """Return the kernel of a map, a nest of any length, and the type of its last value.

    ``lanes`` is THREADS or LANES. KernelError if it cannot be applied.
    """
    from loom.kernels.maps.loops import write_loops

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


def plan_strided(nest: LoopNest, lanes: int, *, is_passing: bool = False) -> Strided:
    """Return what does ``nest``, which has elements. ``lanes`` is THREADS or LANES.

    A nest of one axis has one kernel for all lengths, and nests that differ in their numbers, or in where in the
    buffers they begin, as the steps of a recurrent network do, have one kernel. Bools, and what integers are divided or
    shifted by, stay in the code. ``is_passing``: the shape may be seen once only, so that a small nest shares a kernel.
    """
    nest = pair_words(nest).merge_axes()
    total = math.prod(nest.shape)
    nest, numbers = numberless(nest, () if is_passing and total <= _SHARED_DIVISIONS else BY_CONSTANTS)
    told = _with_shape(nest) if is_passing and total <= _SHARED_ELEMENTS else None
    if told is not None:
        general, words = told
        cut, params, groups = _cut_shared(nest, total, lanes)
        return Strided(_kernel(general, cut), (params, *words, *(n.value for n in numbers)), groups, numbers)
    if len(nest.shape) == 1:
        nest = _lengthless(nest, total)
    nest, begins = _with_offsets(nest)
    cut, params, groups = _cut(nest, total, lanes)
    return Strided(_kernel(nest, cut), (params, *begins, *(n.value for n in numbers)), groups, numbers)


@lru_cache(maxsize=4096)
def _kernel(nest: LoopNest, cut: NestCut) -> VerifiedKernel:
    from loom.kernels.maps.loops import write_loops  # which translates

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


def _cut_shared(nest: LoopNest, total: int, lanes: int) -> tuple[NestCut, int, tuple[int, int]]:
    """Return the same as ``_cut`` for a kernel that is told the shape: a cut that many shapes share."""
    if lanes == THREADS or len(nest.shape) == 1:
        return _cut(nest, total, lanes)
    inner = nest.shape[-1]
    lanes = _NARROW_LANES if inner <= 2 * _NARROW_LANES else _BROAD_LANES
    rows = total // inner
    together = _GROUP_ELEMENTS // (lanes * _weight(nest)) or 1
    return NestCut(lanes, together), rows, (-(-inner // lanes), -(-rows // together))


def _with_shape(nest: LoopNest) -> tuple[LoopNest, tuple[int, ...]] | None:
    """Return a nest that is told its shape, its strides and where it begins, and these words.

    None if that is no gain, as one axis read in order has one kernel already (unless a buffer is read from several
    places, whose distance is a part of that), or if there are too many. What is told of the last axis is no step of 0,
    1 or -1: these are read and written in other ways. Accesses in row-major order from the start of a buffer, as
    results are, share their words.
    """
    accesses = [a for a in (*nest.values, *nest.stores) if isinstance(a, (Load, Store))]
    begin_together = len({(a.buffer, a.offset) for a in accesses}) == len({a.buffer for a in accesses})
    if len(nest.shape) == 1 and begin_together and all(a.strides[0] in (0, 1, -1) for a in accesses):
        return None
    rank = next((r for r in _RANKS if r >= len(nest.shape)), 0)
    shape = (1,) * (rank - len(nest.shape)) + nest.shape
    packed = tuple(math.prod(shape[axis + 1 :]) for axis in range(rank))
    words: list[int] = []
    begins: list[int] = []
    row_major: list[tuple[Stride, ...]] = []

    def step(stride: int) -> Told:
        words.append(stride % (1 << 32))
        return Told(len(words) - 1)

    def steps(strides: tuple[int, ...]) -> tuple[Stride, ...]:
        outer: tuple[Stride, ...] = tuple(step(s) for s in strides[:-1]) if any(strides) else strides[:-1]
        return (*outer, strides[-1] if strides[-1] in (0, 1, -1) else step(strides[-1]))

    def move(value: Load | Store | Coordinate) -> Load | Store | Coordinate:
        if isinstance(value, Coordinate):
            return replace(value, axis=value.axis + rank - len(nest.shape))
        strides = (0,) * (rank - len(nest.shape)) + constant_strides(value)
        in_order = all(own == other or size == 1 for own, other, size in zip(strides, packed, shape, strict=True))
        if in_order and value.offset == 0:
            row_major[:] = row_major or [steps(packed)]
            return replace(value, strides=row_major[0])
        begins.append(value.offset - (shape[-1] - 1 if strides[-1] == -1 else 0))
        return replace(value, offset=0, strides=steps(strides), begin=len(begins) - 1)

    if not rank:
        return None
    general = nest.change_accesses(move, (0,) * rank)
    told = (*shape[1:], *words, *begins)
    return (general, told) if len(told) <= _MOST_TOLD else None


def numberless(nest: LoopNest, by_constants: tuple[str, ...] = BY_CONSTANTS) -> tuple[LoopNest, tuple[Number, ...]]:
    """Return a nest that gets its numbers from parameters, and these, but what ``by_constants`` have on the right."""
    kept = {v.operands[1] for v in nest.values if isinstance(v, Apply) and v.operation in by_constants}
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


def _with_offsets(nest: LoopNest) -> tuple[LoopNest, tuple[int, ...]]:
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

    return nest.change_accesses(move, nest.shape), tuple(at for _, at in params)


def _first(access: Load | Store, shape: tuple[int, ...]) -> int:
    """Return the lowest place of an access; a length of 0 is unknown, and counted in by ``_lengthless``."""
    pairs = zip(constant_strides(access), shape, strict=True)
    return access.offset + sum(stride * (size - 1) for stride, size in pairs if stride < 0 and size)


def _lengthless(nest: LoopNest, size: int) -> LoopNest:
    """Return a nest of one axis without its length; what is read backwards is counted from its last element."""

    def move(value: Load | Store | Coordinate) -> Load | Store | Coordinate:
        if isinstance(value, Coordinate) or constant_strides(value)[0] >= 0:
            return value
        return replace(value, offset=value.offset + constant_strides(value)[0] * (size - 1))

    return nest.change_accesses(move, (0,))


def _breadth(inner: int) -> int:
    """Return lanes for rows of ``inner`` elements: a divisor if there is one, so that no lane is idle."""
    for lanes in range(LANES - LANES % _MULTIPLE, 2 * _MULTIPLE, -_MULTIPLE):
        if inner % lanes == 0:
            return lanes
    return min(LANES, -(-inner // _MULTIPLE) * _MULTIPLE)
