"""``read_csv``: a file's columns as arrays, read by pyarrow or the standard library.

Layer: patterns. Whatever reads the file gives texts; what they mean is decided here. Invariant: a file gives the same
columns, types and bits whichever library reads it.
"""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any

import numpy as np

from loom.core.dtype import dtype_of
from loom.core.errors import ArgumentError, DTypeError, near_matches
from loom.core.given import flag, is_list, is_mapping, path, text
from loom.runtime.device import Device
from loom.tensor.tensor import array

__all__ = ["read_csv"]

_INTEGER = re.compile(r"[+-]?[0-9]{1,19}\Z")
_FLOAT = re.compile(r"[+-]?([0-9]+\.?[0-9]*([eE][+-]?[0-9]+)?|\.[0-9]+([eE][+-]?[0-9]+)?|nan|NaN|inf|Infinity)\Z")
_TRUTH = {"true": True, "false": False, "True": True, "False": False, "TRUE": True, "FALSE": False}
_MISSING = ("", "NA", "N/A", "null", "NULL")
_LIMITS = -(1 << 63), (1 << 63) - 1


def read_csv(
    source: str | os.PathLike[str],
    *,
    columns: Sequence[str] | None = None,
    dtypes: Mapping[str, Any] | None = None,
    separator: str = ",",
    header: bool = True,
    on: str | Device | None = None,
) -> dict[str, Any]:
    """Return the columns of a CSV file by name: arrays of numbers, bools, or texts.

    A column of whole numbers is int64, one of numbers float64, one of true and false bool; empty cells (also NA, null)
    make whole numbers float64 and are NaN, and stay texts among texts. ``columns``: which, in which order, else
    all. ``dtypes``: of some, by name; a cell that does not fit is a DTypeError that names its line. Without ``header``
    the columns are called "0", "1", ... UTF-8, with or without a mark; quotes as in RFC 4180. With ``on`` columns of
    numbers are arrays of that device.

    pyarrow, where it is installed, else the standard library reads the file. ArgumentError for names that are not
    there, lines of another length, and files that are no text; FileNotFoundError.
    """
    where = "data.read_csv"
    place = path(source, f"{where}, source")
    mark = text(separator, f"{where}, separator")
    if len(mark) != 1 or mark in '"\r\n' or ord(mark) > 127:
        raise ArgumentError(f"{where}, separator", "not one plain character", expected="',', ';' or a tab",
                            got=repr(separator), remedy="Leave it out")  # fmt: skip
    named = flag(header, f"{where}, header")
    if dtypes is not None and not is_mapping(dtypes):
        raise ArgumentError(f"{where}, dtypes", "not dtypes by name", expected='a dictionary, as {"x": "f32"}',
                            got=repr(dtypes)[:80], remedy="Leave it out")  # fmt: skip
    wanted = dict(dtypes or {})
    names, cells = _reader()(os.fspath(place), mark, named)
    names = names if named else [str(k) for k in range(len(cells))]
    if len(set(names)) != len(names):
        raise ArgumentError(where, "two columns have one name", expected="different names", got=names,
                            remedy="Pass header=False")  # fmt: skip
    found = dict(zip(names, cells, strict=True))
    chosen = list(found) if columns is None else _chosen(columns, found, f"{where}, columns")
    _chosen(list(wanted), found, f"{where}, dtypes")
    made = {name: _column(found[name], name, wanted.get(name), first=1 + named) for name in chosen}
    return {name: x if on is None or x.dtype.kind in "UO" else array(x, on=on) for name, x in made.items()}


def _chosen(names: Any, found: Mapping[str, Any], where: str) -> list[str]:
    if isinstance(names, str) or not is_list(names):
        raise ArgumentError(where, "not names", expected="a list of columns", got=repr(names), remedy='Write ["x"]')
    for name in names:
        if name not in found:
            raise ArgumentError(where, f"no column is called {name!r}", remedy=near_matches(str(name), list(found)))
    return list(names)


# what cells mean


def _column(cells: Sequence[str], name: str, dtype: Any, *, first: int) -> np.ndarray[Any, Any]:
    """Return a column's cells as what they all are, or as a type that was asked for."""
    if dtype is not None:
        return _converted(cells, name, dtype, first)
    present = [c for c in cells if c not in _MISSING]
    if present and all(map(_INTEGER.match, present)):
        numbers = list(map(int, present))
        if _LIMITS[0] <= min(numbers) and max(numbers) <= _LIMITS[1]:
            return np.array(numbers, np.int64) if len(present) == len(cells) else _floats(cells)
    if present and all(map(_FLOAT.match, present)):
        return _floats(cells)
    if len(present) == len(cells) and present and all(c in _TRUTH for c in cells):
        return np.array([_TRUTH[c] for c in cells])
    return np.array(cells, dtype=str) if cells else np.empty(0)


def _floats(cells: Sequence[str]) -> np.ndarray[Any, Any]:
    return np.array([float("nan") if c in _MISSING else float(c) for c in cells])


def _converted(cells: Sequence[str], name: str, dtype: Any, first: int) -> np.ndarray[Any, Any]:
    where = f"data.read_csv, column {name!r}"
    if dtype in (str, "str"):
        return np.array(cells, dtype=str)
    kind = dtype_of(dtype, where)
    convert: Callable[[str], Any] = _TRUTH.__getitem__ if kind.is_bool else int if kind.is_integer else _number
    made: list[Any] = []
    for line, cell in enumerate(cells, first):
        try:
            value = convert(cell)
            if kind.is_integer and not kind.minimum <= value <= kind.maximum:
                raise ValueError
        except (ValueError, KeyError):
            raise DTypeError(where, f"line {line} does not fit", expected=kind, got=repr(cell)[:80],
                             remedy="Ask for another dtype, or mend the file") from None  # fmt: skip
        made.append(value)
    return np.array(made, kind.numpy) if kind.name != "bf16" else array(made, dtype=kind).numpy()


def _number(cell: str) -> float:
    return float("nan") if cell in _MISSING else float(cell)


# who reads


def _reader() -> Callable[[str, str, bool], tuple[list[str], list[list[str]]]]:
    try:
        import_module("pyarrow.csv")
    except ImportError:
        return _by_itself
    return _by_pyarrow


def _by_pyarrow(place: str, mark: str, header: bool) -> tuple[list[str], list[list[str]]]:
    reading: Any = import_module("pyarrow.csv")
    arrow: Any = import_module("pyarrow")
    if not os.path.getsize(place):
        return [], []
    options = reading.ReadOptions(autogenerate_column_names=not header)
    parsing = reading.ParseOptions(delimiter=mark, newlines_in_values=True, ignore_empty_lines=False)
    try:
        names = reading.open_csv(place, read_options=options, parse_options=parsing).schema.names
        types = reading.ConvertOptions(column_types={n: arrow.string() for n in names}, strings_can_be_null=False)
        table = reading.read_csv(place, read_options=options, parse_options=parsing, convert_options=types)
    except arrow.ArrowInvalid as error:
        raise _unreadable(place, error) from None
    return table.column_names, [column.to_pylist() for column in table.columns]


def _by_itself(place: str, mark: str, header: bool) -> tuple[list[str], list[list[str]]]:
    try:
        with open(place, encoding="utf-8-sig", newline="") as file:
            rows = list(csv.reader(file, delimiter=mark, strict=True))
    except (UnicodeDecodeError, csv.Error) as error:
        raise _unreadable(place, error) from None
    if not rows:
        return [], []
    body = rows[1:] if header else rows
    for line, row in enumerate(body, 2 if header else 1):
        if len(row) != len(rows[0]):
            raise _unreadable(place, f"line {line} has {len(row)} cells, the first {len(rows[0])}")
    return rows[0], [[row[k] for row in body] for k in range(len(rows[0]))]


def _unreadable(place: str, why: object) -> ArgumentError:
    return ArgumentError("data.read_csv", f"{place} cannot be read: {str(why).splitlines()[0][:200]}",
                         expected="lines of as many cells as the first, in UTF-8", got="another file",
                         remedy="Look at separator= and header=, or mend the file")  # fmt: skip
