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

from loom.core.late.dataclass import dataclass

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

    Args:
        lane: Global flat number of the lane to look at; None: the lowest one at a breakpoint.
        breakpoints: Lines of the source that stop it, besides ``breakpoint()`` in the kernel; one, or several.
        bounds: Whether an index outside is a fault.
        nan: Whether a NaN that is produced is a fault.
        races: Whether two lanes at one address are a fault.
        uninitialized: Whether reading what nobody wrote is a fault.
        order: Whether results that another order of lanes would change are a fault.
        stdin: Stream of commands; None: the terminal.
        stdout: Stream of answers; None: the terminal.

    Returns:
        Context manager; what it yields has the ``options``.

    Raises:
        ArgumentError: A lane below 0; a line below 1; not a whole number.

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
            differences=bounds,
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
