"""Programs of imported graphs: those of the latest shapes are kept, and each refuses indices that there are not.

Layer: importers. Invariant: an index that a program computes is looked at before its outputs are anybody's.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Mapping, Sequence
from typing import Any, Generic, TypeVar

from loom.core.arrays import Array
from loom.runtime.port.device import Device
from loom.tensor import Tensor, TensorProgram
from loom.tensor import compile as compile_program
from loom.tensor.selecting.outside import IndexLimits

__all__ = ["LatestPrograms", "LimitedProgram"]

_MOST = 32


class LimitedProgram:
    """A program of some ends, beside which it computes the indices that are limited; none where nothing is recorded."""

    def __init__(self, ends: Sequence[Tensor], limits: IndexLimits, device: Device | None, name: str) -> None:
        every = [*ends, *limits.ends]
        self.program: TensorProgram | None = compile_program(every, on=device, name=name) if every else None
        self.limits, self.count = limits, len(ends)
        self.inputs = frozenset[str]() if self.program is None else frozenset(self.program.inputs)

    def run(self, given: Mapping[str, Any]) -> list[Array]:
        """Return the ends for arrays by name, of which it takes its own; IndexOutside for an index outside."""
        if self.program is None:
            return []
        self.program.run(**{name: a for name, a in given.items() if name in self.inputs})
        found = self.program.read()
        self.limits.require(found[self.count :])
        return found[: self.count]

    def free(self) -> None:
        """Give back its memory."""
        if self.program is not None:
            self.program.free()


_Program = TypeVar("_Program", bound=LimitedProgram)


class LatestPrograms(Generic[_Program]):
    """Programs by what they are of; those that were used longest ago are freed."""

    def __init__(self) -> None:
        self._held: OrderedDict[Hashable, _Program] = OrderedDict()

    def find(self, key: Hashable) -> _Program | None:
        """Return a program, which is the latest then, or None."""
        if key in self._held:
            self._held.move_to_end(key)
        return self._held.get(key)

    def add(self, key: Hashable, program: _Program) -> _Program:
        """Keep a program, and return it."""
        self._held[key] = program
        self.shrink(_MOST)
        return program

    def shrink(self, most: int) -> None:
        """Free the oldest programs, so that at most some are left."""
        while len(self._held) > most:
            self._held.popitem(last=False)[1].free()
