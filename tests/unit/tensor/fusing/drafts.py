"""Records as schedules choose kernels for a device that need not be here."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

import loom
from conformance.running import environment
from loom.core.caps import Caps
from loom.tensor import Tensor
from loom.tensor.program import Drafted
from loom.tensor.record.timelines import build

GPU = Caps(32, 48 << 10, 1024, False, 1, 1 << 20, threads=True)


def computed(outputs: Sequence[Tensor], caps: Caps | None, updates: Any = ()) -> tuple[list[bytes], list[str]]:
    """Return the bits of outputs, computed here, and the kernels that made them, those for a device's caps.

    Kernels of a GPU's schedules are compiled for one lane at a time: for vectors of masked lanes they take LLVM and the
    lowering before it six times as long, and ``conformance`` has such kernels at every width.
    """
    where = loom.device("cpu")
    drafted = Drafted(list(outputs), list(updates), where, caps=caps)
    for buffer in drafted.results:
        buffer.place = where.allocate(buffer.nbytes)
    names = [d.kernel.name for d in drafted.draft.dispatches]
    with environment(LOOM_SIMD=1) if caps else nullcontext():
        build(drafted.draft, drafted.plan, where, "drafted").build().run()
    places = (b.place for b in drafted.results)
    return [p.read(0, t.nbytes).tobytes() for p, t in zip(places, outputs, strict=True) if p is not None], names
