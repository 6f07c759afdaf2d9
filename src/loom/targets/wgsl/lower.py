"""Turns a verified kernel into WGSL: legalise, declare, write the tree of statements.

Layer: targets. One lane is one invocation, a workgroup is a workgroup. Binding 0 holds the words of a dispatch, then
come the buffers, then the log if the kernel has sites. Invariant: the text depends on kernel, bounds, features and
slots alone; the entry point's own text not on the forms of the features.
"""

from __future__ import annotations

from loom.core.late.dataclass import dataclass
from loom.ir.kernel import Break, Continue, If, Instr, Kernel, Return, Space, Variable
from loom.ir.passes.expand import expand_halves
from loom.ir.passes.faults import stop_at_faults
from loom.ir.passes.scalarize import scalarize
from loom.ir.passes.tiles import expand_tiles
from loom.ir.passes.wide import expand_wide
from loom.ir.passes.words.narrow import expand_narrow
from loom.ir.verified import VerifiedKernel
from loom.targets.base import Bounds, Site
from loom.targets.base.opaque_values import Knowledge
from loom.targets.base.push_layout import PushLayout, lanes_filled_up, push_layout
from loom.targets.wgsl.arithmetic import Arithmetic, hide
from loom.targets.wgsl.features import Features, refusal
from loom.targets.wgsl.identity import Identity
from loom.targets.wgsl.library.collect import called, functions
from loom.targets.wgsl.loops import TextLoops
from loom.targets.wgsl.memory import MemoryAccess
from loom.targets.wgsl.messages import Messages
from loom.targets.wgsl.text import Lines, type_of, word

__all__ = ["Function", "Lowered", "lower"]


@dataclass(frozen=True, slots=True)
class Lowered:
    """``own`` is the kernel's text, ``library`` the text of the functions it calls in the forms of the features.

    ``words`` counts the words of a dispatch: the layout's, then, if buffers share bindings, where each of them begins.
    """

    own: str
    library: str
    push: PushLayout
    words: int
    sites: tuple[Site, ...]

    @property
    def text(self) -> str:
        """The whole module."""
        return self.library + self.own


def lower(
    verified: VerifiedKernel, bounds: Bounds, features: Features, slots: tuple[int, ...] | None = None
) -> Lowered:
    """Return the WGSL of a kernel.

    ``slots`` tells which binding each buffer lies in; then the words say where it begins there. Else each has its own.
    """
    reason = refusal(verified.kernel)
    assert reason is None, reason
    scalar = scalarize(expand_wide(expand_tiles(stop_at_faults(verified.kernel))))
    kernel = expand_narrow(expand_halves(scalar.kernel))
    scale = {m.name: n for m, n in scalar.components.items()}
    return Function(kernel, bounds, features, slots, scale).generate()


class Function(TextLoops):
    """Writes one kernel."""

    def __init__(
        self, kernel: Kernel, bounds: Bounds, features: Features, slots: tuple[int, ...] | None, scale: dict[str, int]
    ) -> None:
        self.kernel = kernel
        self.features = features
        self.t = Lines()
        knowledge = Knowledge(kernel)
        self.a = Arithmetic(knowledge, self.t.let)
        self.layout = push_layout(kernel, features)
        based = slots is not None
        slots = tuple(range(len(kernel.buffers))) if slots is None else slots
        filled = lanes_filled_up(kernel, features.whole_vectors)
        self.identity = Identity(self.t, kernel, self.layout, based=based, filled=filled)
        self.messages = Messages(self.t, self.identity, kernel)
        super().__init__(self.identity, bounds, knowledge)
        self.memory = MemoryAccess(self.t, kernel, self.identity, self.messages, bounds, slots, scale, based=based)
        self.log_binding = len(set(slots)) + 1
        self.variables: dict[Variable, str] = {}

    def generate(self) -> Lowered:
        """Write everything."""
        declared = self.memory.declare()
        for variable in self.kernel.variables:
            self.variables[variable] = self.t.local(type_of(variable.dtype))
        if self.bounds is not Bounds.TRUSTED:
            self.zero_shared()
        self.block(self.kernel.body)
        declared = [*self.identity.declare(), *declared]
        if self.messages.sites:
            log = f"@group(0) @binding({self.log_binding}) var<storage, read_write> messages: array<atomic<u32>>;"
            declared.append(log)
        extents = ", ".join(map(str, self.identity.local_size))
        head = [
            f"@compute @workgroup_size({extents})",
            "fn main(@builtin(local_invocation_id) lid: vec3<u32>, @builtin(workgroup_id) wid: vec3<u32>) {",
        ]
        own = "\n".join([*declared, *head, *self.t.early, *self.t.lines, "}", ""])
        text = functions(called(own), dict(self.features.forms))
        return Lowered(own, text, self.layout, self.identity.words, tuple(self.messages.sites))

    def zero_shared(self) -> None:
        """Each lane zeroes its share of shared memory, then all wait: lavapipe does not, whatever WGSL promises."""
        if not self.kernel.shared:
            return
        lane = self.identity.flat()
        for array in self.kernel.shared:
            for first in range(0, array.size or 0, self.kernel.lanes):
                at = self.t.let(f"{lane} + {word(first)}")
                with self.t.when(f"{at} < {word(array.size or 0)}"):
                    self.memory.zero(array, at)
        self.barrier()

    def barrier(self) -> None:
        """All lanes arrive; what they wrote to shared memory and buffers is seen after it."""
        self.t.emit("storageBarrier();")
        self.t.emit("workgroupBarrier();")

    # statements

    def constant(self, s: Instr) -> str:
        """Return a constant."""
        return self.a.constant(s.attr, s.type)

    def pure(self, s: Instr, args: list[str]) -> str:
        """Write an operation without effects; return its value."""
        return self.t.let(self.a.emit(s, args))

    def get(self, s: Instr) -> str:
        """Return the value of a variable."""
        return self.t.let(self.variables[s.attr])

    def set(self, s: Instr, value: str) -> None:
        """Write an assignment to a variable."""
        self.t.emit(f"{self.variables[s.attr]} = {self.opaque_choice(value, s.args[0])};")

    def leave(self, s: Return | Break | Continue) -> bool:
        """Write what ends a block."""
        if isinstance(s, Return):
            self.t.emit("return;")
        elif isinstance(s, Break):
            ended = self.loops[-1].ended
            if ended is not None:
                self.t.emit(f"{ended} = 1u;")
            self.t.emit("break;")
        else:
            self.t.emit("continue;")
        return False

    def opaque_choice(self, value: str, s: Instr) -> str:
        """Return what is kept, hidden where a driver may know too much of it."""
        return value if s.type.is_bool else self.a.opaque_choice(value, s)

    def access(self, s: Instr, args: list[str]) -> None:
        """Write a load, a store or an atomic operation."""
        memory = s.memory
        assert memory is not None
        if s.op.name == "load":
            found = self.memory.load(s, memory, args[0])
            if memory.space is not Space.BUFFER and s.type.is_float:
                found = self.t.let(hide(found, s.type))  # it may never have been stored to, and be zero
            self.values[s] = found
        elif s.op.name == "store":
            self.memory.store(s, memory, args[0], self.opaque_choice(args[1], s.args[1]))
        else:
            self.values[s] = self.memory.atomic(s, memory, args[0], args[1:])

    def if_(self, s: If) -> bool:
        """Write a choice."""
        with self.t.block(f"if ({self.value(s.condition)}) {{"):
            reached = self.block(s.then)
        if not s.otherwise.statements:
            return True
        with self.t.block("else {"):
            return self.block(s.otherwise) or reached
