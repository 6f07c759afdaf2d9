"""Who reads CSV: the cells of a file as texts, by pyarrow or the standard library, and what they all are.

Layer: formats. Invariant: a file gives the same cells whichever library reads it, and a file of bad lines the same
error, which names the first of them; quotes are as in RFC 4180, and empty lines are left out.
"""

from __future__ import annotations

import codecs
import csv
import mmap
import os
import re
from collections.abc import Iterator, Sequence
from typing import Any, cast

import numpy as np

from loom.core.errors import ArgumentError
from loom.core.late.dataclass import dataclass
from loom.core.optional import find, load

__all__ = [
    "MISSING",
    "TRUTH",
    "RecordError",
    "TextColumn",
    "different",
    "file_encoding",
    "line_of",
    "meaning",
    "read_cells",
    "read_encoding",
    "read_real",
    "read_records",
    "read_whole",
]

TRUTH = {"true": True, "false": False, "True": True, "False": False, "TRUE": True, "FALSE": False}
MISSING = ("", "NA", "N/A", "null", "NULL")
"""What stands for a missing number."""

_INTEGER = re.compile(r"[+-]?[0-9]{1,19}\Z")
_FLOAT = re.compile(r"[+-]?([0-9]+\.?[0-9]*([eE][+-]?[0-9]+)?|\.[0-9]+([eE][+-]?[0-9]+)?|nan|NaN|inf|Infinity)\Z")
_LIMITS = -(1 << 63), (1 << 63) - 1
_SAMPLE = 64
RecordError = csv.Error
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF32_LE, "utf-32"), (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"),
)  # fmt: skip
_MOST_CHARACTERS = (1 << 31) - 1
"""Of a cell: what ``csv`` takes at most is the process's, and is raised, never lowered."""


@dataclass(frozen=True, slots=True)
class TextColumn:
    """A column of a file: its texts, a list or an Arrow array."""

    texts: Any

    def __len__(self) -> int:
        return len(self.texts)

    def to_list(self) -> list[str]:
        """Return the texts as a list."""
        texts: Any = self.texts
        return cast("list[str]", texts if isinstance(texts, list) else texts.to_pylist())


def read_encoding(encoding: str | None, where: str) -> str | None:
    """Return the name of an encoding, or None for what the file's mark says; ArgumentError for one there is not."""
    if encoding is None:
        return None
    try:
        found = codecs.lookup(encoding)
        if not found._is_text_encoding:  # pyright: ignore[reportPrivateUsage] - as open() asks
            raise LookupError
    except (LookupError, TypeError, ValueError):
        raise ArgumentError(f"{where}, encoding", "no encoding is called so", expected="utf-8, latin-1, cp1252, ...",
                            got=repr(encoding)[:80], remedy="Leave it out for UTF-8") from None  # fmt: skip
    return "utf-8-sig" if found.name == "utf-8" else found.name


def read_cells(
    place: str, mark: str, header: bool, encoding: str | None, where: str
) -> tuple[list[str], list[TextColumn]]:
    """Return the first line's cells (without ``header`` those of no line) and the columns of all others.

    ArgumentError names the line that is not of as many cells as the first, is quoted wrongly, or is no text.
    """
    encoding = encoding or file_encoding(place, where)
    if find("pyarrow.csv") is None:
        return _by_itself(place, mark, header, encoding, where)
    quoted = _quotes_of(place, mark) if encoding == "utf-8-sig" and os.path.getsize(place) else None
    if quoted is None:
        return _by_itself(place, mark, header, encoding, where)
    return _by_pyarrow(place, mark, header, quoted, where)


def file_encoding(place: str, where: str) -> str:
    """Return the encoding that a file's mark says, else UTF-8; ArgumentError for what looks like UTF-16 without one."""
    with open(place, "rb") as file:
        head = file.read(4)
    found = next((name for bom, name in _MARKS if head.startswith(bom)), None)
    if found is None and b"\0\0" in (head[::2], head[1::2]):
        raise ArgumentError(where, f"{place} has NULs between its letters: it is of UTF-16 or UTF-32 without a mark",
                            expected="UTF-8, or a mark", got=repr(head), remedy="Save it as UTF-8, or pass "
                            "encoding='utf-16-le' (or -be), or 'utf-8' if it is that")  # fmt: skip
    return found or "utf-8-sig"


def _quotes_of(place: str, mark: str) -> bool | None:
    """Tell whether there are quotes; None if one neither opens nor closes a cell: then readers may disagree."""
    with open(place, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as view:
        if view.find(b'"') < 0:
            return False
        data = np.frombuffer(view, np.uint8)
        try:
            return True if _quotes_fit(data, ord(mark)) else None
        finally:
            del data


def _quotes_fit(data: np.ndarray[Any, Any], mark: int) -> bool:
    places = np.flatnonzero(data == ord('"'))
    if places.size % 2:
        return False
    start = 3 if bytes(data[:3]) == codecs.BOM_UTF8 else 0
    opening, closing = places[::2], places[1::2]
    opening = opening[opening != start]
    closing = closing[closing != data.size - 1]
    around = np.array([mark, ord("\n"), ord("\r"), ord('"')], np.uint8)
    return bool(np.isin(data[opening - 1], around).all() and np.isin(data[closing + 1], around).all())


def _by_pyarrow(place: str, mark: str, header: bool, quoted: bool, where: str) -> tuple[list[str], list[TextColumn]]:
    reading: Any = load("pyarrow.csv", "loom.data.read_csv")
    arrow: Any = load("pyarrow", "loom.data.read_csv")
    options = reading.ReadOptions(autogenerate_column_names=not header)
    parsing = reading.ParseOptions(delimiter=mark, newlines_in_values=quoted)
    try:
        names = reading.open_csv(place, read_options=options, parse_options=parsing).schema.names
        types = reading.ConvertOptions(column_types={n: arrow.string() for n in names}, strings_can_be_null=False)
        table = reading.read_csv(place, read_options=options, parse_options=parsing, convert_options=types)
    except arrow.ArrowInvalid:
        return _by_itself(place, mark, header, "utf-8-sig", where)  # which finds the line
    return table.column_names, [TextColumn(column) for column in table.columns]


def read_records(place: str, mark: str, encoding: str) -> Iterator[tuple[int, list[str]]]:
    """Yield the records of a file, each with the number of its first line; empty lines are records of no cells.

    RecordError names the line of a quote that does not end, or ends before its cell does; UnicodeError.
    """
    csv.field_size_limit(max(csv.field_size_limit(), _MOST_CHARACTERS))
    with open(place, encoding=encoding, newline="") as file:
        reader, before = csv.reader(file, delimiter=mark, strict=True), 0
        try:
            for cells in reader:
                yield before + 1, cells
                before = reader.line_num
        except csv.Error as error:
            raise RecordError(f"line {reader.line_num}: {error}") from None


def _records(place: str, mark: str, encoding: str, where: str) -> Iterator[tuple[int, list[str]]]:
    """Yield the records of a file that have cells."""
    try:
        yield from (record for record in read_records(place, mark, encoding) if record[1])
    except RecordError as error:
        raise _unreadable(place, error, where) from None
    except UnicodeError as error:
        line = _line_of_bytes(place, encoding)
        raise _unreadable(place, f"line {line} is no {encoding.removesuffix('-sig')} ({error})", where) from None


def _line_of_bytes(place: str, encoding: str) -> int:
    """Return the first line that is not in an encoding."""
    decoder = codecs.getincrementaldecoder(encoding)()
    line = 1
    with open(place, "rb") as file:
        while block := file.read(1 << 16):
            try:
                line += decoder.decode(block).count("\n")
            except UnicodeError as error:
                good = getattr(error, "start", 0)
                return line + getattr(error, "object", b"")[:good].count(b"\n")
    return line


def _by_itself(place: str, mark: str, header: bool, encoding: str, where: str) -> tuple[list[str], list[TextColumn]]:
    body: list[list[str]] = []
    width = -1
    for line, row in _records(place, mark, encoding, where):
        if width < 0:
            width = len(row)
        if len(row) != width:
            raise _unreadable(place, f"line {line} has {len(row)} cells, the first {width}", where)
        body.append(row)
    if not body:
        return [], []
    names = body.pop(0) if header else body[0]
    columns: Any = zip(*body, strict=True) if body else ([] for _ in range(width))
    return names, [TextColumn(list(column)) for column in columns]


def line_of(place: str, mark: str, header: bool, encoding: str | None, record: int, where: str) -> int:
    """Return the line of a file at which a record, counted from 0 after the header, starts."""
    line = 0
    for number, (line, _) in enumerate(
        _records(place, mark, encoding or file_encoding(place, where), where), -1 if header else 0
    ):
        if number == record:
            return line
    return line


def _unreadable(place: str, why: object, where: str) -> ArgumentError:
    return ArgumentError(where, f"{place} cannot be read: {str(why).splitlines()[0][:200]}",
                         expected="lines of as many cells as the first, in one encoding", got="another file",
                         remedy="Look at separator=, header= and encoding=, or mend the file")  # fmt: skip


# what cells are


def meaning(cells: TextColumn) -> tuple[str, Any, Any]:
    """Return what all cells of a column are, their values, and which are missing (None: none of them).

    "int" and "float": an array, 0 where one is missing; "bool": a list; "str": the texts. Those of ``MISSING``
    count as missing among numbers alone.
    """
    found = _by_arrow(cells)
    if found is not None:
        return found
    texts = cells.to_list()
    present = [c for c in texts if c not in MISSING]
    missing = np.array([c in MISSING for c in texts], np.bool_) if len(present) < len(texts) else None
    if present and all(map(_INTEGER.match, present)):
        numbers = list(map(int, present))
        if _LIMITS[0] <= min(numbers) and max(numbers) <= _LIMITS[1]:
            return "int", _spread(np.array(numbers, np.int64), missing), missing
    if present and all(map(_FLOAT.match, present)):
        return "float", _spread(np.array([float(c) for c in present]), missing), missing
    if missing is None and present and all(c in TRUTH for c in present):
        return "bool", [TRUTH[c] for c in texts], None
    return "str", texts, None


def different(cells: TextColumn) -> tuple[list[str], np.ndarray[Any, Any]] | None:
    """Return the different texts of a column and the number of each text among them; None where few are repeated.

    What a column is depends on its different texts alone.
    """
    if isinstance(cells.texts, list) or len(set(cells.texts.slice(0, _SAMPLE).to_pylist())) > _SAMPLE // 4:
        return None
    found = cells.texts.dictionary_encode().combine_chunks()
    return found.dictionary.to_pylist(), found.indices.to_numpy()


def read_whole(text: str) -> int:
    """Return a whole number as columns of them have it; ValueError for anything else."""
    if not _INTEGER.match(text):
        raise ValueError(text)
    return int(text)


def read_real(text: str) -> float:
    """Return a number as columns of floats have it; ValueError for anything else."""
    if not _FLOAT.match(text):
        raise ValueError(text)
    return float(text)


def _spread(values: np.ndarray[Any, Any], missing: Any) -> np.ndarray[Any, Any]:
    if missing is None:
        return values
    made = np.zeros(missing.size, values.dtype)
    made[~missing] = values
    return made


def _by_arrow(cells: TextColumn) -> tuple[str, Any, Any] | None:
    """Return a column of numbers as pyarrow reads it; None where it is none, or where our rules have to decide."""
    if isinstance(cells.texts, list):
        return None
    compute: Any = load("pyarrow.compute", "loom.data.read_csv")
    arrow: Any = load("pyarrow", "loom.data.read_csv")
    first: Sequence[str] = [c for c in cells.texts.slice(0, _SAMPLE).to_pylist() if c not in MISSING]
    if not all(map(_FLOAT.match, first)):
        return None if all(c in TRUTH for c in first) else ("str", cells.texts, None)
    if not first:
        return None
    texts, missing = cells.texts, None
    flags = compute.is_in(texts, arrow.array(MISSING))
    if compute.any(flags).as_py():
        missing = flags.to_numpy()
        texts = compute.if_else(flags, "0", texts)
    whole = all(map(_INTEGER.match, first))
    try:
        if whole and not any(compute.any(compute.starts_with(texts, sign)).as_py() for sign in ("0x", "0X")):
            return "int", compute.cast(texts, arrow.int64()).to_numpy(), missing
    except arrow.ArrowInvalid:
        if not compute.any(compute.match_substring_regex(texts, "[.eE]")).as_py():
            return None  # a plus sign, more than 64 bits, or a text
    try:
        values = compute.cast(texts, arrow.float64()).to_numpy()
    except arrow.ArrowInvalid:
        return None
    return ("float", values, missing) if np.isfinite(values).all() else None
