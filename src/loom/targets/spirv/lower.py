"""Turns a verified kernel into a SPIR-V module: legalise, declare, lower the tree of statements.

Layer: targets. One lane is one invocation, a workgroup is a workgroup. Variables are locals that the driver
turns into registers; the tree of statements is structured already, as SPIR-V wants it. Invariant: the module
depends on kernel, bounds and features alone.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from loom.core.dtype import lookup, u32
from loom.core.late.dataclass import dataclass
from loom.ir.kernel import Break, Continue, If, Instr, Kernel, Memory, Return, Space, Variable, walk
from loom.ir.passes.expand import expand_extremes, expand_halves, expand_rounding
from loom.ir.passes.faults import stop_at_faults
from loom.ir.passes.scalarize import scalarize
from loom.ir.passes.tiles import expand_tiles, has_tiles
from loom.ir.passes.wide import expand_wide
from loom.ir.passes.words.exact import expand_division, expand_roots
from loom.ir.passes.words.narrow import expand_narrow
from loom.ir.verified import VerifiedKernel
from loom.targets.base import Bounds, Site
from loom.targets.base.opaque_values import Knowledge
from loom.targets.base.push_layout import PushLayout, push_layout
from loom.targets.spirv.arithmetic import EMIT
from loom.targets.spirv.features import Features
from loom.targets.spirv.identity import Identity
from loom.targets.spirv.instructions import Arithmetic
from loom.targets.spirv.loops import ModuleLoops
from loom.targets.spirv.memory import MemoryAccess, constant_indexes, loads_whole
from loom.targets.spirv.messages import Messages
from loom.targets.spirv.module import Module
from loom.targets.spirv.opcodes import EXECUTION_MODE
from loom.targets.spirv.private_arrays import declare_heap, heap_arrays
from loom.targets.spirv.tiles import CooperativeTiles

__all__ = ["Function", "Lowered", "lower"]

_GROUP_SCOPE = 2
_ZEROED_AT_ONCE = 32
_BUFFERS, _SHARED = 0x40, 0x100


@dataclass(frozen=True, slots=True)
class Lowered:
    """A module, its dispatches' words, where it may send records from, a group's bytes of each array of the heap."""

    data: bytes
    push: PushLayout
    sites: tuple[Site, ...]
    heap: tuple[int, ...]


def _stays_whole(memory: Memory, bounds: Bounds) -> bool:
    """Tell whether an array keeps its short vectors: an index is then compared with nothing; zeros are of scalars."""
    zeroed = bounds is not Bounds.TRUSTED and memory.space is not Space.BUFFER
    return not bounds.checks and not zeroed and loads_whole(memory)


def lower(verified: VerifiedKernel, bounds: Bounds, features: Features) -> Lowered:
    """Return the SPIR-V module of a kernel."""
    whole = stop_at_faults(verified.kernel)
    if features.matrices is None or bounds.checks:  # an index outside reads 0: lane by lane
        whole = expand_tiles(whole)
    whole = expand_wide(whole)
    scalar = scalarize(whole, lambda m: _stays_whole(m, bounds))
    kernel = expand_narrow(expand_halves(scalar.kernel))
    if not features.exact_rounding:
        kernel = expand_rounding(kernel)
    kernel = expand_extremes(kernel)
    if not features.exact_division:
        kernel = expand_division(kernel)
    if not features.exact_roots:
        kernel = expand_roots(kernel)
    components = {m.name: n for m, n in scalar.components.items()}
    return Function(kernel, bounds, features, components).generate()


class Function(ModuleLoops):
    """Lowers one kernel."""

    def __init__(self, kernel: Kernel, bounds: Bounds, features: Features, components: dict[str, int]) -> None:
        self.kernel = kernel
        self.features = features
        self.components = components
        self.m = Module()
        self.a = Arithmetic(self.m, features)
        self.heap_arrays = heap_arrays(kernel, features)
        most = (0, 0, 0) if self.heap_arrays else features.most_groups  # with a heap, groups may come in turns
        self.layout = push_layout(kernel, replace(features, most_groups=most))
        self.identity = Identity(self.m, self.a, kernel, self.layout)
        self.a.opaque_zero = self.identity.opaque_zero
        self.a.knowledge = Knowledge(kernel)
        self.messages = Messages(self.m, self.a, self.identity, kernel)
        self.memory = MemoryAccess(self.m, self.a, self.messages, bounds)
        self.bounds = bounds
        super().__init__()
        self.tiles: CooperativeTiles | None = None
        if has_tiles(kernel):
            assert features.matrices is not None, "else they are taken apart"
            self.tiles = CooperativeTiles(self.m, self.a, self.identity, kernel, features.matrices)
        self.slots: dict[Variable, int] = {}
        self.long_arrays: list[Memory] = []
        self.heap: tuple[int, ...] = ()

    def generate(self) -> Lowered:
        """Generate everything and return the module."""
        m = self.m
        m.mode(EXECUTION_MODE["LocalSize"], *self.identity.local_size)
        for mode, width in self.features.modes:
            if width == 64 and not _computes_in_f64(self.kernel):
                continue
            if mode == "SignedZeroInfNanPreserve" and width in self.features.no_fast_math:
                m.forbid_fast_math(self.a.type_of(lookup(f"f{width}")))  # which says this too
                continue
            m.capability(mode)
            m.extension("SPV_KHR_float_controls")
            m.mode(EXECUTION_MODE[mode], width)
        self.declare_memories()
        for variable in self.kernel.variables:
            self.slots[variable] = m.local(self.a.type_of(variable.dtype))
        self.zero_private()
        if self.bounds is not Bounds.TRUSTED:
            self.zero_shared()
        if self.block(self.kernel.body):
            m.emit("Return")
        return Lowered(m.assemble(), self.layout, tuple(self.messages.sites), self.heap)

    # memories

    def declare_memories(self) -> None:
        memory, m = self.memory, self.m
        for n, buffer in enumerate(self.kernel.buffers):
            element = memory.element_type(buffer.dtype, Space.BUFFER)
            stride = memory.element(buffer.dtype).nbytes
            memory.variables[buffer] = m.buffer(n, element, stride, writable=buffer.access.writes)
            length, lanes = self.identity.word(self.layout.lengths + n), self.components.get(buffer.name, 1)
            memory.lengths[buffer] = length if lanes == 1 else m.early("IMul", m.u32(), length, m.word(lanes))
        for array, indexes in constant_indexes(self.kernel).items():
            kind = memory.element_type(array.dtype, array.space)
            initial = m.null(kind) if self.bounds is not Bounds.TRUSTED else None
            memory.elements[array] = {index: m.local(kind, initial) for index in indexes}
        self.heap = declare_heap(self.heap_arrays, memory, self.identity)
        zeroed = self.bounds is not Bounds.TRUSTED
        for array in (*self.kernel.shared, *self.kernel.private):
            if array in memory.elements:
                continue
            assert array.size is not None
            if array in memory.heap:
                memory.lengths[array] = m.word(array.size)
                self.long_arrays += [array] if zeroed else []
                continue
            kind = m.declare("TypeArray", memory.element_type(array.dtype, array.space), m.word(max(1, array.size)))
            memory.lengths[array] = m.word(array.size)
            if array.space is Space.SHARED:
                memory.variables[array] = m.variable("Workgroup", kind)
            else:
                initial = m.null(kind) if zeroed and array.size <= _ZEROED_AT_ONCE else None
                memory.variables[array] = m.local(kind, initial)
                if zeroed and initial is None:
                    self.long_arrays.append(array)

    def zero_private(self) -> None:
        """Zero long private arrays, some elements a turn: Mesa compiles an initial value element by element."""
        m = self.m
        for array in self.long_arrays:
            assert array.size is not None
            zero, counter = self.a.constant(0, self.memory.element(array.dtype)), m.local(m.u32())
            rest = array.size % _ZEROED_AT_ONCE
            head, test, inside, again, leave = (m.id() for _ in range(5))
            m.emit("Store", counter, m.word(0))
            m.emit("Branch", head)
            m.label(head)
            m.emit("LoopMerge", leave, again, 0)
            m.emit("Branch", test)
            m.label(test)
            first = m.value("Load", m.u32(), counter)
            m.emit("BranchConditional", self.a.test("ULessThan", first, m.word(array.size - rest)), inside, leave)
            m.label(inside)
            for n in range(_ZEROED_AT_ONCE):
                self.memory.put(array, self.memory.pointer(array, self.a.op("IAdd", u32, first, m.word(n))), zero)
            m.emit("Branch", again)
            m.label(again)
            m.emit("Store", counter, self.a.op("IAdd", u32, first, m.word(_ZEROED_AT_ONCE)))
            m.emit("Branch", head)
            m.label(leave)
            for n in range(array.size - rest, array.size):
                self.memory.put(array, self.memory.pointer(array, m.word(n)), zero)

    def zero_shared(self) -> None:
        """Each lane zeroes its share of shared memory, then all wait."""
        if not self.kernel.shared:
            return
        lane = self.identity.flat()
        for array in self.kernel.shared:
            assert array.size is not None
            held = self.memory.element(array.dtype)
            for first in range(0, array.size, self.kernel.lanes):
                at = self.a.op("IAdd", u32, lane, self.m.word(first))
                with self.m.when(self.a.test("ULessThan", at, self.m.word(array.size))):
                    self.memory.put(array, self.memory.pointer(array, at), self.a.constant(0, held))
        self.barrier()

    # statements

    def constant(self, s: Instr) -> int:
        """Return a constant."""
        return self.a.constant_of(s.attr, s.type)

    def pure(self, s: Instr, args: list[int]) -> int:
        """Write an operation without effects; return its value."""
        return EMIT[s.op.name](self.a, s, args)

    def get(self, s: Instr) -> int:
        """Return the value of a variable."""
        return self.m.value("Load", self.a.type_of(s.type), self.slots[s.attr])

    def set(self, s: Instr, value: int) -> None:
        """Write an assignment to a variable."""
        self.m.emit("Store", self.slots[s.attr], self.a.opaque_choice(value, s.args[0]))

    def leave(self, s: Return | Break | Continue) -> bool:
        """Write what ends a block."""
        if isinstance(s, Return):
            self.m.emit("Return")
        elif isinstance(s, Break):
            loop = self.loops[-1]
            if loop.ended is not None:
                self.m.emit("Store", loop.ended, self.m.word(1))
            self.m.emit("Branch", loop.leave)
        else:
            self.m.emit("Branch", self.loops[-1].again)
        return False

    def access(self, s: Instr, args: list[int]) -> None:
        """Write a load, a store or an atomic operation."""
        memory = s.memory
        assert memory is not None
        if s.op.name == "load":
            found = self.memory.load(s, memory, args[0])
            zeroed = memory.space is not Space.BUFFER and self.bounds is not Bounds.TRUSTED
            if zeroed and s.type.is_float and not self.features.exact_literals:
                found = self.a.hide(found, s.type)
            self.values[s] = found
        elif s.op.name == "store":
            self.memory.store(s, memory, args[0], self.a.opaque_choice(args[1], s.args[1]))
        elif s.op.name == "tile_product":
            assert self.tiles is not None
            self.values[s] = self.tiles.product(s, partial(self.memory.pointer, memory), *args)
        else:
            self.values[s] = self.memory.atomic(s, memory, args[0], args[1:])

    def barrier(self) -> None:
        """All lanes arrive; what they wrote to shared memory and buffers is seen after it."""
        self.m.barrier(_GROUP_SCOPE, _BUFFERS | _SHARED)

    def if_(self, s: If) -> bool:
        """Write a choice."""
        then, otherwise, after = self.m.id(), self.m.id(), self.m.id()
        condition = self.value(s.condition)
        self.m.emit("SelectionMerge", after, 0)
        self.m.emit("BranchConditional", condition, then, otherwise)
        reached = False
        for label, block in ((then, s.then), (otherwise, s.otherwise)):
            self.m.label(label)
            if self.block(block):
                self.m.emit("Branch", after)
                reached = True
        self.m.label(after)
        if not reached:
            self.m.emit("Unreachable")
        return reached


def _computes_in_f64(kernel: Kernel) -> bool:
    return any(isinstance(s, Instr) and s.dtype is not None and s.type.name == "f64" for s in walk(kernel.body))
