"""Operators by key: what records each, and which of its arguments change no number.

Layer: importers. Invariant: an operator has one row.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from inspect import unwrap
from typing import Any, Generic, TypeVar

from loom.core.late.dataclass import dataclass

__all__ = ["Operator", "bind", "operators", "register"]

_Call = TypeVar("_Call")
_Function = TypeVar("_Function")
_Key = TypeVar("_Key")
_Row = TypeVar("_Row")


@dataclass(frozen=True, slots=True)
class Operator(Generic[_Call]):
    """An operator's recorder. ``since``: the oldest version that is done; ``ignores``: arguments without effect."""

    record: Callable[[_Call], Any]
    since: int = 1
    ignores: frozenset[str] = frozenset()


def register(
    table: dict[_Key, _Row], keys: Iterable[_Key], row: Callable[[_Function], _Row]
) -> Callable[[_Function], _Function]:
    """Return a decorator that enters a function in a table under some keys, as the row that is made of it."""

    def enter(function: _Function) -> _Function:
        table.update(dict.fromkeys(keys, row(function)))
        return function

    return enter


def operators(
    table: dict[_Key, Operator[_Call]], keys: Iterable[_Key], since: int = 1, ignores: Iterable[str] = ()
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Return a decorator that enters what records some operators."""
    return register(table, keys, lambda record: Operator(bind(record), since, frozenset(ignores)))


def bind(record: Callable[..., Any]) -> Callable[[Any], Any]:
    """Return what records a call: a function of the call, if its first parameter is ``call``, and of the node's inputs.

    The other parameters without a default are the first inputs in order, as tensors, or None where one that is
    annotated so is left out.
    """
    own: Any = unwrap(record)
    names = own.__code__.co_varnames[: own.__code__.co_argcount - len(own.__defaults__ or ())]
    takes_call = names[:1] == ("call",)
    optional = ["None" in str(own.__annotations__.get(name)) for name in names[takes_call:]]
    if not optional:
        return record

    places, first = tuple(enumerate(optional)), optional[0]

    def bound(call: Any) -> Any:
        inputs = [call.input(i, may_lack) for i, may_lack in places]
        return record(call, *inputs) if takes_call else record(*inputs)

    def bound_to_one(call: Any) -> Any:  # most have one, and a loop costs as much as recording a view of it
        return record(call, call.input(0, first)) if takes_call else record(call.input(0, first))

    return bound if len(places) > 1 else bound_to_one
