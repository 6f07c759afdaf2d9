"""CSV files in and out of tables.

Layer: tables. TextColumn are read by ``loom.data``'s reader; here they become what columns keep. Invariant: a file is
imported as a whole or not at all, and what is exported is imported as it was, but for empty texts, which CSV does not
tell from missing values.
"""

from __future__ import annotations

import csv
import datetime
import io
import math
import os
import re
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any, cast

import numpy as np

from loom.core.errors import ArgumentError, DTypeError, FileError, near_matches
from loom.core.given import flag
from loom.core.given import path as read_path
from loom.core.late.dataclass import dataclass
from loom.core.optional import load
from loom.core.process.thread_pools import ThreadPool
from loom.formats.csv_cells import (
    MISSING,
    TRUTH,
    TextColumn,
    line_of,
    meaning,
    read_cells,
    read_encoding,
    read_real,
    read_whole,
)
from loom.formats.file_writes import write_file
from loom.patterns.data.csv import read_separator
from loom.tables.columns.names import quote
from loom.tables.columns.types import COLUMN_TYPES, ColumnType, as_python
from loom.tables.files.writing import flatten, insert_flat, rows_together, skip_checks

__all__ = ["Progress", "Sheet", "import_sheet", "read_sheet", "read_types", "write_csv"]

Progress = Callable[[int, int], None]
"""Is told how many rows are done, of how many."""


_SAMPLE = 64
_ZEROS_IN_FRONT = r"^[+-]?0[0-9]+$"
_LONG = r"^[+-]?[0-9]{16,}$"
_LONG_WHOLE = re.compile(_LONG)
_DIGITS = re.compile(r"[+-]?[0-9.]")
_MARK = "\ufeff"
_ROWS_A_PART = 1 << 16
"""Rows that become Python's values while those before them are written."""


@dataclass(frozen=True, slots=True)
class Sheet:
    """A file that was read: its columns as texts, and how it was read, to find lines by."""

    place: str
    separator: str
    header: bool
    encoding: str | None
    columns: dict[str, TextColumn]

    @property
    def rows(self) -> int:
        """How many rows it has."""
        return len(next(iter(self.columns.values()))) if self.columns else 0

    def line(self, record: int, where: str) -> int:
        """Return the line at which a row, counted from 0, starts."""
        return line_of(self.place, self.separator, self.header, self.encoding, record, where)


@dataclass(frozen=True, slots=True)
class Prepared:
    """A column of a file as its type: an array, or a list, and which values are missing (None: none of them)."""

    values: Any
    missing: Any = None

    def part(self, begin: int, end: int) -> list[Any]:
        """Return values as they are bound, of rows from ``begin`` to ``end``."""
        values: Any = self.values[begin:end]
        listed: list[Any] = cast("list[Any]", values) if isinstance(values, list) else _as_list(values)
        if self.missing is not None:
            for k in np.flatnonzero(self.missing[begin:end]).tolist():
                listed[k] = None
        return listed


def _as_list(values: Any) -> list[Any]:
    return values.tolist() if isinstance(values, np.ndarray) else values.to_pylist()


def read_sheet(
    source: Any, separator: Any, header: Any, encoding: Any, names: Sequence[str] | None, where: str
) -> Sheet:
    """Read a file; ``names``: what its columns are called without a header."""
    place, named = os.fspath(read_path(source, f"{where}, source")), flag(header, f"{where}, header")
    mark, code = read_separator(separator, where), read_encoding(encoding, where)
    try:
        found, cells = read_cells(place, mark, named, code, where)
    except OSError as error:
        raise FileError(
            f"{where}, source", f"{place!r} cannot be read ({error.strerror or error})", remedy="Name a CSV file"
        ) from None
    if not named and cells:
        found = [str(k) for k in range(len(cells))] if names is None else list(names)
        if len(found) != len(cells):
            raise ArgumentError(where, f"{place} has other columns", expected=f"{len(found)}: {', '.join(found)}",
                                got=len(cells), remedy="Look at header= and separator=")  # fmt: skip
    if "" in found:
        said = f"column {found.index('') + 1} of {place} has no name"
        remedy = "Write one into its first line (pandas: to_csv(path, index=False))"
        raise ArgumentError(where, said, expected="a name for each", got=found, remedy=remedy)
    if len(set(found)) != len(found):
        raise ArgumentError(where, f"two columns of {place} have one name", expected="different names", got=found,
                            remedy="Mend its first line, or pass header=False")  # fmt: skip
    return Sheet(place, mark, named, code, dict(zip(found, cells, strict=True)))


def read_types(sheet: Sheet, types: Mapping[str, ColumnType], where: str) -> dict[str, tuple[ColumnType, Prepared]]:
    """Return the columns as the types given, else as what all their cells are; DTypeError names a line that is not."""
    for name in types:
        if name not in sheet.columns:
            raise ArgumentError(
                where, f"the file has no column {name!r}", remedy=near_matches(name, list(sheet.columns))
            )
    return {n: _read_column(sheet, n, cells, types.get(n), where) for n, cells in sheet.columns.items()}


def _read_column(
    sheet: Sheet, name: str, cells: TextColumn, wanted: ColumnType | None, where: str
) -> tuple[ColumnType, Prepared]:
    if wanted is None or wanted.name in ("int", "float"):
        kind, values, missing = meaning(cells)
        if wanted is None:
            found = _infer(cells, kind, values, missing)
            if found[0].name == "str":
                _refuse_blanks(sheet, name, cells, where)
            return found
        if wanted.name == kind and not (kind == "float" and np.isinf(values).any()):
            return wanted, Prepared(values, missing)
        if wanted.name == "float" and kind == "int":
            return wanted, Prepared(values.astype(np.float64), missing)
    if wanted.name == "str":
        return wanted, _texts(cells.texts)
    return wanted, _convert(sheet, name, cells.to_list(), wanted, where)


def _infer(cells: TextColumn, kind: str, values: Any, missing: Any) -> tuple[ColumnType, Prepared]:
    """Return a column as what its cells are; as texts where a number would not hold what is written."""
    if kind == "str" and _are_truths(cells):
        return COLUMN_TYPES["bool"], Prepared([TRUTH.get(text) for text in cells.to_list()])
    if kind in ("int", "float") and _are_codes(cells, kind, values):
        return COLUMN_TYPES["str"], _texts(cells.texts)
    return COLUMN_TYPES[kind], _texts(values) if kind == "str" else Prepared(values, missing)


def _refuse_blanks(sheet: Sheet, name: str, cells: TextColumn, where: str) -> None:
    """DTypeError for a column of texts that is one of numbers or truths but for blanks: it would be compared as texts.

    It names the first cell that has some.
    """
    first = [text.strip() for text in TextColumn(cells.texts[:_SAMPLE]).to_list()]
    if meaning(TextColumn([text for text in first if text not in MISSING]))[0] == "str" and not {*first} <= {*MISSING}:
        return
    texts = cells.to_list()
    stripped = TextColumn([text.strip() for text in texts])
    kind, _ = _infer(stripped, *meaning(stripped))
    if kind.name != "str":
        record = next(k for k, text in enumerate(texts) if text != text.strip())
        what = "truths" if kind.name == "bool" else "numbers"
        raise DTypeError(
            f"{where}, column {name!r}",
            f"line {sheet.line(record, where)} of {sheet.place} has blanks, without which all cells are {what}",
            expected=repr(texts[record].strip())[:80],
            got=repr(texts[record])[:80],
            remedy="Nothing was imported: take the blanks out of the file, or "
            f"keep the texts by types={{{name!r}: str}} of Database.import_csv",
        )


def _are_truths(cells: TextColumn) -> bool:
    """Tell whether a column is of truths, some of them missing."""
    first = cells.texts[:_SAMPLE]
    if not set(TextColumn(first).to_list()) <= {*TRUTH, ""}:
        return False
    found = set(cells.to_list())
    return found <= {*TRUTH, ""} and found > {""}


def _are_codes(cells: TextColumn, kind: str, values: Any) -> bool:
    """Tell whether whole numbers are written with zeros in front, as postcodes are, or are more than a float holds."""
    if _any_match(cells, _ZEROS_IN_FRONT):
        return True
    if kind == "int":
        return False
    if np.isinf(values).any() and any(map(_is_too_large, cells.to_list())):
        return True
    return _any_match(cells, _LONG) and any(
        int(text) != int(float(text)) for text in cells.to_list() if _LONG_WHOLE.match(text)
    )


def _is_too_large(text: str) -> bool:
    """Tell whether a text is a number that a float takes for an infinity, as 1e400."""
    return bool(_DIGITS.match(text)) and math.isinf(read_real(text))


def _any_match(cells: TextColumn, pattern: str) -> bool:
    if _is_listed(cells.texts):
        return any(map(re.compile(pattern).match, cells.to_list()))
    reading: Any = load("pyarrow.compute", "tables.import_csv")
    return bool(reading.any(reading.match_substring_regex(cells.texts, pattern)).as_py())


def _is_listed(texts: object) -> bool:
    return isinstance(texts, list)


def _texts(texts: Any) -> Prepared:
    """Return texts; an empty one is a missing value."""
    if isinstance(texts, list):
        return Prepared([text or None for text in cast("list[str]", texts)])
    reading: Any = load("pyarrow.compute", "tables.import_csv")
    empty = reading.equal(texts, "")
    return Prepared(texts, empty.to_numpy() if reading.any(empty).as_py() else None)


def _convert(sheet: Sheet, name: str, texts: list[str], wanted: ColumnType, where: str) -> Prepared:
    read, made = _READ[wanted.name], list[Any]()
    for record, text in enumerate(texts):
        try:
            made.append(None if text in MISSING else wanted.keep(read(text)))
        except (ValueError, KeyError, OverflowError):
            line = sheet.line(record, where)
            raise DTypeError(f"{where}, column {name!r}", f"line {line} of {sheet.place} does not fit",
                             expected=wanted.expected, got=repr(text)[:80],
                             remedy="Nothing was imported: mend it, or choose another type") from None  # fmt: skip
    return Prepared(made)


def _float(text: str) -> float:
    if _is_too_large(text):
        raise OverflowError
    return read_real(text)


_READ: dict[str, Callable[[str], Any]] = {
    "int": read_whole, "float": _float, "bool": TRUTH.__getitem__, "bytes": bytes.fromhex,
    "date": datetime.date.fromisoformat, "datetime": datetime.datetime.fromisoformat,
}  # fmt: skip


def import_sheet(
    connection: sqlite3.Connection, table: str, columns: Mapping[str, tuple[ColumnType, Prepared]], count: int,
    progress: Progress | None,
) -> None:  # fmt: skip
    """Insert typed columns of a file, ``count`` rows, within the transaction there is."""
    if progress is not None and not callable(progress):
        raise DTypeError("tables.import_csv, progress", "not callable", expected="a function of rows done and all",
                         got=repr(progress)[:80], remedy="Leave it out")  # fmt: skip
    names, into, size = list(columns), quote(table), _ROWS_A_PART
    together = rows_together(len(names), count)

    def part(begin: int) -> Any:
        end = min(begin + size, count)
        return flatten([prepared.part(begin, end) for _, prepared in columns.values()], end - begin, together)

    with skip_checks(connection):
        parts = ((lambda begin=begin: part(begin)) for begin in range(0, count, size))
        for done, (batches, rest) in enumerate(_ahead(parts), 1):
            insert_flat(connection, into, names, together, batches, rest)
            if progress is not None:
                progress(min(done * size, count), count)


def _ahead(parts: Iterable[Callable[[], Any]]) -> Iterator[Any]:
    """Yield what each of several calls returns, the next of them under way in another thread meanwhile."""
    with ThreadPool(1) as pool:
        under_way: Future[Any] | None = None
        for part in parts:
            following = pool.submit(part)
            if under_way is not None:
                yield under_way.result()
            under_way = following
        if under_way is not None:
            yield under_way.result()


# out


def write_csv(
    target: Any, columns: Mapping[str, tuple[ColumnType, Sequence[Any]]], count: int, separator: Any, header: Any,
    encoding: Any, where: str,
) -> None:  # fmt: skip
    """Write columns to a file in one step: it holds the old content or all of the new."""
    place = read_path(target, f"{where}, target")
    mark, code = read_separator(separator, where), read_encoding(encoding, where) or "utf-8"
    out = io.StringIO(newline="")
    writer: Any = csv.writer(out, delimiter=mark)
    if flag(header, f"{where}, header"):
        writer.writerow(columns)
    listed = [_as_text(kind, values) for kind, values in columns.values()]
    if not out.tell() and listed and count and str(listed[0][0]).startswith(_MARK):  # quoted, it is no mark of the file
        first = csv.writer(out, delimiter=mark, quoting=csv.QUOTE_ALL)
        first.writerow([values[0] for values in listed])
        listed = [values[1:] for values in listed]
    writer.writerows(zip(*listed, strict=True) if listed else [()] * count)
    try:
        data = out.getvalue().encode("utf-8" if code == "utf-8-sig" else code)
    except UnicodeEncodeError as error:
        raise ArgumentError(where, f"{encoding} lacks a character", got=repr(error.object[error.start : error.end]),
                            remedy="Write UTF-8") from None  # fmt: skip
    write_file(Path(place), data, where)


def _as_text(kind: ColumnType, values: Sequence[Any]) -> Sequence[Any]:
    if kind.name == "bool":
        return [None if v is None else "true" if v else "false" for v in values]
    if kind.name == "bytes":
        return [None if v is None else v.hex() for v in values]
    if kind.name in ("date", "datetime"):
        return [None if v is None else as_python(v, kind).isoformat() for v in values]
    return values
