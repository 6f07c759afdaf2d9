"""Accepts or refuses a kernel; every target and device takes only what passed here.

Layer: ir. The checks, in order: the interface; types (by ``builder.infer``) and scopes; variables
assigned before they are read; loops around break and continue; barriers in convergent flow; visible
races; atomics that show the order of lanes; fused products that may be rounded. Invariant: a
``VerifiedKernel`` needs no further checking by a target.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from loom.core.dtype import bool_
from loom.core.errors import VerifyError
from loom.core.given import is_list
from loom.ir.kernel import (
    Block,
    Break,
    Continue,
    For,
    If,
    Instr,
    Kernel,
    Loc,
    Param,
    Return,
    Variable,
    operations,
    walk_blocks,
)
from loom.ir.ops import Effect
from loom.ir.passes.escapes import fold_escapes
from loom.ir.passes.products import refuse_inexact_products
from loom.ir.passes.races import refuse_races
from loom.ir.passes.tiles import TILE_MOST, TILE_STEP, refuse_lonely_tiles
from loom.ir.passes.uniformity import Uniformity, analyse_uniformity
from loom.ir.passes.wide import refuse_wrong_wide
from loom.ir.rules import TypeRule, infer
from loom.ir.verified import VerifiedKernel

if TYPE_CHECKING:
    from loom.ir.passes.spacing import Apart

__all__ = ["MAX_PRIVATE_NBYTES", "MAX_WORKGROUP_LANES", "verify"]

MAX_WORKGROUP_LANES = 1024
MAX_PRIVATE_NBYTES = 1 << 16
"""Of all private arrays of a lane."""
MAX_SHARED_NBYTES = 1 << 24
"""Of all shared arrays of a workgroup, on any device; a GPU has less, and says so."""
MAX_NESTING = 100
"""Blocks within blocks."""
_NUMBERED = {"extract": 4, "global_id": 3, "local_id": 3, "group_id": 3, "num_groups": 3}
"""How many components or dimensions there are at most."""


def verify(kernel: Kernel) -> VerifiedKernel:
    """Return ``kernel`` as verified; VerifyError or KernelTypeError name the line and the remedy."""
    _check_interface(kernel)
    _refuse_deep_nesting(kernel)
    _Scopes(kernel).run()
    refuse_inexact_products(kernel)
    try:
        folded = fold_escapes(kernel)
    except RecursionError:
        raise _too_deep(kernel, kernel.loc) from None
    _refuse_deep_nesting(folded)
    uniformity = analyse_uniformity(folded)
    _refuse_divergent_barriers(folded, uniformity)
    refuse_races(folded, uniformity)
    return VerifiedKernel(folded, uniformity, aparts=_refuse_disorder(folded, uniformity))


def _refuse_disorder(kernel: Kernel, uniformity: Uniformity) -> tuple[Apart, ...]:
    if not any(s.op.effect is Effect.ATOMIC for s in operations(kernel.body)):
        return ()
    from loom.ir.passes.laneorder import refuse_disorder  # which few kernels need

    return refuse_disorder(kernel, uniformity)


def _check_interface(kernel: Kernel) -> None:
    if any(extent < 1 for extent in kernel.workgroup) or kernel.lanes > MAX_WORKGROUP_LANES:
        raise VerifyError(
            kernel.where(kernel.loc),
            "workgroup of unusable size",
            expected=f"1 to {MAX_WORKGROUP_LANES} lanes, each extent at least 1",
            got=kernel.workgroup,
            remedy="Use more groups of fewer lanes",
        )
    for memory in (*kernel.shared, *kernel.private):
        if memory.size is None or memory.size < 1:
            raise VerifyError(
                kernel.where(kernel.loc), f"{memory.space.value} array {memory.name!r} has no elements",
                expected="a size of at least 1", got=memory.size, remedy="Give its length as a constant",
            )  # fmt: skip
    for arrays, most, owner in (
        (kernel.private, MAX_PRIVATE_NBYTES, "lane"),
        (kernel.shared, MAX_SHARED_NBYTES, "workgroup"),
    ):
        nbytes = sum((m.size or 0) * m.dtype.nbytes for m in arrays)
        if nbytes > most:
            raise VerifyError(
                kernel.where(kernel.loc), f"its {arrays[0].space.value} arrays are too large",
                expected=f"at most {most} bytes together", got=nbytes,
                remedy=f"Keep them in a buffer, with a part for each {owner}",
            )  # fmt: skip
    for param in kernel.params:
        if param.dtype.is_vector or param.dtype.storage_only:
            raise VerifyError(
                kernel.where(kernel.loc), f"parameter {param.name!r} has an unusable type",
                expected="bool, an integer, f32 or f64", got=param.dtype,
                remedy="Pass its components" if param.dtype.is_vector
                else f"Declare {param.name}: f32, and store it to a buffer of {param.dtype}",
            )  # fmt: skip


def _refuse_deep_nesting(kernel: Kernel) -> None:
    """Passes and targets recurse over blocks; early returns count, as what follows them is nested."""
    blocks = [(kernel.body, 1, kernel.loc)]
    while blocks:
        block, depth, loc = blocks.pop()
        if depth > MAX_NESTING:
            raise _too_deep(kernel, loc)
        for s in block.statements:
            if not isinstance(s, Instr):
                blocks += [(inner, depth + 1, s.loc) for inner in walk_blocks(s)]


def _too_deep(kernel: Kernel, loc: Loc | None) -> VerifyError:
    return VerifyError(
        kernel.where(loc), "statements are nested too deeply", expected=f"at most {MAX_NESTING} levels",
        remedy="Split long chains of elif or of early returns, for example by halves",
    )  # fmt: skip


class _Scopes:
    """Types, definitions before uses, definite assignment, and where loops may be left."""

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel
        self.memories = {*kernel.buffers, *kernel.shared, *kernel.private}
        self.scalars: set[Param | Variable] = {*kernel.params, *kernel.variables}

    def run(self) -> None:
        self.block(self.kernel.body, set(), set(), in_loop=False)

    def fail(self, loc: Loc | None, what: str, expected: object, got: object, remedy: str) -> VerifyError:
        return VerifyError(self.kernel.where(loc), what, expected=expected, got=got, remedy=remedy)

    def block(
        self, block: Block, values: set[Instr], assigned: set[Variable], *, in_loop: bool
    ) -> set[Variable] | None:
        """Check ``block``; return the variables assigned at its end, None if the end is not reached."""
        values, assigned = set(values), set(assigned)
        for position, s in enumerate(block.statements):
            if isinstance(s, Instr):
                self.instr(s, values, assigned)
                continue
            if isinstance(s, (Break, Continue, Return)):
                self.escape(s, block, position, in_loop)
                return None
            if isinstance(s, If):
                self.condition(s.condition, s.loc, values)
                ends = [self.block(b, values, assigned, in_loop=in_loop) for b in (s.then, s.otherwise)]
                reached = [e for e in ends if e is not None]
                assigned = set[Variable].intersection(*reached) if reached else assigned | set(self.kernel.variables)
            elif isinstance(s, For):
                for value in (s.start, s.stop, s.step):
                    self.in_scope(value, s.loc, values)
                self.block(s.body, values | {s.index}, assigned, in_loop=True)
            else:
                tested = self.block(s.test, values, assigned, in_loop=False)
                inside = values | {i for i in s.test.statements if isinstance(i, Instr)}
                self.condition(s.condition, s.loc, inside)
                assigned = tested if tested is not None else assigned
                self.block(s.body, inside, assigned, in_loop=True)
        return assigned

    def escape(self, s: Break | Continue | Return, block: Block, position: int, in_loop: bool) -> None:
        name = type(s).__name__.lower()
        if not in_loop and not isinstance(s, Return):
            raise self.fail(s.loc, f"{name} outside a loop", "a for or while around it", None, "Remove it")
        if position + 1 < len(block.statements):
            after = block.statements[position + 1]
            raise self.fail(after.loc, f"statement after {name} never runs", "no statement", None, "Remove it")

    def in_scope(self, value: Instr, loc: Loc | None, values: set[Instr]) -> None:
        if value not in values:
            raise self.fail(
                loc, f"{value.op.name} is used where it is not computed", "a value of this block or one around it",
                None, "Keep it in a variable",
            )  # fmt: skip

    def condition(self, value: Instr, loc: Loc | None, values: set[Instr]) -> None:
        self.in_scope(value, loc, values)
        if value.dtype != bool_:
            raise self.fail(loc, "a condition must be a bool", "bool", value.dtype, "Compare, for example x != 0")

    def instr(self, s: Instr, values: set[Instr], assigned: set[Variable]) -> None:
        for arg in s.args:
            self.in_scope(arg, s.loc, values)
        named = s.attr.dtype if isinstance(s.attr, (Param, Variable)) else s.dtype
        try:
            result = infer(s.op, [a.type for a in s.args], named, s.memory)
        except TypeRule as rule:
            what, expected, got, remedy = rule.parts
            raise self.fail(s.loc, what, expected, got, remedy) from None
        if result != s.dtype:
            raise self.fail(s.loc, f"{s.op.name} has a wrong result type", result, s.dtype, "Build it with Builder")
        self.attribute(s)
        if s.memory is not None and s.memory not in self.memories:
            raise self.fail(
                s.loc, f"memory {s.memory.name!r} is not the kernel's", "a declared memory", None, "Declare it"
            )
        if isinstance(s.attr, Variable):
            self.variable(s, s.attr, assigned)
        if s.dtype is not None:
            values.add(s)

    def variable(self, s: Instr, variable: Variable, assigned: set[Variable]) -> None:
        if s.op.name == "set":
            assigned.add(variable)
        elif variable not in assigned:
            raise self.fail(
                s.loc, f"variable {variable.name!r} may be read before it is assigned",
                "a value on every path", None, f"Assign {variable.name} before the branch or loop",
            )  # fmt: skip

    def attribute(self, s: Instr) -> None:
        """Check what an operation carries besides its operands (see ``Instr``)."""
        name, attr = s.op.name, s.attr
        if name in ("param", "get", "set"):
            kind = Param if name == "param" else Variable
            if not isinstance(attr, kind):
                raise self.fail(s.loc, f"{name} names nothing", f"a {kind.__name__}", repr(attr), "Declare it")
            if attr not in self.scalars:
                raise self.fail(s.loc, f"{attr.name!r} is not the kernel's", "a declared name", None, "Declare it")
        elif name in ("print", "assert", "within"):
            pieces = len(s.args) + (name == "print")
            if not (is_list(attr) and isinstance(attr, tuple)) or len(attr) != pieces:
                raise self.fail(s.loc, f"{name} has a wrong text", f"{pieces} pieces of text", repr(attr), "Add them")
        elif name == "tile_product":
            self.tile(s)
        elif name == "index":
            raise self.fail(s.loc, "index outside the head of a loop", "for", None, "Use the counter of a for")
        elif name in _NUMBERED or name == "const":
            self.number(s)

    def tile(self, s: Instr) -> None:
        """Check how many words rows of a product of tiles have, and how far they are apart."""
        got, attr = repr(s.attr), s.attr
        sizes = cast("tuple[Any, ...]", attr) if isinstance(attr, tuple) else ()
        if len(sizes) != 2 or not all(isinstance(n, int) for n in sizes) or not TILE_STEP <= sizes[0] <= sizes[1]:
            raise self.fail(s.loc, "tile_product has wrong sizes", "words of a row, and at least as many to the next",
                            got, "Give both as constants")  # fmt: skip
        if sizes[0] % TILE_STEP or sizes[0] > TILE_MOST:
            raise self.fail(s.loc, f"tile_product of rows of {sizes[0]} words", f"{TILE_STEP} to {TILE_MOST}, in steps",
                            sizes[0], "Take as many k at a time")  # fmt: skip

    def number(self, s: Instr) -> None:
        name, attr = s.op.name, s.attr
        limit = 1 << (1 if s.type.is_bool else s.type.bits) if name == "const" else _NUMBERED[name]
        if name == "extract":
            limit = s.args[0].type.lanes
        if not isinstance(attr, int) or not 0 <= attr < limit:
            what = f"constant does not fit {s.type}" if name == "const" else f"{name} {attr} does not exist"
            raise self.fail(s.loc, what, f"0 to {limit - 1}", repr(attr), "Use another")


def _refuse_divergent_barriers(kernel: Kernel, uniformity: Uniformity) -> None:
    refuse_lonely_tiles(kernel, uniformity)
    refuse_wrong_wide(kernel, uniformity)
    for barrier in uniformity.divergent_barriers:
        returns = uniformity.divergent_returns
        cause = f" (lanes may have returned at line {returns[0].loc.line})" if returns and returns[0].loc else ""
        raise VerifyError(
            kernel.where(barrier.loc),
            f"{barrier.op.name} in divergent flow{cause}",
            expected="every lane of the workgroup to arrive",
            remedy=f"Move the {barrier.op.name} out of the branch or loop, and guard only the work with if",
        )
