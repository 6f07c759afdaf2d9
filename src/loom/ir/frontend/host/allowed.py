"""The functions that a kernel may call with constants: those that are known to be pure and exact.

Layer: ir. A name is here if its result depends on its arguments alone and is the same on every machine: whole numbers,
roundings, one correctly rounded operation, shapes, arrays made of such. Sums of floats, whose order is numpy's matter,
and elementary functions, which ``constantvalues`` computes, are not. Invariant: arguments are plain values, so that no
argument brings code of its own.
"""

# pyright: reportUnknownVariableType=false, reportUnknownMemberType=false, reportUnknownArgumentType=false
from __future__ import annotations

import builtins
import functools
import itertools
import math
import operator
import types
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from typing import Any, cast

import numpy as np

from loom.core.dtype import DType
from loom.core.fixed import Fixed, fixed
from loom.ir.frontend.host.plain import (
    Getter,
    Impure,
    attribute,
    bare,
    home_of,
    is_plain,
    item,
    items,
    member,
    name_of,
    operate,
    truth,
)

__all__ = ["call_pure", "is_allowed", "is_random", "translatable"]

_MOST_ITEMS = 1 << 16
"""Items of what is gone through, an iterator of Python's made a tuple."""


def _by_identity(module: object, names: str) -> dict[int, object]:
    found = (getattr(module, name, None) for name in names.split())
    return {id(fn): fn for fn in found if fn is not None}


_PURE = {
    **_by_identity(
        builtins,
        """abs all any ascii bin bool bytes chr divmod float format frozenset hex int len max min oct ord
        pow range repr round slice set sorted str""",
    ),
    **_by_identity(
        math,
        """ceil comb copysign fabs factorial floor fmod frexp fsum gcd isclose isfinite isinf isnan isqrt lcm
        ldexp modf nextafter perm remainder sqrt trunc ulp degrees radians fma""",
    ),
    **_by_identity(
        operator,
        """abs add and_ concat eq floordiv ge getitem gt index inv invert le lshift lt mod mul ne neg
        not_ or_ pos rshift sub truediv truth xor""",
    ),
    **_by_identity(
        np,
        """abs absolute add all allclose any arange argmax argmin array array_equal asarray
        ascontiguousarray atleast_1d atleast_2d atleast_3d bincount bitwise_and bitwise_count bitwise_not bitwise_or
        bitwise_xor bool_ broadcast_shapes broadcast_to can_cast ceil clip column_stack concatenate copysign
        count_nonzero deg2rad degrees diag diff divide dstack dtype equal expand_dims eye fabs finfo flip fliplr flipud
        floor floor_divide fmax fmin fmod frombuffer full full_like gcd greater greater_equal hstack identity iinfo
        indices invert isfinite isinf isnan issubdtype lcm ldexp left_shift less less_equal linspace logical_and
        logical_not logical_or logical_xor max maximum meshgrid min minimum mod moveaxis multiply ndim negative
        nextafter nonzero not_equal ones ones_like outer packbits positive promote_types rad2deg radians ravel
        reciprocal remainder repeat reshape result_type right_shift rint roll rot90 shape sign signbit size spacing
        sqrt square squeeze stack subtract swapaxes take tile transpose tri tril triu true_divide trunc
        unpackbits vstack where zeros zeros_like""",
    ),
}
"""By identity, as not all of what a kernel names can be asked for its hash."""
_OF_WHOLE_NUMBERS = _by_identity(
    np, "cumprod cumsum dot inner kron matmul pad prod sort sum tensordot trace unique vdot"
)
"""Of floats their order, and so their last bits, would be numpy's matter."""
_ITERATED = {
    **_by_identity(builtins, "dict enumerate list reversed tuple zip"),
    **_by_identity(
        itertools, "batched chain combinations combinations_with_replacement islice pairwise permutations product"
    ),
}
"""What goes through its arguments; the result is a tuple of what it gives, a list or a dict."""
_METHODS: dict[type, frozenset[str]] = {
    int: frozenset(("as_integer_ratio", "bit_count", "bit_length", "conjugate", "from_bytes", "to_bytes")),
    float: frozenset(("as_integer_ratio", "fromhex", "hex", "is_integer")),
    str: frozenset(n for n in dir(str) if not n.startswith("_")) - {"format", "format_map", "translate"},
    bytes: frozenset(n for n in dir(bytes) if not n.startswith("_")) - {"translate"},
    tuple: frozenset(("count", "index")),
    list: frozenset(("copy", "count", "index")),
    dict: frozenset(("copy", "get", "items", "keys", "values")),
    set: frozenset(("copy", "difference", "intersection", "isdisjoint", "issubset", "issuperset", "union")),
    range: frozenset(("count", "index")),
    slice: frozenset(("indices",)),
    np.ndarray: frozenset(
        (
            "all",
            "any",
            "argmax",
            "argmin",
            "astype",
            "clip",
            "copy",
            "diagonal",
            "flatten",
            "item",
            "max",
            "min",
            "nonzero",
            "ravel",
            "repeat",
            "reshape",
            "squeeze",
            "swapaxes",
            "take",
            "tobytes",
            "tolist",
            "transpose",
            "view",
        )
    ),
    np.dtype: frozenset(("newbyteorder",)),
}
_METHODS.update({frozenset: _METHODS[set], bool: _METHODS[int], np.generic: _METHODS[np.ndarray]})
_SUMS = frozenset(("cumprod", "cumsum", "dot", "prod", "sum"))
_CHANGING = frozenset(("out", "where", "inplace"))
_LACKING = ("random", "secrets", "uuid")


def is_random(target: object) -> bool:
    """Tell whether something called gives random numbers, of Python's, numpy's or another's."""
    homes = [name_of(target)]
    if isinstance(target, (types.BuiltinFunctionType, types.MethodType)):
        homes += [
            str(target.__module__) if isinstance(target, types.BuiltinFunctionType) else "",
            home_of(target.__self__),
        ]
    words = {word for home in homes for word in home.replace("a ", "").split(".")}
    return any(word in _LACKING or word.startswith(("rand", "urandom", "token_")) for word in words)


def translatable(target: Any) -> tuple[types.FunctionType, tuple[object, ...], Mapping[str, object]] | None:
    """Return the Python function that calling ``target`` comes to, with what is given before; None if it is none.

    A cache is left out, as what is translated is not computed twice; an object is called as its ``__call__``.
    """
    kind = type(target)
    if kind is types.MethodType and type(target.__func__) is types.FunctionType:
        return target.__func__, (target.__self__,), {}
    if kind is functools.partial:
        inner = translatable(target.func)
        return None if inner is None else (inner[0], (*inner[1], *target.args), {**inner[2], **target.keywords})
    if kind is type(_cache_example):
        return translatable(target.__wrapped__)
    if kind is types.FunctionType:
        return target, (), {}
    home = str(type.__getattribute__(kind, "__module__")).partition(".")[0]
    method = None if home in ("loom", "numpy") or isinstance(target, type) else member(kind, "__call__")
    return (method, (target,), {}) if type(method) is types.FunctionType else None


@functools.cache
def _cache_example() -> None:
    """Nothing: a function of the type that caches have."""


def is_allowed(target: object) -> bool:
    """Tell whether a function that is written in Python is known to be pure, and so is run, not translated."""
    return target is fixed or any(id(target) in names for names in (_PURE, _OF_WHOLE_NUMBERS))


def call_pure(target: Any, given: Sequence[object], named: Mapping[str, object]) -> object:
    """Return what a pure function gives for constants; Impure for any other function, or for other arguments."""
    values = [*given, *named.values()]
    key, kind = id(target), type(target)
    if target is isinstance or target is issubclass:
        return _of_class(target, given)
    if target is getattr or target is hasattr:
        return _attribute(target, *given)
    if target is type and len(values) == 1:
        return type(values[0])
    if target is callable and len(values) == 1:
        return callable(values[0])
    if target is fixed:
        return cast("Callable[..., object]", fixed)(*given, **named)
    if key in _ITERATED:
        return _items_of(target, given, named)
    if key in _PURE or (key in _OF_WHOLE_NUMBERS and _are_whole(values)) or _is_method(target, values):
        return _run(target, given, named)
    if kind in (DType, Fixed) or (isinstance(target, type) and issubclass(target, np.generic)) or kind is np.dtype:
        return _run(target, given, named)
    raise Impure(f"{name_of(target)} is not known to be pure, so that compiling does not run it")


def _run(target: Any, given: Sequence[object], named: Mapping[str, object]) -> object:
    """Call a pure function with plain values."""
    changing = next((n for n in named if n in _CHANGING), None)
    if changing is not None:
        raise Impure(f"{name_of(target)} with {changing}= would change what it is given", f"Leave {changing}= away")
    for value in (*given, *named.values()):
        if not (is_plain(value) or _is_type(value) or (value is named.get("key") and id(value) in _PURE)):
            raise Impure(f"{name_of(target)} of {name_of(value)} would run its code")
    if target is operator.getitem:
        return item(*given)
    if target is operator.truth or target is bool:
        return truth(*given) if given else False
    if target in (operator.eq, operator.ne):
        return operate(target, *given)
    if target is divmod or target in (str, repr, ascii, format):
        return target(*map(bare, given), **named)
    found = target(*map(bare, given), **named)
    plain = isinstance(target, np.ufunc) and not any(isinstance(v, (np.ndarray, np.generic)) for v in given)
    return found.item() if plain and isinstance(found, np.generic) else found


def _attribute(target: object, value: object, name: Any, *default: object) -> object:
    try:
        found = attribute(value, name)
    except AttributeError:
        if target is getattr and not default:
            raise
        return default[0] if target is getattr else False
    if target is getattr and isinstance(found, Getter):
        raise Impure(f"{name!r} of {name_of(value)} is a property", f"Write x.{name}")
    return found if target is getattr else True


def _is_type(value: object) -> bool:
    return isinstance(value, type) and (value in (int, float, bool, str, bytes) or issubclass(value, np.generic))


def _is_method(target: Any, values: Sequence[object]) -> bool:
    """Tell whether something is a method of a plain value that leaves it as it is."""
    if type(target) is not types.BuiltinMethodType or not is_plain(target.__self__):
        owner = getattr(target, "__self__", None) if type(target) is types.BuiltinMethodType else None
        of_type = owner in (int, float, bytes, dict) if isinstance(owner, type) else type(owner) in (dict, list, tuple)
        if not of_type:
            return False
    owner, name = target.__self__, target.__name__
    if isinstance(owner, type):
        return name in _METHODS[owner]
    if name in _SUMS and isinstance(owner, (np.ndarray, np.generic)):
        return _are_whole([owner, *values])
    return any(name in names for kind, names in _METHODS.items() if isinstance(owner, kind))


def _are_whole(values: Sequence[object]) -> bool:
    """Tell whether all numbers are whole, so that no order of adding them up matters."""
    return all(
        v is None or (is_plain(v) and not isinstance(v, str) and np.asarray(v).dtype.kind in "biu") for v in values
    )


_INSTANCE_CHECK = member(type, "__instancecheck__")


def _of_class(target: Callable[..., bool], given: Sequence[object]) -> bool:
    kinds = given[1] if len(given) == 2 and isinstance(given[1], tuple) else given[1:]
    for kind in cast("Sequence[object]", kinds):
        if not isinstance(kind, type) or member(type(kind), "__instancecheck__") is not _INSTANCE_CHECK:
            raise Impure(f"{name_of(kind)} decides by its code what is of it", "Name a class that is no abstract one")
    return target(*given)


def _items_of(target: Any, given: Sequence[object], named: Mapping[str, object]) -> object:
    """Return the items that a builtin gives of some others, at most so many."""
    for value in (*given, *named.values()):
        if not is_plain(value) and not (isinstance(value, (tuple, list, dict)) and items(value) is not None):
            raise Impure(
                f"{name_of(target)} of {name_of(value)} would run its code", "Make a tuple of it before the kernel"
            )
        if isinstance(value, (set, frozenset)):
            raise Impure(f"{name_of(target)} of a set, whose order is another in each process", "Write sorted(...)")
    found = target(*given, **named)
    if target in (dict, list, tuple):
        return found
    kept = tuple(islice(found, _MOST_ITEMS + 1))
    if len(kept) > _MOST_ITEMS:
        raise Impure(f"{name_of(target)} gives more than {_MOST_ITEMS} items", "Write a loop over range(n)")
    return kept
