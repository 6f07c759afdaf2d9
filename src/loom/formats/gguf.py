"""GGUF files: keys, values and places of tensors, each checked against the file before it is believed.

Layer: formats. The format: the document "GGUF" of github.com/ggml-org/ggml, versions 2 and 3, little-endian.
Invariant: whatever lengths and counts a file claims, no more is looped over, or kept, than it has bytes; values are
made when they are asked for.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any, NoReturn

import numpy as np

from loom.core.errors import FileError
from loom.formats.checkpoint import StoredTensor
from loom.formats.encodings import GGML_TYPES, is_countable
from loom.formats.json_text import WHOLE_FILE

__all__ = ["MAGIC", "GgufMetadata", "read_gguf_file"]

MAGIC = b"GGUF"
_MOST_AXES, _MOST_NAME = 4, 65_535
_ALIGNMENT = 32
_STRING, _ARRAY, _BOOL, _UINT32 = 8, 9, 7, 4
_SCALARS = {0: "<u1", 1: "<i1", 2: "<u2", 3: "<i2", 4: "<u4", 5: "<i4", 6: "<f4", 7: "|u1", 10: "<u8", 11: "<i8",
            12: "<f8"}  # fmt: skip
"""Number of a value's type -> how it is stored; 7 is a truth in a byte."""
_SIZES = {number: np.dtype(text).itemsize for number, text in _SCALARS.items()}
_LENGTH = struct.Struct("<Q")
_WORD = struct.Struct("<I")


class _Cursor:
    """A place in a file, which moves on as things are read and never leaves it."""

    def __init__(self, data: memoryview, where: str) -> None:
        self.data, self.where, self.place = data, where, 0

    def refuse(self, what: str, expected: object = None, got: object = None) -> NoReturn:
        raise FileError(self.where, what, expected=expected, got=got, remedy=WHOLE_FILE)

    def left(self) -> int:
        return len(self.data) - self.place

    def skip(self, nbytes: int, what: str) -> int:
        """Pass over bytes; return where they began."""
        if nbytes > self.left():
            self.refuse(f"{what} goes beyond the end of the file", f"at most {self.left():,} bytes at {self.place:,}",
                        f"{nbytes:,}")  # fmt: skip
        start = self.place
        self.place += nbytes
        return start

    def word(self, what: str) -> int:
        return int(_WORD.unpack_from(self.data, self.skip(4, what))[0])

    def length(self, what: str) -> int:
        return int(_LENGTH.unpack_from(self.data, self.skip(8, what))[0])

    def name(self, what: str) -> str:
        size = self.length(f"the length of {what}")
        if size > _MOST_NAME:
            self.refuse(f"{what} is too long", f"at most {_MOST_NAME:,} bytes", f"{size:,}")
        start = self.skip(size, what)
        try:
            return bytes(self.data[start : start + size]).decode("utf-8")
        except UnicodeDecodeError:
            self.refuse(f"{what} is not UTF-8", got=f"byte {start:,}")

    def count(self, what: str, least: int) -> int:
        """Return how many things of at least so many bytes follow, as many as there is room for."""
        found = self.length(f"the number of {what}")
        if found * least > self.left():
            self.refuse(f"more {what} than the file has room for", f"at most {self.left() // least:,}", f"{found:,}")
        return found

    def skip_strings(self, count: int, what: str) -> None:
        data, place, end, unpack = self.data, self.place, len(self.data), _LENGTH.unpack_from
        for _ in range(count):
            if place + 8 > end:
                break
            place += 8 + unpack(data, place)[0]
        if place > end:
            self.refuse(f"{what} goes beyond the end of the file", f"at most {end:,}", f"{place:,}")
        self.place = place


class GgufMetadata(Mapping[str, Any]):
    """Keys and values of a GGUF file: numbers, truths, texts and lists of them, made when first asked for."""

    def __init__(self, data: memoryview, where: str, values: Mapping[str, tuple[int, int, int, int]]) -> None:
        self._data, self._where = data, where
        self._values = values  # key -> type, type of elements, how many of them, where they begin
        self._made: dict[str, Any] = {}

    def __getitem__(self, key: str) -> Any:
        """Return a value; FileError for a text that is not UTF-8."""
        if key not in self._made:
            self._made[key] = self._make(key, *self._values[key])
        return self._made[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return f"<GgufMetadata: {len(self)} keys>"

    def count_of(self, key: str) -> int | None:
        """Return how many elements a list has, without making it; None of a value that is no list."""
        kind, _, count, _ = self._values[key]
        return count if kind == _ARRAY else None

    def as_stored(self, *, skip: str, changed: Mapping[str, bytes]) -> list[bytes]:
        """Return each key with its value as a file has them, without one, and others with the value given."""
        found: list[bytes] = []
        for key, (kind, element, count, start) in self._values.items():
            if key == skip:
                continue
            name = key.encode()
            head = _LENGTH.pack(len(name)) + name
            if key in changed:
                found.append(head + changed[key])
                continue
            head += _WORD.pack(kind) + (_WORD.pack(element) + _LENGTH.pack(count) if kind == _ARRAY else b"")
            found.append(head + bytes(self._data[start : self._end(element, count, start)]))
        return found

    def _end(self, element: int, count: int, start: int) -> int:
        if element != _STRING:
            return start + count * _SIZES[element]
        for _ in range(count):
            start += 8 + _LENGTH.unpack_from(self._data, start)[0]
        return start

    def _make(self, key: str, kind: int, element: int, count: int, start: int) -> Any:
        if element == _STRING:
            texts = self._texts(key, count, start)
            return texts if kind == _ARRAY else texts[0]
        found = np.frombuffer(self._data, _SCALARS[element], count, start)
        made: list[Any] = (found != 0).tolist() if element == _BOOL else found.tolist()
        return made if kind == _ARRAY else made[0]

    def _texts(self, key: str, count: int, start: int) -> list[str]:
        data, found, unpack = self._data, list[str](), _LENGTH.unpack_from
        try:
            for _ in range(count):
                end = start + 8 + unpack(data, start)[0]
                found.append(str(data[start + 8 : end], "utf-8"))
                start = end
        except UnicodeDecodeError:
            raise FileError(f"{self._where}, {key!r}", "a text is not UTF-8", got=f"number {len(found)} of {count}",
                            remedy=WHOLE_FILE) from None  # fmt: skip
        return found


def read_gguf_file(data: memoryview, where: str) -> tuple[dict[str, StoredTensor], GgufMetadata]:
    """Return the tensors of a file and its metadata; FileError for whatever is wrong with it."""
    cursor = _Cursor(data, where)
    cursor.skip(4, "the file's mark")
    _require_version(cursor)
    tensor_count = cursor.length("the number of tensors")
    key_count = cursor.count("keys", 8 + 4 + 1)
    values = _values(cursor, key_count)
    metadata = GgufMetadata(data, where, values)
    if tensor_count * 24 > cursor.left():
        cursor.refuse(
            "more tensors than the file has room for", f"at most {cursor.left() // 24:,}", f"{tensor_count:,}"
        )
    told = [_tensor_facts(cursor) for _ in range(tensor_count)]
    alignment = _alignment(metadata, values, where)
    start = -(-cursor.place // alignment) * alignment
    return _tensors(data, told, start, alignment, where), metadata


def _require_version(cursor: _Cursor) -> None:
    version = cursor.word("the version")
    if version in (2, 3):
        return
    swapped = int.from_bytes(version.to_bytes(4, "little"), "big")
    if swapped in (1, 2, 3):
        raise FileError(cursor.where, "the file is big-endian", expected="a little-endian GGUF",
                        got=f"version {swapped}",
                        remedy="Convert it with gguf's gguf_convert_endian.py, or get the usual one")  # fmt: skip
    remedy = "Convert the model again with today's llama.cpp" if version < 2 else "Convert it to version 3"
    raise FileError(cursor.where, f"GGUF of version {version} is not read", expected="version 2 or 3", got=version,
                    remedy=remedy)  # fmt: skip


def _values(cursor: _Cursor, count: int) -> dict[str, tuple[int, int, int, int]]:
    found: dict[str, tuple[int, int, int, int]] = {}
    for _ in range(count):
        key = cursor.name("a key")
        if key in found:
            cursor.refuse(f"the key {key[:100]!r} is there twice")
        found[key] = _value(cursor, f"the value of {key[:100]!r}")
    return found


def _value(cursor: _Cursor, what: str) -> tuple[int, int, int, int]:
    """Pass over a value; return its type, that of its elements, how many, and where they begin."""
    kind = element = cursor.word(f"the type of {what}")
    count = 1
    if kind == _ARRAY:
        element = cursor.word(f"the type of {what}")
        if element == _ARRAY:
            raise FileError(cursor.where, f"{what} is a list of lists", expected="a list of numbers or texts",
                            got="lists", remedy="Leave that key out: gguf_new_metadata.py --remove-metadata KEY of the "
                            "package gguf")  # fmt: skip
        count = cursor.count(f"elements of {what}", 8 if element == _STRING else _SIZES.get(element, 1))
    if element != _STRING and element not in _SCALARS:
        cursor.refuse(f"{what} has no known type", "0 to 12", element)
    start = cursor.place
    if element == _STRING:
        cursor.skip_strings(count, what)
    else:
        cursor.skip(count * _SIZES[element], what)
    return kind, element, count, start


def _tensor_facts(cursor: _Cursor) -> tuple[str, tuple[int, ...], int, int]:
    """Return name, shape (outermost axis first), number of the encoding, and place of a tensor."""
    name = cursor.name("the name of a tensor")
    axes = cursor.word(f"the number of axes of {name[:100]!r}")
    if axes > _MOST_AXES:
        cursor.refuse(f"{name[:100]!r} has too many axes", f"at most {_MOST_AXES}", f"{axes:,}")
    shape = tuple(cursor.length(f"an axis of {name[:100]!r}") for _ in range(axes))[::-1]
    kind = cursor.word(f"the type of {name[:100]!r}")
    return name, shape, kind, cursor.length(f"the place of {name[:100]!r}")


def _alignment(metadata: GgufMetadata, values: Mapping[str, tuple[int, int, int, int]], where: str) -> int:
    key = "general.alignment"
    if key not in values:
        return _ALIGNMENT
    found = metadata[key]
    if values[key][0] != _UINT32 or found < 1 or found & (found - 1):
        raise FileError(f"{where}, {key!r}", "unusable", expected="a power of two of 32 bits", got=repr(found)[:60],
                        remedy=WHOLE_FILE)  # fmt: skip
    return int(found)


def _tensors(
    data: memoryview, told: list[tuple[str, tuple[int, ...], int, int]], start: int, alignment: int, where: str
) -> dict[str, StoredTensor]:  # fmt: skip
    found: dict[str, StoredTensor] = {}
    spans: list[tuple[int, int, str]] = []
    for name, shape, kind, offset in told:
        here = f"{where}, {name[:100]!r}"

        def refuse(what: str, expected: object, got: object, here: str = here) -> NoReturn:
            raise FileError(here, what, expected=expected, got=got, remedy=WHOLE_FILE)

        if name in found:
            refuse("the tensor is there twice", "one of each name", "two")
        if kind not in GGML_TYPES:
            raise FileError(here, "its encoding is unknown", expected="a type of ggml's", got=f"number {kind}",
                            remedy="It is newer than this Loom: convert the model to Q8_0, Q4_K or F16")  # fmt: skip
        known = GGML_TYPES[kind]
        if not is_countable(shape):
            refuse("an unusable shape", "less than 2**60 elements", shape)
        nbytes = known.size_of(shape)
        if nbytes is None:
            refuse("its rows are not whole blocks", f"rows of {known.block} elements of {known}", shape)
        if offset % alignment:
            refuse("its place is not aligned", f"a multiple of {alignment}", f"{offset:,}")
        begin = start + offset
        if nbytes and begin + nbytes > len(data):
            refuse("its bytes go beyond the end of the file", f"an end at most at {len(data):,}", f"{begin + nbytes:,}")
        found[name] = StoredTensor(name, shape, known.name, nbytes, data[begin : begin + nbytes], where)
        if nbytes:
            spans.append((begin, begin + nbytes, name))
    _require_apart(spans, where)
    return found


def _require_apart(spans: list[tuple[int, int, str]], where: str) -> None:
    spans.sort()
    for (_, end, one), (begin, _, other) in pairwise(spans):
        if begin < end:
            raise FileError(where, "two tensors share bytes", expected=f"{other[:100]!r} after {one[:100]!r}",
                            got=f"a beginning at {begin:,}, before {end:,}", remedy=WHOLE_FILE)  # fmt: skip
