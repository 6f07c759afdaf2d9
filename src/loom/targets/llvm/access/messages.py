"""Emits the records a running kernel sends to the host: print, failed assert, index out of bounds.

Layer: targets. Each place that can send is a numbered ``Site``; a record carries the site, the dispatch,
the lane and the values as 64-bit words (see ``targets.base``). Invariant: a full log drops records, counted,
and never blocks or overruns.
"""

from __future__ import annotations

from typing import Any

from loom.core.dtype import DType, lookup, u64
from loom.ir.kernel import Instr, Memory
from loom.targets.base import LOG_HEADER_WORDS, LOG_WORDS_BEFORE_VALUES, Site
from loom.targets.llvm.values.lanes import Lanes
from loom.targets.llvm.values.state import State
from loom.targets.llvm.values.types import I64

__all__ = ["Messages"]


class Messages:
    """Emits records; ``flat_lane`` gives the number of a lane in the dispatch, to order them by."""

    def __init__(self, state: State) -> None:
        self.s = state
        self.b = state.builder
        self.flat_base: Any = None  # i64: number of the vector's first lane in the dispatch

    def print(self, instr: Instr, values: list[Lanes]) -> None:
        """Send the values of a print for every running lane."""
        site = self.site(instr, "print", instr.attr, instr.args)
        words = [self.words(v, a.type) for v, a in zip(values, instr.args, strict=True)]
        with self.s.lanes_of(self.s.mask, "print") as lane:
            self.record(site, lane, words)

    def check(self, instr: Instr, values: list[Lanes]) -> None:
        """Send a record and raise the fault flag for every running lane whose condition fails."""
        condition = self.b.not_(self.s.vectors.spread(values[0]))
        failing = condition if self.s.mask is None else self.b.and_(condition, self.s.mask)
        site = self.site(instr, "assert", instr.attr, instr.args[1:])
        with self.s.branch(self.s.vectors.any(failing), "failing"):
            words = [self.words(v, a.type) for v, a in zip(values[1:], instr.args[1:], strict=True)]
            self.raise_flag()
            with self.s.lanes_of(failing, "assert") as lane:
                self.record(site, lane, words)

    def out_of_bounds(self, instr: Instr, memory: Memory, index: Any, outside: Any) -> None:
        """Send index and length for every lane of ``outside`` (None: all), if they are wanted."""
        if not self.s.bounds.reports:
            return
        about = (instr.op.name, memory.space.value)
        site = self.site(instr, "bounds", about, instr.args[:1], memory.name)
        length = self.s.vectors.splat(self.s.arrays[memory].length)
        mask = outside if outside is not None else self.s.mask_or_all()
        with self.s.branch(self.s.vectors.any(mask), "outside"):
            self.raise_flag()
            with self.s.lanes_of(mask, "bounds") as lane:
                self.record(site, lane, [index, length])

    def within(self, instr: Instr, values: list[Lanes]) -> None:
        """Send index and extent for every running lane whose index is at or beyond it."""
        index, extent = (self.words(v, a.type) for v, a in zip(values, instr.args, strict=True))
        outside = self.b.icmp_unsigned(">=", index, extent)  # negative numbers are enormous
        mask = outside if self.s.mask is None else self.b.and_(outside, self.s.mask)
        what, name = instr.attr
        site = self.site(instr, "bounds", ("access", what), instr.args[:1], name)
        with self.s.branch(self.s.vectors.any(mask), "outside"):
            self.raise_flag()
            with self.s.lanes_of(mask, "bounds") as lane:
                self.record(site, lane, [index, extent])

    def site(self, instr: Instr, kind: str, pieces: tuple[str, ...], args: tuple[Instr, ...], memory: str = "") -> int:
        """Number a place; the same place generated twice keeps its number."""
        file, line = (instr.loc.file, instr.loc.line) if instr.loc is not None else ("?", 0)
        dtypes = tuple(str(a.type) for a in args)
        site = Site(kind, self.s.kernel.name, file, line, tuple(pieces), dtypes, memory)
        if site not in self.s.sites:
            self.s.sites.append(site)
        return self.s.sites.index(site)

    def words(self, value: Lanes, dtype: DType) -> Any:
        """Return a value as 64-bit words, lane by lane."""
        spread = self.s.vectors.spread(value)
        arithmetic = self.s.arithmetic
        if dtype.is_float:
            spread = arithmetic.cast("bitcast", spread, lookup(f"u{dtype.bits}"))
        if dtype.bits == 64:
            return spread
        return arithmetic.cast("sext" if dtype.is_signed else "zext", spread, u64)

    def raise_flag(self) -> None:
        """Tell the walker to stop before the next dependent dispatch."""
        flag = self.b.gep(self.s.log, [I64(2)], source_etype=I64)
        self.b.atomic_rmw("xchg", flag, I64(1), "monotonic")

    def record(self, site: int, lane: Any, words: list[Any]) -> None:
        """Claim room in the log and fill it for one lane."""
        count = LOG_WORDS_BEFORE_VALUES + len(words)
        claimed = self.b.gep(self.s.log, [I64(1)], source_etype=I64)
        at = self.b.atomic_rmw("add", claimed, I64(count), "monotonic")
        capacity = self.b.load(self.s.log, typ=I64)
        fits = self.b.icmp_unsigned("<=", self.b.add(at, I64(count)), capacity)
        flat = self.b.add(self.flat_base, self.b.zext(lane, I64))
        number = self.b.zext(self.s.number, I64)
        values = [w if self.s.width == 1 else self.b.extract_element(w, lane) for w in words]
        with self.s.branch(fits, "record"):
            header = I64(site << 32 | count)
            for offset, word in enumerate([header, number, flat, *values]):
                place = self.b.add(at, I64(LOG_HEADER_WORDS + offset))
                self.b.store(word, self.b.gep(self.s.log, [place], source_etype=I64))
