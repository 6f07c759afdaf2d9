"""Writes the records a running kernel sends to the host, in WGSL: print, failed assert, index outside.

Layer: targets. The log is the one of ``runtime.port.log``, seen as pairs of 32-bit words, all atomic. Invariant:
a full log drops records, counted, and is never overrun.
"""

from __future__ import annotations

from loom.core.dtype import DType
from loom.ir.kernel import Instr, Kernel, Memory
from loom.targets.base import LOG_HEADER_WORDS, LOG_WORDS_BEFORE_VALUES, Site
from loom.targets.wgsl.identity import Identity
from loom.targets.wgsl.text import Lines, word

__all__ = ["Messages"]

_FULL = 0x8000_0000


class Messages:
    """Sends records."""

    def __init__(self, text: Lines, identity: Identity, kernel: Kernel) -> None:
        self.t = text
        self.identity = identity
        self.kernel = kernel
        self.sites: list[Site] = []

    def print(self, instr: Instr, values: list[str]) -> None:
        """Send the values of a print."""
        site = self.site(instr, "print", instr.attr, instr.args)
        with self.t.when(self.real("true")):
            self.record(site, [_words(v, a.type) for v, a in zip(values, instr.args, strict=True)])

    def check(self, instr: Instr, values: list[str]) -> None:
        """Send a record and raise the fault flag if the condition fails."""
        site = self.site(instr, "assert", instr.attr, instr.args[1:])
        with self.t.when(self.real(f"!({values[0]})")):
            self.raise_flag()
            self.record(site, [_words(v, a.type) for v, a in zip(values[1:], instr.args[1:], strict=True)])

    def out_of_bounds(self, instr: Instr, memory: Memory, index: str, length: str, inside: str) -> None:
        """Send index and length of an access outside its array."""
        site = self.site(instr, "bounds", (instr.op.name, memory.space.value), instr.args[:1], memory.name)
        with self.t.when(self.real(f"!({inside})")):
            self.raise_flag()
            self.record(site, [_words(index, instr.args[0].type), (length, "0u")])

    def within(self, instr: Instr, values: list[str]) -> None:
        """Send index and extent of an axis where the index is at or beyond it."""
        (index, extent), dtype = values, instr.args[0].type
        what, name = instr.attr
        site = self.site(instr, "bounds", ("access", what), instr.args[:1], name)
        beyond = f"(({index}).y != 0u) | (({index}).x >= {extent})" if dtype.bits == 64 else f"{index} >= {extent}"
        with self.t.when(self.real(beyond)):
            self.raise_flag()
            self.record(site, [_words(index, dtype), (extent, "0u")])

    def cut_short(self) -> None:
        """Tell that the device ended a loop before its time."""
        site = Site("loops", self.kernel.name, "?", 0)
        if site not in self.sites:
            self.sites.append(site)
        self.raise_flag()
        self.record(self.sites.index(site), [])

    def real(self, condition: str) -> str:
        """Return ``condition`` and that the lane is one of the kernel's own."""
        mine = self.identity.real
        return condition if mine is None else f"({condition}) & {mine}"

    def site(self, instr: Instr, kind: str, pieces: tuple[str, ...], args: tuple[Instr, ...], memory: str = "") -> int:
        """Number a place; the same place written twice keeps its number."""
        file, line = (instr.loc.file, instr.loc.line) if instr.loc is not None else ("?", 0)
        dtypes = tuple(str(a.type) for a in args)
        site = Site(kind, self.kernel.name, file, line, tuple(pieces), dtypes, memory)
        if site not in self.sites:
            self.sites.append(site)
        return self.sites.index(site)

    def raise_flag(self) -> None:
        """Tell the host that something went wrong, log full or not."""
        self.t.emit("atomicStore(&messages[4], 1u);")

    def record(self, site: int, values: list[tuple[str, str]]) -> None:
        """Claim room in the log and fill it; claims stop far beyond its end, before their count could wrap."""
        t, count = self.t, LOG_WORDS_BEFORE_VALUES + len(values)
        number, lane = self.identity.word(self.identity.layout.number), self.identity.lane_number()
        halves = [(word(count), word(site)), (number, "0u"), (f"{lane}.x", f"{lane}.y"), *values]
        with t.when(f"atomicLoad(&messages[2]) < {word(_FULL)}"):
            at = t.let(f"atomicAdd(&messages[2], {word(count)})")
            with t.when(f"{at} + {word(count)} <= atomicLoad(&messages[0])"):
                for n, half in enumerate(halves):
                    for part, value in enumerate(half):
                        place = f"{at} * 2u + {word(2 * (LOG_HEADER_WORDS + n) + part)}"
                        t.emit(f"atomicStore(&messages[{place}], {value});")


def _words(value: str, dtype: DType) -> tuple[str, str]:
    """Return a value as a 64-bit word, its halves low first, integers extended by their sign."""
    if dtype.is_bool:
        return f"select(0u, 1u, {value})", "0u"
    if dtype.bits == 64:
        return f"({value}).x", f"({value}).y"
    return value, f"wide_i32({value}).y" if dtype.is_signed else "0u"
