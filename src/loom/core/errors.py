"""Every exception Loom raises, in one tree.

Layer: core (imports nothing of Loom). Invariant: the text of an error always reads
``[where] what is wrong: expected X, got Y. What to do.`` and its parts are attributes.

    LoomError
    ├── ArgumentError      (ValueError)      an argument has an unusable value
    │   ├── ShapeError                       ... a wrong length or shape
    │   ├── EmptyError                       ... no elements where one is needed
    │   ├── IndexOutside   (IndexError)      ... an index that there is not
    │   └── SpecError                        a network document has problems, all of them listed
    ├── DTypeError         (TypeError)       an argument has an unusable type
    ├── KernelError        (ValueError)      a kernel cannot be accepted
    │   ├── SyntaxNotSupported (SyntaxError)     Python the kernel language lacks
    │   ├── KernelTypeError    (TypeError)       operands of wrong type
    │   └── VerifyError                          well-typed but not allowed (races, barriers, ...)
    ├── KernelFault                          a kernel that ran did something wrong
    │   ├── OutOfBounds        (IndexError)      an index outside a buffer, under LOOM_CHECK=1
    │   ├── AssertionFailed    (AssertionError)  an ``assert`` inside a kernel
    │   ├── NotANumber         (ArithmeticError) a NaN was produced, in the debugger
    │   └── RaceDetected                         two lanes met at one address, in the debugger
    ├── DeviceError        (RuntimeError)    a device is missing or refused work
    ├── StateError         (RuntimeError)    used after shutdown, or in the wrong order
    ├── LoomTimeout        (TimeoutError)    waited long enough; nothing is lost
    ├── NotFinite          (ArithmeticError) training met a NaN or an infinity
    ├── CacheError         (OSError)         the compile cache cannot be used
    ├── FileError          (OSError)         a document or model cannot be read or written where it is named
    └── CheckpointError    (OSError)         a checkpoint cannot be written or read

Stability: stable.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any

__all__ = [
    "ArgumentError", "AssertionFailed", "CacheError", "CheckpointError", "DTypeError", "DeviceError",
    "EmptyError", "FileError", "IndexOutside", "KernelError", "KernelFault", "KernelTypeError", "LoomError",
    "LoomTimeout", "NotANumber", "NotFinite", "OutOfBounds", "RaceDetected", "ShapeError", "SpecError",
    "StateError", "SyntaxNotSupported", "VerifyError", "end_of_process", "near_matches",
]  # fmt: skip

_MOST_NAMES = 12
"""More known names than this are not all listed."""

_MOST_PROBLEMS = 50
"""More problems of one document than this are counted, not written."""


class LoomError(Exception):
    """Base of all Loom exceptions.

    Attributes: ``where`` (API name or kernel and line), ``what`` (the fault), ``expected`` and
    ``got`` (may be None), ``remedy`` (what to do).
    """

    def __init__(
        self,
        where: str,
        what: str,
        *,
        expected: object = None,
        got: object = None,
        remedy: str = "",
    ) -> None:
        self.where = where
        self.what = what
        self.expected = expected
        self.got = got
        self.remedy = remedy
        super().__init__(self._text())

    def _text(self) -> str:
        text = f"[{self.where}] {self.what}"
        if self.expected is not None and self.got is not None:
            text += f": expected {self.expected}, got {self.got}"
        elif self.expected is not None:
            text += f": expected {self.expected}"
        elif self.got is not None:
            text += f": got {self.got}"
        text += "."
        if self.remedy:
            text += f" {self.remedy}" if self.remedy.endswith("?") else f" {self.remedy.rstrip('.')}."
        return text

    def __str__(self) -> str:
        return self._text()

    def __reduce__(self) -> tuple[object, ...]:
        facts = {name: _portable(value) for name, value in vars(self).items()}
        return _rebuild, (type(self), self.where, self.what), facts

    def __setstate__(self, state: dict[str, Any] | None) -> None:
        vars(self).update(state or {})
        self.args = (self._text(),)


def _rebuild(cls: type[LoomError], where: str, what: str) -> LoomError:
    return cls(where, what)


def _portable(value: object) -> object:
    """Return what another process can read: the value, or its text, which is all that messages need."""
    import pickle

    try:
        pickle.dumps(value)
    except Exception:
        return str(value)
    return value


class ArgumentError(LoomError, ValueError):
    """An argument has a value that cannot be used."""


class ShapeError(ArgumentError):
    """An array has the wrong length or shape."""


class IndexOutside(ArgumentError, IndexError):
    """An index lies outside an axis; being an IndexError, it ends iteration."""


class EmptyError(ArgumentError):
    """An operation without an identity was given no elements."""


class SpecError(ArgumentError):
    """A network document cannot be used.

    Attributes: ``problems`` (every one found, each with ``path``, ``what``, ``expected``, ``got`` and ``remedy``).
    """

    problems: tuple[Any, ...] = ()

    def _text(self) -> str:
        if len(self.problems) < 2:
            return LoomError._text(self)
        shown = [f"\n  {problem}" for problem in self.problems[:_MOST_PROBLEMS]]
        if len(self.problems) > _MOST_PROBLEMS:
            shown.append(f"\n  and {len(self.problems) - _MOST_PROBLEMS} more")
        return LoomError._text(self) + "".join(shown)


class DTypeError(LoomError, TypeError):
    """An argument has a dtype or Python type that cannot be used."""


class KernelError(LoomError, ValueError):
    """A kernel cannot be accepted; ``where`` names the kernel and the source line.

    Where a function that the kernel calls is at fault, ``inside`` is its name, and ``callers`` are the calls on the way
    there, from the kernel's own on: names, files, lines.
    """

    inside: str = ""
    callers: tuple[tuple[str, str, int], ...] = ()


class SyntaxNotSupported(KernelError, SyntaxError):
    """The kernel uses Python that the kernel language does not have."""

    __str__ = LoomError.__str__


class KernelTypeError(KernelError, TypeError):
    """Operands inside a kernel have types that do not go together."""


class VerifyError(KernelError):
    """The kernel is well typed but breaks a rule of the language."""


class KernelFault(LoomError):
    """A kernel that ran did something it must not do.

    Attributes: ``lane`` (global flat number) and ``line`` (of the kernel's source), None if unknown;
    ``memory``, ``index`` and ``bound`` (its number of elements) of a faulty access, None for other faults.
    """

    lane: int | None = None
    line: int | None = None
    memory: str | None = None
    index: int | None = None
    bound: int | None = None


class OutOfBounds(KernelFault, IndexError):
    """A kernel indexed outside a buffer (reported under ``LOOM_CHECK=1`` and in the debugger)."""


class AssertionFailed(KernelFault, AssertionError):
    """An ``assert`` inside a kernel did not hold; ``message`` is what it says."""

    message: str = ""


class NotANumber(KernelFault, ArithmeticError):
    """A kernel produced a NaN (debugger only): ``op`` made it of ``operands``, texts that are none."""

    op: str = ""
    operands: tuple[str, ...] = ()


class NotFinite(LoomError, ArithmeticError):
    """Training met a NaN or an infinity at ``step`` (from 0), in the tensor called ``tensor``."""

    step: int = 0
    tensor: str = ""


class RaceDetected(KernelFault):
    """Two lanes touched one address without order between them (debugger only)."""


class DeviceError(LoomError, RuntimeError):
    """A device is missing, was refused, or failed."""


class StateError(LoomError, RuntimeError):
    """An object is used after it was shut down, or calls come in the wrong order."""


class LoomTimeout(LoomError, TimeoutError):
    """The time given to ``wait`` is over; the work goes on and nothing is lost."""

    __str__ = LoomError.__str__


class CacheError(LoomError, OSError):
    """The compile cache cannot be read or written."""

    __str__ = LoomError.__str__


class CheckpointError(LoomError, OSError):
    """A checkpoint cannot be written, or what is read is not a sound one."""

    __str__ = LoomError.__str__


class FileError(LoomError, OSError):
    """A document or a model cannot be read or written under the name given."""

    __str__ = LoomError.__str__


def end_of_process(where: str) -> StateError | None:
    """Return what a failed import means at the very end of a process, when Python imports nothing; None before.

    Finalizers of what modules and cycles hold run then, after ``atexit``.
    """
    if getattr(sys, "meta_path", None) is not None:
        return None
    return StateError(
        where,
        "the process is at its end, and Python loads nothing any more",
        expected="a call while it runs",
        got="one of a finalizer that ran last",
        remedy="Call it in a function that atexit.register was given, or close what is open by with",
    )


def near_matches(name: object, known: Iterable[object]) -> str:
    """Return ``Did you mean 'x' or 'y'?`` for a misspelt name, or known names, of many the nearest.

    Names that are no texts (keys of a mapping, bytes of a file) are told as ``str`` tells them.
    """
    from difflib import get_close_matches

    name = str(name)[:200]
    names = sorted(set(map(str, known)))
    near = get_close_matches(name, names, n=3, cutoff=0.6)
    if near:
        return "Did you mean " + " or ".join(repr(n) for n in near) + "?"
    if len(names) <= _MOST_NAMES:
        return "Known names: " + ", ".join(names)
    nearest = get_close_matches(name, names, n=_MOST_NAMES, cutoff=0.0)
    return "Nearest names: " + ", ".join(nearest) + f" (of {len(names)})"
