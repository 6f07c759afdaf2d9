"""Finds which values are equal in all lanes of a workgroup and where lanes may take different paths.

Layer: ir. A value is *varying* unless it is shown to be uniform; a statement is *divergent* if lanes of
one workgroup may disagree about executing it. Barriers need convergent flow, and the LLVM target keeps
uniform values scalar. Invariant: results are conservative, never optimistic, for race-free kernels.

Source: the divergence analysis of Coutinho et al., "Divergence Analysis and Optimizations" (PACT 2011),
reduced to structured control flow, where a scope's nesting depth replaces the dominance frontier.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from loom.ir.kernel import (
    Block,
    Break,
    Continue,
    For,
    If,
    Instr,
    Kernel,
    Memory,
    Return,
    Space,
    Variable,
    While,
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
    atomics = {s.memory for s in walk(kernel.body) if isinstance(s, Instr) and s.op.effect is Effect.ATOMIC}
    analysis = _Analysis(kernel, variable_homes(kernel), atomics, varying_dimensions)
    while True:
        before = len(analysis.found.varying_variables), len(analysis.found.divergent_loops)
        analysis.run()
        if (len(analysis.found.varying_variables), len(analysis.found.divergent_loops)) == before:
            return analysis.found


class _Analysis:
    def __init__(
        self,
        kernel: Kernel,
        homes: dict[Variable, Block],
        atomics: set[Memory | None],
        dimensions: tuple[bool, bool, bool],
    ) -> None:
        self.kernel = kernel
        self.dimensions = dimensions
        self.homes = homes
        self.atomics = atomics
        self.found = Uniformity()
        self.returned = False

    def run(self) -> None:
        """One sweep; the varying variables and divergent loops found so far are kept."""
        known = self.found
        self.found = Uniformity(varying_variables=known.varying_variables, divergent_loops=known.divergent_loops)
        self.returned = False
        if not any(self.dimensions):
            self._mark_depths(self.kernel.body)
            return
        self.block(self.kernel.body, 0, None)

    def _mark_depths(self, block: Block) -> None:
        self.found.depth[block] = 0
        for s in block.statements:
            for inner in walk_blocks(s):
                self._mark_depths(inner)

    def block(self, block: Block, depth: int, loop: tuple[For | While, int] | None) -> None:
        """Visit ``block``, run by lanes that disagree ``depth`` times; ``loop`` is (loop, its depth)."""
        self.found.depth[block] = depth
        for s in block.statements:
            here = depth + (1 if self.returned else 0)
            if isinstance(s, Instr):
                self.instr(s, here)
            elif isinstance(s, If):
                inner = here + (1 if s.condition in self.found.varying else 0)
                self.block(s.then, inner, loop)
                self.block(s.otherwise, inner, loop)
            elif isinstance(s, (For, While)):
                self.loop(s, here)
            elif isinstance(s, (Break, Continue)):
                if loop is not None and here > loop[1]:
                    self.found.divergent_loops.add(loop[0])
            elif isinstance(s, Return) and here > 0:
                self.found.divergent_returns.append(s)
                self.returned = True

    def loop(self, s: For | While, depth: int) -> None:
        """Visit a loop; if lanes turn out to leave it at different turns, the next sweep takes that into account."""
        varying, loops, returns = self.found.varying, self.found.divergent_loops, self.found.divergent_returns
        returned_before = len(returns)
        if isinstance(s, For):
            if s.start in varying or s.step in varying:
                varying.add(s.index)
            if s.start in varying or s.step in varying or s.stop in varying:
                loops.add(s)
        else:
            self.block(s.test, depth + (s in loops), None)
            if s.condition in varying:
                loops.add(s)
        inner = depth + (s in loops)
        self.block(s.body, inner, (s, inner))
        if len(returns) > returned_before:
            loops.add(s)  # whatever returned before it: lanes that return in this loop leave it one by one

    def instr(self, s: Instr, depth: int) -> None:
        if (s.op.effect is Effect.SYNC or s.op.name in _TOGETHER) and depth > 0:
            self.found.divergent_barriers.append(s)
        if s.op.name == "set":
            home = self.found.depth.get(self.homes[s.attr], 0)
            if depth > home:
                self.found.masked_variables.add(s.attr)
            if s.args[0] in self.found.varying or depth > home:
                self.found.varying_variables.add(s.attr)
        elif s.dtype is not None and self.gives_varying(s):
            self.found.varying.add(s)

    def gives_varying(self, s: Instr) -> bool:
        if s.op.name in ("global_id", "local_id"):
            return self.dimensions[int(s.attr)]
        if s.op.name == "get":
            return s.attr in self.found.varying_variables
        if s.op.effect is Effect.ATOMIC:
            return True
        if s.op.name == "tile_product":
            return True
        if s.memory is not None and s.op.name == "load":
            if s.memory.space is Space.PRIVATE or s.memory in self.atomics:
                return True
        return any(a in self.found.varying for a in s.args)
