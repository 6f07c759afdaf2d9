"""Elementary functions: names that kernels call, each with one definition per float type.

Layer: ir. A definition is a Python function in the kernel language, translated in place where it is
called; the type of the arguments chooses it. Invariant: a definition uses exactly rounded operations only,
so that its bits are the same everywhere, and states how far it may be from the true value.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from types import FunctionType
from typing import Any, ClassVar

from loom.core.dtype import SCALARS, DType
from loom.core.errors import StateError

__all__ = ["Elementary", "elementary"]


class Elementary:
    """A function such as ``loom.exp``: called inside kernels only.

    ``definitions`` maps a dtype to the function that computes it, ``ulps`` to the largest error it may
    have, in units in the last place of the result.
    """

    find: ClassVar[Callable[[str], Elementary] | None] = None
    """Gives the function of the library that has a name: told by ``loom.kernels.functions``."""
    apply: ClassVar[Callable[..., object] | None] = None
    """Gives a function's values, by name and type, for arrays of constants: the interpreter's; told there too."""

    def __init__(self, stub: Callable[..., Any], definitions: dict[DType, tuple[FunctionType, float]]) -> None:
        self.__name__ = stub.__name__
        self.__doc__ = stub.__doc__
        self.__module__ = stub.__module__
        self.__signature__ = inspect.signature(stub)
        self.definitions = {dtype: fn for dtype, (fn, _) in definitions.items()}
        self.ulps = {dtype: bar for dtype, (_, bar) in definitions.items()}

    @property
    def arity(self) -> int:
        """How many arguments it takes."""
        return len(self.__signature__.parameters)

    def __call__(self, *_args: Any, **_kwargs: Any) -> Any:
        """Tell that this is no function of the host."""
        raise StateError(
            f"loom.{self.__name__}",
            "called on the host",
            expected="a call inside a kernel",
            remedy=f'Use it in a kernel, or apply it to an array with loom.gpu_map(x, "{self.__name__}")',
        )

    def __repr__(self) -> str:
        return f"<loom.{self.__name__}>"


def elementary(**definitions: tuple[Any, float]) -> Callable[[Callable[..., Any]], Elementary]:
    """Make the stub below an elementary function: ``@elementary(f32=(definition, ulps), ...)``."""
    return lambda stub: Elementary(stub, {SCALARS[name]: pair for name, pair in definitions.items()})
