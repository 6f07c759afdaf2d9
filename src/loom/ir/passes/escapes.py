"""Folds early exits into ``if``/``else`` so that what follows them is plainly conditional.

Layer: ir. ``if c: return`` followed by R becomes ``if c: {} else: R`` (and likewise ``continue`` in a
loop body), so that targets meet masks instead of jumps for the commonest idioms. Exits in other
places stay, and what stands behind an ``if`` of which both sides leave is dropped: no lane reaches it.
Invariant: the order and number of operations each lane executes are unchanged.
"""

from __future__ import annotations

from dataclasses import replace

from loom.ir.kernel import Block, Break, Continue, If, Instr, Kernel, Return, Statement, with_blocks

__all__ = ["fold_escapes"]

_Exit = type[Return] | type[Continue]


def fold_escapes(kernel: Kernel) -> Kernel:
    """Return an equal kernel whose top-level early returns and continues are folded."""
    return replace(kernel, body=_fold(kernel.body, Return))


def _fold(block: Block, exit_kind: _Exit | None) -> Block:
    """Fold exits of ``exit_kind``; the end of ``block`` is where such an exit would go anyway."""
    out: list[Statement] = []
    statements = block.statements
    for position, statement in enumerate(statements):
        if isinstance(statement, Instr):
            out.append(statement)
            continue
        if exit_kind is not None and isinstance(statement, exit_kind):
            return Block(out)  # at the end of the block the exit is a no-op; what follows is dead
        if isinstance(statement, If) and exit_kind is not None:
            exits = (_ends(statement.then, exit_kind), _ends(statement.otherwise, exit_kind))
            rest = statements[position + 1 :]
            if any(exits):
                then = statement.then.statements + ([] if _leaves(statement.then) else rest)
                otherwise = statement.otherwise.statements + ([] if _leaves(statement.otherwise) else rest)
                out.append(_fold_if(statement, then, otherwise, exit_kind))
                return Block(out)
        last = position == len(statements) - 1 or _is_left(statement)
        out.append(_descend(statement, exit_kind if last else None))
        if last:
            break  # what follows a statement that no lane comes out of is never run
    return Block(out)


def _fold_if(s: If, then: list[Statement], otherwise: list[Statement], exit_kind: _Exit) -> If:
    return If(s.condition, _fold(Block(then), exit_kind), _fold(Block(otherwise), exit_kind), s.loc)


def _ends(block: Block, exit_kind: _Exit) -> bool:
    return bool(block.statements) and isinstance(block.statements[-1], exit_kind)


def _leaves(block: Block) -> bool:
    """True if no lane reaches the end of ``block``."""
    return any(_is_left(s) for s in block.statements)


def _is_left(s: Statement) -> bool:
    """True if no lane goes on to the statement after ``s``."""
    if isinstance(s, If):
        return _leaves(s.then) and _leaves(s.otherwise)
    return isinstance(s, (Break, Continue, Return))


def _descend(s: Statement, exit_kind: _Exit | None) -> Statement:
    kind = exit_kind if isinstance(s, If) else Continue
    return with_blocks(s, lambda block: _fold(block, kind))
