"""What the code of a GPU's thread needs said in the way of the GPU's family.

Layer: targets. All else of a kernel of threads is the same on every GPU (``lower``, ``identity``). Invariant: a family
changes which words are used, never which numbers are computed.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from loom.targets.llvm.machine import Machine
from loom.targets.llvm.values.state import State
from loom.targets.llvm.values.types import POINTER

__all__ = ["GpuFamily"]

_Workgroup = tuple[int, int, int]


class GpuFamily(ABC):
    """A family of GPUs.

    ``convention``: how LLVM calls a kernel. ``pointer``: the type of buffers among a kernel's arguments.
    ``forms``: what can be made of a kernel. ``has_dynamic``: a launch may tell how much shared memory there is.
    """

    convention: str
    forms: tuple[str, ...]
    pointer: Any = POINTER
    has_dynamic: bool = False

    @abstractmethod
    def number(self, s: State, which: str, dimension: int) -> Any:
        """Return an i32: a thread's number in its group (local), its group's (group), or how many groups (count)."""

    @abstractmethod
    def barrier(self, s: State) -> None:
        """Have the threads of a group wait for each other, each then seeing what all have written."""

    def near_barrier(self, s: State) -> None:
        """Have 32 threads side by side wait for each other, or more; all of the group are here."""
        self.barrier(s)

    def atomic_read(self, _s: State, _pointer: Any, _kind: Any) -> Any:
        """Return an element of a buffer, read in one step as others change it; None if an atomic has to do it."""
        return None

    def generic(self, s: State, argument: Any) -> Any:
        """Return an argument that is a ``pointer`` as an address of any memory."""
        return argument if self.pointer == POINTER else s.builder.addrspacecast(argument, POINTER)

    def mark(self, module: Any, function: Any, workgroup: _Workgroup) -> None:  # noqa: B027 - most tell nothing
        """Tell LLVM what it has to know of a kernel."""

    def add_attributes(self, text: str, _workgroup: _Workgroup) -> str:
        """Return a module's text with what llvmlite cannot say."""
        return text

    def finish_text(self, text: str, _workgroup: _Workgroup, _machine: Machine) -> str:
        """Return the text that LLVM made of a kernel for a machine as it is to be taken."""
        return text
