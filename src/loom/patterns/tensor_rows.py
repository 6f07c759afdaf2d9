"""Patterns that are rows: a signature, its documentation, and the function of tensors that answers.

Layer: patterns, over tensors. Invariant: types, shapes and bits of an answer are those of the tensor's function.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Collection, Sequence
from typing import Any, TypeVar, cast

import numpy as np

from loom import tensor
from loom.core.dtype import DType
from loom.core.errors import ArgumentError, DTypeError, EmptyError, IndexOutside, LoomError, ShapeError
from loom.core.given import is_list, is_scalar
from loom.core.promotion import is_number
from loom.core.tracebacks import brief
from loom.patterns.array_calls import Arrays, present
from loom.patterns.kept_functions import ElementsNeededError, RecordedFunction, record_function
from loom.tensor import Tensor
from loom.tensor.handle.methods import fresh

__all__ = ["RENAMED", "answer", "as_floats", "by_name", "finish", "row", "under_own_name"]

_Call = Callable[..., Any]
_Function = TypeVar("_Function", bound=_Call)

RENAMED = (DTypeError, ShapeError, ArgumentError, EmptyError, IndexOutside)
"""Errors that are told again by the name of the pattern."""


def row(
    twin: str | _Call,
    operands: int = 1,
    *,
    where: str = "",
    floats: bool = False,
    apart: Collection[int] = (),
    complexes: bool = False,
    whole: bool = False,
) -> Callable[[_Function], _Function]:
    """Make a function of its signature and documentation: that of ``loom.tensor`` called ``twin``, or one of tensors.

    Its first ``operands`` are arrays, or numbers beside arrays; the others are passed by name. ``where``: its name in
    errors, by default its own. ``floats``: lists of integers are f64. ``apart``: numbers of operands
    whose lists have their own type, not that of an array beside them. ``complexes``: complex numbers are taken.
    ``whole``: beside integers a float that is whole is one.
    """

    def wrap(function: _Function) -> _Function:
        name = function.__name__
        place = where or (twin if isinstance(twin, str) and not name.startswith("gpu_") else name)
        signature = inspect.signature(function)
        names = list(signature.parameters)
        others, known = names[operands:], frozenset(names[operands:])
        most = sum(p.kind is not p.KEYWORD_ONLY for p in signature.parameters.values())
        found: list[_Call] = [] if isinstance(twin, str) else [twin]

        def call(*args: Any, **named: Any) -> Any:
            if not found:
                found.append(functools.reduce(getattr, str(twin).split("."), cast("Any", tensor)))
            if len(args) < operands or not named.keys() <= known or (len(args) > operands and named):
                named = signature.bind(*args, **named).arguments
                args = tuple(named.pop(name) for name in names[:operands] if name in named)
            elif len(args) > operands:
                signature.bind(*args) if len(args) > most else None
                named, args = dict(zip(others, args[operands:], strict=False)), args[:operands]
            given = [as_floats(x) for x in args] if floats else args

            def offer(what: RecordedFunction) -> None:
                arguments = {**dict(zip(names, args, strict=False)), **named}
                what.offer(made, names, names[: len(args)], arguments, functools.partial(finish, place, what))

            return answer(
                place, found[0], given, {**named}, names, apart=apart, complexes=complexes, whole=whole, offer=offer
            )

        made: Any = brief(functools.wraps(function)(call))
        return cast(_Function, made)

    return wrap


def answer(
    where: str, twin: _Call, operands: Sequence[Any], options: dict[str, Any], names: Sequence[str] = (),
    *, apart: Collection[int] = (), complexes: bool = False, whole: bool = False,
    offer: Callable[[RecordedFunction], None] | None = None,
) -> Any:  # fmt: skip
    """Return what a function of tensors makes of operands of any kind, as arrays of that kind; ``names`` are theirs.

    ``offer`` is told what was run over arrays of numpy where such a call came before.
    """
    call = Arrays(where, options.pop("on", None), *operands)
    try:
        if is_of_arrays := set(map(type, operands)) == _ARRAYS:
            given = [call.read(x, names[k] if k and names else "", complexes=complexes) for k, x in enumerate(operands)]
        else:
            given = _read(call, operands, names, apart, complexes)
            alike = [x for k, x in enumerate(given) if k not in apart]
            given = [_whole(x, alike) for x in given] if whole else given
        if not call.of_tensors and where not in _LOOKING and set(map(type, given)) == _PAIRS and _is_told(options):
            try:
                what = _program(call, twin, given, options)
                made = call.run_recorded(what, [memory for memory, _ in given])
                if is_of_arrays and offer is not None and what.program.admission.is_due():
                    offer(what)
                return made
            except ElementsNeededError:
                _LOOKING.add(where)
        tensors = [_tensor(call, x) for x in given]
        return call.result(fresh(twin(*tensors, **options), *tensors))
    except RENAMED as error:
        raise by_name(error, where) from None


def finish(where: str, what: RecordedFunction, *parts: Any) -> Any:
    """Return the results of a run as ``answer`` does."""
    try:
        return present(what, [*parts])
    except RENAMED as error:
        raise by_name(error, where) from None


def _read(
    call: Arrays, operands: Sequence[Any], names: Sequence[str], apart: Collection[int], complexes: bool
) -> list[Any]:
    """Return operands as tensors, or arrays of the host and their dtypes; numbers as they are."""
    arrays = [k for k, x in enumerate(operands) if not (x is None or is_number(x))]
    alike = [k for k in arrays if k not in apart]
    lead = next((k for k in alike if not is_list(operands[k])), alike[0] if alike else 0)
    take: _Call = call.input if call.of_tensors else call.read
    given = list(operands)
    first = given[lead] = take(operands[lead], names[lead] if lead and names else "", complexes=complexes)
    for k in arrays:
        if k != lead:
            x, name = operands[k], names[k] if k and names else ""
            given[k] = first if x is operands[lead] else take(x, name, complexes=complexes)
            if k in alike and is_list(x) and not _dtype(given[k]).is_bool:
                given[k] = take(x, name, dtype=_dtype(first), complexes=complexes)
    return given


def _whole(x: Any, given: Sequence[Any]) -> Any:
    """Return a float as the integer that it is, where all arrays are of integers that have it."""
    number: Any = x.item() if is_scalar(x) else x
    dtypes = {_dtype(each) for each in given if isinstance(each, (tuple, Tensor))}
    fits = type(number) is float and number.is_integer()
    fits = fits and all(dtype.is_integer and dtype.minimum <= number <= dtype.maximum for dtype in dtypes)
    return int(number) if fits else x


def _tensor(call: Arrays, given: Any) -> Any:
    return call.lend(*cast("Any", given)) if type(given) is tuple else given


def _program(call: Arrays, twin: _Call, given: Sequence[Any], options: dict[str, Any]) -> RecordedFunction:
    """Return the program that is kept for operands of such kinds and for such options."""
    key = call.name, twin, repr(options) if options else ""
    kinds = [(memory.shape, dtype) for memory, dtype in given]
    return record_function(key, call.device, functools.partial(twin, **options) if options else twin, kinds)


def _dtype(given: Any) -> DType:
    return given.dtype if isinstance(given, Tensor) else given[1]


_LOOKING: set[str] = set()
"""Patterns whose functions look at elements while they record."""
_ARRAYS, _PAIRS = {np.ndarray}, {tuple}
_NUMBERS = frozenset((bool, int, float, str, type(None)))


def _is_told(options: dict[str, Any]) -> bool:
    """Tell whether options are told by how Python writes them."""
    return all(map(_is_plain, options.values()))


def _is_plain(x: Any) -> bool:
    kind = cast("type[object]", type(x))
    return kind in _NUMBERS or kind is DType or (kind in (list, tuple) and {*map(type, x)} <= _NUMBERS)


def by_name(error: LoomError, where: str) -> LoomError:
    """Return an error of a tensor's function by the name of the pattern."""
    head, comma, what = error.where.partition(",")
    place = f"{where}{comma}{what}"
    if type(error) not in RENAMED or error.where == place or head.startswith("environment "):
        return error
    return type(error)(place, error.what, expected=error.expected, got=error.got, remedy=error.remedy)


def under_own_name(where: str) -> Callable[[_Function], _Function]:
    """Have a function tell errors of the pattern that it stands for by its own name, ``where``."""

    def wrap(function: _Function) -> _Function:
        def call(*args: object, **named: object) -> object:
            try:
                return function(*args, **named)
            except RENAMED as error:
                raise by_name(error, where) from None

        return cast(_Function, functools.wraps(function)(call))

    return wrap


def as_floats(data: Any) -> Any:
    """Return a list of integers as f64, anything else as it is."""
    if not is_list(data):
        return data
    try:
        found = np.asarray(data)
    except ValueError:  # ragged: the reader says so
        return data
    return found.astype(np.float64) if found.dtype.kind in "iu" else data
