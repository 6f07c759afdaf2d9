"""A kernel that runs no more lanes than it is told: the same between ``if global_id < lanes`` in each dimension.

Layer: ir. Invariant: lanes below the limit do what they did; those beyond do nothing. A kernel with barriers has no
such form, since its groups meet whole.
"""

from __future__ import annotations

from dataclasses import replace

from loom.core.dtype import bool_, u32
from loom.ir.kernel import Block, If, Instr, Param
from loom.ir.ops import OPS
from loom.ir.verified import VerifiedKernel
from loom.ir.verify import verify

__all__ = ["limit"]


def limit(verified: VerifiedKernel) -> VerifiedKernel:
    """Return the kernel with three parameters more, behind those that callers give: its lanes along each dimension."""
    kernel = verified.kernel
    limits = tuple(Param(f"lanes.{d}", u32) for d in range(3))
    body: list[Instr] = []

    def emit(name: str, dtype: object, *args: Instr, attr: object = None) -> Instr:
        body.append(Instr(OPS[name], dtype, args, attr))  # type: ignore[arg-type]
        return body[-1]

    inside: Instr | None = None
    for d, limit in enumerate(limits):
        below = emit("lt", bool_, emit("global_id", u32, attr=d), emit("param", u32, attr=limit))
        inside = below if inside is None else emit("and", bool_, inside, below)
    assert inside is not None
    given = tuple(p for p in kernel.params if p.extent is None)
    lengths = tuple(p for p in kernel.params if p.extent is not None)
    guarded = Block([*body, If(inside, kernel.body, Block())])
    return verify(replace(kernel, params=(*given, *limits, *lengths), body=guarded))
