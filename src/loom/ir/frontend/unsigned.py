"""Refuses questions that a number without a sign cannot answer: a loop down to 0, a difference asked for its sign.

Layer: ir. Invariant: what is refused is a condition that holds always or never, an operation that changes nothing, or
a difference that an index would have a sign in, of a number that was meant to go below zero; bits that are mixed are
left alone, and so is the library's own code.
"""

from __future__ import annotations

from collections.abc import Set

from loom.core.errors import KernelTypeError
from loom.ir.constants import constant_value
from loom.ir.kernel import Break, Instr, Kernel, Return, Variable, While, assignments, operations, walk

__all__ = ["refuse_unsigned"]

_ASKS = {"ge": 0, "lt": 0, "le": 1, "gt": 1}
"""Comparisons with 0 that say nothing, and the side of the number: it is at least 0, and never below."""
_PASSES = frozenset(("add", "mul", "min", "get"))
"""Operations whose result may be a difference that one of their operands is."""
_INSTEAD = {"abs": "write max(a, b) - min(a, b)", "max": "write max(a, b) - b"}
"""Forms that give the same without a sign, by operation."""
_COMPARED = "compare a with b"


def refuse_unsigned(kernel: Kernel, mixed: Set[Instr] = frozenset()) -> Kernel:
    """Return ``kernel``; raises KernelTypeError for what asks numbers without a sign whether they are below zero.

    ``mixed``: operations that made bits of an index. A difference of what is computed of them, taken for a number, is
    refused whatever it is asked: the same difference of the index would have a sign.
    """
    _refuse_endless(kernel)
    if kernel.differences:
        _refuse_signless(kernel)
    if kernel.differences and mixed:
        _refuse_mixed(kernel, mixed)
    return kernel


def _refuse_mixed(kernel: Kernel, mixed: Set[Instr]) -> None:
    from loom.ir.uses import number_uses  # only where bits of an index are mixed

    sets = assignments(kernel.body)
    for s in operations(kernel.body):
        if s.memory is not None or s.name == "irem":  # an index outside is told of, remainders mix bits
            continue
        for value, how in number_uses(s):
            is_below = _is_difference(value, kernel, sets, set(), ("sub", "neg")) and not _is_mask(value)
            if is_below and _is_made_of(value, mixed, sets, set()):
                raise KernelTypeError(
                    kernel.where(s.loc),
                    f"a difference of bits that an index was mixed into is {how}",
                    expected="a number that says whether it has a sign",
                    got="a u32, which comes around to its largest instead of going below zero",
                    remedy="Write i32(...) or i64(...) around what is subtracted from to go below zero, "
                    "or u32(...) around the index where it is meant to come around",
                )


def _is_made_of(value: Instr, mixed: Set[Instr], sets: dict[Variable, list[Instr]], seen: set[Instr]) -> bool:
    """Tell whether a value is computed of one of ``mixed``."""
    if value in mixed:
        return True
    if value in seen:
        return False
    seen.add(value)
    sources = sets.get(value.attr, []) if value.name == "get" else value.args if value.op.is_pure else ()
    return any(_is_made_of(v, mixed, sets, seen) for v in sources)


def _is_mask(value: Instr) -> bool:
    """Tell whether a value is ``(1 << k) - 1``, which is never below zero."""
    if value.name != "sub" or value.args[0].name != "shl":
        return False
    return all(v.name == "const" and v.attr == 1 for v in (value.args[0].args[0], value.args[1]))


def _refuse_signless(kernel: Kernel) -> None:
    sets = assignments(kernel.body)
    ended = {s.condition for s in walk(kernel.body) if isinstance(s, While)}  # by a break: see _refuse_endless
    for s in operations(kernel.body):
        found = None if s in ended else _question(s)
        if found is None or not found[0].type.is_integer or found[0].type.is_signed:
            continue
        value, what = found
        if _is_difference(value, kernel, sets, set()):
            signed = "i64" if value.type.bits == 64 else "i32"
            raise KernelTypeError(
                kernel.where(s.loc),
                f"a difference of {value.dtype} {what}",
                expected="a number with a sign",
                got=f"{value.dtype}, which comes around to its largest instead of going below zero",
                remedy=f"Subtract with a sign, {signed}(a) - {signed}(b), or {_INSTEAD.get(s.name, _COMPARED)}",
            )


def _question(s: Instr) -> tuple[Instr, str] | None:
    """Return the number that an operation asks for its sign, and what it does."""
    if s.name == "abs":
        return s.args[0], "is given to abs, and has no sign to lose"
    if s.name in _ASKS and _is_zero(s.args[1 - _ASKS[s.name]]):
        return s.args[_ASKS[s.name]], "is compared with 0, and is always at least that"
    if s.name == "max" and any(map(_is_zero, s.args)):
        return s.args[_is_zero(s.args[0])], "is kept from going below 0 by max, and never is"
    return None


def _is_difference(
    value: Instr,
    kernel: Kernel,
    sets: dict[Variable, list[Instr]],
    seen: set[Instr],
    names: tuple[str, ...] = ("sub",),
) -> bool:
    """Tell whether a number may be a difference (one of the operations ``names``) that came around."""
    if value in seen:
        return False
    seen.add(value)
    if value in kernel.differences:
        return value.name in names
    if value.name not in _PASSES:
        return False
    sources = sets.get(value.attr, []) if value.name == "get" else value.args
    return any(_is_difference(v, kernel, sets, seen, names) for v in sources if v.dtype == value.dtype)


def _is_zero(value: Instr) -> bool:
    return value.name == "const" and value.type.is_integer and not constant_value(value.attr, value.type)


def _refuse_endless(kernel: Kernel) -> None:
    """Raise KernelTypeError for a loop down to 0 in an unsigned type that nothing else ends."""
    for loop in walk(kernel.body):
        if not isinstance(loop, While) or not _always_holds(loop.condition):
            continue
        if not any(
            isinstance(s, (Break, Return)) or (isinstance(s, Instr) and s.name == "assert") for s in walk(loop.body)
        ):
            dtype = loop.condition.args[0].dtype
            raise KernelTypeError(
                f"kernel {kernel.name!r} at {loop.loc or loop.condition.loc}",
                "the loop never ends",
                expected="a condition that can fail",
                got=f"a {dtype} that is at least 0, as each is",
                remedy="Count down in a type with a sign, for example j = i32(n) - 1",
            )


def _always_holds(condition: Instr) -> bool:
    """True for ``x >= 0`` and ``0 <= x`` where x has no sign."""
    if condition.name not in ("ge", "le"):
        return False
    value, bound = condition.args if condition.name == "ge" else reversed(condition.args)
    unsigned = value.type.is_integer and not value.type.is_signed and not value.type.is_vector
    return unsigned and bound.name == "const" and not constant_value(bound.attr, bound.type)
