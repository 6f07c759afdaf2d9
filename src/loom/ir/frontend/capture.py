"""Names what a function of the library is, with all it reaches, without translating it.

Layer: ir. A kernel is fixed by its code and the outer values it names, and so on through the functions it calls; the
digest of these finds what an earlier process learnt of it. Invariant: equal digests mean equal kernels. Whatever is
not understood has no digest, and its kernel is translated.
"""

from __future__ import annotations

import enum
import hashlib
import marshal
import sys
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from types import BuiltinFunctionType, CodeType, FunctionType, ModuleType
from typing import TYPE_CHECKING, Any, cast

from loom.core.given import is_array, is_list, is_scalar
from loom.core.late import late
from loom.ir.frontend.decorator import KernelFunction
from loom.ir.frontend.elementary import Elementary
from loom.ir.frontend.intrinsics import INTRINSICS

if TYPE_CHECKING:
    from loom.ir.frontend import lanefunctions
else:
    lanefunctions = late("loom.ir.frontend", "lanefunctions")

__all__ = ["digest_of"]

_PLAIN = (type(None), bool, int, float, complex, str, bytes)
_PACKAGE = "loom."
_MARSHAL = 2
"""The last version of the format without references, which differ from process to process."""


class _NotUnderstood(Exception):
    """Something is reached whose meaning is not known here."""


def digest_of(kernel: KernelFunction) -> str | None:
    """Return the digest of a kernel of Loom's own library, None if it reaches anything of others."""
    capture = _Capture()
    try:
        capture.kernel(kernel)
    except _NotUnderstood:
        return None
    return capture.digest.hexdigest()


class _Capture:
    def __init__(self) -> None:
        self.digest = hashlib.sha256(sys.version.encode())
        self._met: dict[int, tuple[int, Any]] = {}  # with the thing, so that its number stays its own

    def say(self, *texts: object) -> None:
        for text in texts:
            data = text if isinstance(text, bytes) else str(text).encode()
            self.digest.update(len(data).to_bytes(8, "little") + data)

    def kernel(self, kernel: KernelFunction) -> None:
        self.say("kernel", kernel.name, kernel.workgroup)
        self.values([*kernel.options, *sorted(kernel.annotations.items())])
        self.value(kernel.fn)

    def values(self, values: Any) -> None:
        self.say(len(values))
        for value in values:
            self.value(value)

    def value(self, value: Any) -> None:
        """Add a value: by what it is where it is plain, by what it is made of otherwise."""
        if isinstance(value, enum.Enum):
            self.say("enum", type(value).__qualname__, value.name)
        elif type(value) in _PLAIN:
            self.say(type(value).__name__, repr(value))
        elif is_list(value):
            self.say(type(value).__name__)
            self.values(value)
        elif isinstance(value, dict):
            self.say("dict")
            self.values(list(cast("dict[Any, Any]", value).items()))
        elif (is_array(value) or is_scalar(value)) and value.dtype.kind in "biuf":
            self.say("numpy", value.dtype.str, value.shape, value.tobytes())
        elif isinstance(value, ModuleType):
            self.say("module", value.__name__)
        else:
            self._thing(value)

    def _thing(self, thing: Any) -> None:
        met = self._met.get(id(thing))
        if met is not None:  # a function that names itself, or one met before
            self.say("again", met[0])
            return
        self._met[id(thing)] = len(self._met), thing
        intrinsic = INTRINSICS.get(thing) if isinstance(thing, FunctionType) else None
        if intrinsic is not None:
            self.say("intrinsic", intrinsic)
        elif isinstance(thing, KernelFunction):
            self.kernel(thing)
        elif isinstance(thing, Elementary):
            self.say("elementary", thing.__name__)
            self.values([(dtype.name, fn) for dtype, fn in thing.definitions.items()])
        elif isinstance(thing, FunctionType):
            self._function(thing)
        elif isinstance(thing, (type, BuiltinFunctionType)):
            self.say("named", thing.__module__, thing.__qualname__)
        elif is_dataclass(thing) and type(thing).__module__.startswith(_PACKAGE):
            self.say("data", type(thing).__qualname__)
            self.values([getattr(thing, f.name) for f in fields(thing)])
        elif isinstance(thing, lanefunctions.LaneFunction):  # asked last, as few kernels call one
            self.say("lane function", thing.__name__, *thing.words, repr(thing.room))
            self.values([str(thing.__signature__), thing.definition])
        else:
            raise _NotUnderstood(type(cast("object", thing)))

    def _function(self, fn: FunctionType) -> None:
        if not (fn.__module__ or "").startswith(_PACKAGE):
            raise _NotUnderstood(fn.__module__)
        self.say("function", fn.__name__, marshal.dumps(fn.__code__, _MARSHAL))
        self.values([fn.__defaults__, fn.__kwdefaults__])
        for name, cell in zip(fn.__code__.co_freevars, fn.__closure__ or (), strict=True):
            self.say(name)
            try:
                self.value(cell.cell_contents)
            except ValueError:
                raise _NotUnderstood(name) from None
        names = sorted({name for code in _codes(fn.__code__) for name in code.co_names})
        for name in names:
            if name in fn.__globals__:
                self.say(name)
                self._outer(fn.__globals__[name], names)

    def _outer(self, value: Any, names: list[str]) -> None:
        """Add a global; of a module of Loom's also what may be meant by ``module.name``."""
        self.value(value)
        if isinstance(value, ModuleType) and (value.__name__ + ".").startswith(_PACKAGE):
            for name in names:
                if hasattr(value, name):
                    self.say(name)
                    self.value(getattr(value, name))


def _codes(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _codes(constant)
