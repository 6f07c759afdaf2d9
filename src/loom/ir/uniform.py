"""Numbers and conditions that are the same for all lanes of a dispatch: made of constants, parameters and lengths.

Layer: ir. Invariant: a number is what the kernel computes, in its types; conditions that are said to exclude each other
do, whatever is dispatched.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from loom.core.late.dataclass import dataclass
from loom.ir import evaluate as ev
from loom.ir.constants import constant_value
from loom.ir.kernel import Instr, Memory, Param

__all__ = [
    "SteadyCondition",
    "condition_of",
    "description",
    "exclude",
    "is_given",
    "least_shift",
    "leaves",
    "numbers_text",
    "source_text",
    "value_of",
    "wraps",
]


def leaves(value: Instr) -> list[Instr]:
    """Return what a value is computed from, itself left out."""
    found: list[Instr] = []
    waiting = [value]
    while waiting:
        for each in waiting.pop().args:
            found.append(each)
            waiting.append(each)
    return found


def is_given(value: Instr) -> bool:
    """Tell whether a number is the same for all lanes of a dispatch and can be told before it starts."""
    if value.dtype is None or value.dtype.is_vector or value.dtype.is_float:
        return False
    if value.name in ("const", "param", "length"):
        return True
    known = value.op.is_pure and (value.op.evaluate is not None or value.name == "convert")
    return known and value.name != "bitcast" and all(is_given(a) for a in value.args)


def value_of(value: Instr, params: Mapping[Param, Any], lengths: Mapping[Memory, int]) -> np.ndarray[Any, Any]:
    """Return the value of what ``is_given``, in an array of one."""
    if value.name == "length":
        assert value.memory is not None
        return np.array([lengths[value.memory]], np.uint32)
    if value.name == "param":
        return np.array([params[value.attr]], value.type.numpy)
    if value.name == "const":
        return np.array([constant_value(value.attr, value.type)], value.type.numpy)
    args = [value_of(a, params, lengths) for a in value.args]
    if value.name == "convert":
        return ev.convert(args[0], value.args[0].type, value.type)
    assert value.op.evaluate is not None
    with np.errstate(all="ignore"):
        return value.op.evaluate(*args)


def least_shift(number: int, value: Instr) -> int:
    """Return the least shift, up or down, that adding a value of a number's type makes."""
    half = 1 << (value.type.bits - 1)
    return (number + half) % (2 * half) - half


def wraps(value: Instr, params: Mapping[Param, Any], lengths: Mapping[Memory, int]) -> bool:
    """Tell whether a number on the way to a value ``is_given`` is beyond what its type has."""
    if not value.args:
        return False
    if any(wraps(a, params, lengths) for a in value.args):
        return True
    if value.name not in _EXACT:
        return False
    exact = _EXACT[value.name](*(int(value_of(a, params, lengths)[0]) for a in value.args))
    return exact != int(value_of(value, params, lengths)[0])


_EXACT: dict[str, Callable[..., int]] = {
    "add": operator.add, "sub": operator.sub, "mul": operator.mul, "convert": operator.index,
}  # fmt: skip
_SIGNS = {"add": "+", "sub": "-", "mul": "*"}


def source_text(value: Instr) -> str:
    """Return a value ``is_given`` as a user writes it."""
    if value.name == "length":
        assert value.memory is not None
        return f"len({value.memory.name})"
    if value.name == "param":
        param = value.attr
        return str(param.name) if param.extent is None else f"{param.extent[0]}.shape[{param.extent[1]}]"
    if value.name == "const":
        return str(constant_value(value.attr, value.type))
    args = [source_text(a) for a in value.args]
    if value.name == "convert":
        return args[0]
    return f"{args[0]} {_SIGNS[value.name]} {args[1]}" if value.name in _SIGNS else f"{value.name}({', '.join(args)})"


def numbers_text(value: Instr, params: Mapping[Param, Any], lengths: Mapping[Memory, int]) -> str:
    """Return what a value is computed of, with the numbers given."""
    found = {
        source_text(v): int(value_of(v, params, lengths)[0]) for v in leaves(value) if v.name in ("length", "param")
    }
    return ", ".join(f"{name} = {number}" for name, number in found.items())


@dataclass(frozen=True, slots=True)
class SteadyCondition:
    """A condition of the dispatch: an operation, what it is about, and whether it holds."""

    name: str
    sides: tuple[tuple[object, ...], ...]
    holds: bool


def condition_of(value: Instr, *, holds: bool) -> SteadyCondition:
    """Return a condition so that it equals what says the same, or the opposite."""
    opposite = {"ne": "eq", "ge": "lt", "gt": "le"}
    name = opposite.get(value.name, value.name)
    sides = tuple(description(a) for a in value.args) or (description(value),)
    return SteadyCondition(name, sides, (name == value.name) is holds)


def description(value: Instr) -> tuple[object, ...]:
    """Return how a number is computed, equal for those computed alike."""
    return value.name, value.dtype, value.attr, value.memory, *(description(a) for a in value.args)


def exclude(a: SteadyCondition, b: SteadyCondition) -> bool:
    """Tell whether two conditions exclude each other."""
    if (a.name, a.sides) == (b.name, b.sides):
        return a.holds is not b.holds
    equal = a.holds and b.holds and a.name == b.name == "eq" and a.sides[0] == b.sides[0]
    return equal and a.sides[1][0] == b.sides[1][0] == "const"
