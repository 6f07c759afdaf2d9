"""Emits structured control flow: plain branches where lanes agree, masks where they do not.

Layer: targets. Where all lanes run and may part at an ``if`` or a loop, the code is generated twice, once
for the case that they all go the same way (no masks) and once masked. Invariant: after every
statement the mask is exact, and code runs only if some lane of it does.

Source: the execution model of ispc (Pharr and Mark, "ispc: A SPMD Compiler", InPar 2012), section 5.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import llvmlite.ir as ll

from loom.core.dtype import bool_
from loom.ir.kernel import Block, Break, Continue, For, If, Instr, Return, Statement, Variable, While, walk, walk_blocks
from loom.ir.ops import Effect
from loom.targets.llvm.access.memory import MemoryAccess
from loom.targets.llvm.access.tiles import tile_product
from loom.targets.llvm.access.wide import WIDE
from loom.targets.llvm.flow.loops import Loops, OpenLoop
from loom.targets.llvm.identity import Identity
from loom.targets.llvm.lanes import Lanes
from loom.targets.llvm.messages import Messages
from loom.targets.llvm.rows import RowRuns
from loom.targets.llvm.state import State
from loom.targets.llvm.types import I1

__all__ = ["Control"]

_COHERENT_STATEMENTS = 160
_COHERENT_DEPTH = 2
_COSTLY = ("div", "sqrt", "idiv", "irem", "mulhi")
_CHEAP = 8
"""Operations that lanes may as well do in vain, and how many of the others."""


class Control:
    """Lowers statements; ``identity`` knows which lane this is, ``memory`` loads and stores."""

    def __init__(self, state: State, identity: Identity, memory: MemoryAccess, messages: Messages) -> None:
        self.s = state
        self.b: Any = state.builder
        self.v = state.vectors
        self.identity = identity
        self.memory = memory
        self.messages = messages
        self.loops: list[OpenLoop] = []
        self.looping = Loops(self)
        self.rows = RowRuns(self)
        self.returned: Any = None  # stack slot: lanes that returned
        self.lane_end: Any = None  # basic block: these lanes are done
        self.coherent_depth = 0
        self.home_masks: dict[Block, Any] = {}
        self.on_return: Callable[[Return], None] = lambda _return: None
        self.value_hook: Callable[[Instr], Lanes | None] = lambda _instr: None
        self.is_kept: Callable[[Instr], bool] = lambda _instr: False
        self.masked_returns = set(state.uniformity.divergent_returns)
        self.homes: dict[Variable, Block] = {}

    # values

    def value(self, instr: Instr) -> Lanes:
        """Return the generated value of an operation."""
        if instr.op.name == "const":
            return Lanes(self.v.constant(instr.attr, instr.type), 0)
        found = self.s.values.get(instr)
        if found is None:
            found = self.value_hook(instr)
        if found is None:
            found = self.identity.value(instr)
        assert found is not None, f"{instr.op.name} is not generated yet"
        return found

    def is_there(self, instr: Instr) -> bool:
        """Tell whether ``value`` has what an operation gave: not where another region generated it and nobody asked."""
        is_known = instr.op.name == "const" or instr.op.effect is Effect.IDENTITY or instr in self.s.values
        return is_known or self.is_kept(instr)

    def stride(self, instr: Instr) -> int | None:
        """Return how a value is held."""
        return self.s.shapes.values.get(instr, 0)

    # blocks and operations

    def block(self, block: Block) -> None:
        """Lower the statements of a block; the mask may shrink on the way."""
        self.home_masks[block] = self.s.mask
        end = None
        taken = 0
        for position, statement in enumerate(block.statements):
            if position < taken:
                continue
            taken = position + self.rows.emit(block.statements, position)
            if position < taken:
                continue
            self.statement(statement)
            if self.s.is_terminated:
                break
            more = position + 1 < len(block.statements)
            if more and self.may_empty(statement):
                end = end or self.s.block("lanes.none")
                rest = self.s.block("lanes.some")
                self.b.cbranch(self.v.any(self.s.mask), rest, end)
                self.b.position_at_end(rest)
        if end is not None:
            if not self.s.is_terminated:
                self.b.branch(end)
            self.b.position_at_end(end)

    def statement(self, s: Statement) -> None:
        """Lower one statement."""
        if isinstance(s, Instr):
            self.instr(s)
        elif isinstance(s, If):
            self.if_(s)
        elif isinstance(s, For):
            self.looping.for_(s)
        elif isinstance(s, While):
            self.looping.while_(s)
        elif isinstance(s, Return):
            self.return_(s)
        else:
            self.leave_turn(s)

    def instr(self, s: Instr) -> None:
        """Lower one operation."""
        effect, name = s.op.effect, s.op.name
        if effect is Effect.IDENTITY or name == "const":
            return  # generated where used
        args = [self.value(a) for a in s.args]
        if s.op.is_pure:
            self.s.values[s] = self.pure(s, args)
        elif name == "get":
            self.s.values[s] = self.get(s.attr)
        elif name == "set":
            self.set(s.attr, args[0])
        elif effect is Effect.ATOMIC:
            assert s.memory is not None
            self.s.values[s] = self.memory.atomic(s, s.memory, args[0], args[1:])
        elif name == "load":
            assert s.memory is not None
            self.s.values[s] = self.memory.load(s, s.memory, args[0], self.stride(s))
        elif name == "store":
            assert s.memory is not None
            self.memory.store(s, s.memory, args[0], args[1])
        elif name == "tile_product":
            self.s.values[s] = Lanes(tile_product(self.s, s, *(a.value for a in args)), self.stride(s))
        elif name in WIDE:
            WIDE[name](self.s, s, *(a.value for a in args))
        elif name == "print":
            self.messages.print(s, args)
        elif name == "assert":
            self.messages.check(s, args)
        elif name == "within":
            self.messages.within(s, args)
        elif name == "barrier":
            self.identity.barrier()
        elif name == "near_barrier":
            self.identity.near_barrier()

    def pure(self, s: Instr, args: list[Lanes]) -> Lanes:
        """Emit an operation that only computes."""
        stride = self.stride(s)
        if s.op.name in ("idiv", "irem") and stride is None and s.type.bits == 64 and s.args[1].op.name != "const":
            self.s.note("division", s)
        if s.op.name == "vector":
            return self.memory.elements.made(args, stride)
        if s.op.name == "extract":
            return self.memory.elements.component(args[0], s.args[0].type, s.attr)
        if s.type.is_vector:
            return self.of_vectors(s, args, stride)
        return self.s.arithmetic.emit(s, args, stride)

    def of_vectors(self, s: Instr, args: list[Lanes], stride: int | None) -> Lanes:
        """Emit an operation by component, on vectors as they are held."""
        held = self.memory.elements.operand
        values = [held(a, of.type, s.type.lanes, stride) for a, of in zip(args, s.args, strict=True)]
        return Lanes(self.s.arithmetic.apply(s, values), stride)

    # variables

    def get(self, variable: Variable) -> Lanes:
        stride = self.s.shapes.variables[variable]
        return Lanes(self.b.load(self.s.slots[variable], typ=self.slot_type(variable)), stride)

    def set(self, variable: Variable, value: Lanes) -> None:
        stride = self.s.shapes.variables[variable]
        if stride is not None:
            self.b.store(value.value, self.s.slots[variable])
            return
        dtype, mask = variable.dtype, self.s.mask
        if dtype.is_vector:
            new = self.memory.elements.operand(value, dtype, dtype.lanes, None)
        else:
            new = self.v.spread(value)
        if mask is not None and mask is not self.home_masks.get(self.homes[variable]):
            old = self.b.load(self.s.slots[variable], typ=new.type)
            if dtype.is_vector:
                mask = self.memory.elements.operand(Lanes(mask, None), bool_, dtype.lanes, None)
            new = self.b.select(mask, new, old)
        self.b.store(new, self.s.slots[variable])

    def slot_type(self, variable: Variable) -> Any:
        """Return the type of a variable's stack slot: a scalar or one value per lane."""
        return self.v.held(variable.dtype, self.s.shapes.variables[variable])

    # leaving

    def return_(self, s: Return) -> None:
        if self.s.width > 1 and s in self.masked_returns:
            self.add_to(self.returned)
        else:
            self.on_return(s)
            self.b.branch(self.lane_end)

    def leave_turn(self, s: Break | Continue) -> None:
        loop = self.loops[-1]
        if loop.is_masked:
            self.add_to(loop.left if isinstance(s, Break) else loop.skipping)
        else:
            self.b.branch(loop.exit if isinstance(s, Break) else loop.latch)

    def add_to(self, slot: Any) -> None:
        """Add the running lanes to a set of lanes on the stack."""
        gone = self.b.load(slot, typ=self.v.mask_type)
        self.b.store(self.b.or_(gone, self.s.mask_or_all()), slot)

    def mask_slot(self, name: str) -> Any:
        """Reserve an empty set of lanes; it is emptied here each time."""
        slot = self.s.stack(self.v.mask_type, name=name)
        self.b.store(ll.Constant(self.v.mask_type, None), slot)
        return slot

    def may_empty(self, s: Statement) -> bool:
        """True if running lanes may be gone, by masks, after a statement."""
        if self.s.width == 1:
            return False
        in_masked_loop = bool(self.loops) and self.loops[-1].is_masked
        return self.has_masked_exit(s, in_masked_loop)

    def has_masked_exit(self, s: Statement, counts: bool) -> bool:
        """True if ``s`` holds a masked return, or (if it ``counts``) a break or continue of the loop around."""
        if isinstance(s, Instr):
            return False
        if isinstance(s, Return):
            return s in self.masked_returns
        if isinstance(s, (Break, Continue)):
            return counts
        inside = counts and isinstance(s, If)
        return any(self.has_masked_exit(x, inside) for block in walk_blocks(s) for x in block.statements)

    def remaining(self, before: Any) -> Any:
        """Return ``before`` without the lanes that left since."""
        slots = [self.returned] if self.returned is not None else []
        if self.loops and self.loops[-1].is_masked:
            slots += [self.loops[-1].left, self.loops[-1].skipping]
        mask = before if before is not None else self.v.splat(I1(1))
        for slot in slots:
            mask = self.b.and_(mask, self.b.not_(self.b.load(slot, typ=self.v.mask_type)))
        return mask

    # if

    def if_(self, s: If) -> None:
        condition = self.value(s.condition)
        before = self.s.mask
        self.s.note(
            "branch together" if condition.stride == 0 else "choice" if self.is_choice(s) else "branch apart", s
        )
        if condition.stride == 0:
            self.uniform_if(s, condition.value)
        else:
            self.masked_if(s, self.v.spread(condition))
        if self.s.is_terminated:
            return
        self.s.mask = self.remaining(before) if self.may_empty(s) else before

    def uniform_if(self, s: If, condition: Any) -> None:
        before = self.s.mask
        after = self.s.block("if.end")
        arms = [(self.s.block("if.then"), s.then)]
        if s.otherwise.statements:
            arms.append((self.s.block("if.else"), s.otherwise))
        self.b.cbranch(condition, arms[0][0], arms[1][0] if len(arms) > 1 else after)
        reached = len(arms) == 1
        for start, block in arms:
            self.b.position_at_end(start)
            self.s.mask = before
            self.block(block)
            if not self.s.is_terminated:
                self.b.branch(after)
                reached = True
        self.b.position_at_end(after)
        if not reached:
            self.b.unreachable()

    def masked_if(self, s: If, condition: Any) -> None:
        before = self.s.mask
        after = self.s.block("if.end")
        if self.is_choice(s):
            self.choose(s, condition)
            self.b.branch(after)
            self.b.position_at_end(after)
            self.s.mask = before
            return
        coherent = before is None and self.is_small(s)
        if coherent:
            self.coherent_if(s, condition, after)
        active = self.s.mask_or_all()
        self.rows.paused += coherent
        for block, mask in ((s.then, condition), (s.otherwise, self.b.not_(condition))):
            if block.statements:
                self.run_masked(block, self.b.and_(active, mask))
        self.rows.paused -= coherent
        self.b.branch(after)
        self.b.position_at_end(after)
        self.s.mask = before

    def is_choice(self, s: If) -> bool:
        """True if both sides only set variables to what is cheap to compute: cheaper for all lanes than to ask."""
        inside = [x for block in (s.then, s.otherwise) for x in block.statements]
        cost = 0
        for x in inside:
            if not isinstance(x, Instr):
                return False
            if x.op.name not in ("get", "set", "const") and x.op.effect is not Effect.IDENTITY:
                if not x.op.is_pure or x.op.name in _COSTLY or x.type.is_vector:
                    return False
                cost += 1
        return bool(inside) and cost <= _CHEAP

    def choose(self, s: If, condition: Any) -> None:
        """Run both sides for all lanes; variables change in those whose side it is."""
        active = self.s.mask_or_all()
        for block, mask in ((s.then, condition), (s.otherwise, self.b.not_(condition))):
            self.s.mask = self.b.and_(active, mask)
            self.block(block)

    def run_masked(self, block: Block, mask: Any) -> None:
        """Lower a block for the lanes of ``mask``, skipped when there are none."""
        run, after = self.s.block("masked"), self.s.block("masked.end")
        self.b.cbranch(self.v.any(mask), run, after)
        self.b.position_at_end(run)
        before, self.s.mask = self.s.mask, mask
        self.block(block)
        self.s.mask = before
        if not self.s.is_terminated:
            self.b.branch(after)
        self.b.position_at_end(after)

    def coherent_if(self, s: If, condition: Any, after: Any) -> None:
        """Lower the case that all lanes go the same way; leave the builder in the mixed case."""
        for block, together in ((s.then, self.v.all(condition)), (s.otherwise, None)):
            if together is None:
                together = self.b.not_(self.v.any(condition))
            if not block.statements:
                continue
            run, mixed = self.s.block("coherent"), self.s.block("mixed")
            self.b.cbranch(together, run, mixed)
            self.b.position_at_end(run)
            self.coherent_depth += 1
            self.block(block)
            self.coherent_depth -= 1
            if not self.s.is_terminated:
                self.b.branch(after)
            self.s.mask = None
            self.b.position_at_end(mixed)

    def is_small(self, s: If | For | While) -> bool:
        """True if generating a statement twice is worth its size."""
        if self.coherent_depth >= _COHERENT_DEPTH:
            return False
        blocks = (s.then, s.otherwise) if isinstance(s, If) else (s.body,)
        return sum(1 for block in blocks for _ in walk(block)) <= _COHERENT_STATEMENTS
