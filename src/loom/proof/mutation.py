"""Devices that compute wrongly on purpose: proof that the proof can fail.

Layer: proof. A mutant rewrites one operation of the kernels it runs, the way a compiler or a GPU that breaks
the contract would: it adds in another order, joins a product and a sum into one rounding, flushes a small
product to zero, or takes a product with a literal zero for zero. Invariant: nothing else about the device changes.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from loom.core.caps import Caps
from loom.core.dtype import DType, f32, f64
from loom.core.errors import ArgumentError, near_matches
from loom.ir.kernel import For, Instr, Kernel, Space, walk
from loom.ir.passes.rewrite import Rewriter
from loom.ir.verified import VerifiedKernel
from loom.ir.verify import verify
from loom.runtime.memory.storage import Storage
from loom.runtime.plans.plan import Plan, PlanStep
from loom.runtime.port.device import Device, DeviceInfo, DeviceProgram

__all__ = ["MUTATIONS", "Mutant", "mutate"]

MUTATIONS = ("swap", "fuse", "flush", "fold")
"""Swap an add: another order. Fuse a multiply: one rounding less. Flush a product: no subnormals. Fold: x * 0.0 is
0.0, x + 0.0 is x, a choice between ones and zeros forgets a zero's sign, as Mesa's drivers do."""
_LEAST_NORMAL: dict[DType, float] = {f32: 2.0**-126, f64: 2.0**-1022}


class Mutant:
    """A device that runs mutated kernels.

    ``only`` limits it to kernels whose names begin so, and to one operation: number ``site`` of those that the
    mutation applies to.
    """

    kind = "mutant"

    def __init__(self, inner: Device, mutation: str, only: str | None = None, site: int = 0) -> None:
        if mutation not in MUTATIONS:
            raise ArgumentError(
                "loom verify, mutation", f"no mutation is called {mutation!r}", remedy=near_matches(mutation, MUTATIONS)
            )
        self.inner = inner
        self.mutation = mutation
        self.only = only
        self.site = None if only is None else site
        self.name = f"{inner.name}, {mutation} in {only or 'every kernel'} at {site}"
        self.guarantee = inner.guarantee
        self.changed: set[str] = set()
        """Names of the kernels that were changed."""
        self._made: dict[str, VerifiedKernel] = {}

    @property
    def caps(self) -> Caps:
        """What kernels may know of this device."""
        return self.inner.caps

    def describe(self) -> DeviceInfo:
        """Return what ``loom devices`` would show."""
        return replace(self.inner.describe(), name=self.name, kind=self.kind)

    def allocate(self, nbytes: int, *, zeroed: bool = True) -> Storage:
        """Return memory of the inner device."""
        return self.inner.allocate(nbytes, zeroed=zeroed)

    def adopt(self, array: Any) -> Storage | None:
        """Return memory shared with an array, as the inner device does."""
        return self.inner.adopt(array)

    def build(self, plan: Plan) -> DeviceProgram:
        """Build a plan whose kernels are mutated."""
        segments = tuple((repeats, tuple(self._step(s) for s in steps)) for repeats, steps in plan.segments)
        return self.inner.build(Plan(segments, plan.guarantee))

    def _step(self, step: PlanStep) -> PlanStep:
        kernel = step.dispatch.kernel
        if self.only is not None and not kernel.name.startswith(self.only):
            return step
        found = self._made.get(kernel.hash)
        if found is None:
            rewritten = mutate(kernel.kernel, self.mutation, self.site)
            found = kernel if rewritten is None else verify(rewritten)
            self._made[kernel.hash] = found
        if found is not kernel:
            self.changed.add(kernel.name)
        return PlanStep(replace(step.dispatch, kernel=found), step.waits)


def mutate(kernel: Kernel, mutation: str, site: int | None = None) -> Kernel | None:
    """Return ``kernel`` with one operation a mutation applies to changed (None: every one); None if none is."""
    rewriter = {"swap": _Swap, "fuse": _Fuse, "flush": _Flush, "fold": _Fold}[mutation](kernel, site)
    body = rewriter.block(kernel.body)
    return replace(kernel, body=body, names={}) if rewriter.changed else None


class _Mutation(Rewriter):
    def __init__(self, kernel: Kernel, site: int | None) -> None:
        super().__init__(kernel)
        self.site = site
        self.met = 0
        self.changed = False

    def takes(self) -> bool:
        """Tell whether to change an operation that could be, and count it."""
        self.met += 1
        chosen = self.site is None or self.site == self.met - 1
        self.changed = self.changed or chosen
        return chosen


def _is(value: Instr, name: str) -> bool:
    return value.op.name == name and value.type.scalar in _LEAST_NORMAL


def _is_kept(value: Instr) -> bool:
    """Tell whether a value comes from a variable, or an array of the lane or its group."""
    of_array = value.memory is not None and value.memory.space is not Space.BUFFER
    return value.op.name == "get" or (value.op.name == "load" and of_array)


class _Swap(_Mutation):
    """(a + b) + c becomes a + (b + c); a loop that adds floats to a variable runs backwards."""

    def instr(self, s: Instr) -> Instr:
        if s.dtype is not None and _is(s, "add") and _is(s.args[0], "add") and self.takes():
            first, second = (self.value(a) for a in s.args[0].args)
            return self.emit("add", first, self.emit("add", second, self.value(s.args[1])))
        return self.copy(s)

    def for_(self, s: For) -> None:
        adds = [i for i in walk(s.body) if isinstance(i, Instr) and i.dtype is not None and _is(i, "add")]
        into = any(_is_kept(a) for i in adds for a in i.args)
        whole = s.start.op.name == s.step.op.name == "const" and s.start.attr == 0 and s.step.attr == 1
        if s.down or not into or not whole or not self.takes():
            super().for_(s)
            return
        start, stop, step = self.value(s.start), self.value(s.stop), self.value(s.step)
        outer, self.out = self.out, []
        last = self.emit("sub", self.emit("sub", stop, self.const(1, s.index.type)), s.index)
        self.values[s.index] = last
        before, self.out = self.out, outer
        body = self.block(s.body)
        body.statements[:0] = before
        self.out.append(For(s.index, start, stop, step, s.down, body, s.loc))


class _Fuse(_Mutation):
    """a * b + c is rounded once (in f32, by way of f64: but for ties as a fused operation does)."""

    def instr(self, s: Instr) -> Instr:
        if s.dtype is None or s.type != f32 or s.op.name not in ("add", "sub"):
            return self.copy(s)
        at = next((n for n, a in enumerate(s.args) if _is(a, "mul")), None)
        if at is None or not self.takes():
            return self.copy(s)
        factors = [self.emit("convert", self.value(a), dtype=f64) for a in s.args[at].args]
        other = self.emit("convert", self.value(s.args[1 - at]), dtype=f64)
        pair = [self.emit("mul", *factors), other]
        exact = self.emit(s.op.name, *(pair if at == 0 else pair[::-1]))
        return self.emit("convert", exact, dtype=f32)


class _Flush(_Mutation):
    """A product below the least normal number becomes zero."""

    def instr(self, s: Instr) -> Instr:
        found = self.copy(s)
        if s.dtype is None or not _is(s, "mul") or s.type.is_vector or not self.takes():
            return found
        dtype: DType = s.type
        small = self.emit("lt", self.emit("abs", found), self.const(_LEAST_NORMAL[dtype], dtype))
        return self.emit("select", small, self.const(0.0, dtype), found)


class _Fold(_Mutation):
    """What a zero or a one that stands in the kernel lets a driver take for granted, and IEEE 754 does not."""

    def instr(self, s: Instr) -> Instr:
        found = None
        if s.dtype is not None and s.type.scalar in _LEAST_NORMAL and not s.type.is_vector:
            found = self.fold(s)
        return found if found is not None and self.takes() else self.copy(s)

    def fold(self, s: Instr) -> Instr | None:
        """Return what an operation is taken for, None if it is left as it is."""
        known = [a.op.name == "const" and not a.attr << 1 & (1 << s.type.bits) - 1 for a in s.args]
        if s.op.name == "mul" and any(known):
            return self.const(0.0, s.type)
        if s.op.name == "add" and any(known):
            return self.value(s.args[known.index(True) - 1])
        if s.op.name == "select" and known[1] and s.args[2].op.name == "const":
            return self.emit("select", self.value(s.args[0]), self.const(0.0, s.type), self.value(s.args[2]))
        return None
