"""Functions of the library that kernels call by name and that are written in the kernel language: random numbers by
index, sums over a workgroup.

Layer: ir. A definition is a Python function in the kernel language, translated in place where it is called. Parameters
named as words come to it as two u32, the lower 32 bits first, so that one definition serves 32 and 64 bits and devices
without integers of 64. Behind the parameters come shared memory, if it asks for some, whether that was used before, and
the workgroup. Invariant: the host cannot call one; it says what to use there.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from types import FunctionType
from typing import Any

from loom.core.dtype import DType
from loom.core.errors import StateError
from loom.core.late.dataclass import dataclass

__all__ = ["LaneFunction", "Room", "lane_function"]


@dataclass(frozen=True, slots=True)
class Room:
    """Shared memory that a function of a workgroup asks for: ``places`` for each lane.

    ``dtype`` None: that of the function's first argument. Calls of one kernel have the same memory, one after the
    other: a definition is told whether it may be the second, which must begin with a barrier.
    """

    places: int = 1
    dtype: DType | None = None


class LaneFunction:
    """A function such as ``loom.random_u32``: called inside kernels only."""

    def __init__(
        self, stub: Callable[..., Any], definition: FunctionType, words: tuple[str, ...], room: Room | None, host: str
    ) -> None:
        self.__name__ = stub.__name__
        self.__doc__ = stub.__doc__
        self.__module__ = stub.__module__
        self.__signature__ = inspect.signature(stub)
        self.definition = definition
        self.words = words
        self.room = room
        self._host = host

    def __call__(self, *_args: Any, **_kwargs: Any) -> Any:
        """Tell that this is no function of the host."""
        raise StateError(
            f"loom.{self.__name__}", "called on the host", expected="a call inside a kernel", remedy=self._host
        )

    def __repr__(self) -> str:
        return f"<loom.{self.__name__}>"


def lane_function(
    definition: Any, *, host: str, words: Sequence[str] = (), room: Room | None = None
) -> Callable[[Callable[..., Any]], LaneFunction]:
    """Make the stub below a function of kernels, with ``definition`` for its meaning.

    ``words`` are the parameters that are split; ``room`` is what a function of a workgroup asks for; ``host`` what to
    use on the host instead.
    """
    return lambda stub: LaneFunction(stub, definition, tuple(words), room, host)
