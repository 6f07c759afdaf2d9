"""Kernels over types that are chosen later: which type variables there are, and what a choice of types makes of them.

Layer: ir. Invariant: an instance is a kernel like any other; equal choices give the same one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar, cast

import numpy as np

from loom.core.dtype import DType, dtype_of
from loom.core.errors import DTypeError, LoomError
from loom.ir.frontend.base.annotations import BufferType, is_struct

__all__ = ["choose_by_name", "choose_types", "is_choice", "substitute", "unchosen", "variables_of"]

_Types = dict[Any, Any]


def variables_of(annotations: Mapping[str, Any]) -> tuple[TypeVar, ...]:
    """Return the type variables of a kernel's parameters, in order."""
    found: dict[TypeVar, None] = {}
    for annotation in annotations.values():
        kind = annotation.dtype if isinstance(annotation, BufferType) else annotation
        if isinstance(kind, TypeVar):
            found[kind] = None
    return tuple(found)


def substitute(annotations: Mapping[str, Any], types: Mapping[Any, Any]) -> dict[str, Any]:
    """Return annotations with types in the places of their variables."""

    def one(annotation: Any) -> Any:
        if isinstance(annotation, BufferType):
            return replace(annotation, dtype=types.get(annotation.dtype, annotation.dtype))
        return types.get(annotation, annotation) if isinstance(annotation, TypeVar) else annotation

    return {name: one(annotation) for name, annotation in annotations.items()}


def choose_types(variables: Sequence[TypeVar], given: Sequence[Any], named: Mapping[str, Any], where: str) -> _Types:
    """Return the type of each variable, given in order or by name; DTypeError if one is not allowed, or missing."""
    names = [v.__name__ for v in variables]
    listed = ", ".join(names) or "none"
    if not variables:
        raise DTypeError(where, "the kernel has no type variables", expected="k(x, y)",
                         got=f"k[{', '.join([*map(_type_name, given), *named])}]",
                         remedy="Call it as it is; k[groups](x, y) gives it a number of groups")  # fmt: skip
    if len(given) > len(variables) or any(name not in names for name in named):
        raise DTypeError(where, "types for other variables", expected=listed,
                         got=", ".join([*map(_type_name, given), *named]), remedy="Give one for each")  # fmt: skip
    by_name = dict(zip(names, given)) | dict(named)  # noqa: B905 - those missing are told next
    missing = [name for name in names if name not in by_name]
    if missing:
        raise DTypeError(where, f"no type is given for {', '.join(missing)}", expected=listed, got=len(by_name),
                         remedy=f"Choose them, as in {_example(variables, by_name)}")  # fmt: skip
    return {v: _require_allowed(v, by_name[v.__name__], where) for v in variables}


def _require_allowed(variable: TypeVar, given: Any, where: str) -> Any:
    if given is int or given is float or given is complex:
        names = {int: ("i32", "i64"), float: ("f32", "f64"), complex: ("c64", "c128")}[given]
        raise DTypeError(where, f"{given.__name__} is not one type", expected=" or ".join(names), got=given.__name__,
                         remedy=f"Write loom.{names[0]} or loom.{names[1]}")  # fmt: skip
    kind = given if isinstance(given, DType) or is_struct(given) else dtype_of(given, where)
    allowed = variable.__constraints__
    if allowed and not any(kind is each or kind == each for each in allowed):
        names = ", ".join(str(each) for each in allowed)
        raise DTypeError(where, f"{variable.__name__} cannot be {kind}", expected=names, got=kind,
                         remedy="Convert what is bound, or allow the type where the variable is made")  # fmt: skip
    return kind


def choose_by_name(annotations: Mapping[str, Any], dtypes: Mapping[str, DType], where: str) -> dict[str, DType]:
    """Return the type of each variable by its name, as what is bound to each parameter has it.

    DTypeError if two parameters of one variable differ.
    """
    found: dict[str, DType] = {}
    origin: dict[str, str] = {}
    for name, annotation in sorted(annotations.items(), key=lambda item: not isinstance(item[1], BufferType)):
        is_buffer = isinstance(annotation, BufferType)
        kind = annotation.dtype if is_buffer else annotation
        if not isinstance(kind, TypeVar) or name not in dtypes:
            continue
        variable = kind.__name__
        known = found.setdefault(variable, dtypes[name])
        first = origin.setdefault(variable, name)
        if known != dtypes[name] and is_buffer:  # a number becomes what the buffers are
            raise DTypeError(
                where, f"{first!r} and {name!r} are both of {variable}", expected=f"one type, {known} as {first!r}",
                got=dtypes[name], remedy="Convert one, or declare another type variable",
            )  # fmt: skip
    return found


def is_choice(given: Any, variables: Sequence[TypeVar]) -> bool:
    """Tell whether ``k[given]`` chooses types, not a number of groups; where there are variables, also by name."""
    items = cast("tuple[Any, ...]", given) if isinstance(given, tuple) else (given,)
    own = (DType, type, np.dtype, str) if variables else DType
    return bool(items) and all(isinstance(i, own) or is_struct(i) for i in items)


def unchosen(where: str, variables: Sequence[TypeVar], known: Mapping[str, Any] | None = None) -> LoomError:
    """Return the error for a kernel of which some types nobody chose; ``known`` are the others, by name."""
    lacking = [v.__name__ for v in variables if v.__name__ not in (known or {})]
    what = f"the type {lacking[0]} is" if len(lacking) == 1 else f"the types {', '.join(lacking)} are"
    return DTypeError(
        where, f"{what} not chosen", expected="arrays that tell, or a choice",
        got=", ".join(f"{name} = {_type_name(kind)}" for name, kind in (known or {}).items()) or "none",
        remedy=f"Choose by hand, as in {_example(variables, known or {})}",
    )  # fmt: skip


def _example(variables: Sequence[TypeVar], known: Mapping[str, Any]) -> str:
    """Return a choice of types that the variables allow, those that are known among them."""
    types = [known.get(v.__name__, (v.__constraints__ or ("f32",))[0]) for v in variables]
    return f"k[{', '.join(map(_type_name, types))}]"


def _type_name(kind: Any) -> str:
    return kind.__name__ if isinstance(kind, type) else str(kind)
