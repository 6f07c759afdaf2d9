"""Dataclasses that cost a quarter to define: a method is written when it is first used, many never.

Layer: core. For type checkers ``dataclass`` is Python's. Fields, slots and inheritance are Python's at run time, too.
Invariant: a class made here behaves as one made there; ``order`` and ``InitVar`` are not known here.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable
from dataclasses import MISSING, FrozenInstanceError, fields
from functools import partial
from reprlib import recursive_repr
from typing import TYPE_CHECKING, Any

__all__ = ["dataclass"]

_Text = tuple[str, list[str], dict[str, object]]
"""Parameters and lines of a method, and the names they use."""


class _Factory:
    """Stands in a signature for a value that each call makes."""

    def __repr__(self) -> str:
        return "<factory>"


class _LateMethod:
    """In the place of a method until that is first used."""

    __slots__ = ("_name", "_owner", "_write")

    def __init__(self, owner: type, name: str, write: Callable[[type], _Text]) -> None:
        self._owner, self._name, self._write = owner, name, write

    def __get__(self, instance: object, owner: type | None = None) -> object:
        method: Any = vars(self._owner)[self._name]
        if method is self:
            parameters, lines, scope = self._write(self._owner)
            body = "\n  ".join(lines)
            text = f"def write({', '.join(scope)}):\n def {self._name}({parameters}):\n  {body}\n return {self._name}"
            made: dict[str, Callable[..., object]] = {}
            exec(text, vars(sys.modules[self._owner.__module__]), made)  # its annotations name what stands there
            method = made["write"](**scope)
            method.__annotations__ = scope.get("_annotations", {})
            method.__module__, method.__qualname__ = self._owner.__module__, f"{self._owner.__qualname__}.{self._name}"
            setattr(self._owner, self._name, method)
        return method.__get__(instance, owner)


def _init(cls: type, is_frozen: bool) -> _Text:
    parameters, keywords, lines = ["self"], list[str](), list[str]()
    scope: dict[str, object] = {"_set": object.__setattr__, "_FACTORY": _Factory()}
    for field in fields(cls):
        name = value = field.name
        parameter = name
        if field.default is not MISSING:
            scope[f"_default_{name}"] = field.default
            parameter = f"{name}=_default_{name}"
            value = name if field.init else f"_default_{name}"
        elif field.default_factory is not MISSING:
            scope[f"_make_{name}"] = field.default_factory
            parameter = f"{name}=_FACTORY"
            value = f"_make_{name}() if {name} is _FACTORY else {name}" if field.init else f"_make_{name}()"
        elif not field.init:
            continue
        if field.init:
            (keywords if field.kw_only else parameters).append(parameter)
        lines.append(f"_set(self, {name!r}, {value})" if is_frozen else f"self.{name} = {value}")
    scope["_annotations"] = {**{field.name: field.type for field in fields(cls) if field.init}, "return": None}
    if hasattr(cls, "__post_init__"):
        lines.append("self.__post_init__()")
    return ", ".join([*parameters, *(["*", *keywords] if keywords else [])]), lines or ["pass"], scope


def _tuple(name: str, names: list[str]) -> str:
    return "(" + "".join(f"{name}.{each}, " for each in names) + ")"


def _eq(cls: type) -> _Text:
    names = [field.name for field in fields(cls) if field.compare]
    lines = [f"if other.__class__ is self.__class__: return {_tuple('self', names)} == {_tuple('other', names)}"]
    return "self, other", [*lines, "return NotImplemented"], {}


def _hash(cls: type) -> _Text:
    names = [field.name for field in fields(cls) if (field.compare if field.hash is None else field.hash)]
    return "self", [f"return hash({_tuple('self', names)})"], {}


@recursive_repr()
def _repr(self: object) -> str:
    kind: type = type(self)
    shown = ", ".join(f"{field.name}={getattr(self, field.name)!r}" for field in fields(kind) if field.repr)
    return f"{self.__class__.__qualname__}({shown})"


def _getstate(self: object) -> list[object]:
    kind: type = type(self)
    return [getattr(self, field.name) for field in fields(kind)]


def _setstate(self: object, state: list[object]) -> None:
    kind: type = type(self)
    for field, value in zip(fields(kind), state, strict=True):
        object.__setattr__(self, field.name, value)


def _freeze(cls: Any) -> None:
    names = frozenset(field.name for field in fields(cls))

    def assign(self: object, name: str, value: object) -> None:
        if type(self) is cls or name in names:
            raise FrozenInstanceError(f"cannot assign to field {name!r}")
        object.__setattr__(self, name, value)

    def delete(self: object, name: str) -> None:
        if type(self) is cls or name in names:
            raise FrozenInstanceError(f"cannot delete field {name!r}")
        object.__delattr__(self, name)

    cls.__setattr__ = assign
    cls.__delattr__ = delete


def define(given: Any, frozen: bool = False, slots: bool = False, eq: bool = True, **others: bool) -> Any:
    """Return the class with fields and slots as Python makes them, and methods that are written late."""
    own: frozenset[str] = frozenset(given.__dict__)
    shows = others.pop("repr", True)
    has_frozen_base = frozen and any("__dataclass_params__" in vars(base) for base in given.__mro__[1:])
    wrap: Any = dataclasses.dataclass(init=False, repr=False, eq=False, frozen=has_frozen_base, slots=slots, **others)
    cls = wrap(given)
    cls.__dataclass_params__.frozen = frozen
    if "__init__" not in own:
        cls.__init__ = _LateMethod(cls, "__init__", partial(_init, is_frozen=frozen))
    if shows and "__repr__" not in own:
        cls.__repr__ = _repr
    if eq and "__eq__" not in own:
        cls.__eq__ = _LateMethod(cls, "__eq__", _eq)
    if eq and ("__hash__" not in own or given.__hash__ is None):
        cls.__hash__ = _LateMethod(cls, "__hash__", _hash) if frozen else None
    if frozen:
        _freeze(cls)
    if frozen and slots and "__getstate__" not in own:
        cls.__getstate__, cls.__setstate__ = _getstate, _setstate
    return cls


if TYPE_CHECKING:
    from dataclasses import dataclass
else:

    def dataclass(cls=None, /, **options):
        """Return a class as a dataclass: ``frozen``, ``slots``, ``eq``, ``repr``, ``kw_only`` as Python's."""
        return partial(define, **options) if cls is None else define(cls, **options)
