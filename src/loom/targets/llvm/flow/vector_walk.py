"""The walk over a kernel for vectors of lanes: values and variables under a mask, and how lanes leave.

Layer: targets. Invariant: a variable changes in the lanes that run and in no other; lanes that left are out of every
mask that ``remaining`` gives.
"""

from __future__ import annotations

from collections.abc import Callable, Container
from typing import Any

import llvmlite.ir as ll

from loom.core.dtype import bool_
from loom.core.late.dataclass import dataclass
from loom.ir.kernel import Block, Break, Continue, For, If, Instr, Return, Statement, Variable, While, walk, walk_blocks
from loom.ir.ops import Effect
from loom.targets.base.walk import Walk
from loom.targets.llvm.access.memory import MemoryAccess
from loom.targets.llvm.access.messages import Messages
from loom.targets.llvm.access.tiles import tile_product
from loom.targets.llvm.access.wide import WIDE
from loom.targets.llvm.flow.identity import Identity
from loom.targets.llvm.flow.stops import Stops
from loom.targets.llvm.values.lanes import Lanes
from loom.targets.llvm.values.state import State
from loom.targets.llvm.values.types import I1

__all__ = ["OpenLoop", "VectorWalk"]

_COHERENT_STATEMENTS = 160
_COHERENT_DEPTH = 2


@dataclass(slots=True)
class OpenLoop:
    """Where break and continue go: basic blocks if all lanes go together, else masks on the stack."""

    statement: For | While
    exit: Any
    latch: Any
    left: Any = None  # lanes that left by break
    skipping: Any = None  # lanes that wait for the next turn

    @property
    def is_masked(self) -> bool:
        return self.left is not None


class VectorWalk(Walk[Lanes]):
    """Lowers operations; ``identity`` knows which lane this is, ``memory`` loads and stores."""

    def __init__(self, state: State, identity: Identity, memory: MemoryAccess, messages: Messages) -> None:
        super().__init__(identity, messages, state.bounds)
        self.s = state
        self.b: Any = state.builder
        self.v = state.vectors
        self.values = state.values
        self.identity = identity
        self.memory = memory
        self.messages = messages
        self.stops = Stops(state)
        self.loops: list[OpenLoop] = []
        self.returned: Any = None  # stack slot: lanes that returned
        self.lane_end: Any = None  # basic block: these lanes are done
        self.coherent_depth = 0
        self.paused = 0  # above 0 where code is written twice already
        self.rolled = False  # true where turns are few: written out several times, they would only be foreseen worse
        self.home_masks: dict[Block, Any] = {}
        self.on_return: Callable[[Return], None] = lambda _return: None
        self.kept: Container[Instr] = ()
        self.masked_returns = set(state.uniformity.divergent_returns)
        self.homes: dict[Variable, Block] = {}

    # values

    def constant(self, s: Instr) -> Lanes:
        """Return a constant."""
        return Lanes(self.v.constant(s.attr, s.type), 0)

    def is_there(self, instr: Instr) -> bool:
        """Tell whether ``value`` has what an operation gave: not where another region generated it and nobody asked."""
        is_known = instr.op.name == "const" or instr.op.effect is Effect.IDENTITY or instr in self.values
        return is_known or instr in self.kept

    def stride(self, instr: Instr) -> int | None:
        """Return how a value is held."""
        return self.s.shapes.values.get(instr, 0)

    def pure(self, s: Instr, args: list[Lanes]) -> Lanes:
        """Emit an operation that only computes."""
        stride = self.stride(s)
        if s.op.name in ("idiv", "irem") and stride is None and s.type.bits == 64 and s.args[1].op.name != "const":
            self.s.note("division", s)
        shorts = self.memory.shorts
        if s.op.name == "vector":
            return shorts.vector_of(args, stride)
        if s.op.name == "extract":
            return shorts.component(args[0], s.args[0].type, s.attr)
        if s.type.is_vector:
            values = [shorts.operand(a, of.type, s.type.lanes, stride) for a, of in zip(args, s.args, strict=True)]
            return Lanes(self.s.arithmetic.apply(s, values), stride)
        return self.s.arithmetic.emit(s, args, stride)

    def access(self, s: Instr, args: list[Lanes]) -> None:
        """Emit what reads or writes memory."""
        name = s.op.name
        if name in WIDE:
            WIDE[name](self.s, s, *(a.value for a in args))
            return
        assert s.memory is not None
        if name == "load":
            self.values[s] = self.memory.load(s, s.memory, args[0], self.stride(s))
        elif name == "store":
            self.memory.store(s, s.memory, args[0], args[1])
        elif name == "tile_product":
            self.values[s] = Lanes(tile_product(self.s, s, *(a.value for a in args)), self.stride(s))
        else:
            self.values[s] = self.memory.atomics.emit(s, s.memory, args[0], args[1:])

    def barrier(self) -> None:
        """Have all lanes of a workgroup arrive."""
        self.identity.barrier()

    def near_barrier(self) -> None:
        """Have 32 lanes side by side arrive, or more."""
        self.identity.near_barrier()

    # variables

    def get(self, s: Instr) -> Lanes:
        """Return the value of a variable."""
        return self.read(s.attr)

    def read(self, variable: Variable) -> Lanes:
        """Return what a variable holds."""
        stride = self.s.shapes.variables[variable]
        return Lanes(self.b.load(self.s.slots[variable], typ=self.slot_type(variable)), stride)

    def set(self, s: Instr, value: Lanes) -> None:
        """Change a variable in the lanes that run."""
        variable: Variable = s.attr
        if self.s.shapes.variables[variable] is not None:
            self.b.store(value.value, self.s.slots[variable])
            return
        dtype, mask, operand = variable.dtype, self.s.mask, self.memory.shorts.operand
        new = operand(value, dtype, dtype.lanes, None) if dtype.is_vector else self.v.spread(value)
        if mask is not None and mask is not self.home_masks.get(self.homes[variable]):
            old = self.b.load(self.s.slots[variable], typ=new.type)
            if dtype.is_vector:
                mask = operand(Lanes(mask, None), bool_, dtype.lanes, None)
            new = self.b.select(mask, new, old)
        self.b.store(new, self.s.slots[variable])

    def slot_type(self, variable: Variable) -> Any:
        """Return the type of a variable's stack slot: a scalar or one value per lane."""
        return self.v.type_of(variable.dtype, self.s.shapes.variables[variable])

    # leaving

    def leave(self, s: Return | Break | Continue) -> bool:
        """Have the running lanes leave: by a mask where they do one by one, else by a jump."""
        if isinstance(s, Return):
            gone, there = self.returned if self.s.width > 1 and s in self.masked_returns else None, self.lane_end
            if gone is None:
                self.on_return(s)
        else:
            loop = self.loops[-1]
            gone, there = (loop.left, loop.exit) if isinstance(s, Break) else (loop.skipping, loop.latch)
        if gone is None:
            self.b.branch(there)
            return False
        self.b.store(self.b.or_(self.b.load(gone, typ=self.v.mask_type), self.s.mask_or_all()), gone)
        return True

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

    # blocks

    def into(self, block: Block, after: Any) -> bool:
        """Lower a block, and jump from its end to a basic block; tell whether that is reached."""
        reached = self.block(block)
        if reached:
            self.b.branch(after)
        return reached

    def into_together(self, block: Block, after: Any) -> None:
        """Lower a block for the case that all lanes are in it, beside the one that they are not."""
        self.coherent_depth += 1
        self.into(block, after)
        self.coherent_depth -= 1

    def is_small(self, s: If | For | While) -> bool:
        """True if generating a statement twice is worth its size."""
        if self.coherent_depth >= _COHERENT_DEPTH:
            return False
        blocks = (s.then, s.otherwise) if isinstance(s, If) else (s.body,)
        return sum(1 for block in blocks for _ in walk(block)) <= _COHERENT_STATEMENTS
