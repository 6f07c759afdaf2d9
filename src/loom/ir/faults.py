"""Makes the exceptions of kernels that ran wrong, alike for the interpreter and every device.

Layer: ir. Invariant: every fault has the attributes that its class declares.
"""

from __future__ import annotations

from typing import Any, TypeVar

from loom.core.errors import AssertionFailed, KernelFault, OutOfBounds
from loom.ir.kernel import Loc

DIFFERENCE = "difference"
"""What ``within`` names where it watches a difference, and no index."""

__all__ = ["DIFFERENCE", "assertion_failed", "make_fault", "out_of_bounds"]

_Fault = TypeVar("_Fault", bound=KernelFault)


def make_fault(
    kind: type[_Fault],
    kernel: str,
    loc: Loc | None,
    what: str,
    *,
    lane: int | None,
    expected: object = None,
    got: object = None,
    remedy: str = "",
    **facts: Any,
) -> _Fault:
    """Return a fault of ``kind`` in the kernel called ``kernel``; ``facts`` become attributes."""
    where = f"kernel {kernel!r}" + (f" at {loc}" if loc is not None else "")
    fault = kind(where, what, expected=expected, got=got, remedy=remedy)
    fault.lane, fault.line = lane, loc.line if loc is not None else None
    for name, value in facts.items():
        setattr(fault, name, value)
    return fault


def assertion_failed(kernel: str, loc: Loc | None, lane: int, message: str) -> AssertionFailed:
    """An ``assert`` of the kernel did not hold in ``lane``."""
    what = f"assertion failed in lane {lane}" + (f": {message.rstrip('.')}" if message else "")
    return make_fault(AssertionFailed, kernel, loc, what, lane=lane, message=message)


def out_of_bounds(
    kernel: str, loc: Loc | None, lane: int, operation: str, space: str, memory: str, index: int, bound: int
) -> OutOfBounds:
    """``operation`` on ``memory`` of ``bound`` elements (``space``: or along an axis) used ``index`` in ``lane``."""
    if space == DIFFERENCE:
        return make_fault(
            OutOfBounds,
            kernel,
            loc,
            f"a difference of unsigned numbers goes below zero in lane {lane} and is {memory}",
            expected="a number of at least 0",
            got=f"{bound} - {index}",
            remedy="Compute with i32(...); where it is meant to wrap, write (a - b) | 0, its bits",
            lane=lane,
            memory="",
            index=bound - index,
            bound=bound,
        )
    axis = space.removeprefix("axis ").partition(" ")[0] if space.startswith("axis ") else ""
    if space.endswith(" table"):  # a tuple has no shape
        length = f"len({memory}{'[0]' * int(axis)})"
    else:
        length = f"{memory}.shape[{axis}]" if axis else f"len({memory})"
    return make_fault(
        OutOfBounds, kernel, loc, f"{operation} outside {space} {memory!r} in lane {lane}",
        expected=f"an index from 0 to {bound - 1}" if bound else "no access, it has no elements",
        got=index, remedy=f"Guard it, for example with: if i {'>= 0' if index < 0 else f'< {length}'}",
        lane=lane, memory=memory, index=index, bound=bound,
    )  # fmt: skip
