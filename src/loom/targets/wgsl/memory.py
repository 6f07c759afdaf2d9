"""Writes loads, stores and atomics in WGSL.

Layer: targets. Buffers are words. Elements of 8 and 16 bits are parts of a word, which a store changes by atomics that
touch no bit of its neighbours; those of 64 bits are two words. An index outside loads 0 and stores nothing, unless the
kernel is trusted: what WGSL itself does with one never happens. Several buffers may lie in one binding. Invariant: no
address outside an array is ever computed for a checked kernel.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

from loom.core.dtype import DType
from loom.ir.kernel import Instr, Kernel, Memory, Space, walk
from loom.targets.base import Bounds
from loom.targets.wgsl.identity import Identity
from loom.targets.wgsl.messages import Messages
from loom.targets.wgsl.text import Lines, type_of, word

__all__ = ["MemoryAccess"]

_ATOMIC = {
    "atomic_add": "atomicAdd", "atomic_and": "atomicAnd", "atomic_or": "atomicOr", "atomic_xor": "atomicXor",
    "atomic_exchange": "atomicExchange", "atomic_min": "atomicMin", "atomic_max": "atomicMax",
}  # fmt: skip
_NONE = {"bool": "false", "u32": "0u", "vec2<u32>": "vec2<u32>(0u, 0u)"}


class MemoryAccess:
    """``slots`` gives each buffer's binding, counted from the first; ``scale`` how many scalars an element was."""

    def __init__(
        self, text: Lines, kernel: Kernel, identity: Identity, messages: Messages, bounds: Bounds,
        slots: tuple[int, ...], scale: dict[str, int], *, based: bool,
    ) -> None:  # fmt: skip
        self.t = text
        self.kernel = kernel
        self.identity = identity
        self.messages = messages
        self.bounds = bounds
        self.slots = slots
        self.based = based
        self.scale = scale
        self.names: dict[Memory, str] = {}
        self._lengths: dict[Memory, str] = {}
        self._changed = {s.memory for s in walk(kernel.body) if isinstance(s, Instr) and _by_atomics(s)}

    # declarations

    def declare(self) -> list[str]:
        """Return the declarations of buffers and shared memory; private memory is declared in the entry point."""
        lines: list[str] = []
        atomic = {slot for buffer, slot in zip(self.kernel.buffers, self.slots, strict=True) if self.is_atomic(buffer)}
        for slot in sorted(set(self.slots)):
            kind = "atomic<u32>" if slot in atomic else "u32"
            lines.append(f"@group(0) @binding({slot + 1}) var<storage, read_write> b{slot}: array<{kind}>;")
        self._changed |= {b for b, slot in zip(self.kernel.buffers, self.slots, strict=True) if slot in atomic}
        for buffer, slot in zip(self.kernel.buffers, self.slots, strict=True):
            self.names[buffer] = f"b{slot}"
        for n, array in enumerate(self.kernel.shared):
            self.names[array] = f"s{n}"
            lines.append(f"var<workgroup> s{n}: {self._array(array)};")
        for n, array in enumerate(self.kernel.private):
            self.names[array] = f"p{n}"
            self.t.early.append(f"  var p{n}: {self._array(array)};")
        return lines

    def _array(self, memory: Memory) -> str:
        count = max(1, memory.size or 0)
        if self.is_atomic(memory):
            return f"array<atomic<u32>, {count * (memory.dtype.bits // 32)}>"
        return f"array<{'vec2<u32>' if memory.dtype.bits == 64 else 'u32'}, {count}>"

    def is_atomic(self, memory: Memory) -> bool:
        """Tell whether the words of a memory are changed by atomics."""
        return memory in self._changed

    def length(self, memory: Memory) -> str:
        """Return how many scalars a memory has."""
        if memory.space is not Space.BUFFER:
            return word(memory.size or 0)
        if memory not in self._lengths:
            found = self.identity.word(self.identity.layout.lengths + self.kernel.buffers.index(memory))
            lanes = self.scale.get(memory.name, 1)
            self._lengths[memory] = found if lanes == 1 else self.t.first(f"{found} * {word(lanes)}")
        return self._lengths[memory]

    # indexes

    def inside(self, instr: Instr, memory: Memory, index: str) -> str:
        """Tell whether an index, in its own type, lies inside an array."""
        dtype, length = instr.args[0].type, self.length(memory)
        if dtype.bits == 64:
            return self.t.let(f"(({index}).y == 0u) & (({index}).x < {length})")
        below = f"({index} < {length})"
        return self.t.let(f"{below} & ({index} < 0x80000000u)" if dtype.is_signed else below)

    def check(self, instr: Instr, memory: Memory, index: str) -> str | None:
        """Return whether an index lies inside, telling the host if it does not; None if nobody needs to know."""
        if self.bounds is Bounds.TRUSTED:
            return None
        found = self.inside(instr, memory, index)
        if self.bounds.reports:
            self.messages.out_of_bounds(instr, memory, index, self.length(memory), found)
        return found

    def place(self, memory: Memory, words: str) -> str:
        """Return a word of a memory, as WGSL writes it."""
        if memory.space is Space.BUFFER and self.based:
            words = f"{self.identity.base(self.kernel.buffers.index(memory))} + {words}"
        return f"{self.names[memory]}[{words}]"

    def word_at(self, memory: Memory, words: str) -> str:
        """Return the value of a word."""
        place = self.place(memory, words)
        return f"atomicLoad(&{place})" if self.is_atomic(memory) else place

    # accesses

    def load(self, instr: Instr, memory: Memory, index: str) -> str:
        """Write ``memory[index]``; the name of the value."""
        at, inside = _low(index, instr.args[0].type), self.check(instr, memory, index)
        if inside is not None:
            at = self.t.let(f"select(0u, {at}, {inside})")
        value = self.t.let(self._element(memory, at))
        if inside is not None:
            value = self.t.let(f"select({_NONE[type_of(memory.dtype)]}, {value}, {inside})")
        return value

    def _element(self, memory: Memory, at: str) -> str:
        dtype = memory.dtype
        if memory.space is not Space.BUFFER and not (self.is_atomic(memory) and dtype.bits == 64):
            found = self.word_at(memory, at)
            return f"{found} != 0u" if dtype.is_bool else found
        if dtype.bits == 64:
            first = self.t.let(f"{at} * 2u")
            return f"vec2<u32>({self.word_at(memory, first)}, {self.word_at(memory, f'{first} + 1u')})"
        if dtype.bits == 32:
            return self.word_at(memory, at)
        found = f"({self.word_at(memory, f'({at} >> {_SHIFT[dtype.bits]}u)')} >> {_bit(dtype, at)})"
        return f"({found} & 255u) != 0u" if dtype.is_bool else f"{found} & {word((1 << dtype.bits) - 1)}"

    def store(self, instr: Instr, memory: Memory, index: str, value: str) -> None:
        """Write ``memory[index] = value``."""
        at, inside = _low(index, instr.args[0].type), self.check(instr, memory, index)
        if memory.dtype.is_bool:
            value = f"select(0u, 1u, {value})"
        value = self.t.let(value)
        at = self._possible(memory, at, inside)
        with self.guard(memory, inside):
            self._put(memory, at, value)

    def _possible(self, memory: Memory, at: str, inside: str | None) -> str:
        """Return an index that compilers take: they refuse a known one outside, even where nothing is stored."""
        return at if inside is None or memory.space is Space.BUFFER else self.t.let(f"select(0u, {at}, {inside})")

    def guard(self, memory: Memory, inside: str | None) -> AbstractContextManager[None]:
        """Return a context for what happens for indexes inside, in the kernel's own lanes."""
        mine = None if memory.space is Space.PRIVATE else self.identity.real
        conditions = [c for c in (inside, mine) if c is not None]
        return self.t.when(" & ".join(conditions)) if conditions else nullcontext()

    def _put(self, memory: Memory, at: str, value: str) -> None:
        dtype = memory.dtype
        if memory.space is not Space.BUFFER and not self.is_atomic(memory):
            self.t.emit(f"{self.place(memory, at)} = {value};")
        elif dtype.bits == 64:
            first = self.t.let(f"{at} * 2u")
            self._put_word(memory, first, f"{value}.x")
            self._put_word(memory, f"{first} + 1u", f"{value}.y")
        elif dtype.bits == 32 or memory.space is not Space.BUFFER:
            self._put_word(memory, at, value)
        else:
            self._put_part(memory, at, value)

    def zero(self, memory: Memory, at: str) -> None:
        """Write 0 to an element of shared memory."""
        self._put(memory, at, _NONE["vec2<u32>" if memory.dtype.bits == 64 else "u32"])

    def _put_word(self, memory: Memory, at: str, value: str) -> None:
        place = self.place(memory, at)
        self.t.emit(f"atomicStore(&{place}, {value});" if self.is_atomic(memory) else f"{place} = {value};")

    def _put_part(self, memory: Memory, at: str, value: str) -> None:
        """Change the bits of a word that differ, and no others, in two steps: those to clear, those to set."""
        dtype = memory.dtype
        place = self.place(memory, self.t.let(f"{at} >> {_SHIFT[dtype.bits]}u"))
        by = self.t.let(_bit(dtype, at))
        wanted = self.t.let(f"{value} << {by}")
        mask = f"({word((1 << dtype.bits) - 1)} << {by})"
        other = self.t.let(f"(atomicLoad(&{place}) ^ {wanted}) & {mask}")
        with self.t.when(f"{other} != 0u"):
            self.t.emit(f"atomicAnd(&{place}, ~({other} & ~{wanted}));")
            self.t.emit(f"atomicOr(&{place}, {other} & {wanted});")

    def atomic(self, instr: Instr, memory: Memory, index: str, values: list[str]) -> str:
        """Write an atomic; gives the old value."""
        at, inside = _low(index, instr.args[0].type), self.check(instr, memory, index)
        at = self._possible(memory, at, inside)
        old = self.t.local(type_of(memory.dtype))
        self.t.emit(f"{old} = {_NONE[type_of(memory.dtype)]};")
        with self.guard(memory, inside):
            self._one_atomic(instr, memory, at, values, old)
        real = self.identity.real
        if real is not None and memory.dtype.bits == 32:  # a lane that only looks on takes a look
            with self.t.when(f"!{real}" if inside is None else f"!{real} & {inside}"):
                self.t.emit(f"{old} = atomicLoad(&{self.place(memory, at)});")
        return self.t.let(old)

    def _one_atomic(self, instr: Instr, memory: Memory, at: str, values: list[str], old: str) -> None:
        name, dtype = instr.op.name, memory.dtype
        if dtype.bits == 64:
            self._wide_atomic(name, memory, at, values[0])
            return
        place = f"&{self.place(memory, at)}"
        if name == "atomic_compare_exchange":
            with self.t.block("loop {"):
                found = self.t.let(f"atomicCompareExchangeWeak({place}, {values[0]}, {values[1]})")
                self.t.emit(f"{old} = {found}.old_value;")
                self.t.emit(f"if ({found}.exchanged || {found}.old_value != {values[0]}) {{ break; }}")
        elif dtype.is_signed and name in ("atomic_min", "atomic_max"):
            self._exchange_extreme(name, place, values[0], old)
        else:
            self.t.emit(f"{old} = {_ATOMIC[name]}({place}, {values[0]});")

    def _exchange_extreme(self, name: str, place: str, value: str, old: str) -> None:
        """Words are unsigned: exchange the signed number until no other lane came between."""
        self.t.emit(f"{old} = atomicLoad({place});")
        with self.t.block("loop {"):
            which = name.removeprefix("atomic_")
            new = self.t.let(f"bitcast<u32>({which}(bitcast<i32>({old}), bitcast<i32>({value})))")
            found = self.t.let(f"atomicCompareExchangeWeak({place}, {old}, {new})")
            self.t.emit(f"if ({found}.exchanged) {{ break; }}")
            self.t.emit(f"{old} = {found}.old_value;")

    def _wide_atomic(self, name: str, memory: Memory, at: str, value: str) -> None:
        """Change two words one after the other; nobody asks for the old value (see ``features.refusal``)."""
        first = self.t.let(f"{at} * 2u")
        low, high = self.place(memory, first), self.place(memory, f"{first} + 1u")
        if name == "atomic_add":
            before = self.t.let(f"atomicAdd(&{low}, {value}.x)")
            self.t.emit(f"atomicAdd(&{high}, {value}.y + select(0u, 1u, {before} + {value}.x < {before}));")
        else:
            self.t.emit(f"{_ATOMIC[name]}(&{low}, {value}.x);")
            self.t.emit(f"{_ATOMIC[name]}(&{high}, {value}.y);")


_SHIFT = {8: 2, 16: 1}
"""By how much the index of an element is shifted to be that of its word."""


def _bit(dtype: DType, at: str) -> str:
    """Return where in its word an element begins."""
    return f"(({at} & 3u) * 8u)" if dtype.bits == 8 else f"(({at} & 1u) * 16u)"


def _low(index: str, dtype: DType) -> str:
    """Return an index as 32 bits."""
    return f"({index}).x" if dtype.bits == 64 else index


def _by_atomics(s: Instr) -> bool:
    memory = s.memory
    if memory is None or not (s.op.name == "store" or s.op.name.startswith("atomic")):
        return False
    return s.op.name != "store" or (memory.space is Space.BUFFER and memory.dtype.bits < 32)
