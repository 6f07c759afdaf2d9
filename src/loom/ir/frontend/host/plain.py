"""Attributes, items, operators and truths of what a kernel names, as far as no code of others runs for them.

Layer: ir. Plain values are Python's and numpy's numbers, texts and containers of such, and Loom's types; of any other
object only what it holds is read. Invariant: nothing here calls a function that a user or another package wrote, and
what is given for equal values is equal in every process.
"""

# pyright: reportUnknownVariableType=false, reportUnknownMemberType=false, reportUnknownArgumentType=false
from __future__ import annotations

import enum
import operator
import types
from collections.abc import Callable, Iterable
from functools import cached_property
from typing import Any, NamedTuple, cast

import numpy as np

from loom.core.dtype import DType
from loom.core.fixed import Fixed
from loom.core.late.dataclass import dataclass

__all__ = [
    "OUTSIDE",
    "Getter",
    "Impure",
    "attribute",
    "bare",
    "contains",
    "home_of",
    "is_comparable",
    "is_plain",
    "item",
    "items",
    "member",
    "name_of",
    "names_of_attributes",
    "operate",
    "text",
    "truth",
]

OUTSIDE = "Compute it before the kernel, and pass it as a parameter or capture the result"
"""The remedy where a kernel asks for what only the host can give."""
_NUMBERS = (bool, int, float, complex)
_SCALARS = (*_NUMBERS, str, bytes, type(None), type(Ellipsis), slice, range, np.dtype, DType, Fixed)
_SEVERAL = (tuple, list, set, frozenset)
_VIEWS = (type({}.keys()), type({}.values()), type({}.items()))
_PURE = (
    *_SCALARS,
    *_SEVERAL,
    dict,
    *_VIEWS,
    np.ndarray,
    np.finfo,
    np.iinfo,
    types.FunctionType,
    types.MethodType,
    types.BuiltinFunctionType,
)
"""Types all of whose attributes are what they hold."""
_BINDING = (types.MethodDescriptorType, types.WrapperDescriptorType, types.ClassMethodDescriptorType)
_TRUSTED = ("loom", "numpy", "math")
_TUPLE_FIELD = type(vars(NamedTuple("_Pair", [("x", int)]))["x"])
_OF_ARRAYS = ("shape", "ndim", "size", "itemsize", "nbytes")
_OF_CLASSES = ("__name__", "__qualname__", "__module__", "__doc__")
_ABSENT: object = object()


class Impure(Exception):
    """Something would run code that is not known to be pure; ``remedy`` says what to do instead."""

    def __init__(self, what: str, remedy: str = OUTSIDE) -> None:
        super().__init__(what)
        self.what = what
        self.remedy = remedy


@dataclass(frozen=True, slots=True)
class Getter:
    """The function of a property, which is translated in place."""

    function: types.FunctionType


def member(kind: type, name: str) -> Any:
    """Return what a class, or one of its bases, has under a name, as it stands there; None for nothing.

    >>> member(bool, "__add__") is int.__add__
    True
    """
    for each in type.__getattribute__(kind, "__mro__"):
        found = type.__getattribute__(each, "__dict__").get(name, _ABSENT)
        if found is not _ABSENT:
            return found
    return None


def name_of(value: object) -> str:
    """Return what to call something in an error, without asking it."""
    kind = type(value)
    if isinstance(value, types.ModuleType):
        return f"the module {_contents(value).get('__name__')}"
    if isinstance(value, type):
        return str(type.__getattribute__(value, "__qualname__"))
    if kind in (types.FunctionType, types.BuiltinFunctionType, types.MethodType) or _package(kind) in _TRUSTED:
        home = getattr(value, "__module__", None)
        name = getattr(value, "__qualname__", None) or getattr(value, "__name__", None)
        if isinstance(name, str):
            return f"{home}.{name}" if isinstance(home, str) and home not in ("builtins", "__main__") else name
    return f"a {type.__getattribute__(kind, '__qualname__')}"


def home_of(value: object) -> str:
    """Return the module that something, its class or a class is from."""
    if isinstance(value, types.ModuleType):
        return str(_contents(value).get("__name__"))
    found = type.__getattribute__(value if isinstance(value, type) else type(value), "__module__")
    return found if isinstance(found, str) else ""


def is_plain(value: Any) -> bool:
    """Tell whether operators on a value run no code but Python's and numpy's own.

    >>> is_plain((1, 2.5, np.arange(3))), is_plain(open)
    (True, False)
    """
    kind = type(value)
    if kind in _SCALARS or _is_number_kind(kind):
        return True
    if kind in _SEVERAL or kind in _VIEWS or _keeps(kind, tuple):
        return all(map(is_plain, cast("Iterable[object]", value)))
    if kind is dict:
        return all(map(is_plain, value)) and all(map(is_plain, value.values()))
    if _package(kind) == "numpy" and issubclass(kind, (np.ndarray, np.generic)):
        return not value.dtype.hasobject
    return False


def _is_number_kind(kind: type) -> bool:
    """Tell whether a class is one of numbers, or of texts, that has a base of Python's for its arithmetic."""
    return issubclass(kind, (int, float, str)) and any(_keeps(kind, base) for base in (int, float, str))


def _keeps(kind: type, base: type) -> bool:
    """Tell whether a class inherits what ``base`` does for operators."""
    if not issubclass(kind, base):
        return False
    own = set(type.__getattribute__(base, "__dict__")) - _FREE
    return all(member(kind, name) is member(base, name) or _of_enum(member(kind, name)) for name in own)


_FREE = {
    "__new__",
    "__init__",
    "__doc__",
    "__repr__",
    "__str__",
    "__format__",
    "__getnewargs__",
    "__reduce__",
    "__reduce_ex__",
    "__dir__",
    "__sizeof__",
    "__class_getitem__",
    "__getattribute__",
}
"""What a class of numbers may have of its own: no operator asks for it."""


def _of_enum(found: object) -> bool:
    return isinstance(found, types.FunctionType) and found.__module__ == "enum"


def bare(value: Any) -> Any:
    """Return a plain value as one of Python's own types: a member of an IntEnum as the int it is.

    >>> bare(True), bare(2.5)
    (True, 2.5)
    """
    kind = type(value)
    if kind in _SCALARS or not issubclass(kind, (int, float, str)) or issubclass(kind, np.generic):
        return value
    base = next(b for b in (int, float, str) if issubclass(kind, b))
    return int.__int__(value) if base is int else float.__float__(value) if base is float else str.__str__(value)


def is_comparable(value: Any) -> bool:
    """Tell whether asking if a value equals another runs no code of others: plain ones, and what is itself alone."""
    kind = type(value)
    if is_plain(value):
        return True
    if kind in _SEVERAL or _keeps(kind, tuple):
        return all(map(is_comparable, cast("Iterable[object]", value)))
    if kind is dict:
        return all(map(is_comparable, value)) and all(map(is_comparable, value.values()))
    if isinstance(value, enum.Enum):
        return member(kind, "__eq__") is object.__eq__
    if isinstance(value, type):
        return member(kind, "__eq__") is object.__eq__
    return _package(kind) == "loom" or member(kind, "__eq__") is object.__eq__


def operate(operation: Callable[..., object], *values: object) -> object:
    """Return what an operator gives for plain values; Impure for others."""
    asks = operation in (operator.eq, operator.ne)
    for value in values:
        if not (is_comparable(value) if asks else is_plain(value)):
            raise Impure(f"an operator on {name_of(value)} would run its code")
    return operation(*map(bare, values))


def contains(values: Any, value: object) -> bool:
    """Return ``value in values``; Impure for values that are not plain."""
    if not isinstance(values, (*_SEVERAL, dict, str, bytes, range, np.ndarray, *_VIEWS)) or not is_comparable(values):
        raise Impure(f"'in' on {name_of(values)} would run its code")
    if not is_comparable(value):
        raise Impure(f"comparing {name_of(value)} would run its code")
    return operator.contains(values, value)


def truth(value: object) -> bool:
    """Return whether a value counts as true; Impure where that is for its class to say."""
    if is_plain(value) or (isinstance(value, (*_SEVERAL, dict)) and _is_own(type(value))):
        return bool(value)
    kind = type(value)
    if member(kind, "__bool__") is None and member(kind, "__len__") is None:
        return True
    raise Impure(f"the truth of {name_of(value)} is for its code to say", "Compare what it holds, for example x.n != 0")


def items(value: object) -> Iterable[object] | None:
    """Return what can be gone through in an order of its own, None for anything else; Impure where that runs code."""
    kind = type(value)
    if kind in (tuple, list, dict, range, *_VIEWS) or _keeps(kind, tuple) or isinstance(value, np.ndarray):
        return cast("Iterable[object]", value)
    if isinstance(value, (str, bytes, set, frozenset)) or member(kind, "__iter__") is None:
        return None
    raise Impure(f"going through {name_of(value)} would run its code", "Make a tuple of it before the kernel")


def item(value: Any, index: Any) -> Any:
    """Return ``value[index]``; Impure where that runs code of others."""
    kind = type(value)
    if not is_comparable(index) or (isinstance(value, dict) and not all(map(is_comparable, dict.keys(value)))):
        raise Impure(f"looking up {name_of(index)} would run its code")
    if not (kind in (tuple, list, str, bytes, range, dict) or _keeps(kind, tuple) or _package(kind) == "numpy"):
        if not (isinstance(value, dict) and member(kind, "__getitem__") is dict.__getitem__):
            raise Impure(f"an item of {name_of(value)} is for its code to give")
        if not dict.__contains__(value, index):
            raise Impure(f"{name_of(value)} has no such item, and would make one")
    return value[bare(index)] if type(index) in (int, bool) else value[index]


def text(value: object) -> str:
    """Return a plain value as text."""
    if not is_plain(value):
        raise Impure(f"the text of {name_of(value)} is for its code to say", "Name a number of it, or a text")
    return str(bare(value))


# attributes


def names_of_attributes(value: object) -> list[str]:
    """Return the names of attributes, without asking the object."""
    kind = value if isinstance(value, type) else type(value)
    return sorted({*_contents(value)} | (set() if isinstance(value, types.ModuleType) else _names(kind)))


def attribute(value: Any, name: str) -> Any:
    """Return an attribute that is held, a bound method or a ``Getter``; AttributeError or Impure otherwise."""
    kind = type(value)
    if isinstance(value, types.ModuleType):
        return _of_module(value, name)
    if isinstance(value, type):
        return _of_class(value, name)
    if kind in _PURE or _package(kind) in ("loom", "numpy") or (isinstance(value, enum.Enum) and name in _OF_ENUMS):
        return getattr(value, name)
    return _of_object(value, kind, name)


_OF_ENUMS = ("name", "value")


def _of_module(module: types.ModuleType, name: str) -> object:
    found = _contents(module)
    if name in found:
        return found[name]
    home = str(found.get("__name__")).partition(".")[0]
    if home in _TRUSTED:
        return getattr(module, name)
    if "__getattr__" in found or type(module) is not types.ModuleType:
        raise Impure(f"{name!r} of {name_of(module)} is made by its code", "Import it before the kernel")
    raise AttributeError(name)


def _of_class(kind: Any, name: str) -> object:
    if _package(kind) in ("loom", "numpy", "builtins") or name in _OF_CLASSES:
        return getattr(kind, name)
    if issubclass(kind, enum.Enum) and name in kind._member_map_:
        return kind._member_map_[name]
    found = member(kind, name)
    if found is None and member(type(kind), "__getattr__") is not None:
        raise Impure(f"{name!r} of {name_of(kind)} is made by its code")
    if found is None and name not in _names(kind):
        raise AttributeError(name)
    if isinstance(found, staticmethod):
        return found.__func__
    if isinstance(found, classmethod):
        return types.MethodType(found.__func__, kind)
    if isinstance(found, types.FunctionType) or member(type(found), "__get__") is None:
        return found
    raise Impure(f"{name!r} of {name_of(kind)} is made by its code")


def _of_object(value: object, kind: type, name: str) -> object:
    looks_up = member(kind, "__getattribute__")
    if looks_up is not object.__getattribute__ and not _keeps_attributes(kind):
        raise Impure(f"the attributes of {name_of(value)} are made by its code")
    found, held = member(kind, name), _contents(value)
    if isinstance(found, property) and isinstance(found.fget, types.FunctionType):
        return Getter(found.fget)
    is_read = isinstance(found, types.GetSetDescriptorType) and name in _OF_ARRAYS
    if is_read or isinstance(found, (types.MemberDescriptorType, _TUPLE_FIELD)):
        return found.__get__(value, kind)
    if name in held:
        return held[name]
    if isinstance(found, cached_property) and isinstance(found.func, types.FunctionType):
        return Getter(found.func)
    if found is not None or name in _names(kind):
        return _attach(value, kind, name, found)
    if member(kind, "__getattr__") is None:
        raise AttributeError(name)
    raise Impure(f"{name!r} of {name_of(value)} is made by its code")


def _attach(value: object, kind: type, name: str, found: object) -> object:
    """Return what a class has under a name as its object has it."""
    if isinstance(found, staticmethod):
        return found.__func__
    if isinstance(found, (classmethod, types.FunctionType)):
        is_of_class = isinstance(found, classmethod)
        return types.MethodType(found.__func__ if is_of_class else found, kind if is_of_class else value)
    if isinstance(found, _BINDING):
        return found.__get__(value, kind)
    if member(type(found), "__get__") is None:
        return found
    raise Impure(f"{name!r} of {name_of(value)} is made by its code")


def _keeps_attributes(kind: type) -> bool:
    """Tell whether a class looks attributes up as one of Python's own does."""
    return any(member(kind, "__getattribute__") is base.__getattribute__ for base in (tuple, int, float, str, dict))


def _names(kind: type) -> set[str]:
    return {n for each in type.__getattribute__(kind, "__mro__") for n in type.__getattribute__(each, "__dict__")}


def _contents(value: object) -> dict[str, object]:
    """Return what an object holds by name."""
    try:
        found = object.__getattribute__(value, "__dict__")
    except AttributeError:
        return {}
    return found if type(found) is dict else {}


def _is_own(kind: type) -> bool:
    return kind in (*_SEVERAL, dict) or _keeps(kind, tuple)


def _package(kind: type) -> str:
    """Return the first name of the module that a class is from."""
    return home_of(kind).partition(".")[0]
