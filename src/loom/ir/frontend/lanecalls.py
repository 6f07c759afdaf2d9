"""Calls of functions of the library in kernels: the operands that a definition is given.

Layer: ir. Invariant: what a definition is given is typed, words apart.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from loom.core.dtype import bool_, u32
from loom.ir.frontend.base.values import Operand, Static, Typing, describe, is_number
from loom.ir.frontend.lanefunctions import LaneFunction, Room
from loom.ir.kernel import Instr

__all__ = ["operands_of"]

_LOW = 0xFFFF_FFFF


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
