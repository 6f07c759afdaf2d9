"""Short vectors in registers, held as they lie in memory: component c of lane l is at ``l * lanes + c``.

Layer: targets. One that all lanes share is held once. Invariant: lanes and components keep their places, whatever a
vector is made of or taken apart into.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import llvmlite.ir as ll

from loom.core.dtype import DType
from loom.targets.llvm.values.lanes import Lanes
from loom.targets.llvm.values.state import State
from loom.targets.llvm.values.types import I32, Repeated, Undefined

__all__ = ["ShortVectors"]


class ShortVectors:
    """Short vectors of one function."""

    def __init__(self, state: State) -> None:
        self.s = state
        self.b: Any = state.builder
        self.v = state.vectors

    def component(self, value: Lanes, dtype: DType, which: int) -> Lanes:
        """Return one component of a vector."""
        if value.stride == 0 or self.s.width == 1:
            return Lanes(self.b.extract_element(value.value, I32(which)), value.stride)
        return Lanes(self.shuffle(value.value, range(which, dtype.lanes * self.s.width, dtype.lanes)), None)

    def vector_of(self, parts: list[Lanes], stride: int | None) -> Lanes:
        """Return the vector of some components."""
        if stride == 0 or self.s.width == 1:
            whole: Any = Undefined(ll.VectorType(parts[0].value.type, len(parts)))
            for c, part in enumerate(parts):
                whole = self.b.insert_element(whole, part.value, I32(c))
            return Lanes(whole, stride)
        return Lanes(self.together([self.v.spread(part) for part in parts]), None)

    def operand(self, value: Lanes, dtype: DType, lanes: int, stride: int | None) -> Any:
        """Return a vector, or a scalar for each of ``lanes`` components, as an operation held so takes it."""
        shared = value.stride == 0 or self.s.width == 1
        if stride == 0 or self.s.width == 1:
            return value.value if dtype.is_vector else self.repeat(value.value, lanes)
        if dtype.is_vector:
            every = [c for _ in range(self.s.width) for c in range(lanes)]
            return self.shuffle(value.value, every) if shared else value.value
        if value.stride == 0:
            return self.repeat(value.value, lanes * self.s.width)
        return self.shuffle(self.v.spread(value), [n // lanes for n in range(lanes * self.s.width)])

    def repeat(self, scalar: Any, count: int) -> Any:
        if isinstance(scalar, ll.Constant):
            return Repeated(scalar, count)
        first = self.b.insert_element(Undefined(ll.VectorType(scalar.type, count)), scalar, I32(0))
        return self.shuffle(first, [0] * count)

    def shuffle(self, vector: Any, lanes: Iterable[int], other: Any = None) -> Any:
        chosen = [I32(lane) for lane in lanes]
        other = other if other is not None else Undefined(vector.type)
        return self.b.shuffle_vector(vector, other, ll.Constant(ll.VectorType(I32, len(chosen)), chosen))

    def together(self, parts: list[Any]) -> Any:
        """Put vectors of components together as neighbours lie in memory."""
        width, lanes = self.s.width, len(parts)
        pairs = [*parts, *[Undefined(parts[0].type)] * (-lanes % 2)]
        halves = [self.shuffle(a, range(2 * width), b) for a, b in zip(pairs[::2], pairs[1::2], strict=True)]
        order = [c * width + lane for lane in range(width) for c in range(lanes)]
        return self.shuffle(halves[0], order, halves[1] if len(halves) > 1 else None)

    def last_of(self, value: Lanes, lanes: int) -> Any:
        """Return the value of the highest running lane (where all store to one element, it wins)."""
        if value.stride == 0 or self.s.width == 1:
            return value.value
        if lanes == 1:
            lane = I32(self.s.width - 1) if self.s.mask is None else self.v.last(self.s.mask)
            return self.b.extract_element(self.v.spread(value), lane)
        if self.s.mask is None:
            return self.shuffle(value.value, range((self.s.width - 1) * lanes, self.s.width * lanes))
        first = self.b.mul(self.v.last(self.s.mask), I32(lanes))
        whole: Any = Undefined(ll.VectorType(value.value.type.element, lanes))
        for c in range(lanes):
            part = self.b.extract_element(value.value, self.b.add(first, I32(c)))
            whole = self.b.insert_element(whole, part, I32(c))
        return whole
