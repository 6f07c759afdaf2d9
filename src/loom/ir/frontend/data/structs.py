"""``@loom.struct``: classes of records, which kernels compute with and which lie in buffers.

Layer: ir. On the host such a class is a dataclass whose ``numpy`` is the dtype of arrays of it. Invariant: a class is
fixed when it is decorated; its layout is ``ir.records``'.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, dataclass, fields
from types import FunctionType
from typing import Any, TypeVar, Union, cast

import numpy as np

from loom.core.dtype import DType
from loom.core.errors import KernelTypeError, near_matches
from loom.ir.constants import fits
from loom.ir.frontend.base.annotations import is_struct, scalar_type
from loom.ir.records import RecordLayout

__all__ = ["StructInfo", "info_of", "is_struct", "struct"]

_F = TypeVar("_F")
MYPY = False  # mypy takes a name so called for True
if MYPY:  # which takes no decorator's word for what a class becomes
    from typing_extensions import dataclass_transform
else:

    def dataclass_transform() -> Callable[[_F], _F]:
        """Leave a decorator as it is."""
        return lambda decorator: decorator


@dataclass(frozen=True, slots=True, eq=False)
class StructInfo:
    """What kernels know of a class of records: its fields' types, their defaults, its methods, its layout."""

    kinds: dict[str, Union[DType, type]]
    defaults: dict[str, Any]
    methods: dict[str, FunctionType]
    record: RecordLayout


def info_of(kind: type) -> StructInfo:
    """Return what ``struct`` found of a class."""
    return cast("StructInfo", vars(kind)["__loom_struct__"])


@dataclass_transform()
def struct(cls: type, /) -> Any:
    """Make a class with annotated fields a type of records, for kernels and their buffers.

    Fields are dtypes, short vectors, or other such classes; they may have defaults. In a kernel ``Particle(x, v)``
    makes one, ``p.x`` reads a field and ``p.x = ...`` assigns it; a record is a value, so assigning it copies.
    ``InOut[Particle]`` is a buffer of records, to which arrays of ``Particle.numpy`` are bound. Functions of the
    class are called as methods.

    Args:
        cls: Class with annotated fields.

    Returns:
        The class, a dataclass, with ``numpy``, the dtype of its records.

    Raises:
        KernelTypeError: Not a class; no fields, or some of other types; fields of a base; a name that is taken; a
            default that does not fit its field.

    >>> import loom, numpy
    >>> @loom.struct
    ... class Particle:
    ...     x: loom.f32
    ...     v: loom.f32x2
    ...     alive: loom.u32 = 1
    >>> Particle.numpy.itemsize
    16
    >>> numpy.zeros(2, Particle.numpy)["v"].shape
    (2, 2)
    """
    if not isinstance(cls, type):
        raise KernelTypeError("loom.struct", "not a class", expected="a class with annotated fields",
                              got=type(cast("object", cls)).__name__, remedy="Decorate a class")  # fmt: skip
    where = f"loom.struct {cls.__name__!r}"
    names = dict(sys._getframe(1).f_locals)  # pyright: ignore[reportPrivateUsage] - there is no public way to a caller's frame
    kinds = _kinds(cls, names, where)
    for name, kind in kinds.items():
        if name in vars(cls):
            setattr(cls, name, _default(vars(cls)[name], kind, f"{where}, field {name!r}"))
    given = cast("Any", cls)
    try:
        made: Any = given if "__dataclass_fields__" in vars(cls) else dataclass(given)
    except (TypeError, ValueError) as error:
        raise KernelTypeError(where, f"no dataclass can be made of it ({error})", expected="fields as of a dataclass",
                              remedy="Put fields with defaults last") from None  # fmt: skip
    record = RecordLayout.of({n: info_of(k).record if isinstance(k, type) else k for n, k in kinds.items()})  # type: ignore[arg-type]
    defaults = {f.name: f.default for f in fields(made) if f.default is not MISSING}
    methods = {n: f for n, f in vars(cls).items() if isinstance(f, FunctionType) and not n.startswith("__")}
    for name, value in (("__loom_struct__", StructInfo(kinds, defaults, methods, record)), ("numpy", record.numpy)):
        setattr(made, name, value)
    return made


def _default(given: Any, kind: Union[DType, type], where: str) -> Any:
    """Return the default of a field, components of a short vector as a tuple; KernelTypeError if it does not fit."""
    if isinstance(given, Field):  # of dataclasses
        value: Any = cast("Field[Any]", given).default
        if value is not MISSING:
            _default(value, kind, where)
        return cast("Any", given)
    if isinstance(kind, DType) and kind.is_vector and isinstance(given, (list, np.ndarray)):
        given = tuple(cast("Any", given))
    if not (fits(given, kind) if isinstance(kind, DType) else isinstance(given, kind)):
        named = kind if isinstance(kind, DType) else kind.__name__
        raise KernelTypeError(where, "the default does not fit", expected=named, got=repr(given)[:200],
                              remedy=f"Give one of type {named}")  # fmt: skip
    return given


def _kinds(cls: type, names: Mapping[str, Any], where: str) -> dict[str, Union[DType, type]]:
    """Return the type of each field, strings evaluated where the class was written."""
    for base in cls.__mro__[1:]:
        if vars(base).get("__annotations__"):
            raise KernelTypeError(
                where, "a class of records has all its fields itself", expected="no fields of a base",
                got=base.__name__, remedy="Repeat them, or hold such a record in a field",
            )  # fmt: skip
    written = cast("dict[str, Any]", vars(cls).get("__annotations__", {}))
    if not written:
        raise KernelTypeError(where, "a class of records has no fields", expected="annotated names, as in x: f32",
                              remedy="Annotate its fields")  # fmt: skip
    kinds: dict[str, Union[DType, type]] = {}
    for name, annotation in written.items():
        if name == "numpy" or name.startswith("__"):
            raise KernelTypeError(where, f"no field may be called {name!r}", expected="another name",
                                  remedy="Rename it")  # fmt: skip
        kind: Any = annotation
        if isinstance(annotation, str):
            try:
                kind = eval(annotation, dict(vars(sys.modules[cls.__module__])), dict(names))
            except Exception as error:
                raise KernelTypeError(
                    where, f"annotation {annotation!r} of {name!r} cannot be evaluated", got=error,
                    remedy="Use names that are visible where the class is defined",
                ) from error  # fmt: skip
        kinds[name] = kind if is_struct(kind) else scalar_type(kind, f"{where}, field {name!r}")
    return kinds


def no_field(name: str, kind: type) -> tuple[str, str, str, str]:
    """Return the parts of the error for a field that a class lacks."""
    known = [*info_of(kind).kinds, *info_of(kind).methods]
    return f"{kind.__name__} has no field {name!r}", ", ".join(known), name, near_matches(name, known)
