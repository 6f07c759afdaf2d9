"""What the interpreter watches for while it runs.

Layer: ir. Invariant: options never change the bits a faultless kernel computes.
"""

from __future__ import annotations

from dataclasses import field
from typing import TYPE_CHECKING, TextIO

from loom.core.late.dataclass import dataclass

if TYPE_CHECKING:
    from loom.ir.kernel import Instr

__all__ = ["Options"]


@dataclass(frozen=True, slots=True)
class Options:
    """Checks and debugger of one dispatch; the default watches for nothing.

    ``differences``: OutOfBounds at the first difference of unsigned numbers that wraps and is taken for a number.
    ``bounds``: OutOfBounds at the first access outside a memory, or with ``goes_on`` when all lanes are done, which
    read 0 there and store nothing, as on every device. ``nan``: NotANumber when arithmetic makes a NaN of operands
    that are none. ``races``: RaceDetected when two lanes meet at an element without order; with ``equal`` stores of
    one value may meet, with ``watched`` all but these accesses. ``uninitialized``: KernelFault on a read of shared or
    private elements never written.
    ``order``: RaceDetected if a second run, its lanes in another order, leaves something else (see ``reorder``).
    ``work``: how many operations of lanes are run, of groups from all over the dispatch; nothing tells of the rest.

    ``debugger``: ``breakpoint()`` in the kernel opens pdb, for the lane with global flat number ``lane``
    (None: the lowest one there). ``breakpoints``: source lines that open it too, and imply ``debugger``.
    ``stdin`` and ``stdout`` replace the terminal.
    """

    bounds: bool = False
    differences: bool = False
    goes_on: bool = False
    nan: bool = False
    races: bool = False
    equal: bool = False
    watched: frozenset[Instr] | None = None
    uninitialized: bool = False
    order: bool = False
    work: int | None = None
    lane: int | None = None
    breakpoints: frozenset[int] = frozenset()
    debugger: bool = False
    stdin: TextIO | None = field(default=None, compare=False)
    stdout: TextIO | None = field(default=None, compare=False)

    @property
    def watches(self) -> bool:
        """True when memory accesses are checked."""
        return self.bounds or self.races or self.uninitialized

    @property
    def stops(self) -> bool:
        """True when the debugger may open."""
        return self.debugger or bool(self.breakpoints)
