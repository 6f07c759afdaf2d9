"""Turns a verified kernel into an LLVM module: legalise, choose a width, lay out the function, lower.

Layer: targets. On a CPU the function loops over workgroups and, inside, over vectors of lanes; a kernel
with barriers whose whole group fits one wide vector needs no inner loop. On a GPU the body is one thread.
Invariant: the module depends on kernel, machine and bounds alone.
"""

from __future__ import annotations

from typing import Any

import llvmlite.ir as ll

from loom.core.late.dataclass import dataclass
from loom.ir.kernel import Kernel, Memory, Space, operands, walk
from loom.ir.passes.expand import expand_extremes, expand_halves, expand_rounding
from loom.ir.passes.faults import stop_at_faults
from loom.ir.passes.packing import values_to_pack
from loom.ir.passes.scalarize import Scalarized, scalarize
from loom.ir.passes.tiles import expand_tiles
from loom.ir.passes.uniformity import Uniformity, analyse_uniformity, variable_homes
from loom.ir.passes.wide import expand_wide, tickets_of
from loom.ir.verified import VerifiedKernel
from loom.targets.base import Bounds, Decision, Site
from loom.targets.llvm.access.atomics import counts_bytes
from loom.targets.llvm.access.memory import MemoryAccess
from loom.targets.llvm.access.messages import Messages
from loom.targets.llvm.access.wide import open_tickets
from loom.targets.llvm.access.wrapping import wraps_index
from loom.targets.llvm.flow.control import Control
from loom.targets.llvm.flow.groups import GroupLoop, rows_of_group
from loom.targets.llvm.flow.identity import CpuIdentity, ThreadIdentity
from loom.targets.llvm.flow.places import Places
from loom.targets.llvm.flow.regions import Regions, has_barrier
from loom.targets.llvm.gpu.families import family_of
from loom.targets.llvm.gpu.family import GpuFamily
from loom.targets.llvm.gpu.room import MOST_STATIC, dynamic_name, starts_of_shared
from loom.targets.llvm.machine import PLACED_NBYTES, Machine, data_layout
from loom.targets.llvm.machine.layout import BINDING, RECORD
from loom.targets.llvm.values.lanes import Shapes, analyse_lanes, lane_dimensions
from loom.targets.llvm.values.state import ArrayMemory, State
from loom.targets.llvm.values.types import I1, I8, I32, I64, POINTER, memory_type, scalar_type

__all__ = ["Lowered", "lower", "vector_width"]


_DYNAMIC_ALIGNED = 16
"""What shared memory of a launch begins at a multiple of, whatever more code asks of a driver."""
_MOST_STACK = 7 << 14
"""Bytes of arrays, variables and values that a function may have on the stack: threads of 256 KiB are common."""


@dataclass(frozen=True, slots=True)
class Lowered:
    """An LLVM module as text, its entry symbol, its sites, and the vector width chosen.

    ``decisions`` are what ``loom.explain`` tells; ``wraps``: the module must not go through LLVM's loop vectoriser
    (see ``wrapping``).
    """

    text: str
    entry: str
    sites: tuple[Site, ...]
    width: int
    wraps: bool
    decisions: tuple[Decision, ...] = ()


def vector_width(lanes: int, has_barriers: bool, machine: Machine) -> int:
    """Choose how many lanes run as one vector.

    A whole group with barriers as one vector needs no regions, so it may exceed the machine's width, up to
    ``machine.widest``; otherwise the machine's width, or less if the group is smaller.
    """
    native = machine.simd_lanes
    if native == 1:
        return 1
    if has_barriers and lanes <= machine.widest and lanes & (lanes - 1) == 0:
        return lanes
    width = 1
    while width * 2 <= min(native, lanes):
        width *= 2
    while width > max(2, native // 4) and lanes % width:
        width //= 2
    return width


def lower(verified: VerifiedKernel, machine: Machine, bounds: Bounds) -> Lowered:
    """Return the LLVM module of a kernel."""
    whole = stop_at_faults(verified.kernel)
    if not (machine.tiles and bounds is Bounds.TRUSTED):
        whole = expand_tiles(whole)
    if not (machine.wide and bounds is Bounds.TRUSTED):
        whole = expand_wide(whole)
    scalar = _without_vectors(whole, machine)
    kernel = expand_halves(scalar.kernel)
    if not machine.native_rounding:
        kernel = expand_rounding(kernel)
    if not machine.native_extremes:
        kernel = expand_extremes(kernel)
    components = {m.name: n for m, n in scalar.components.items()}
    function = _Function(kernel, machine, bounds, components)
    lowered = function.generate()
    if function.s.stack_nbytes <= _MOST_STACK or not machine.has_heap:
        return lowered
    return _Function(kernel, machine, bounds, components, heap=True).generate()


def _without_vectors(kernel: Kernel, machine: Machine) -> Scalarized:
    """Return a kernel that has only the short vectors this machine keeps whole."""
    if machine.threads:
        return scalarize(kernel, lambda m: m.space is Space.BUFFER and _loads_whole(m))
    barriers = any(has_barrier(s) for s in kernel.body.statements)
    wide = vector_width(kernel.lanes, barriers, machine) > 1
    if not (wide and machine.native_rounding and machine.native_extremes):  # those are written by component
        return scalarize(kernel, _loads_whole)
    return scalarize(kernel, _loads_whole, lambda k: values_to_pack(k, _loads_whole))


def _loads_whole(memory: Memory) -> bool:
    """True for memories of short vectors whose elements are loaded and stored as one."""
    dtype = memory.dtype
    plain = not (dtype.storage_only or dtype.scalar.is_bool)
    return dtype.is_vector and plain and memory.space is not Space.PRIVATE


class _Function:
    """Lays out one kernel's function and runs the lowering inside it."""

    def __init__(
        self, kernel: Kernel, machine: Machine, bounds: Bounds, components: dict[str, int], *, heap: bool = False
    ) -> None:
        self.kernel = kernel
        self.machine = machine
        self.components = components
        self.barriers = any(has_barrier(s) for s in kernel.body.statements)
        self.width = vector_width(kernel.lanes, self.barriers, machine)
        if self.width > 1 and kernel.lanes % machine.widest == 0 and counts_bytes(kernel):
            self.width = machine.widest  # a whole line of the cache at a time
        self.module = ll.Module(name=kernel.name)
        self.module.triple = machine.triple
        self.module.data_layout = data_layout(machine)
        self.family = family_of(machine)
        self.entry_name = "loom_" + "".join(c if c.isalnum() else "_" for c in kernel.name)
        self.state = self._state(bounds)
        self.state.heaped = [] if heap else None
        self.s = self.state
        self.b: Any = self.state.builder

    def _state(self, bounds: Bounds) -> State:
        if self.family is not None:
            arguments = [self.family.pointer, I64] * len(self.kernel.buffers)
            arguments += [scalar_type(p.dtype) if not p.dtype.is_bool else I8 for p in self.kernel.params]
            arguments += [self.family.pointer, I32] + [I32] * (6 if self.machine.cut else 0)
        else:
            arguments = [POINTER, POINTER, I64, I64]
        function = ll.Function(self.module, ll.FunctionType(ll.VoidType(), arguments), self.entry_name)
        if not self.machine.threads and self.width > 1:
            function.attributes.add("nounwind")  # llvmlite prints an alignment beside others only
            function.attributes.alignstack = 64  # else LLVM keeps wide registers across cache lines when it runs short
        if self.machine.hidden:
            function.linkage = "hidden"
        if self.machine.small:
            for attribute in ("minsize", "nounwind", "optsize"):
                function.attributes.add(attribute)
        entry = ll.IRBuilder(function.append_basic_block("entry"))
        start = function.append_basic_block("start")
        shapes, uniformity = self.analyse()
        state = State(
            kernel=self.kernel,
            machine=self.machine,
            bounds=bounds,
            width=self.width,
            uniformity=uniformity,
            shapes=shapes,
            module=self.module,
            function=function,
            builder=ll.IRBuilder(start),
            entry=entry,
            log=function.args[self._after()] if self.machine.threads else function.args[1],
        )
        state.used = {a for s in walk(self.kernel.body) for a in operands(s)}
        return state

    def analyse(self) -> tuple[Shapes, Uniformity]:
        """Return how values are held, and where lanes part, for vectors of this width."""
        x, y, z = (d != 0 for d in lane_dimensions(self.kernel.workgroup, self.width))
        uniformity = analyse_uniformity(self.kernel, (x, y, z))
        return analyse_lanes(self.kernel, self.width, uniformity), uniformity

    def generate(self) -> Lowered:
        """Generate everything and return the module."""
        messages = Messages(self.s)
        memory = MemoryAccess(self.s, messages)
        if self.family is not None:
            self.threads(self.family, memory, messages)
        else:
            self.cpu(memory, messages)
        self.s.entry.branch(self.s.function.basic_blocks[1])
        sites, wraps = tuple(self.s.sites), wraps_index(self.kernel)
        text = self.s.text()
        self.s.forget()
        if self.family is not None:
            text = self.family.add_attributes(text, self.kernel.workgroup)
        return Lowered(text, self.entry_name, sites, self.width, wraps, tuple(self.s.decisions))

    # the CPU function

    def cpu(self, memory: MemoryAccess, messages: Messages) -> None:
        identity = CpuIdentity(self.s)
        control = Control(self.s, identity, memory, messages)
        count = -(-self.kernel.lanes // self.width)
        regions = Regions(self.s, control, identity, count)
        self.load_record(identity)
        memory.atomics.open_tables(*self.s.function.args[2:4])
        self.lay_shared_on_stack()
        groups = GroupLoop(self.s, identity)
        group, done = groups.open()
        self.zero_shared()
        place = Places(self.s, control, identity, messages, count if self.barriers else 1, group)
        regions.enter_vector = place.enter
        regions.group_end = done
        control.homes = variable_homes(self.kernel)
        place.reserve()
        if self.barriers and count > 1:
            regions.group_returned = place.group_returned = self.s.stack(I1, name="group.returned")
            control.on_return = place.on_return
            place.clear_for_group()
            regions.plan(self.kernel)
            regions.block(self.kernel.body)
        else:
            self.one_region(regions, place, groups, count)
        if not self.s.is_terminated:
            self.b.branch(done)
        groups.close(done)
        memory.atomics.close_tables()
        self.s.give_back()
        self.b.ret_void()

    def one_region(self, regions: Regions, place: Places, groups: GroupLoop, count: int) -> None:
        """All vectors in turn, each from start to end: no barrier separates them."""

        def run(group: Any, vector: Any) -> None:
            place.group = group
            regions.vector(self.kernel.body.statements, vector)

        rows = rows_of_group(self.kernel, self.width, self.barriers)
        if rows:
            groups.strip(rows, count // rows, run)
        elif count == 1:
            run(place.group, I32(0))
        else:
            with self.s.count_up(count, "vector") as vector:
                run(place.group, vector)

    def load_record(self, identity: CpuIdentity) -> None:
        """Read buffers, parameters and group counts from the dispatch record."""
        record: Any = self.s.function.args[0]
        b = self.b
        fields: Any = RECORD.fields

        def field(name: str, kind: Any, extra: int = 0) -> Any:
            offset = fields[name][1] + extra
            return b.load(b.gep(record, [I64(offset)], source_etype=I8), typ=kind)

        bindings = self.pointer(field("bindings", I64))
        params = self.pointer(field("params", I64))
        identity.counts = tuple(field("groups", I32, 4 * d) for d in range(3))
        self.s.number = field("number", I32)
        for position, buffer in enumerate(self.kernel.buffers):
            offset = position * BINDING.itemsize
            address = b.load(b.gep(bindings, [I64(offset)], source_etype=I8), typ=I64)
            length = b.load(b.gep(bindings, [I64(offset + 8)], source_etype=I8), typ=I64)
            self.s.arrays[buffer] = ArrayMemory(self.pointer(address), self.count_scalars(buffer, length))
            identity.lengths[buffer] = length
        for position, param in enumerate(self.kernel.params):
            kind = memory_type(param.dtype)
            value = b.load(b.gep(params, [I64(8 * position)], source_etype=I8), typ=kind)
            identity.params[param] = b.icmp_unsigned("!=", value, I8(0)) if param.dtype.is_bool else value

    def pointer(self, address: Any) -> Any:
        """Turn a 64-bit address into a pointer of the machine's width."""
        return self.b.inttoptr(address, POINTER)

    def count_scalars(self, buffer: Memory, length: Any) -> Any:
        """Return the scalars in a buffer bound as ``length`` elements."""
        lanes = self.components.get(buffer.name, 1)
        return length if lanes == 1 else self.b.mul(length, I64(lanes))

    def lay_shared_on_stack(self) -> None:
        for memory in self.kernel.shared:
            assert memory.size is not None
            count = memory.size * memory.dtype.lanes + 1  # one to spare, for atomics of lanes that rest
            base = self.s.stack(memory_type(memory.dtype.scalar), count, memory.name)
            base.align = 64
            self.s.arrays[memory] = ArrayMemory(base, I64(memory.size))

    def zero_shared(self) -> None:
        """Shared memory starts as zero in every group, unless the kernel is trusted to fill it."""
        if self.s.bounds is not Bounds.TRUSTED:
            for memory in self.kernel.shared:
                self.s.clear(self.s.arrays[memory].base, (memory.size or 0) * memory.dtype.nbytes)

    # the function of a GPU

    def _after(self) -> int:
        """Return which argument the log is: it follows buffers and parameters."""
        return 2 * len(self.kernel.buffers) + len(self.kernel.params)

    def threads(self, family: GpuFamily, memory: MemoryAccess, messages: Messages) -> None:
        """Lay out the kernel of a thread: (pointer, elements) per buffer, the parameters, log, dispatch number.

        Of one that may be cut follow the group counts of the whole, then where the part starts.
        """
        self.name_arguments()
        identity = ThreadIdentity(self.s, family)
        function, b = self.s.function, self.b
        function.calling_convention = family.convention
        family.mark(self.module, function, self.kernel.workgroup)
        self.s.log = family.generic(self.s, self.s.log)
        for position, buffer in enumerate(self.kernel.buffers):
            base, length = function.args[2 * position : 2 * position + 2]
            base.add_attribute("noalias")
            if self.machine.placed:
                base.attributes.align = PLACED_NBYTES
            self.s.arrays[buffer] = ArrayMemory(family.generic(self.s, base), self.count_scalars(buffer, length))
            identity.lengths[buffer] = length
        after = 2 * len(self.kernel.buffers)
        for param, value in zip(self.kernel.params, function.args[after:], strict=False):
            identity.params[param] = b.icmp_unsigned("!=", value, I8(0)) if param.dtype.is_bool else value
        self.s.number = function.args[self._after() + 1]
        if self.machine.cut:
            identity.part = function.args[-6:-3], function.args[-3:]
        self.share(identity)
        control = Control(self.s, identity, memory, messages)
        control.homes = variable_homes(self.kernel)
        control.lane_end = self.s.block("end")
        for variable in self.kernel.variables:
            self.s.slots[variable] = self.s.stack(scalar_type(variable.dtype), name=variable.name)
        for array in self.kernel.private:
            assert array.size is not None
            base = self.s.stack(memory_type(array.dtype), array.size, array.name)
            self.s.arrays[array] = ArrayMemory(base, I64(array.size))
            if self.s.bounds is not Bounds.TRUSTED:
                self.s.clear(base, array.size * array.dtype.bits // 8)
        self.zero_shared_together(identity)
        messages.flat_base = identity.flat_lane() if self.s.numbers_lanes else I64(0)
        control.into(self.kernel.body, control.lane_end)
        b.position_at_end(control.lane_end)
        b.ret_void()

    def name_arguments(self) -> None:
        """Give arguments the names of what they are, which code objects tell whoever launches them."""
        names = [name for b in self.kernel.buffers for name in (b.name, f"{b.name}.length")]
        names += [p.name for p in self.kernel.params] + ["log", "dispatch"]
        names += [f"{what}.{axis}" for what in ("groups", "first") for axis in "xyz"] if self.machine.cut else []
        for argument, name in zip(self.s.function.args, names, strict=True):
            argument.name = name

    def share(self, identity: ThreadIdentity) -> None:
        """Lay out shared memory: an array each, or all in one whose size a launch tells, where it is too much."""
        starts, nbytes = starts_of_shared(self.kernel)
        if nbytes > MOST_STATIC and self.family is not None and self.family.has_dynamic:
            kind = ll.ArrayType(I8, 0)
            whole: Any = ll.GlobalVariable(self.module, kind, dynamic_name(self.entry_name), addrspace=3)
            whole.align = _DYNAMIC_ALIGNED
            base = self.b.addrspacecast(whole, POINTER)
            for array, start in zip(self.kernel.shared, starts, strict=True):
                place = self.b.gep(base, [I64(start)], source_etype=I8)
                self.s.arrays[array] = ArrayMemory(place, I64(array.size))
        else:
            for array in self.kernel.shared:
                self.s.arrays[array] = self.global_of_shared(array)
        if tickets_of(self.kernel)[0]:
            open_tickets(self.s)
            identity.barrier()

    def global_of_shared(self, memory: Memory) -> ArrayMemory:
        """Return an array in the GPU's shared memory (address space 3), through a generic pointer."""
        assert memory.size is not None
        kind = ll.ArrayType(memory_type(memory.dtype), memory.size)
        array: Any = ll.GlobalVariable(self.module, kind, f"{self.entry_name}.{memory.name}", addrspace=3)
        array.initializer = ll.Constant(kind, ll.Undefined)
        array.linkage = "internal"
        array.align = 16
        return ArrayMemory(self.b.addrspacecast(array, POINTER), I64(memory.size))

    def zero_shared_together(self, identity: ThreadIdentity) -> None:
        """Each thread zeroes its share of shared memory, then all wait."""
        if self.s.bounds is Bounds.TRUSTED or not self.kernel.shared:
            return
        lane: Any = I64(0)
        for d in (2, 1, 0):
            here = self.b.zext(identity.read("local", d), I64)
            lane = self.b.add(self.b.mul(lane, I64(self.kernel.workgroup[d])), here)
        for memory in self.kernel.shared:
            assert memory.size is not None
            kind = memory_type(memory.dtype)
            with self.s.count_up(-(-memory.size // self.kernel.lanes), "zero") as turn:
                at = self.b.add(self.b.mul(self.b.zext(turn, I64), I64(self.kernel.lanes)), lane)
                with self.s.branch(self.b.icmp_unsigned("<", at, I64(memory.size)), "zero"):
                    place = self.b.gep(self.s.arrays[memory].base, [at], source_etype=kind)
                    self.b.store(ll.Constant(kind, 0), place)
        identity.barrier()
