"""The switch that sends dispatches to the interpreter, its checks on and its breakpoints armed.

Layer: ir. The runtime asks ``current_debug()`` when it launches; inside ``with debug():`` it runs the
dispatch by ``interpret(..., options=current_debug().options)``. Invariant: the switch holds for the
block and the context (thread or task) it was set in, nothing else.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, TextIO

from loom.core.dataclass import dataclass

if TYPE_CHECKING:
    from loom.ir.interp.options import Options

__all__ = ["CURRENT", "Debug", "current_debug", "debug"]


@dataclass(frozen=True, slots=True)
class Debug:
    """What one ``with debug():`` asks for."""

    options: Options


CURRENT: ContextVar[Debug | None] = ContextVar("loom_debug", default=None)
"""What the innermost ``with debug():`` of a context asks for."""


def current_debug() -> Debug | None:
    """Return what the innermost ``with debug():`` around the caller asks for, None outside of one."""
    return CURRENT.get()


@contextmanager
def debug(
    lane: int | None = None,
    breakpoints: Iterable[int] = (),
    *,
    bounds: bool = True,
    nan: bool = True,
    races: bool = True,
    uninitialized: bool = False,
    order: bool = True,
    stdin: TextIO | None = None,
    stdout: TextIO | None = None,
) -> Generator[Debug, None, None]:
    """Run every dispatch launched in the block in the interpreter, checked and with pdb at breakpoints.

    ``lane`` is the global flat number of the lane to look at (None: the lowest one there);
    ``breakpoints`` are source lines that stop it, besides ``breakpoint()`` in the kernel. The five
    checks are those of ``Options``; ``stdin`` and ``stdout`` replace the terminal.

    >>> with debug(lane=3, nan=True):
    ...     current_debug().options.lane
    3
    >>> current_debug() is None
    True
    """
    from loom.core.numbers import whole
    from loom.ir.interp.options import Options  # every launch asks for the switch, few turn it

    if lane is not None:
        lane = whole(lane, "loom.debug, lane", least=0)
    breakpoints = [breakpoints] if not isinstance(breakpoints, Iterable) else breakpoints
    lines = frozenset(whole(line, "loom.debug, breakpoints", least=1) for line in breakpoints)
    chosen = Debug(
        Options(
            bounds=bounds,
            nan=nan,
            races=races,
            uninitialized=uninitialized,
            order=order,
            lane=lane,
            breakpoints=lines,
            debugger=True,
            stdin=stdin,
            stdout=stdout,
        )
    )
    token = CURRENT.set(chosen)
    try:
        yield chosen
    finally:
        CURRENT.reset(token)
