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

__all__ = ["REFUSED", "answer", "answer_instead", "falls_back", "home_of", "row"]

_Function = TypeVar("_Function", bound=Callable[..., Any])

REFUSED = (DTypeError, ShapeError, KernelError, ArgumentError)
"""Errors that say that a pattern's own kernels do not take its operands."""
_RENAMED = (DTypeError, ShapeError, ArgumentError, EmptyError, IndexOutside)
"""Errors that are told again by the name of the pattern."""


def row(
    twin: str, operands: int = 1, *, where: str = "", floats: bool = False
) -> Callable[[_Function], _Function]:  # fmt: skip
    """Make a function of its signature and documentation: that of ``loom.tensor`` called ``twin``.

    Its first ``operands`` are arrays, or numbers beside arrays; the others are passed by name. ``where``: its name in
    errors, by default ``twin``. ``floats``: lists of integers are f64.
    """
    return _wrapped(where or twin, twin, operands, floats, None)


def falls_back(
    twin: str | Callable[..., Any], operands: int = 1, *, where: str = "", floats: bool = False,
    errors: tuple[type[LoomError], ...] = REFUSED,
) -> Callable[[_Function], _Function]:  # fmt: skip
    """Let the tensor's function ``twin``, or a function of tensors, answer what a pattern refuses; as ``row``.

    ``errors``: the refusals that are meant. Others say what is no question of types and shapes.
    """
    return _wrapped(where or str(twin), twin, operands, floats, errors)


def _wrapped(
    where: str, twin: str | Callable[..., Any], operands: int, floats: bool, errors: tuple[type[LoomError], ...] | None
) -> Callable[[_Function], _Function]:  # fmt: skip
    def wrap(function: _Function) -> _Function:
        signature = inspect.signature(function)
        names = list(signature.parameters)[:operands]

        def by_tensors(args: Sequence[Any], named: dict[str, Any]) -> Any:
            given = signature.bind(*args, **named).arguments
            arrays = [_as_floats(given.pop(name)) if floats else given.pop(name) for name in names if name in given]
            other: Any = functools.reduce(getattr, twin.split("."), tensor) if isinstance(twin, str) else twin
            return answer(where, other, arrays, given)

        def called(*args: Any, **named: Any) -> Any:
            try:
                return function(*args, **named)
            except caught as error:
                if isinstance(error, LinAlgError):
                    raise
                return answer_instead(where, error, functools.partial(by_tensors, args, named))

        def called_as_row(*args: Any, **named: Any) -> Any:
            try:
                return by_tensors(args, named)
            except _RENAMED as error:
                raise _renamed(error, where) from None

        caught = errors or ()
        return cast(_Function, functools.wraps(function)(called if errors else called_as_row))

    return wrap


def answer(where: str, twin: Callable[..., Any], operands: Sequence[Any], options: dict[str, Any]) -> Any:
    """Return what a function of tensors makes of operands of any kind, as arrays of that kind."""
    home = home_of(where, options.pop("on", None), operands)
    arrays = [x for x in operands if not _is_plain(x)]
    lead = next((x for x in arrays if not is_list(x)), arrays[0] if arrays else operands[0])
    first = _read(lead, where, None, home)

    def read(x: Any) -> Any:
        if x is lead:
            return first
        return x if _is_plain(x) else _read(x, where, first.dtype if is_list(x) else None, home)

    made = twin(*map(read, operands), **options)
    return made if any(isinstance(x, Tensor) for x in operands) else _on_host(made)


def home_of(where: str, on: str | Device | None, operands: Iterable[Any]) -> Device:
    """Return the device of a call: ``on``, else that of the tensors; ArgumentError if one is on another."""
    homes = [x.device for x in operands if isinstance(x, Tensor) and x.device is not None]
    home = device(on) if on is not None or not homes else homes[0]
    other = next((each for each in homes if each is not home), None)
    if other is not None:
        remedy = f"Copy it with loom.array(x, on={home.name!r})"
        raise ArgumentError(where, "the array is on another device", expected=home.name, got=other.name, remedy=remedy)
    return home


def _read(x: Any, where: str, wanted: DType | None, home: Device) -> Tensor:
    """Return an operand as a tensor; numbers of a list, but for bools, have the type that is wanted, or are refused."""
    if isinstance(x, Tensor):
        return x
    found, dtype = read_array(x, where, complexes=True)
    if wanted is not None and not dtype.is_bool:
        found, dtype = read_array(x, where, dtype=wanted, complexes=True)
    return tensor.array(found, dtype, on=home)


def answer_instead(where: str, error: LoomError, call: Callable[[], Any]) -> Any:
    """Return what is answered instead of a refusal; if that is refused too, the error that both doors have."""
    try:
        return call()
    except _RENAMED as other:
        raise error if type(other) is type(error) else _renamed(other, where) from None
    except TypeError:  # an option that the tensor's function does not have
        raise error from None


def _renamed(error: LoomError, where: str) -> LoomError:
    """Return an error of a tensor's function by the name of the pattern."""
    _, comma, what = error.where.partition(",")
    place = f"{where}{comma}{what}"
    if type(error) not in _RENAMED or error.where == place:
        return error
    return type(error)(place, error.what, expected=error.expected, got=error.got, remedy=error.remedy)


def _is_plain(x: Any) -> bool:
    return x is None or is_number(x)


def _as_floats(data: Any) -> Any:
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
