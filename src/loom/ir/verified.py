"""A kernel that passed ``verify``, and what is asked of it: what recording, planning and caches know of a kernel.

Layer: ir. The checks stand in ``verify``. Invariant: what is told of a kernel depends on the kernel alone.
"""

from __future__ import annotations

from dataclasses import field
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar, Literal

from loom.core.late.dataclass import dataclass
from loom.core.numerics import Guarantee
from loom.ir.kernel import For, Instr, Kernel, LaneOrder, Memory, Param, Space, While, operations, walk
from loom.ir.ops import Effect

if TYPE_CHECKING:
    from loom.ir.passes.spacing import Apart
    from loom.ir.passes.uniformity import Uniformity

__all__ = ["VerifiedKernel"]


@dataclass(frozen=True, eq=False)
class VerifiedKernel:
    """A kernel that passed, its early exits folded, with what the planner and targets ask of it."""

    language: ClassVar[Literal["loom", "spirv", "library"]] = "loom"
    """The kernel's own language; "spirv" of a foreign module, "library" of a call of a vendor's library."""
    kernel: Kernel
    uniformity: Uniformity
    aparts: tuple[Apart, ...] = field(default=(), kw_only=True)
    """What a dispatch's numbers of groups must keep."""

    @cached_property
    def name(self) -> str:
        """The kernel's name."""
        return self.kernel.name

    @cached_property
    def buffers(self) -> tuple[Memory, ...]:
        """What is bound, in order."""
        return self.kernel.buffers

    @cached_property
    def params(self) -> tuple[Param, ...]:
        """The push constants, in order."""
        return self.kernel.params

    @cached_property
    def bound(self) -> tuple[Memory, ...]:
        """The buffers that a dispatch is given, in order: all but tables of constants."""
        return tuple(m for m in self.buffers if m.data is None)

    @cached_property
    def given(self) -> tuple[Param, ...]:
        """The parameters that a dispatch is given, in order: all but the lengths of what is bound."""
        return tuple(p for p in self.params if p.extent is None)

    @cached_property
    def workgroup(self) -> tuple[int, int, int]:
        """Lanes of a group along each dimension."""
        return self.kernel.workgroup

    @cached_property
    def trusted(self) -> bool:
        """True for kernels that need no bounds checks."""
        return self.kernel.trusted

    @cached_property
    def is_vouched(self) -> bool:
        """True for kernels of the library that need no proof, and no trial, that lanes stay apart."""
        return self.kernel.trusted and self.kernel.is_own

    @cached_property
    def most_lanes(self) -> int:
        """How many lanes along a dimension, and elements to count, a dispatch may have."""
        return 1 << (31 if self.kernel.goes_below else 32)

    @cached_property
    def index_params(self) -> frozenset[Param]:
        """The unsigned parameters that are taken for signed numbers of their width."""
        return self.kernel.index_params

    @cached_property
    def guarantee(self) -> Guarantee:
        """What the kernel asks of a device."""
        return self.kernel.guarantee

    @cached_property
    def is_loose(self) -> bool:
        """True when the order of lanes may show in what it gives, so that nothing is promised of that."""
        return self.kernel.order is LaneOrder.ANY

    @cached_property
    def plain_aparts(self) -> tuple[Apart, ...] | None:
        """What a dispatch's numbers of groups must keep for plain reads and writes to stay apart; None: not known."""
        from loom.ir.passes.laneorder import conditions_of_plain

        return conditions_of_plain(self.kernel, self.uniformity)

    @cached_property
    def is_apart(self) -> bool:
        """True when plain reads and writes stay apart for any number of groups along the first dimension."""
        found = self.plain_aparts
        return found is not None and all(each.holds((self.most_lanes // self.workgroup[0], 1, 1)) for each in found)

    @cached_property
    def statements(self) -> int | None:
        """How many statements a lane runs at most, None if it loops."""
        body = [s for s in walk(self.kernel.body) if not isinstance(s, Instr) or s.op.name != "within"]
        return None if any(isinstance(s, (For, While)) for s in body) else len(body)

    @cached_property
    def hash(self) -> str:
        """Content hash of the kernel as verified."""
        from loom.ir.text import hash_kernel  # not needed where kernels are recalled

        return hash_kernel(self.kernel)

    @cached_property
    def _accesses(self) -> list[tuple[Memory, str]]:
        """The buffers that operations are on, and their names."""
        accesses = ((s.memory, s.op.name) for s in operations(self.kernel.body) if s.memory is not None)
        return [(memory, name) for memory, name in accesses if memory.space is Space.BUFFER]

    @cached_property
    def reads(self) -> frozenset[Memory]:
        """Buffers whose contents the kernel may read (an atomic reads)."""
        return frozenset(memory for memory, name in self._accesses if name not in ("store", "length"))

    @cached_property
    def writes(self) -> frozenset[Memory]:
        """Buffers whose contents the kernel may change."""
        return frozenset(memory for memory, name in self._accesses if name not in ("load", "length", "fetch"))

    @cached_property
    def has_barrier(self) -> bool:
        """True when lanes of a workgroup wait for each other."""
        return any(s.op.effect is Effect.SYNC for s in operations(self.kernel.body))

    @cached_property
    def talks(self) -> bool:
        """True when the kernel may print or fail an assertion."""
        return any(s.op.name in ("print", "assert") for s in operations(self.kernel.body))
