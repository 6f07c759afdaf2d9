"""Emits loops that lanes had better run one after the other: of different lengths, over elements here and there.

Layer: targets. Where a turn does little but gather, a vector of lanes gains nothing and waits for its longest. Such a
loop is written for one lane and run for each in turn: its own elements then lie side by side, and the next lane's first
loads overlap with the last ones of this. Invariant: a lane computes what it would in a vector, in the same order.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial, reduce
from typing import Any

from loom.core.dtype import DType
from loom.ir.kernel import For, If, Instr, Memory, Space, Variable, operands, walk, walk_blocks
from loom.ir.ops import Effect
from loom.ir.passes.uniformity import analyse_uniformity
from loom.targets.llvm.access.memory import MemoryAccess
from loom.targets.llvm.access.messages import Messages
from loom.targets.llvm.flow.identity import Identity
from loom.targets.llvm.flow.vector_walk import VectorWalk
from loom.targets.llvm.values.lanes import Lanes, analyse_lanes
from loom.targets.llvm.values.types import I32, I64, scalar_type

__all__ = ["SerialLoops"]

_MOST_A_GATHER = 6
"""Operations beside each element read from anywhere: with more, vectors are worth their gathers."""
_COSTLY = ("div", "sqrt", "idiv", "irem", "mulhi")


class SerialLoops:
    """Finds and emits such loops for a walk (which lowers them for one lane, too)."""

    def __init__(self, walker: VectorWalk) -> None:
        self.c = walker
        self.s = walker.s
        self.b = walker.b

    def is_worth(self, s: For) -> bool:
        """True for a loop of little but gathers, whose lanes begin or end it apart."""
        if self.s.width == 1 or self.s.machine.threads:
            return False
        if self.c.stride(s.start) is not None and self.c.stride(s.stop) is not None:
            return False
        gathers = work = 0
        for inner in walk(s.body):
            if isinstance(inner, If):
                continue
            if not isinstance(inner, Instr) or not self.is_plain(inner):
                return False
            if inner.op.name == "load":
                gathers += self.is_gather(inner)
            elif inner.op.is_pure and inner.op.name not in ("const", "convert"):
                work += 1
        return gathers > 0 and work <= _MOST_A_GATHER * gathers and self.lies_in_memory(s)

    def lies_in_memory(self, s: For) -> bool:
        """True if nothing that comes from around the loop is a bool, of which a vector has bits."""
        inside = list(walk(s.body))
        variables = {x.attr for x in inside if isinstance(x, Instr) and isinstance(x.attr, Variable)}
        taken = self.values_from_outside([s, *inside])
        types = [v.dtype for v in variables] + [v.type for v in taken]
        return not any(t.is_bool or t.is_vector for t in types)

    def is_plain(self, s: Instr) -> bool:
        """True for what only computes, sets variables and reads buffers."""
        if s.dtype is not None and s.dtype.is_vector:
            return False
        if s.op.name in ("get", "set"):
            return not s.attr.dtype.is_vector
        if s.op.name == "load":
            return s.memory is not None and s.memory.space is Space.BUFFER
        return s.op.effect is Effect.IDENTITY or (s.op.is_pure and s.op.name not in _COSTLY)

    def is_gather(self, s: Instr) -> bool:
        return self.c.stride(s.args[0]) is None and not self.c.memory.rows.is_likely(s)

    def emit(self, s: For) -> None:
        """Emit the loop for each running lane, lowest first."""
        self.s.note("loop lane by lane", s)
        inside = [s, *(x for block in walk_blocks(s) for x in walk(block))]
        for x in inside:
            if isinstance(x, Instr) and x.op.name == "load":
                self.s.note("one by one", x)
        values = {v: self.c.value(v) for v in self.values_from_outside(inside)}
        variables = dict.fromkeys(x.attr for x in inside if isinstance(x, Instr) and isinstance(x.attr, Variable))
        apart = {v: self.lay_out(held) for v, held in values.items()}
        held = {v: self.c.read(v) for v in variables}
        whole = {v: self.lay_out(held[v]) for v in variables}
        slots = {v: self.s.stack(scalar_type(v.dtype), name=v.name) for v in variables}

        def lanes(loop: Callable[[VectorWalk], None]) -> None:
            with self.s.lanes_of(self.s.mask, "serial") as lane:
                one = self.one_lane(lane)
                for v, vector in values.items():
                    one.s.values[v] = Lanes(self.lane_of(v.type, vector, apart[v], lane), 0)
                for v, slot in slots.items():
                    one.s.slots[v] = slot
                    self.b.store(self.lane_of(v.dtype, held[v], whole[v], lane), slot)
                loop(one)
                for v, slot in slots.items():
                    if whole[v] is not None:
                        self.b.store(self.b.load(slot, typ=scalar_type(v.dtype)), self.at(whole[v], v.dtype, lane))
                self.s.stack_nbytes += one.s.stack_nbytes

        along = self.along(s)
        if along:
            most = self.most_turns(s)
            plain = partial(lanes, partial(_emit_plain, s, along, few=most > 0))
            names = "serial.plain", "serial.checked", "serial.end"
            self.s.ways(names, self.is_plain_for_all(s, along, most), plain, partial(lanes, partial(_emit, s)))
        else:
            lanes(partial(_emit, s))
        for v in variables:
            if whole[v] is not None:
                self.b.store(self.b.load(whole[v], typ=self.c.slot_type(v)), self.s.slots[v])

    def along(self, s: For) -> dict[Instr, Memory]:
        """Return the loads of what the loop counts along, where looking at its end says that they lie inside."""
        if s.down or s.index.type.is_signed or not self.c.memory.indexes.checked:
            return {}
        loads = [x for x in walk(s.body) if isinstance(x, Instr) and x.op.name == "load" and x.args[0] is s.index]
        return {x: x.memory for x in loads if x.memory is not None}

    def most_turns(self, s: For) -> int:
        """Return of how many turns a loop needs no look, 0 where none or each needs one."""
        return 0 if self.c.stops.is_short(s) else self.c.stops.strip(s, self.c.value(s.step).value)

    def is_plain_for_all(self, s: For, along: dict[Instr, Memory], most: int) -> Any:
        """Return whether all running lanes count inside what they read, at most ``most`` turns unless that is 0.

        One test for a vector: rows of few elements would wait for one of their own.
        """
        start, stop = (self.s.vectors.spread(self.c.value(x)) for x in (s.start, s.stop))
        wide = stop if stop.type.element == I64 else self.b.zext(stop, self.s.vectors.of(I64))
        lengths = [self.s.arrays[memory].length for memory in dict.fromkeys(along.values())]
        tests = [self.b.icmp_unsigned("<=", wide, self.s.vectors.splat(length)) for length in lengths]
        if most:
            farthest = self.s.arithmetic.constant(most * self.c.value(s.step).value.constant, stop)
            tests.append(self.b.icmp_unsigned("<=", self.b.sub(stop, start), farthest))
        holds = reduce(self.b.and_, tests)
        return self.s.vectors.all(holds if self.s.mask is None else self.b.or_(holds, self.b.not_(self.s.mask)))

    def values_from_outside(self, inside: list[Any]) -> list[Instr]:
        """Return the values that a loop takes from around it."""
        made = {x for x in inside if isinstance(x, Instr)} | {x.index for x in inside if isinstance(x, For)}
        used = dict.fromkeys(v for x in inside for v in operands(x))
        return [v for v in used if v not in made and v.op.name != "const"]

    def lay_out(self, held: Lanes) -> Any:
        """Store what is held lane by lane where its lanes can be read one by one; None if it is held once."""
        if held.stride is not None:
            return None
        slot = self.s.stack(held.value.type, name="apart")
        slot.align = 64
        self.b.store(held.value, slot)
        return slot

    def at(self, whole: Any, dtype: DType, lane: object) -> Any:
        return self.b.gep(whole, [lane], source_etype=scalar_type(dtype))

    def lane_of(self, dtype: DType, held: Lanes, whole: Any, lane: Any) -> Any:
        """Return one lane of a value from around the loop."""
        if held.stride is None:
            return self.b.load(self.at(whole, dtype, lane), typ=scalar_type(dtype))
        return _of_lane(self.b, held, lane)

    def one_lane(self, lane: Any) -> VectorWalk:
        """Return what lowers statements for one lane of this vector."""
        uniformity = analyse_uniformity(self.s.kernel, (False, False, False))
        state = replace(
            self.s, width=1, uniformity=uniformity, shapes=analyse_lanes(self.s.kernel, 1, uniformity),
            values={}, slots={}, mask=None, stack_nbytes=0, decisions={},
        )  # fmt: skip
        messages = Messages(state)
        if self.c.messages.flat_base is not None:
            messages.flat_base = self.b.add(self.c.messages.flat_base, self.b.zext(lane, I64))
        one = type(self.c)(state, _OfLane(self.c.identity, lane, self.b), MemoryAccess(state, messages), messages)
        one.homes = self.c.homes
        one.rolled = True
        return one


def _emit(s: For, one: VectorWalk) -> None:
    one.for_(s)


def _emit_plain(s: For, along: dict[Instr, Memory], one: VectorWalk, *, few: bool) -> None:
    """Emit the loop without checks of what it counts along, nor looks if its turns are few."""
    one.memory.indexes.known_inside, one.stops.short = set(along), s if few else None
    one.for_(s)
    one.memory.indexes.known_inside, one.stops.short = set(), None


class _OfLane(Identity):
    """What one lane of a vector knows about itself."""

    def __init__(self, vector: Identity, lane: Any, builder: Any) -> None:
        self.vector = vector
        self.lane = lane
        self.b = builder

    def value(self, instr: Instr) -> Lanes:
        held = self.vector.value(instr)
        if held.stride is None:
            return Lanes(self.b.extract_element(held.value, self.lane), 0)
        return Lanes(_of_lane(self.b, held, self.lane), 0)


def _of_lane(builder: Any, held: Lanes, lane: Any) -> Any:
    """Return what a lane has of a value that counts up across lanes, or is the same for all."""
    if held.stride == 0:
        return held.value
    kind = held.value.type
    number = lane if kind == I32 else (builder.zext if kind.width > I32.width else builder.trunc)(lane, kind)
    return builder.add(held.value, builder.mul(number, kind(held.stride % (1 << kind.width))))
