"""Which kernels of a graph may be begun before those they depend on are over.

Layer: runtime. Groups of a kernel begun early sit on the GPU and wait (``targets.llvm.gpu.dependents``), so that
it need not be launched once the other is over. Its code is another, which may not load through every cache, and is
loaded for programs that become graphs alone. Invariant: a program's kernels all wait, or none of its edges is early.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from loom.core.errors import ArgumentError
from loom.core.late.dataclass import dataclass
from loom.runtime.drivers.cuda.gpus import Gpu

__all__ = ["NO_OVERLAP", "Overlap", "is_early", "overlap_of"]


_EDGES, _DEPENDENTS = ("chains", "all"), ("waited", "begun")


@dataclass(frozen=True)
class Overlap:
    """``edges``: which are early, those of "chains" or "all" ("": none); ``dependents`` as of ``Machine``."""

    edges: str
    dependents: str

    def __post_init__(self) -> None:
        """Refuse words that mean nothing, with ArgumentError."""
        known = [("", ""), *((e, d) for e in _EDGES for d in _DEPENDENTS)]
        if (self.edges, self.dependents) not in known:
            raise ArgumentError(
                "Overlap", "no such way to begin kernels early", got=(self.edges, self.dependents),
                expected=f"edges of {_EDGES} and dependents of {_DEPENDENTS}, or neither",
                remedy='Use Overlap("chains", "waited"), or NO_OVERLAP',
            )  # fmt: skip


NO_OVERLAP = Overlap("", "")
DEFAULT = NO_OVERLAP
"""Of GPUs that can: none, until one has shown what is quicker (``bench/device/pdl_figures.py``)."""
_LEAST_CHIP, _LEAST_DRIVER = (9, 0), 12_030


def overlap_of(gpu: Gpu) -> Overlap:
    """Return what a device does at first: its attribute ``overlap`` is what programs are built by."""
    return DEFAULT if gpu.chip >= _LEAST_CHIP and gpu.driver >= _LEAST_DRIVER else NO_OVERLAP


def is_early(edges: str, before: Sequence[int], followers: Mapping[int, int]) -> bool:
    """Tell whether the edges to a node from those ``before`` it are early; ``followers``: how many edges leave a node.

    All of a node's are, or none: a node with one full edge begins no sooner for the others, and drivers have been seen
    (580 to 610) that take the first edge's kind for all of a call. NVIDIA's documents name no limit to forks and joins
    of early edges, nor do they show any: "chains" has them where a node needs one other, which nothing else needs.
    """
    if not edges or not before:
        return False
    return edges == "all" or (len(before) == 1 and followers[before[0]] == 1)
