"""Finds which values are equal in all lanes of a workgroup and where lanes may take different paths.

Layer: ir. A value is *varying* unless it is shown to be uniform; a statement is *divergent* if lanes of
one workgroup may disagree about executing it. Barriers need convergent flow, and the LLVM target keeps
uniform values scalar. Invariant: results are conservative, never optimistic, for race-free kernels.

Source: the divergence analysis of Coutinho et al., "Divergence Analysis and Optimizations" (PACT 2011),
reduced to structured control flow, where a scope's nesting depth replaces the dominance frontier.
"""

from __future__ import annotations

from dataclasses import field

from loom.core.late.dataclass import dataclass
from loom.ir.forward import Forward
from loom.ir.kernel import (
    Block,
    Break,
    Continue,
    For,
    If,
    Instr,
    Kernel,
    Return,
    Space,
    Variable,
    While,
    operations,
    walk,
    walk_blocks,
)
from loom.ir.ops import Effect

__all__ = ["Uniformity", "analyse_uniformity", "variable_homes"]

_TOGETHER = frozenset(("tile_product", "wide_product", "fetch"))
"""What lanes of a group do together, beside waiting for each other."""


@dataclass(slots=True)
class Uniformity:
    """What was found.

    ``divergent_loops`` are loops some lanes may leave before others; ``masked_variables`` are assigned
    where only some of the lanes that share the variable may be present; ``depth`` counts the
    disagreements around each block.
    """

    varying: set[Instr] = field(default_factory=set[Instr])
    varying_variables: set[Variable] = field(default_factory=set[Variable])
    masked_variables: set[Variable] = field(default_factory=set[Variable])
    divergent_loops: set[For | While] = field(default_factory=set["For | While"])
    divergent_barriers: list[Instr] = field(default_factory=list[Instr])
    divergent_returns: list[Return] = field(default_factory=list[Return])
    depth: dict[Block, int] = field(default_factory=dict[Block, int])

    def is_varying(self, value: Instr) -> bool:
        """True when lanes of one workgroup may hold different values."""
        return value in self.varying


def variable_homes(kernel: Kernel) -> dict[Variable, Block]:
    """Return the innermost block that encloses every access of each variable."""
    paths: dict[Variable, tuple[Block, ...]] = {}

    def visit(block: Block, path: tuple[Block, ...]) -> None:
        path = (*path, block)
        for s in block.statements:
            if isinstance(s, Instr):
                if isinstance(s.attr, Variable):
                    known = paths.get(s.attr, path)
                    paths[s.attr] = _common(known, path)
            for inner in walk_blocks(s):
                # the test of a while belongs to every turn: what it touches lives around the loop
                visit(inner, path)

    visit(kernel.body, ())
    return {variable: path[-1] for variable, path in paths.items()}


def _common(a: tuple[Block, ...], b: tuple[Block, ...]) -> tuple[Block, ...]:
    length = 0
    while length < min(len(a), len(b)) and a[length] is b[length]:
        length += 1
    return a[:length]


def analyse_uniformity(kernel: Kernel, varying_dimensions: tuple[bool, bool, bool] | None = None) -> Uniformity:
    """Return the uniformity facts of a kernel whose values are in scope (see ``verify``).

    ``varying_dimensions`` says along which dimensions the lanes considered differ: by default those
    of a whole workgroup; a target that runs a few lanes together passes those of such a bundle.
    """
    if varying_dimensions is None:
        x, y, z = kernel.workgroup
        varying_dimensions = (x > 1, y > 1, z > 1)
    analysis = _Analysis(kernel, varying_dimensions)
    while True:
        before = len(analysis.found.varying_variables), len(analysis.found.divergent_loops)
        analysis.run()
        if (len(analysis.found.varying_variables), len(analysis.found.divergent_loops)) == before:
            return analysis.found


class _Analysis(Forward[int]):
    """One sweep after the other; ``state`` is how often lanes disagreed about the block at hand when it began."""

    def __init__(self, kernel: Kernel, dimensions: tuple[bool, bool, bool]) -> None:
        super().__init__()
        self.kernel = kernel
        self.dimensions = dimensions
        self.homes = variable_homes(kernel)
        self.atomics = {s.memory for s in operations(kernel.body) if s.op.effect is Effect.ATOMIC}
        self.found = Uniformity()
        self.returned = False

    def run(self) -> None:
        """One sweep; the varying variables and divergent loops found so far are kept."""
        known = self.found
        self.found = Uniformity(varying_variables=known.varying_variables, divergent_loops=known.divergent_loops)
        self.state, self.returned = 0, False
        if any(self.dimensions):
            self.block(self.kernel.body)
        else:
            inner = (block for s in walk(self.kernel.body) for block in walk_blocks(s))
            self.found.depth = dict.fromkeys((self.kernel.body, *inner), 0)

    @property
    def depth(self) -> int:
        """How often the lanes that are here disagree with others."""
        return self.state + self.returned

    def block(self, block: Block) -> None:
        self.found.depth[block] = self.state
        super().block(block)

    def assume(self, s: If | While, *, holds: bool) -> None:
        varying, loops = s.condition in self.found.varying, self.found.divergent_loops
        if isinstance(s, If):
            self.state = self.depth + varying if holds else self.found.depth[s.then]
        elif holds and varying and s not in loops:
            loops.add(s)
            self.state += 1

    def begin(self, s: For | While) -> None:
        varying, loops = self.found.varying, self.found.divergent_loops
        if isinstance(s, For):
            if s.start in varying or s.step in varying:
                varying.add(s.index)
            if s.index in varying or s.stop in varying:
                loops.add(s)
        self.state = self.depth + (s in loops)

    def loop(self, s: For | While) -> None:
        """Visit a loop; if lanes turn out to leave it at different turns, the next sweep takes that into account."""
        returns = len(self.found.divergent_returns)
        super().loop(s)
        if len(self.found.divergent_returns) > returns:
            # whatever returned before it: lanes that return in this loop leave it one by one
            self.found.divergent_loops.add(s)

    def leave(self, s: Break | Continue | Return) -> None:
        if isinstance(s, Return):
            if self.depth > 0:
                self.found.divergent_returns.append(s)
                self.returned = True
        elif self.turns and self.depth > self.found.depth[self.turns[-1].loop.body]:
            self.found.divergent_loops.add(self.turns[-1].loop)

    def instr(self, s: Instr) -> None:
        if s.op.effect is Effect.SYNC or s.op.name in _TOGETHER:
            if self.depth > 0:
                self.found.divergent_barriers.append(s)
        if s.op.name == "set":
            is_masked = self.depth > self.found.depth.get(self.homes[s.attr], 0)
            if is_masked:
                self.found.masked_variables.add(s.attr)
            if is_masked or s.args[0] in self.found.varying:
                self.found.varying_variables.add(s.attr)
        elif s.dtype is not None and self.gives_varying(s):
            self.found.varying.add(s)

    def gives_varying(self, s: Instr) -> bool:
        if not s.op.is_pure:
            if s.op.name in ("global_id", "local_id"):
                return self.dimensions[int(s.attr)]
            if s.op.name == "get":
                return s.attr in self.found.varying_variables
            if s.op.effect is Effect.ATOMIC or s.op.name == "tile_product":
                return True
            if s.memory is not None and s.op.name == "load":
                if s.memory.space is Space.PRIVATE or s.memory in self.atomics:
                    return True
        return not self.found.varying.isdisjoint(s.args)
