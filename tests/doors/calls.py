"""Calls of the table, what they answer at either door, and whether that is the same."""

from __future__ import annotations

import zlib
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from doors.modules import function
from doors.samples import DTYPES, ROLES, Typed
from doors.table import ROWS, Options, Row
from loom.core.arrays import read_array
from loom.core.dtype import DType, f32
from loom.core.errors import LoomError
from loom.tensor import Tensor

__all__ = ["Case", "cases", "difference", "drawn"]


@dataclass(frozen=True)
class Case:
    """One call at two doors."""

    row: Row
    dtype: DType
    kind: str
    number: int

    @property
    def options(self) -> Options:
        """The options of either door."""
        return self.row.each_options[self.number]

    @property
    def name(self) -> str:
        """The case in a word: the row, the dtype, the kind of operands, the options."""
        options = ",".join(f"{key}={value}" for key, value in self.options[0].items())
        return f"{self.row.name} | {self.dtype} | {self.kind} | {options}"


def cases() -> Iterator[Case]:
    """Return every call that the table means."""
    for row in ROWS:
        for dtype in DTYPES if row.many_dtypes else (f32,):
            for kind in ROLES[row.role]:
                for number in range(len(row.each_options)):
                    yield Case(row, dtype, kind, number)


@cache
def drawn(share: int) -> dict[str, list[Case]]:
    """Return every ``share``-th case by its row: by a hash of its name, not by the order of others."""
    found: dict[str, list[Case]] = defaultdict(list)
    for case in cases():
        if zlib.crc32(case.name.encode()) % share == 0:
            found[case.row.name].append(case)
    return found


def _answer(case: Case, door: int, given: list[Any]) -> Any:
    """Return the answer as types, shapes and bits, or the error's type."""
    try:
        found = case.row.calls[door](function(case.row.names[door]), *given, **case.options[door])
        return _described(found)
    except LoomError as error:
        return f"{type(error).__name__}", str(error)
    except Exception as error:
        return f"{type(error).__name__}, none of the house", str(error)


def _described(found: Any) -> Any:
    if isinstance(found, tuple):
        return tuple(_described(each) for each in found)
    if isinstance(found, Tensor):
        dtype, values = found.dtype, np.asarray(found.numpy())
    else:
        values, dtype = read_array(found, "doors", complexes=True)
    if dtype.is_complex:
        values = values.view(values.real.dtype)
    kept = np.ascontiguousarray(values)
    if dtype.is_float or dtype.is_complex:
        is_nan = (kept & 0x7FFF) > 0x7F80 if kept.dtype.kind == "u" else np.isnan(kept)  # bf16 is its bits
        kept = np.where(is_nan, np.array(-1, f"i{kept.itemsize}"), kept.view(f"i{kept.itemsize}"))
    return str(dtype), tuple(np.shape(found)), kept.reshape(-1).tolist()


def difference(case: Case) -> str | None:
    """Return how the doors differ in a case, None if they do not."""
    operands = ROLES[case.row.role][case.kind](case.dtype)
    tensors = [o.tensor() if isinstance(o, Typed) else o for o in operands]
    arrays = [o.numpy() if isinstance(o, Typed) else o for o in operands]
    second = _answer(case, 1, tensors)
    for kind, given in (("tensors", tensors), ("arrays", arrays)):
        first = _answer(case, 0, given)
        if _is_refused(first) or _is_refused(second):
            if first[0] != second[0]:
                return f"of {kind}: {_short(first)} beside {_short(second)}"
        elif first != second:
            return f"of {kind}: {_short(first)} beside {_short(second)}"
        if not operands or case.row.names[0].startswith("loom.tensor."):
            break
    return None


def _is_refused(answer: Any) -> bool:
    return len(answer) == 2 and isinstance(answer[1], str)


def _short(answer: Any) -> str:
    text = repr(answer)
    return text if len(text) < 240 else text[:240] + ".."
