"""Products of 64 rows, and words fetched for them: who may ask for them, and what they are in plain operations.

Layer: ir. ``wide_product`` is asked for by 128 lanes together: 64 rows of 128 bytes by up to 256 rows, of which each
lane is given its share in an array of its own. ``fetch`` brings words of a buffer to shared memory, at any time until
``fetched`` of the same ticket; from ``release`` on their place is free. For each lane that is a loop over words, and a
copy between barriers, so that where there is no unit for it, it is taken apart. Invariant: an array that words are
fetched to is written in no other way, so that waiting for tickets is all the order there needs to be.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

from loom.core.dtype import i32, u32
from loom.core.errors import VerifyError
from loom.ir.kernel import Instr, Kernel, Memory, Variable, operations, walk
from loom.ir.ops import Effect
from loom.ir.passes.rewrite import Rewriter
from loom.ir.passes.tiles import is_shared_by_lanes
from loom.ir.passes.uniformity import Uniformity

__all__ = [
    "TICKET_NBYTES", "WIDE_LANES", "WIDE_ROWS", "WIDE_WORDS", "expand_wide", "find_shared", "has_wide",
    "refuse_wrong_wide", "tickets_of",
]  # fmt: skip

WIDE_LANES, WIDE_ROWS = 128, 64
"""Lanes that ask together, and rows that they ask for."""
WIDE_WORDS = 32
"""Words of a row."""
TICKET_NBYTES = 16
"""What a ticket takes of shared memory where there is a unit, beside its words: two barriers."""
_STEP, _MOST = 16, 256
"""Rows of the second operand: a multiple of the first, at most the second."""
_QUAD = 4
"""Words that places and sizes are multiples of."""
_MOST_TICKETS, _MOST_WORDS = 64, 1 << 16
_TICKETED = ("fetch", "fetched", "release")
_NAMES = ("wide_product", *_TICKETED)


def _operations_of(kernel: Kernel) -> list[Instr]:
    return [s for s in operations(kernel.body) if s.op.name in _NAMES]


def has_wide(kernel: Kernel) -> bool:
    """Tell whether a kernel fetches words, or multiplies 64 rows at once."""
    return bool(_operations_of(kernel))


def tickets_of(kernel: Kernel) -> tuple[int, int]:
    """Return how many tickets of a kernel there are at a time, and pieces of each; zeros where it fetches nothing."""
    return next(((s.attr[-2], s.attr[-1]) for s in _operations_of(kernel) if s.op.name in _TICKETED), (0, 0))


def find_shared(kernel: Kernel, name: str) -> Memory | None:
    """Return the shared array of a name."""
    return next((m for m in kernel.shared if m.name == name), None)


def refuse_wrong_wide(kernel: Kernel, uniformity: Uniformity) -> None:
    """Raise VerifyError for sizes that no unit has, lanes that may ask for different things, and arrays misused."""
    asked = _operations_of(kernel)
    into = set[str]()
    for s in asked:
        wrong = _wrong_sizes(kernel, s) or _wrong_lanes(kernel, s, uniformity)
        if wrong is None and s.op.name in _TICKETED and s.attr[-2:] != tickets_of(kernel):
            wrong = "other tickets than elsewhere in the kernel", tickets_of(kernel), s.attr[-2:]
        if wrong is not None:
            raise VerifyError(
                kernel.where(s.loc), f"{s.op.name} has {wrong[0]}", expected=wrong[1], got=wrong[2],
                remedy=f"{s.op.name}: {s.op.doc}",
            )  # fmt: skip
        if s.op.name == "fetch":
            into.add(s.attr[0])
    for s in walk(kernel.body) if into else ():
        if isinstance(s, Instr) and s.memory in kernel.shared and s.memory.name in into and _writes(s):
            raise VerifyError(
                kernel.where(s.loc), f"{s.memory.name!r} is written and also fetched to",
                expected="an array that words are fetched to, and no lane writes", got=s.op.name,
                remedy="Keep what lanes write in another array",
            )  # fmt: skip


def _writes(s: Instr) -> bool:
    return s.op.effect in (Effect.WRITE, Effect.ATOMIC)


_Wrong = tuple[str, object, object] | None
"""What is wrong with an operation, what is expected, and what is there."""


def _wrong_sizes(kernel: Kernel, s: Instr) -> _Wrong:
    """Return what is wrong with an operation's sizes."""
    given: Any = s.attr
    attr: list[Any] = list(cast("tuple[Any, ...]", given)) if isinstance(given, tuple) else []
    names, numbers = {"wide_product": (1, 2), "fetch": (1, 3)}.get(s.op.name, (0, 2))
    if [type(n) for n in attr] != [str] * names + [int] * numbers:
        return "wrong sizes", "constants", repr(attr)
    if s.op.name != "wide_product" and not all(1 <= n <= _MOST_TICKETS for n in attr[-2:]):
        return "wrong tickets", f"1 to {_MOST_TICKETS} at a time, and as many pieces", attr[-2:]
    if not names:
        return None
    memory = find_shared(kernel, attr[0])
    if memory is None or s.memory is None:
        return f"no shared array {attr[0]!r}", "a shared array", attr[0]
    return (_wrong_product if s.op.name == "wide_product" else _wrong_fetch)(attr, memory, s.memory)


def _wrong_product(attr: list[Any], tile: Memory, sums: Memory) -> _Wrong:
    _, rows, keeps = attr
    if tile.dtype != i32:
        return f"operands of {tile.dtype}", i32, tile.dtype
    if rows % _STEP or not _STEP <= rows <= _MOST or keeps not in (0, 1):
        return f"{rows} rows of the second operand", f"{_STEP} to {_MOST}, in steps of {_STEP}", rows
    return (f"room for {sums.size} sums", rows // 2, sums.size) if sums.size != rows // 2 else None


def _wrong_fetch(attr: list[Any], target: Memory, source: Memory) -> _Wrong:
    words: int = attr[1]
    if target.dtype != source.dtype:
        return f"words of {source.dtype} for an array of {target.dtype}", target.dtype, source.dtype
    if words % _QUAD or not _QUAD <= words <= _MOST_WORDS:
        return f"{words} words", f"a multiple of {_QUAD}, at most {_MOST_WORDS}", words
    return None


def _wrong_lanes(kernel: Kernel, s: Instr, uniformity: Uniformity) -> _Wrong:
    x, y, z = kernel.workgroup
    is_product = s.op.name == "wide_product"
    step = WIDE_LANES if is_product else 32
    if x % step or y != 1 or z != 1:
        return "a workgroup of other lanes", f"a multiple of {step} along x alone", kernel.workgroup
    lanes = WIDE_LANES if is_product else kernel.lanes
    if not all(is_shared_by_lanes(a, uniformity, lanes) for a in s.args):
        return "places that lanes may not share", f"one value for {lanes} neighbouring lanes", "a value of a lane"
    return None


def expand_wide(kernel: Kernel) -> Kernel:
    """Return ``kernel`` with products taken apart, and words fetched as each lane's loads and stores, and barriers."""
    return _Wide(kernel).run() if has_wide(kernel) else kernel


class _Wide(Rewriter):
    def __init__(self, kernel: Kernel) -> None:
        super().__init__(kernel)
        self.sum = Variable("wide.sum", i32)

    def run(self) -> Kernel:
        body = self.block(self.kernel.body)
        return replace(self.kernel, body=body, variables=(*self.kernel.variables, self.sum))

    def instr(self, s: Instr) -> Any:
        if s.op.name in ("fetched", "release"):
            return self.emit("barrier")
        if s.op.name == "fetch":
            return self.fetch(s)
        return self.product(s) if s.op.name == "wide_product" else self.copy(s)

    def number(self, value: int) -> Instr:
        return self.const(value, u32)

    def fetch(self, s: Instr) -> None:
        name, words, _, _ = s.attr
        target = find_shared(self.kernel, name)
        _, at, first = (self.value(a) for a in s.args)
        with self.counting(self.emit("local_id", attr=0), words, self.kernel.lanes) as word:
            value = self.emit("load", self.emit("add", first, word), memory=s.memory)
            self.emit("store", self.emit("add", at, word), value, memory=target)

    def product(self, s: Instr) -> None:
        name, columns, keeps = s.attr
        tile = find_shared(self.kernel, name)
        a_at, b_at = (self.value(a) for a in s.args)
        lane = self.emit("and", self.emit("local_id", attr=0), self.number(WIDE_LANES - 1))
        inner = self.emit("and", lane, self.number(31))
        upper = self.emit("mul", self.emit("shr", lane, self.number(5)), self.number(2 * 256))
        row = self.emit("add", a_at, self.emit("add", upper, self.quads(self.emit("shr", inner, self.number(2)))))
        pair = self.emit("mul", self.emit("and", inner, self.number(3)), self.number(2))
        column = self.emit("add", b_at, self.quads(pair))
        with self.counting(self.number(0), columns // 2, 1) as n:  # 4 j + 2 lower + right
            lower = self.emit("and", self.emit("shr", n, self.number(1)), self.number(1))
            left = self.emit("add", row, self.emit("mul", lower, self.number(256)))
            right = self.emit("add", column, self.quads(self.emit("and", n, self.number(1))))
            right = self.emit("add", right, self.emit("mul", self.emit("shr", n, self.number(2)), self.number(256)))
            before = self.emit("load", n, memory=s.memory) if keeps else self.const(0, i32)
            self.emit("set", before, attr=self.sum)
            with self.counting(self.number(0), WIDE_WORDS, 1) as word:
                chunk = self.emit("mul", self.emit("shr", word, self.number(2)), self.number(32))
                within = self.emit("add", chunk, self.emit("and", word, self.number(3)))
                both = [self.emit("load", self.emit("add", at, within), memory=tile) for at in (left, right)]
                self.emit("set", self.emit("dot4_i8", *both, self.emit("get", attr=self.sum)), attr=self.sum)
            self.emit("store", n, self.emit("get", attr=self.sum), memory=s.memory)

    def quads(self, value: Instr) -> Instr:
        return self.emit("mul", value, self.number(_QUAD))
