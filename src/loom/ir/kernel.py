"""What a kernel is: its interface, its memories and a tree of structured statements.

Layer: ir. A kernel is executed by many lanes, grouped in workgroups. Each ``Instr`` that has a type is
also the value it computes; a value may be used in the block that computes it and in blocks nested
there. Mutable state lives in variables (one per lane) and memories. Invariant: a ``Kernel`` is
immutable once built, and its text form (see ``text``) contains everything that affects results.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import field
from typing import TYPE_CHECKING, Any, Union

from loom.core.dtype import DType
from loom.core.late.dataclass import dataclass
from loom.core.numerics import Guarantee
from loom.ir.ops import Op

if TYPE_CHECKING:
    from loom.core.fixed import Fixed

__all__ = [
    "Access",
    "Block",
    "Break",
    "Continue",
    "For",
    "If",
    "Instr",
    "Kernel",
    "LaneOrder",
    "Loc",
    "Memory",
    "Param",
    "Return",
    "Space",
    "Statement",
    "Variable",
    "While",
    "assignments",
    "operands",
    "operations",
    "origins",
    "walk",
    "walk_blocks",
    "with_blocks",
]


@dataclass(frozen=True, slots=True)
class Loc:
    """Where in the source a statement comes from; never part of a kernel's identity."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


class Space(enum.Enum):
    """Who shares a memory."""

    BUFFER = "buffer"
    SHARED = "shared"
    PRIVATE = "private"


class Access(enum.Enum):
    """What a kernel may do with a buffer."""

    READ = "read"
    WRITE = "write"
    READ_WRITE = "read_write"

    @property
    def reads(self) -> bool:
        """True when loads are allowed."""
        return self is not Access.WRITE

    @property
    def writes(self) -> bool:
        """True when stores are allowed."""
        return self is not Access.READ


class LaneOrder(enum.Enum):
    """What a kernel says of the order in which its lanes come to an element."""

    PROVED = "proved"
    """That it does not matter, which ``passes.laneorder`` proves."""
    FREE = "free"
    """The same, where a docstring has the proof: of the library alone."""
    ANY = "any"
    """That it may matter: nothing is promised of what it gives."""


@dataclass(frozen=True, slots=True, eq=False)
class Memory:
    """An array: a bound buffer, workgroup-shared memory, or a lane's private array.

    ``size`` counts elements and is None for buffers, whose length is known when a dispatch is
    recorded. Shared and private memory starts as zero in every workgroup.

    Of buffers: ``ndim`` is how many dimensions what is bound must have (0: any, seen flat), ``record`` the layout of
    the records whose words it holds ("" for plain elements), ``data`` what a table of constants holds, which nobody
    binds; ``fixed`` the type of fixed-point cells, which are i64 to all but the front end and callers.
    """

    name: str
    dtype: DType
    space: Space
    size: int | None = None
    access: Access = Access.READ_WRITE
    ndim: int = 0
    record: str = ""
    data: bytes | None = None
    fixed: Fixed | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Param:
    """A push constant: a scalar given anew with each dispatch, kept exactly.

    ``extent`` names a buffer and one of its axes: the value is then the length bound there, and nobody gives it.
    ``default`` is what the dispatch takes where nothing is given; it is no part of the kernel's identity.
    """

    name: str
    dtype: DType
    extent: tuple[str, int] | None = None
    default: Any = None


@dataclass(frozen=True, slots=True, eq=False)
class Variable:
    """A mutable local, one per lane."""

    name: str
    dtype: DType


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Instr:
    """One operation; also the value it gives when ``dtype`` is not None.

    ``attr`` by operation: const: the bits; convert, bitcast: nothing (the type says it);
    global_id, local_id, group_id, num_groups: the dimension; extract: the component;
    param: the Param; length: nothing (the memory says it); get, set: the Variable; print and assert:
    the text pieces around the values printed (one more than there are values); within: what is indexed, and its name;
    tile_product: the words of a row, and from one row to the next; wide_product: the name of the shared array, the rows
    of the second operand, and 1 where sums are kept, else 0; fetch: the name of the shared array, words, and as of
    fetched and release how many tickets there are at a time, and pieces of each.
    """

    op: Op
    dtype: DType | None
    args: tuple[Instr, ...] = ()
    attr: Any = None
    memory: Memory | None = None
    loc: Loc | None = None

    @property
    def name(self) -> str:
        """The operation's name."""
        return self.op.name

    @property
    def type(self) -> DType:
        """The value's type; an Instr without result has none."""
        assert self.dtype is not None, f"{self.op.name} has no result"
        return self.dtype

    def __repr__(self) -> str:
        return f"<{self.op.name}{f': {self.dtype}' if self.dtype is not None else ''}>"


@dataclass(slots=True, eq=False)
class Block:
    """Statements in order."""

    statements: list[Statement] = field(default_factory=list["Statement"])


@dataclass(slots=True, eq=False)
class If:
    """Lanes for which ``condition`` holds run ``then``, the others ``otherwise``."""

    condition: Instr
    then: Block
    otherwise: Block
    loc: Loc | None = None


@dataclass(slots=True, eq=False)
class For:
    """``index`` counts from ``start`` by ``step`` while below ``stop`` (``down``: while above it).

    The three are evaluated once and the counter never wraps. Counting up needs a step above 0 and
    counting down one below 0; any other step runs nothing.
    """

    index: Instr
    start: Instr
    stop: Instr
    step: Instr
    down: bool
    body: Block
    loc: Loc | None = None


@dataclass(slots=True, eq=False)
class While:
    """``test`` computes ``condition`` before each turn of ``body``."""

    test: Block
    condition: Instr
    body: Block
    loc: Loc | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Break:
    """Leave the innermost loop."""

    loc: Loc | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Continue:
    """Go on with the next turn of the innermost loop."""

    loc: Loc | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Return:
    """The lane is done."""

    loc: Loc | None = None


Statement = Union[Instr, If, For, While, Break, Continue, Return]


@dataclass(frozen=True, eq=False)
class Kernel:
    """A complete kernel. ``buffers`` are bound in order; ``workgroup`` is lanes per group, x first.

    ``trusted`` kernels (the library's own) may be compiled without bounds checks and without zeroing
    shared and private memory; they are tested with both. ``names`` tells the debugger which source
    names stand for which values; it is no part of the kernel's identity. ``goes_below``: numbers of lanes and lengths
    are taken for signed ones, so that a dispatch has fewer than 2^31 of them; ``index_params`` are taken so, too.
    ``differences`` of unsigned numbers, as the source has them, are watched where indexes are. ``is_own``: Loom's own
    code, what it is trusted with is tested; no part of its identity either.
    """

    name: str
    buffers: tuple[Memory, ...]
    params: tuple[Param, ...]
    workgroup: tuple[int, int, int]
    body: Block
    shared: tuple[Memory, ...] = ()
    private: tuple[Memory, ...] = ()
    variables: tuple[Variable, ...] = ()
    trusted: bool = False
    guarantee: Guarantee = Guarantee.BIT_EXACT
    order: LaneOrder = LaneOrder.PROVED
    loc: Loc | None = None
    names: dict[Instr, str] = field(default_factory=dict[Instr, str])
    goes_below: bool = False
    index_params: frozenset[Param] = frozenset()
    differences: frozenset[Instr] = frozenset()
    is_own: bool = True

    @property
    def lanes(self) -> int:
        """Lanes in one workgroup."""
        x, y, z = self.workgroup
        return x * y * z

    def where(self, loc: Loc | None) -> str:
        """Name the kernel and source line, for errors."""
        return f"kernel {self.name!r}" + (f" at {loc}" if loc is not None else "")


def walk_blocks(statement: Statement) -> tuple[Block, ...]:
    """Return the blocks directly inside a statement."""
    if isinstance(statement, If):
        return statement.then, statement.otherwise
    if isinstance(statement, For):
        return (statement.body,)
    if isinstance(statement, While):
        return statement.test, statement.body
    return ()


def walk(*blocks: Block) -> Iterator[Statement]:
    """Yield every statement below the blocks, outer before inner, in source order."""
    under_way = [iter(block.statements) for block in reversed(blocks)]
    while under_way:
        for statement in under_way[-1]:
            yield statement
            if not isinstance(statement, Instr):
                under_way += [iter(inner.statements) for inner in reversed(walk_blocks(statement))]
                break
        else:
            under_way.pop()


def operations(*blocks: Block) -> Iterator[Instr]:
    """Yield every operation below the blocks, in source order."""
    under_way = [iter(block.statements) for block in reversed(blocks)]
    while under_way:  # as ``walk`` does, in one step for what most statements are: every kernel is read often
        for statement in under_way[-1]:
            if isinstance(statement, Instr):
                yield statement
            else:
                under_way += [iter(inner.statements) for inner in reversed(walk_blocks(statement))]
                break
        else:
            under_way.pop()


def with_blocks(s: Statement, change: Callable[[Block], Block]) -> Statement:
    """Return a statement with other blocks, made in their order of those directly inside it; itself if it has none."""
    if isinstance(s, If):
        return If(s.condition, change(s.then), change(s.otherwise), s.loc)
    if isinstance(s, For):
        return For(s.index, s.start, s.stop, s.step, s.down, change(s.body), s.loc)
    return While(change(s.test), s.condition, change(s.body), s.loc) if isinstance(s, While) else s


def operands(statement: Statement) -> tuple[Instr, ...]:
    """Return the values a statement uses itself, those of the blocks inside it left out."""
    if isinstance(statement, Instr):
        return statement.args
    if isinstance(statement, For):
        return statement.start, statement.stop, statement.step
    return (statement.condition,) if isinstance(statement, (If, While)) else ()


def assignments(body: Block) -> dict[Variable, list[Instr]]:
    """Return the values that each variable is set to, in source order."""
    result: dict[Variable, list[Instr]] = {}
    for s in operations(body):
        if s.name == "set":
            result.setdefault(s.attr, []).append(s.args[0])
    return result


def origins(values: Iterable[Instr], assigned: Mapping[Variable, list[Instr]]) -> set[Instr]:
    """Return what ``values`` are computed of, themselves among it, given ``assignments``; memory is not followed."""
    result: set[Instr] = set()
    waiting = list(values)
    while waiting:
        value = waiting.pop()
        if value not in result:
            result.add(value)
            waiting += value.args
            if value.name == "get":
                waiting += assigned.get(value.attr, ())
    return result
