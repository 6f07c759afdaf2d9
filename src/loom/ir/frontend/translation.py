"""Translates a kernel: its parameters, then its body, until the types of all locals are settled.

Layer: ir. It loads when a kernel is translated, which a warm process seldom does. Invariant: a translation depends on
the function's source, its types and the outer values it names.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar, cast

from loom.core.arithmetic import ordinary_arithmetic
from loom.core.dtype import DType, i64, u32
from loom.core.errors import KernelTypeError, SyntaxNotSupported
from loom.core.fixed import Fixed
from loom.ir.builder import Builder
from loom.ir.constants import fits
from loom.ir.frontend.base.annotations import Absent, BufferType, scalar_type
from loom.ir.frontend.base.values import AxesView, Retype, Static
from loom.ir.frontend.data.structs import info_of, is_struct
from loom.ir.frontend.names import FunctionNames
from loom.ir.frontend.scope import mutable_names
from loom.ir.frontend.source import function_source, names_of
from loom.ir.frontend.translator import Translator
from loom.ir.frontend.unsigned import refuse_unsigned
from loom.ir.kernel import Kernel, Loc

if TYPE_CHECKING:
    from loom.ir.frontend.decorator import KernelFunction

__all__ = ["settle_types", "translate_kernel"]

_MOST_TRANSLATIONS = 4096
_Result = TypeVar("_Result")


@ordinary_arithmetic()
def settle_types(where: str, translate: Callable[[dict[Any, DType]], _Result]) -> _Result:
    """Return what ``translate`` gives once the types of all weak locals, its argument, are settled."""
    retyped: dict[Any, DType] = {}
    for _ in range(_MOST_TRANSLATIONS):
        try:
            return translate(retyped)
        except Retype as request:
            retyped[request.key] = request.dtype
            if request.index:
                retyped[request.key, "index"] = request.dtype
        except RecursionError:
            raise SyntaxNotSupported(
                where, "expressions or statements are nested too deeply", expected="some hundred levels at most",
                remedy="Split it, with locals for intermediate results",
            ) from None  # fmt: skip
    raise KernelTypeError(where, "the types of its locals do not settle", remedy="Annotate them")


def translate_kernel(function: KernelFunction) -> Kernel:
    """Return a kernel as translated, not yet verified; KernelTypeError, SyntaxNotSupported where that cannot be."""
    return settle_types(f"kernel {function.name!r}", lambda retyped: _translate(function, retyped))


def _translate(function: KernelFunction, retyped: dict[Any, DType]) -> Kernel:
    source = function_source(function.fn, function.text)
    builder = Builder(function.name, function.workgroup, Loc(source.file, source.line))
    translator = Translator(builder, retyped)
    translator.types = function.types
    parameters = _parameters(function, builder)
    mutable = mutable_names(source.body, set(parameters))
    frame = FunctionNames(source, names_of(function.fn), mutable, 0, is_kernel=True, function=function.fn)
    translator.frames.append(frame)
    _declare(function, builder, translator, parameters)
    translator.body(source.body)
    trusted, guarantee, order = function.options
    verified = builder.finish(trusted=trusted, guarantee=guarantee, order=order, is_own=function.is_own)
    return refuse_unsigned(verified, builder.mixed)


def _parameters(function: KernelFunction, builder: Builder) -> list[str]:
    signature = inspect.signature(function.fn, follow_wrapped=False)
    for name, parameter in signature.parameters.items():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            raise builder.error("a kernel has a fixed number of parameters", "a name", f"*{name}", "Name each one")
        if parameter.default is not parameter.empty and isinstance(function.annotations.get(name), BufferType):
            raise builder.error(
                f"buffer {name!r} has a default", f"{name} alone", f"{name} = {parameter.default!r}",
                "Bind it with each dispatch",
            )  # fmt: skip
    return list(signature.parameters)


def _declare(function: KernelFunction, builder: Builder, translator: Translator, parameters: list[str]) -> None:
    for name in parameters:
        annotation = function.annotations.get(name)
        if annotation is None:
            raise KernelTypeError(
                builder.where(), f"parameter {name!r} has no type",
                expected="In[f32], Out[f32], InOut[f32] or a dtype",
                remedy=f"Annotate it, for example {name}: loom.In[loom.f32]",
            )  # fmt: skip
        if isinstance(annotation, BufferType):
            _buffer(builder, translator, name, annotation)
            if name in translator.frame.mutable:
                raise builder.error(
                    f"buffer {name!r} is assigned", f"{name}[...] = value, or another name", f"{name} = ...",
                    "A parameter stands for one buffer throughout",
                )  # fmt: skip
    for name in parameters:
        annotation = function.annotations[name]
        if annotation is Absent:
            translator.frame.names[name] = Static(None)
        elif not isinstance(annotation, BufferType):
            if is_struct(annotation):
                raise builder.error(
                    f"parameter {name!r} is a record", "a buffer of one, or its fields", annotation.__name__,
                    f"Declare {name}: In[{annotation.__name__}], or a parameter for each field",
                )  # fmt: skip
            dtype = scalar_type(annotation, builder.where())
            default = _default(function, builder, name, dtype)
            value = builder.emit("param", attr=builder.param(name, dtype, default=default))
            translator.assign_name(name, value)
    for name in parameters:
        view = translator.frame.names.get(name)
        if isinstance(view, AxesView):
            lengths = (builder.param(f"{name}.shape.{k}", u32, extent=(name, k)) for k in range(len(view.shape)))
            shape = tuple(translator.typing.index(builder.emit("param", attr=length)) for length in lengths)
            translator.frame.names[name] = AxesView(view.memory, shape, view.kind)


def _buffer(builder: Builder, translator: Translator, name: str, given: BufferType) -> None:
    """Declare a buffer; of several dimensions, or of records, what stands for it awaits its lengths."""
    kind = given.dtype if is_struct(given.dtype) else None
    ndim = given.ndim or (1 if kind is not None else 0)
    record = "" if kind is None else info_of(kind).record.text
    fixed = given.dtype if isinstance(given.dtype, Fixed) else None
    dtype = u32 if kind else i64 if fixed else cast("DType", given.dtype)
    memory = builder.buffer(name, dtype, given.access, ndim=ndim, record=record, fixed=fixed)
    is_view = ndim > 1 or kind is not None
    translator.frame.names[name] = AxesView(memory, (Static(0),) * ndim, kind) if is_view else memory


def _default(function: KernelFunction, builder: Builder, name: str, dtype: DType) -> Any:
    """Return the default of a parameter, which must fit its type; None if it has none."""
    default: Any = inspect.signature(function.fn, follow_wrapped=False).parameters[name].default
    if default is inspect.Parameter.empty:
        return None
    if not fits(default, dtype):
        raise builder.error(f"the default of {name!r} does not fit", dtype, repr(default), f"Give one of type {dtype}")
    return default
