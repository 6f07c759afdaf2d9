"""Patterns that are functions of tensors: always, or where their own kernels do not take what they are given.

Layer: patterns, over tensors. ``row`` makes of a signature and its documentation a call of the tensor's function;
``falls_back`` lets that answer what a pattern refuses: other dtypes, operands that meet in one, shapes that broadcast.
Invariant: the result is a tensor if an operand was one, else numpy arrays; an error names the pattern.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar, cast

import numpy as np

from loom import tensor
from loom.core.arrays import read_array
from loom.core.dtype import DType
from loom.core.errors import ArgumentError, DTypeError, EmptyError, IndexOutside, KernelError, LoomError, ShapeError
from loom.core.given import is_list
from loom.core.promotion import is_number
from loom.runtime.port.device import Device
from loom.runtime.registry import device
from loom.tensor import Tensor
from loom.tensor.linalg.operands import LinAlgError

__all__ = ["REFUSED", "answer", "answer_instead", "as_floats", "falls_back", "home_of", "row"]

_Call = Callable[..., Any]
_Function = TypeVar("_Function", bound=_Call)

REFUSED = (DTypeError, ShapeError, KernelError, ArgumentError)
"""Errors that say that a pattern's own kernels do not take its operands."""
_RENAMED = (DTypeError, ShapeError, ArgumentError, EmptyError, IndexOutside)
"""Errors that are told again by the name of the pattern."""


def row(twin: str, operands: int = 1, *, where: str = "", floats: bool = False) -> Callable[[_Function], _Function]:
    """Make a function of its signature and documentation: that of ``loom.tensor`` called ``twin``.

    Its first ``operands`` are arrays, or numbers beside arrays; the others are passed by name. ``where``: its name in
    errors, by default ``twin``. ``floats``: lists of integers are f64.
    """

    def wrap(function: _Function) -> _Function:
        by_tensors = _reader(function, twin, operands, where or twin, floats)

        def call(*args: object, **named: object) -> object:
            try:
                return by_tensors(args, named)
            except _RENAMED as error:
                raise _by_name(error, where or twin) from None

        return cast(_Function, functools.wraps(function)(call))

    return wrap


def falls_back(
    twin: str | _Call,
    operands: int = 1,
    *,
    where: str = "",
    floats: bool = False,
    errors: tuple[type[LoomError], ...] = REFUSED,
) -> Callable[[_Function], _Function]:
    """Let the tensor's function ``twin``, or a function of tensors, answer what a pattern refuses; as ``row``.

    ``errors``: the refusals that are meant. Others say what is no question of types and shapes.
    """
    place = where or str(twin)

    def wrap(function: _Function) -> _Function:
        by_tensors = _reader(function, twin, operands, place, floats)

        def call(*args: object, **named: object) -> object:
            try:
                return function(*args, **named)
            except errors as error:
                if isinstance(error, LinAlgError):
                    raise
                return answer_instead(place, error, functools.partial(by_tensors, args, named))

        return cast(_Function, functools.wraps(function)(call))

    return wrap


def _reader(function: _Call, twin: str | _Call, operands: int, where: str, floats: bool) -> _Call:
    """Return what calls ``twin`` with the arguments of a function: the first are operands, the others go by name."""
    signature = inspect.signature(function)
    names = list(signature.parameters)[:operands]

    def by_tensors(args: Sequence[object], named: dict[str, object]) -> object:
        options = signature.bind(*args, **named).arguments
        arrays = [options.pop(name) for name in names if name in options]
        arrays = [as_floats(x) for x in arrays] if floats else arrays
        other: _Call = functools.reduce(getattr, twin.split("."), tensor) if isinstance(twin, str) else twin
        return answer(where, other, arrays, options)

    return by_tensors


def answer(where: str, twin: _Call, operands: Sequence[object], options: dict[str, Any]) -> Any:
    """Return what a function of tensors makes of operands of any kind, as arrays of that kind."""
    home = home_of(where, options.pop("on", None), operands)
    arrays = [x for x in operands if not _is_plain(x)]
    lead = next((x for x in arrays if not is_list(x)), arrays[0] if arrays else operands[0])
    first = _read(lead, where, None, home)

    def read(x: object) -> object:
        if x is lead:
            return first
        return x if _is_plain(x) else _read(x, where, first.dtype if is_list(x) else None, home)

    made = twin(*map(read, operands), **options)
    return made if any(isinstance(x, Tensor) for x in operands) else _on_host(made)


def home_of(where: str, on: str | Device | None, operands: Iterable[object]) -> Device:
    """Return the device of a call: ``on``, else that of the tensors; ArgumentError if one is on another."""
    homes = [x.device for x in operands if isinstance(x, Tensor) and x.device is not None]
    home = device(on) if on is not None or not homes else homes[0]
    other = next((each for each in homes if each is not home), None)
    if other is not None:
        remedy = f"Copy it with loom.array(x, on={home.name!r})"
        raise ArgumentError(where, "the array is on another device", expected=home.name, got=other.name, remedy=remedy)
    return home


def _read(x: object, where: str, wanted: DType | None, home: Device) -> Tensor:
    """Return an operand as a tensor; numbers of a list, but for bools, have the type that is wanted, or are refused."""
    if isinstance(x, Tensor):
        return x
    found, dtype = read_array(x, where, complexes=True)
    if wanted is not None and not dtype.is_bool:
        found, dtype = read_array(x, where, dtype=wanted, complexes=True)
    return tensor.array(found, dtype, on=home)


def answer_instead(where: str, error: LoomError, call: Callable[[], object]) -> object:
    """Return what is answered instead of a refusal; if that is refused too, the error that both doors have."""
    try:
        return call()
    except _RENAMED as other:
        raise error if type(other) is type(error) else _by_name(other, where) from None
    except TypeError:  # an option that the tensor's function does not have
        raise error from None


def _by_name(error: LoomError, where: str) -> LoomError:
    """Return an error of a tensor's function by the name of the pattern."""
    _, comma, what = error.where.partition(",")
    place = f"{where}{comma}{what}"
    if type(error) not in _RENAMED or error.where == place:
        return error
    return type(error)(place, error.what, expected=error.expected, got=error.got, remedy=error.remedy)


def _is_plain(x: object) -> bool:
    return x is None or is_number(x)


def as_floats(data: Any) -> Any:
    """Return a list of integers as f64, anything else as it is."""
    if not is_list(data):
        return data
    try:
        found = np.asarray(data)
    except ValueError:  # ragged: the reader says so
        return data
    return found.astype(np.float64) if found.dtype.kind in "iu" else data


def _on_host(made: Any) -> Any:
    if isinstance(made, Tensor):
        return made.numpy() if made.shape else made.numpy()[()]
    parts = [_on_host(x) for x in made]
    return type(made)(*parts) if hasattr(made, "_fields") else tuple(parts)
