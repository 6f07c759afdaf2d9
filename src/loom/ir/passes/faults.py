"""Lets a lane whose ``assert`` fails stop there, as the interpreter does by itself.

Layer: ir. In a kernel without barriers the lane returns. Where lanes wait for each other it stays with them until the
end and does nothing more that can be seen: a variable tells whether it still goes on, what it would write or print is
skipped, and so are whole branches and loops without barriers. Invariant: what a lane writes and prints before its
fault is unchanged, after it there is nothing, and barriers are reached by all.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from loom.core.dtype import bool_
from loom.ir.kernel import (
    Block,
    Break,
    Continue,
    For,
    If,
    Instr,
    Kernel,
    Return,
    Statement,
    Variable,
    While,
    operations,
    walk,
    walk_blocks,
    with_blocks,
)
from loom.ir.ops import OPS, Effect
from loom.ir.passes.rewrite import Rewriter

__all__ = ["stop_at_faults"]


def stop_at_faults(kernel: Kernel) -> Kernel:
    """Return a kernel whose lanes write and print nothing after an ``assert`` that failed; itself if it has none."""
    if not any(map(_asserts, operations(kernel.body))):
        return kernel
    tests = [s.test for s in walk(kernel.body) if isinstance(s, While)]
    if any(map(_waits, operations(kernel.body))) or any(map(_asserts, operations(*tests))):
        return _Staying(kernel).rewritten()
    return replace(kernel, body=_returning(kernel.body))


def _asserts(s: Instr) -> bool:
    return s.op.name == "assert"


def _waits(s: Instr) -> bool:
    return s.op.effect is Effect.SYNC


def _holds(s: Statement, what: Callable[[Instr], bool]) -> bool:
    """True if a statement is, or has inside it, an operation that is ``what``."""
    return what(s) if isinstance(s, Instr) else any(map(what, operations(*walk_blocks(s))))


def _leaves(s: Statement) -> bool:
    """True if a branch ends the turn of the loop around it, or the kernel."""
    if isinstance(s, If):
        return any(_leaves(inner) for block in walk_blocks(s) for inner in block.statements)
    return isinstance(s, (Break, Continue, Return))


def _returning(block: Block) -> Block:
    """Return ``block`` with a return of those that fail behind every assert."""
    out: list[Statement] = []
    for s in block.statements:
        out.append(with_blocks(s, _returning))
        if isinstance(s, Instr) and _asserts(s):
            failed = Instr(OPS["not"], bool_, (s.args[0],), None, None, s.loc)
            out += [failed, If(failed, Block([Return(s.loc)]), Block(), s.loc)]
    return Block(out)


class _Staying(Rewriter):
    """``together`` rewrites what a group goes through as one, ``apart`` what lanes that still go on do alone."""

    def __init__(self, kernel: Kernel) -> None:
        super().__init__(kernel)
        self.going = Variable("goes on", bool_)
        self.variables = [self.going]
        self.may_have_failed = False
        self.in_loop: bool | None = None
        """Of what lanes do alone, whether a loop is around it that they do alone; None of what they do together."""

    def rewritten(self) -> Kernel:
        self.emit("set", self.const(1, bool_), attr=self.going)
        self.together(self.kernel.body.statements)
        variables = (*self.kernel.variables, *self.variables)
        return replace(self.kernel, body=Block(self.out), variables=variables)

    @contextmanager
    def within(self, in_loop: bool | None) -> Generator[None, None, None]:
        """Rewrite statements as those of lanes that are together, alone, or alone in a loop."""
        outer, self.in_loop = self.in_loop, in_loop
        yield
        self.in_loop = outer

    @contextmanager
    def leave_out_failed(self) -> Generator[None, None, None]:
        """Leave out lanes that failed."""
        if not self.may_have_failed:
            yield
            return
        going, loc = self.emit("get", attr=self.going), self.loc
        with self.inside() as made:
            yield
        self.out.append(If(going, made, Block(), loc))

    # what a group goes through as one

    def together(self, statements: Sequence[Statement]) -> None:
        for s in statements:
            self.loc = s.loc
            if isinstance(s, Instr):
                self.effect(s)
            elif isinstance(s, (Break, Continue, Return)):
                self.out.append(s)
            elif _holds(s, _waits) or (isinstance(s, If) and _leaves(s)):
                self.structure(s)
            else:
                with self.leave_out_failed(), self.within(in_loop=False):
                    self.apart([s])
            self.may_have_failed = self.may_have_failed or _holds(s, _asserts)

    def structure(self, s: If | For | While) -> None:
        """Rewrite what is inside a statement that all lanes of the group go through."""
        self.may_have_failed = self.may_have_failed or (not isinstance(s, If) and _holds(s, _asserts))
        self.statement(s)

    def block(self, block: Block) -> Block:
        before = self.may_have_failed
        with self.inside() as made:
            (self.together if self.in_loop is None else self.apart)(block.statements)
        self.may_have_failed = before
        return made

    def effect(self, s: Instr) -> None:
        """Rewrite an operation that lanes which failed come to as well."""
        if s.op.name == "assert":
            with self.leave_out_failed():
                self.failing(s)
        elif s.op.effect is Effect.ATOMIC and self.may_have_failed:
            old = Variable("old", s.type)
            self.variables.append(old)
            self.emit("set", self.const(0, s.type), attr=old)
            with self.leave_out_failed():
                self.emit("set", self.copy(s), attr=old)
            self.values[s] = self.emit("get", attr=old)
        elif s.op.name in ("store", "print"):
            with self.leave_out_failed():
                self.copy(s)
        else:
            self.statement(s)

    def failing(self, s: Instr) -> None:
        """Append an assert and keep whether it held."""
        self.copy(s)
        self.emit("set", self.value(s.args[0]), attr=self.going)

    # what lanes do alone

    def apart(self, statements: Sequence[Statement]) -> None:
        """Rewrite statements that only lanes which go on come to: one that fails skips the rest."""
        for position, s in enumerate(statements):
            self.loc = s.loc
            self.alone(s)
            if not _holds(s, _asserts):
                continue
            if self.in_loop:
                failed = self.emit("not", self.emit("get", attr=self.going))
                self.out.append(If(failed, Block([Break(s.loc)]), Block(), s.loc))
            elif position + 1 < len(statements):
                going = self.emit("get", attr=self.going)
                with self.inside() as rest:
                    self.apart(statements[position + 1 :])
                self.out.append(If(going, rest, Block(), s.loc))
                return

    def alone(self, s: Statement) -> None:
        if isinstance(s, Instr) and _asserts(s):
            self.failing(s)
        elif isinstance(s, While):
            self.while_(s)
        else:
            with self.within(in_loop=self.in_loop or isinstance(s, For)):
                self.statement(s)

    def while_(self, s: While) -> None:
        """A test that fails ends the loop; what follows the assert in it is computed, and has no effect."""
        before, self.may_have_failed = self.may_have_failed, False
        with self.inside() as test, self.within(in_loop=None):
            self.together(s.test.statements)
            condition = self.value(s.condition)
            if self.may_have_failed:
                condition = self.emit("and", condition, self.emit("get", attr=self.going))
        self.may_have_failed = before
        with self.within(in_loop=True):
            self.out.append(While(test, condition, self.block(s.body), s.loc))
