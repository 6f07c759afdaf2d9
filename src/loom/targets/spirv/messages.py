"""Emits the records a running kernel sends to the host, in SPIR-V: print, failed assert, index outside.

Layer: targets. The log is the one of ``runtime.port.log``, seen as pairs of 32-bit words. Invariant: a full log
drops records, counted, and is never overrun.
"""

from __future__ import annotations

from loom.core.dtype import DType, lookup, u32, u64
from loom.ir.kernel import Instr, Kernel, Memory
from loom.targets.base import LOG_HEADER_WORDS, LOG_WORDS_BEFORE_VALUES, Site
from loom.targets.spirv.identity import Identity
from loom.targets.spirv.instructions import Arithmetic
from loom.targets.spirv.module import Module

__all__ = ["Messages"]

_FULL = 0x8000_0000
_Word = tuple[int, int]
"""The halves of a 64-bit word, low first."""


class Messages:
    """Sends records, of lanes that are the kernel's own."""

    def __init__(self, module: Module, arithmetic: Arithmetic, identity: Identity, kernel: Kernel) -> None:
        self.m = module
        self.a = arithmetic
        self.identity = identity
        self.kernel = kernel
        self.sites: list[Site] = []
        self._log: int | None = None
        self._lane: _Word | None = None

    @property
    def log(self) -> int:
        """The log's buffer, bound after the kernel's own."""
        if self._log is None:
            self._log = self.m.buffer(len(self.kernel.buffers), self.m.u32(), 4, writable=True)
        return self._log

    @property
    def lane(self) -> _Word:
        """The lane's number in the dispatch."""
        if self._lane is None:
            self._lane = self.identity.lane_number()
        return self._lane

    def print(self, instr: Instr, values: list[int]) -> None:
        """Send the values of a print."""
        site = self.site(instr, "print", instr.attr, instr.args)
        with self.m.when(self.real(self.m.truth(True))):
            self.record(site, [self.words(v, a.type) for v, a in zip(values, instr.args, strict=True)])

    def check(self, instr: Instr, values: list[int]) -> None:
        """Send a record and raise the fault flag if the condition fails."""
        site = self.site(instr, "assert", instr.attr, instr.args[1:])
        with self.m.when(self.real(self.a.test("LogicalNot", values[0]))):
            self.raise_flag()
            self.record(site, [self.words(v, a.type) for v, a in zip(values[1:], instr.args[1:], strict=True)])

    def out_of_bounds(self, instr: Instr, memory: Memory, index: int, length: int, inside: int) -> None:
        """Send index and length of an access outside its array."""
        site = self.site(instr, "bounds", (instr.op.name, memory.space.value), instr.args[:1], memory.name)
        with self.m.when(self.real(self.a.test("LogicalNot", inside))):
            self.raise_flag()
            self.record(site, [self.words(index, instr.args[0].type), (length, self.m.word(0))])

    def within(self, instr: Instr, values: list[int]) -> None:
        """Send index and extent of an axis where the index is at or beyond it."""
        (index, extent), dtype = values, instr.args[0].type
        what, name = instr.attr
        site = self.site(instr, "bounds", ("access", what), instr.args[:1], name)
        length = extent if dtype.bits < 64 else self.m.value("UConvert", self.a.type_of(u64), extent)
        with self.m.when(self.real(self.a.test("UGreaterThanEqual", index, length))):
            self.raise_flag()
            self.record(site, [self.words(index, dtype), (extent, self.m.word(0))])

    def cut_short(self) -> None:
        """Tell that the device ended a loop before its time."""
        site = Site("loops", self.kernel.name, "?", 0)
        if site not in self.sites:
            self.sites.append(site)
        self.raise_flag()
        self.record(self.sites.index(site), [])

    def real(self, condition: int) -> int:
        """Return ``condition`` and that the lane is one of the kernel's own."""
        mine = self.identity.real
        return condition if mine is None else self.m.value("LogicalAnd", self.m.bool(), condition, mine)

    def site(self, instr: Instr, kind: str, pieces: tuple[str, ...], args: tuple[Instr, ...], memory: str = "") -> int:
        """Number a place; the same place generated twice keeps its number."""
        file, line = (instr.loc.file, instr.loc.line) if instr.loc is not None else ("?", 0)
        dtypes = tuple(str(a.type) for a in args)
        site = Site(kind, self.kernel.name, file, line, tuple(pieces), dtypes, memory)
        if site not in self.sites:
            self.sites.append(site)
        return self.sites.index(site)

    def words(self, value: int, dtype: DType) -> _Word:
        """Return a value as a 64-bit word, integers extended by their sign."""
        a, zero = self.a, self.m.word(0)
        if dtype.is_bool:
            return a.select(value, self.m.word(1), zero, u32), zero
        if dtype.is_float:
            value = a.cast(value, lookup(f"u{dtype.bits}"))
        if dtype.bits == 64:
            high = a.op("ShiftRightLogical", u64, value, a.constant(32, u64))
            return self.m.value("UConvert", a.type_of(u32), value), self.m.value("UConvert", a.type_of(u32), high)
        high = a.op("ShiftRightArithmetic", u32, value, self.m.word(31)) if dtype.is_signed else zero
        return value, high

    def cell(self, word: int) -> int:
        """Return the address of a 32-bit word of the log."""
        kind = self.m.pointer("StorageBuffer", self.m.u32())
        return self.m.value("AccessChain", kind, self.log, self.m.word(0), word)

    def raise_flag(self) -> None:
        """Tell the host that something went wrong, log full or not."""
        one, relaxed = self.m.word(1), self.m.word(0)
        self.m.value("AtomicExchange", self.m.u32(), self.cell(self.m.word(4)), self.m.device_scope, relaxed, one)

    def record(self, site: int, values: list[_Word]) -> None:
        """Claim room in the log and fill it; claims stop far beyond its end, before their count could wrap."""
        m, count = self.m, LOG_WORDS_BEFORE_VALUES + len(values)
        claimed, scope, relaxed = self.cell(m.word(2)), m.device_scope, m.word(0)
        with m.when(self.a.test("ULessThan", m.value("AtomicLoad", m.u32(), claimed, scope, relaxed), m.word(_FULL))):
            at = m.value("AtomicIAdd", m.u32(), claimed, scope, relaxed, m.word(count))
            capacity = m.value("Load", m.u32(), self.cell(m.word(0)))
            end = self.a.op("IAdd", u32, at, m.word(count))
            with m.when(self.a.test("ULessThanEqual", end, capacity)):
                self.fill(at, [(m.word(count), m.word(site)), (self.number, m.word(0)), self.lane, *values])

    def fill(self, at: int, words: list[_Word]) -> None:
        """Write an entry."""
        first = self.a.op("ShiftLeftLogical", u32, at, self.m.word(1))
        for n, halves in enumerate(words):
            for part, word in enumerate(halves):
                place = self.a.op("IAdd", u32, first, self.m.word(2 * (LOG_HEADER_WORDS + n) + part))
                self.m.emit("Store", self.cell(place), word)

    @property
    def number(self) -> int:
        """The dispatch's number."""
        return self.identity.word(self.identity.layout.number)
