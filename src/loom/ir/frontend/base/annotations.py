"""``In[f32]``, ``Out[f32]``, ``InOut[f32]``: how a kernel's parameters name their buffers.

Layer: ir. Invariant: an annotation object is data; only ``signature`` interprets it.
"""

# pyright: reportRedeclaration=false
from __future__ import annotations

import ast
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeGuard, TypeVar

from loom.core.dtype import DType, bool_, f32, i32
from loom.core.errors import KernelTypeError
from loom.core.given import is_tuple
from loom.core.late import late
from loom.core.late.dataclass import dataclass
from loom.ir.kernel import Access

if TYPE_CHECKING:
    from loom.core import fixed as cells
else:
    cells = late("loom.core", "fixed")

__all__ = ["Absent", "BufferType", "In", "InOut", "Out", "TypeVar", "is_struct", "resolve_annotations", "scalar_type"]


@dataclass(frozen=True, slots=True)
class BufferType:
    """A buffer of ``dtype`` that a kernel may use as ``access`` says.

    ``dtype`` may be a class of records, fixed-point cells, or a type variable, which an instance of the kernel
    replaces. ``ndim`` is the number of dimensions that arrays bound to it must have; 0 takes any and sees them flat.
    """

    dtype: Any
    access: Access
    ndim: int = 0


MOST_AXES = 8
"""Dimensions that a buffer may have."""


class _BufferAnnotation:
    _access = Access.READ

    def __class_getitem__(cls, given: Any) -> BufferType:
        dtype, ndim = given if is_tuple(given) and len(given) == 2 else (given, 0)
        if isinstance(ndim, bool) or not isinstance(ndim, int) or not 1 <= ndim <= MOST_AXES:
            if given is not dtype or ndim:
                raise KernelTypeError(
                    cls.__name__, "no number of dimensions", expected=f"1 to {MOST_AXES}", got=repr(ndim),
                    remedy=f"Write {cls.__name__}[f32, 2]",
                )  # fmt: skip
        is_kind = not isinstance(dtype, DType) and (is_struct(dtype) or isinstance(dtype, (TypeVar, cells.Fixed)))
        return BufferType(dtype if is_kind else scalar_type(dtype, cls.__name__), cls._access, ndim)

    if TYPE_CHECKING:  # what a kernel's body may do with such a parameter
        shape: Any
        ndim: int
        size: Any
        dtype: Any

        def __getitem__(self, index: Any) -> Any: ...
        def __setitem__(self, index: Any, value: Any) -> None: ...
        def __len__(self) -> int: ...


MYPY = False  # mypy takes a name so called for True
if MYPY:  # to which only Any takes [f32, 2]
    In: Any
    Out: Any
    InOut: Any
else:

    class In(_BufferAnnotation):
        """A buffer the kernel only reads: ``x: In[f32]``; ``In[f32, 2]`` is one of two dimensions, ``x[i, j]``."""

        _access = Access.READ

    class Out(_BufferAnnotation):
        """A buffer the kernel only writes: ``y: Out[f32]``."""

        _access = Access.WRITE

    class InOut(_BufferAnnotation):
        """A buffer the kernel reads and writes: ``x: InOut[f32]``."""

        _access = Access.READ_WRITE


class Absent:
    """Annotation of a parameter that a factory leaves out of this kernel: in the body it stands for None."""


def is_struct(given: object) -> TypeGuard[type]:
    """Tell whether ``given`` is a class that ``loom.struct`` made a type of records."""
    return isinstance(given, type) and "__loom_struct__" in vars(given)


_PYTHON_TYPES: dict[Any, DType] = {bool: bool_, int: i32, float: f32}


def scalar_type(annotation: Any, where: str) -> DType:
    """Return the dtype an annotation names; Python's bool, int and float mean bool, i32 and f32."""
    if isinstance(annotation, DType):
        if annotation.is_complex:
            raise KernelTypeError(
                where, "kernels have no complex numbers", expected=f"{annotation.part}, two for each number",
                got=annotation, remedy="Bind tensor.view_as_real(x), a last axis of (re, im), and compute with these",
            )  # fmt: skip
        return annotation
    if annotation in _PYTHON_TYPES:
        return _PYTHON_TYPES[annotation]
    raise KernelTypeError(
        where, "not a dtype", expected="loom.f32, loom.u32, ...", got=repr(annotation), remedy="Name a Loom dtype"
    )


def _syntax_of(annotation: str) -> ast.AST:
    """Return an annotation as syntax; what is none fails later, with its error."""
    try:
        return ast.parse(annotation, mode="eval")
    except SyntaxError:
        return ast.Pass()


def resolve_annotations(fn: Callable[..., Any], names: dict[str, Any], *, calls: bool = True) -> dict[str, Any]:
    """Return the annotations of the parameters of ``fn``, strings evaluated where ``fn`` was written.

    ``names`` are the local names around the definition, which postponed annotations of a kernel
    factory may mention. Without ``calls``, one that calls something is an error: it would be called while compiling.
    """
    found: dict[str, Any] = {}
    for name, annotation in getattr(fn, "__annotations__", {}).items():
        if name == "return":
            continue
        value = annotation
        if isinstance(annotation, str):
            if not calls and any(isinstance(n, ast.Call) for n in ast.walk(_syntax_of(annotation))):
                where, what = f"function {fn.__name__!r}", f"annotation {annotation!r} of {name!r} calls a function"
                remedy = "Name the type before the function"
                raise KernelTypeError(where, what, expected="a type, or a name of one", got=annotation, remedy=remedy)
            own = {v.__name__: v for v in getattr(fn, "__type_params__", ())}
            try:
                value = eval(annotation, fn.__globals__, {**names, **own})
            except Exception as error:
                raise KernelTypeError(
                    f"kernel {fn.__name__!r}", f"annotation {annotation!r} of {name!r} cannot be evaluated",
                    got=error, remedy="Use names that are visible where the kernel is defined",
                ) from error  # fmt: skip
        found[name] = value
    return found
