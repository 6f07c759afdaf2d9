"""``read_csv``: a file's columns as arrays.

Layer: patterns. Whatever reads the file gives texts; what they mean is decided here. Invariant: a file gives the same
columns, types and bits whichever library reads it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import numpy as np

from loom.core.dtype import DType, dtype_of
from loom.core.errors import ArgumentError, DTypeError, near_matches
from loom.core.given import flag, is_list, is_mapping, path, text
from loom.formats.csv_cells import MISSING, TRUTH, TextColumn, different, line_of, meaning, read_cells, read_encoding
from loom.runtime.port.device import Device
from loom.tensor.arrays.tensor import array

__all__ = ["read_csv", "read_separator"]


def read_csv(
    source: str | os.PathLike[str],
    *,
    columns: Sequence[str] | None = None,
    dtypes: Mapping[str, Any] | None = None,
    separator: str = ",",
    header: bool = True,
    encoding: str | None = None,
    on: str | Device | None = None,
) -> dict[str, Any]:
    """Return the columns of a CSV file by name: arrays of numbers, bools, or texts.

    A column of whole numbers is int64, one of numbers float64, one of true and false bool; empty cells (also NA, null)
    make whole numbers float64 and are NaN, and stay texts among texts. ``columns``: which, in which order, else
    all. ``dtypes``: of some, by name; a cell that does not fit is a DTypeError that names its line. Without ``header``
    the columns are called "0", "1", ... Empty lines are left out. UTF-8, or UTF-16 with a mark, where no ``encoding``
    is named; quotes as in RFC 4180. With ``on`` columns of numbers are arrays of that device.

    pyarrow, where it is installed, else the standard library reads the file. ArgumentError for names that are not
    there, for a line of another length, quoted wrongly or in another encoding, which it names; FileNotFoundError.

    Args:
        source: File.
        columns: Names of columns, in the order of the result; None: all.
        dtypes: Dtypes by name of some columns; None: as their cells say.
        separator: Character between cells.
        header: Whether the first line names the columns.
        encoding: Name of the encoding; None: UTF-8, or UTF-16 with a mark.
        on: Device, or its name, of columns of numbers; None: arrays of numpy.

    Returns:
        Arrays (rows,) by name.

    Raises:
        ArgumentError: There is no such column, or two have one name; a line of another length, quoted wrongly or in
            another encoding; an unusable separator, encoding or ``header``.
        DTypeError: A cell that does not fit the dtype asked for; not a path; not a device.
        OSError: The file cannot be read; FileNotFoundError where there is none.

    Source:
        Y. Shafranovich, "Common Format and MIME Type for Comma-Separated Values (CSV) Files", RFC 4180, 2005.
    """
    where = "data.read_csv"
    place = path(source, f"{where}, source")
    mark = read_separator(separator, where)
    named = flag(header, f"{where}, header")
    if dtypes is not None and not is_mapping(dtypes):
        raise ArgumentError(f"{where}, dtypes", "not dtypes by name", expected='a dictionary, as {"x": "f32"}',
                            got=repr(dtypes)[:80], remedy="Leave it out")  # fmt: skip
    wanted = dict(dtypes or {})
    names, cells = read_cells(os.fspath(place), mark, named, read_encoding(encoding, where), where)
    names = names if named else [str(k) for k in range(len(cells))]
    if len(set(names)) != len(names):
        raise ArgumentError(where, "two columns have one name", expected="different names", got=names,
                            remedy="Pass header=False")  # fmt: skip
    found = dict(zip(names, cells, strict=True))
    chosen = list(found) if columns is None else _choose(columns, found, f"{where}, columns")
    _choose(list(wanted), found, f"{where}, dtypes")
    coded = read_encoding(encoding, where)

    def line(record: int) -> int:
        return line_of(os.fspath(place), mark, named, coded, record, where)

    made = {name: _column(found[name], name, wanted.get(name), line) for name in chosen}
    return {name: x if on is None or x.dtype.kind in "UO" else array(x, on=on) for name, x in made.items()}


def read_separator(separator: Any, where: str) -> str:
    """Return what parts cells, which a caller names: one plain character."""
    mark = text(separator, f"{where}, separator")
    if len(mark) != 1 or mark in '"\r\n\0' or ord(mark) > 127:
        raise ArgumentError(f"{where}, separator", "not one plain character", expected="',', ';' or a tab",
                            got=repr(separator), remedy="Leave it out")  # fmt: skip
    return mark


def _choose(names: Any, found: Mapping[str, Any], where: str) -> list[str]:
    if isinstance(names, str) or not is_list(names):
        raise ArgumentError(where, "not names", expected="a list of columns", got=repr(names), remedy='Write ["x"]')
    for name in names:
        if name not in found:
            raise ArgumentError(where, f"no column is called {name!r}", remedy=near_matches(str(name), list(found)))
    return list(names)


def _column(cells: TextColumn, name: str, dtype: Any, line: Callable[[int], int]) -> np.ndarray[Any, Any]:
    """Return a column's cells as what they all are, or as a type that was asked for."""
    if dtype is not None:
        return _convert(cells.to_list(), name, dtype, line)
    if not len(cells):
        return np.empty(0)
    if (repeated := different(cells)) is not None:
        values, codes = repeated
        return _column(TextColumn(values), name, None, lambda record: line(int(np.argmax(codes == record))))[codes]
    kind, values, missing = meaning(cells)
    if kind in ("int", "float"):
        if missing is None:
            return values
        return np.where(missing, np.nan, values.astype(np.float64))
    listed: Any = cast("list[Any]", values) if isinstance(values, list) else values.to_pylist()
    return np.array(listed, np.bool_) if kind == "bool" else _texts(listed, name, line)


def _texts(cells: Sequence[str], name: str, line: Callable[[int], int]) -> np.ndarray[Any, Any]:
    wrong = next((k for k, cell in enumerate(cells) if cell[-1:] == "\0"), None)
    if wrong is not None:
        raise DTypeError(f"data.read_csv, column {name!r}", f"line {line(wrong)} ends in a NUL",
                         expected="texts that numpy can hold", got=repr(cells[wrong])[:80],
                         remedy="Mend the file")  # fmt: skip
    return np.array(cells, np.str_)


def _convert(cells: Sequence[str], name: str, dtype: Any, line: Callable[[int], int]) -> np.ndarray[Any, Any]:
    where = f"data.read_csv, column {name!r}"
    if dtype in (str, "str"):
        return _texts(cells, name, line)
    kind = dtype_of(dtype, where)
    convert: Callable[[str], Any] = TRUTH.__getitem__ if kind.is_bool else int if kind.is_integer else _number
    made: list[Any] = []
    for record, cell in enumerate(cells):
        try:
            value = convert(cell)
            if "_" in cell or (kind.is_integer and not kind.minimum <= value <= kind.maximum):
                raise ValueError
        except (ValueError, KeyError):
            raise _unfit(where, line(record), kind, cell) from None
        made.append(value)
    if kind.name == "bf16":
        return array(made, dtype=kind).numpy()
    with np.errstate(over="ignore"):
        typed = np.array(made, kind.numpy)
    if kind.is_float and (lost := np.isinf(typed) & np.isfinite(np.array(made, np.float64))).any():
        record = int(np.argmax(lost))
        raise _unfit(where, line(record), kind, cells[record])
    return typed


def _unfit(where: str, line: int, kind: DType, cell: str) -> DTypeError:
    return DTypeError(where, f"line {line} does not fit", expected=kind, got=repr(cell)[:80],
                      remedy="Ask for another dtype, or mend the file")  # fmt: skip


def _number(cell: str) -> float:
    return float("nan") if cell in MISSING else float(cell)
