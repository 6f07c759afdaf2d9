"""How many workgroups a dispatch has that was given no number: as many as its data need.

Layer: runtime. Lanes that find their element by ``global_id(0)`` are needed once for each element of the longest
buffer. A kernel that asks for no index of its dispatch needs one group. Anything else cannot be told from outside.
Invariant: a number that is a guess is never used; it is an error.
"""

from __future__ import annotations

from collections.abc import Sequence
from weakref import WeakKeyDictionary

from loom.core.errors import ArgumentError
from loom.ir.kernel import Instr, walk
from loom.ir.verify import VerifiedKernel
from loom.runtime.plans.foreign import ForeignKernel

__all__ = ["groups_for"]

_OF_THE_DISPATCH = ("global_id", "group_id", "num_groups")
_asked: WeakKeyDictionary[VerifiedKernel, str] = WeakKeyDictionary()
"""What a kernel asks of its place: "" nothing of the dispatch, "lane" its number, else why nothing can be told."""


def groups_for(kernel: VerifiedKernel, elements: Sequence[int], where: str) -> int:
    """Return how many groups cover buffers of so many ``elements``; ArgumentError if that cannot be told."""
    asks = _asked.get(kernel)
    if asks is None:
        asks = _asked[kernel] = _asks(kernel)
    if not asks:
        return 1
    if asks == "lane" and elements:
        return -(-max(elements) // kernel.workgroup[0])
    raise ArgumentError(
        where, "the number of workgroups cannot be told from the data",
        expected="groups=n, for " + (asks if asks != "lane" else "the kernel has no buffers"),
        got="none", remedy="Write groups=(elements + lanes - 1) // lanes, or up to three numbers",
    )  # fmt: skip


def _asks(kernel: VerifiedKernel) -> str:
    if isinstance(kernel, ForeignKernel):
        return "its code is not Loom's"
    found = [s for s in walk(kernel.kernel.body) if isinstance(s, Instr) and s.name in _OF_THE_DISPATCH]
    if not found:
        return ""
    if any(s.name == "group_id" for s in found):
        return "the kernel asks for its group_id"
    if any(s.attr for s in found) or kernel.workgroup[1:] != (1, 1):
        return "the kernel has more than one dimension"
    return "lane"
