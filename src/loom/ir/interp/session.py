"""pdb on a kernel: one lane's names in a frame that stands on the kernel's own source line.

Layer: ir. A frame cannot be made, only entered: each stop compiles a call whose file and line are the
statement's, runs it with the lane's names as locals, and talks to the user from inside.
Invariant: ``quit`` leaves the dispatch with ``bdb.BdbQuit``; no other command changes what is computed,
unless the user assigns to the elements of a memory.
"""

from __future__ import annotations

import ast
import bdb
import builtins
import inspect
import linecache
import pdb
import sys
from types import CodeType, FrameType
from typing import TYPE_CHECKING, Any, TextIO

import numpy as np

from loom.ir.interp.batch import Batch
from loom.ir.kernel import Loc

if TYPE_CHECKING:
    from loom.ir.interp.tracing import StopTracer

__all__ = ["Session"]


class Session(pdb.Pdb):
    """pdb with ``next``, ``step``, ``continue``, ``break`` and ``quit`` for lanes, and ``lane N``."""

    def __init__(self, tracer: StopTracer, stdin: TextIO | None, stdout: TextIO | None) -> None:
        super().__init__(stdin=stdin, stdout=stdout, nosigint=True, readrc=False)
        self.tracer = tracer
        self.lane = 0
        self._batch: Batch | None = None
        self._again = False

    def open(self, batch: Batch, loc: Loc, lane: int) -> None:
        """Talk to the user before the statement at ``loc``, as lane ``lane``; BdbQuit on ``quit``."""
        self._batch, self.lane, self._again, self.quitting = batch, lane, True, False
        code = _call_at(loc, batch.dispatch.kernel.name)
        while self._again:
            self._again = False
            self.prompt = f"(lane {self.lane}) "
            scope = {"__builtins__": builtins, "__loom_stop__": self._talk, "np": np}
            exec(code, scope, self.tracer.names(batch, self.lane))
        if self.quitting:
            raise bdb.BdbQuit

    def _talk(self) -> None:
        self.interaction(sys._getframe(1), None)  # pyright: ignore[reportPrivateUsage] - there is no public way to a caller's frame

    def get_stack(self, f: FrameType | None, t: Any) -> tuple[list[tuple[FrameType, int]], int]:
        """Show the kernel's frame alone, not the interpreter's below it."""
        del t
        assert f is not None
        return [(f, f.f_lineno)], 0

    def do_next(self, arg: str) -> bool:
        """n(ext): go on to the lane's next line (``step`` is the same: calls are inlined)."""
        del arg
        self.tracer.stepping = self.lane
        return True

    def do_continue(self, arg: str) -> bool:
        """c(ontinue): go on to the next breakpoint."""
        del arg
        self.tracer.stepping = None
        return True

    def do_quit(self, arg: str) -> bool:
        """q(uit): stop the dispatch."""
        del arg
        self.quitting = True
        return True

    def do_lane(self, arg: str) -> bool:
        """lane N: look at, and from now on follow, the lane with global number N; without N, tell it."""
        assert self._batch is not None
        first, last = self._batch.first_lane, self._batch.first_lane + self._batch.lanes - 1
        if not arg:
            self.message(f"lane {self.lane} of lanes {first} to {last}")
            return False
        if not arg.isdecimal() or not first <= int(arg) <= last:
            self.error(f"expected a lane from {first} to {last}, got {arg!r}")
            return False
        self.lane = self.tracer.lane = int(arg)
        self._again = True
        return True

    def do_break(self, arg: str, temporary: int = 0) -> bool:
        """b(reak) LINE: stop when a lane reaches that line; without LINE, list the breakpoints."""
        del temporary
        if arg.isdecimal():
            self.tracer.lines.add(int(arg))
        elif arg:
            self.error(f"expected a line number, got {arg!r}")
            return False
        self.message("breakpoints at lines: " + (", ".join(map(str, sorted(self.tracer.lines))) or "none"))
        return False

    def do_clear(self, arg: str) -> bool:
        """cl(ear) [LINE]: forget that breakpoint, or all."""
        lines = self.tracer.lines
        lines.difference_update({int(arg)} if arg.isdecimal() else set(lines))
        return False

    def do_longlist(self, arg: str) -> bool | None:
        """ll: list the whole kernel."""
        del arg
        loc = self.tracer.kernel.loc
        lines = linecache.getlines(loc.file)[loc.line - 1 :] if loc is not None else []
        if not lines or loc is None:
            return self.do_list("")
        return self.do_list(f"{loc.line}, {loc.line + len(inspect.getblock(lines)) - 1}")

    do_n = do_s = do_step = do_unt = do_until = do_next
    do_c = do_cont = do_r = do_return = do_continue
    do_q = do_exit = do_EOF = do_quit  # noqa: N815 - pdb names it so
    do_b = do_break
    do_cl = do_clear
    do_ll = do_longlist


def _call_at(loc: Loc, name: str) -> CodeType:
    tree = ast.increment_lineno(ast.parse("__loom_stop__()"), loc.line - 1)
    return compile(tree, loc.file, "exec").replace(co_name=name)
