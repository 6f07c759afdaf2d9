"""Functions of the library that kernels call by name and that take integers of any width: random numbers by index.

Layer: ir. A definition is a Python function in the kernel language, translated in place where it is called. Parameters
named as words come to it as two u32, the lower 32 bits first, so that one definition serves 32 and 64 bits and devices
without integers of 64. Invariant: the host cannot call one; it says what to use there.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from types import FunctionType
from typing import Any

from loom.core.dtype import u32
from loom.core.errors import StateError
from loom.ir.frontend.values import Operand, Static, Typing, describe, is_number
from loom.ir.kernel import Instr

__all__ = ["LaneFunction", "lane_function", "operands_of"]

_LOW = 0xFFFF_FFFF


class LaneFunction:
    """A function such as ``loom.random_u32``: called inside kernels only."""

    def __init__(self, stub: Callable[..., Any], definition: FunctionType, words: tuple[str, ...], host: str) -> None:
        self.__name__ = stub.__name__
        self.__doc__ = stub.__doc__
        self.__module__ = stub.__module__
        self.__signature__ = inspect.signature(stub)
        self.definition = definition
        self.words = words
        self._host = host

    def __call__(self, *_args: Any, **_kwargs: Any) -> Any:
        """Tell that this is no function of the host."""
        raise StateError(
            f"loom.{self.__name__}", "called on the host", expected="a call inside a kernel", remedy=self._host
        )

    def __repr__(self) -> str:
        return f"<loom.{self.__name__}>"


def lane_function(definition: Any, *, words: Sequence[str], host: str) -> Callable[[Callable[..., Any]], LaneFunction]:
    """Make the stub below a function of kernels, with ``definition`` for its meaning.

    ``words`` are the parameters that are split; ``host`` is what to use on the host instead.
    """
    return lambda stub: LaneFunction(stub, definition, tuple(words), host)


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
    found: list[Operand] = []
    for name, parameter in signature.parameters.items():
        operand = bound.arguments.get(name, Static(parameter.default))
        where = f"{name!r} of {target.__name__}"
        found += _words(typing, operand, where, 64) if name in target.words else _words(typing, operand, where, 32)[:1]
    return found


def _words(typing: Typing, operand: Operand, what: str, bits: int) -> list[Operand]:
    """Return an integer as two u32, the lower one first."""
    builder = typing.builder
    if isinstance(operand, Static) and is_number(operand.value):
        number = operand.value.item() if hasattr(operand.value, "item") else operand.value
        if isinstance(number, bool) or not isinstance(number, int) or not 0 <= number < 1 << bits:
            raise builder.error(f"{what} is out of range", f"a whole number from 0 to 2^{bits} - 1", repr(number),
                                f"Take it modulo 2^{bits}")  # fmt: skip
        return [builder.const(number & _LOW, u32), builder.const(number >> 32, u32)]
    value = typing.typed(operand) if isinstance(operand, (Instr, Static)) else None
    if value is None or not value.type.is_integer or value.type.is_vector or value.type.bits > bits:
        got = describe(operand) if value is None else value.dtype
        raise builder.error(f"{what} is no integer of at most {bits} bits", "an integer", got, "Convert with u32(...)")
    low = builder.emit("convert", value, dtype=u32) if value.dtype != u32 else value
    if value.type.bits <= 32:
        return [low, builder.const(0, u32)]
    shift = builder.const(32, value.type)
    high = builder.emit("shr", value, shift)
    return [low, builder.emit("convert", high, dtype=u32)]
