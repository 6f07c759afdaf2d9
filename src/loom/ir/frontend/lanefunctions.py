"""Functions of the library that kernels call by name and that are written in the kernel language: random numbers by
index, sums over a workgroup.

Layer: ir. A definition is a Python function in the kernel language, translated in place where it is called. Parameters
named as words come to it as two u32, the lower 32 bits first, so that one definition serves 32 and 64 bits and devices
without integers of 64. Behind the parameters come shared memory, if it asks for some, whether that was used before, and
the workgroup. Invariant: the host cannot call one; it says what to use there.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import FunctionType
from typing import Any

from loom.core.dtype import DType, bool_, u32
from loom.core.errors import StateError
from loom.ir.frontend.base.values import Operand, Static, Typing, describe, is_number
from loom.ir.kernel import Instr

__all__ = ["LaneFunction", "Room", "lane_function", "operands_of"]

_LOW = 0xFFFF_FFFF


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


def operands_of(
    target: LaneFunction, args: Sequence[Operand], keywords: Mapping[str, Operand], text: str, typing: Typing
) -> list[Operand]:
    """Return what the definition is given for a call, which reads ``text``."""
    signature = target.__signature__
    try:
        bound = signature.bind(*args, **keywords)
    except TypeError as error:
        raise typing.builder.error(
            f"{target.__name__} is called wrongly ({error})", signature, text, f"See help(loom.{target.__name__})"
        ) from None
    given = {name: bound.arguments.get(name, Static(p.default)) for name, p in signature.parameters.items()}
    if target.room is not None:
        return _of_group(typing, target, target.room, list(given.values()))
    found: list[Operand] = []
    for name, operand in given.items():
        where = f"{name!r} of {target.__name__}"
        found += _words(typing, operand, where, 64) if name in target.words else _words(typing, operand, where, 32)[:1]
    return found


def _of_group(typing: Typing, target: LaneFunction, room: Room, given: list[Operand]) -> list[Operand]:
    """Return the arguments, the first one typed, then shared memory and the workgroup."""
    builder = typing.builder
    first = given[0]
    value = typing.as_value(first) if _is_value(first) else None
    wanted = bool_ if room.dtype is not None else None
    if value is None or value.type.is_vector or (value.dtype != wanted if wanted else value.type.is_bool):
        raise builder.error(
            f"{target.__name__} cannot take this", "a condition" if wanted else "a number",
            describe(first) if value is None else value.dtype,
            "Compare, for example x > 0" if wanted else "Write loom.group_count(condition), or u32(condition)",
        )  # fmt: skip
    x, y, z = builder.workgroup
    memory, again = builder.scratch(room.dtype or value.type, room.places * x * y * z)
    return [value, *given[1:], memory, Static(again), Static(builder.workgroup)]


def _is_value(operand: Operand) -> bool:
    """Tell whether an operand is a number, known or not."""
    return isinstance(operand, Instr) or (isinstance(operand, Static) and is_number(operand.value))


def _words(typing: Typing, operand: Operand, what: str, bits: int) -> list[Operand]:
    """Return an integer as two u32, the lower one first."""
    builder = typing.builder
    if isinstance(operand, Static) and is_number(operand.value):
        number = operand.value.item() if hasattr(operand.value, "item") else operand.value
        if isinstance(number, bool) or not isinstance(number, int) or not 0 <= number < 1 << bits:
            raise builder.error(f"{what} is out of range", f"a whole number from 0 to 2^{bits} - 1", repr(number),
                                f"Take it modulo 2^{bits}")  # fmt: skip
        return [builder.const(number & _LOW, u32), builder.const(number >> 32, u32)]
    value = typing.as_value(operand) if isinstance(operand, (Instr, Static)) else None
    if value is None or not value.type.is_integer or value.type.is_vector or value.type.bits > bits:
        got = describe(operand) if value is None else value.dtype
        raise builder.error(f"{what} is no integer of at most {bits} bits", "an integer", got, "Convert with u32(...)")
    low = builder.emit("convert", value, dtype=u32) if value.dtype != u32 else value
    if value.type.bits <= 32:
        return [low, builder.const(0, u32)]
    shift = builder.const(32, value.type)
    high = builder.emit("shr", value, shift)
    return [low, builder.emit("convert", high, dtype=u32)]
