"""Files of the format safetensors: headers checked before anything else is believed, files that bear their digest.

Layer: formats. The format: https://github.com/huggingface/safetensors (a length of 8 bytes, a JSON object, the tensors'
bytes). Invariant: every byte after the header belongs to exactly one tensor, as that library demands; what is returned
points inside the file; what is written has its tensors aligned, in that library's order.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from hashlib import sha256
from itertools import chain
from typing import Any, NoReturn, TypeGuard

import numpy as np

from loom.core.arrays import Array
from loom.core.errors import ArgumentError, FileError, near_matches
from loom.core.given import is_list, is_mapping
from loom.core.late.dataclass import dataclass
from loom.formats.checkpoint import StoredTensor
from loom.formats.encodings import SAFETENSORS_TYPES, is_countable
from loom.formats.json_text import WHOLE_FILE, load_json

__all__ = [
    "DIGEST_KEY",
    "MOST_HEADER",
    "NO_DIGEST",
    "FilePiece",
    "SealedParts",
    "array_piece",
    "encode_file",
    "encode_header",
    "is_safetensors",
    "is_shape",
    "plain_file",
    "read_safetensors",
    "require_digest",
]  # fmt: skip

DIGEST_KEY, NO_DIGEST = "loom.sha256", "0" * 64
"""Metadata: the SHA-256 of a file's bytes, of which the digest's own digits count as zeros."""
MOST_HEADER = 100_000_000
"""Bytes of a header: the library's own limit."""
_LARGEST, _MOST_AXES = 1 << 63, 64


# reading


def is_safetensors(data: bytes | memoryview) -> bool:
    """Tell whether bytes begin as such a file does: a length of eight bytes, then a JSON object."""
    return len(data) > 8 and data[8] == ord("{") and data[7] == 0


def read_safetensors(data: memoryview, where: str) -> tuple[dict[str, StoredTensor], dict[str, str]]:
    """Return the tensors of a file and its metadata; FileError for whatever is wrong with its header."""
    header, start = _header(data, where)
    metadata = _metadata(header.pop("__metadata__", None), where)
    body = data[start:]
    found = {name: _tensor(name, facts, body, where) for name, facts in header.items()}
    _require_cover([(begin, end, name) for name, (begin, end, _) in found.items()], len(body), where)
    return {tensor.name: tensor for _, _, tensor in sorted(found.values(), key=lambda f: f[:2])}, metadata


def _header(data: memoryview, where: str) -> tuple[dict[str, Any], int]:
    """Return the header's object, and where the tensors' bytes begin."""
    if len(data) < 8:
        raise FileError(where, "the file is too short", expected="a length of 8 bytes", got=f"{len(data)} bytes",
                        remedy=WHOLE_FILE)  # fmt: skip
    length = int.from_bytes(data[:8], "little")
    if not 2 <= length <= MOST_HEADER:
        raise FileError(where, "no such header", expected=f"2 to {MOST_HEADER:,} bytes", got=f"{length:,}",
                        remedy="Check which file it is: this is no safetensors, or it is damaged")  # fmt: skip
    if length > len(data) - 8:
        raise FileError(where, "the header is longer than the file", expected=f"at most {len(data) - 8:,} bytes",
                        got=f"{length:,}", remedy=WHOLE_FILE)  # fmt: skip
    if data[8] != ord("{"):
        raise FileError(where, "the header is no JSON object", expected="{", got=repr(bytes(data[8:9])),
                        remedy="Check which file it is")  # fmt: skip
    return load_json(data[8 : 8 + length], where, "the header"), 8 + length


def _metadata(given: Any, where: str) -> dict[str, str]:
    if given is None:
        return {}
    if not is_mapping(given) or not all(isinstance(v, str) for v in given.values()):
        raise FileError(where, "'__metadata__' is not texts by name", got=repr(given)[:60], remedy=WHOLE_FILE)
    return dict(given)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _LARGEST


def is_shape(value: Any) -> TypeGuard[Sequence[int]]:
    """Tell whether a value of JSON is a shape that an array can have."""
    return is_list(value) and len(value) <= _MOST_AXES and all(map(_is_count, value)) and is_countable(value)


def _tensor(name: str, facts: Any, body: memoryview, where: str) -> tuple[int, int, StoredTensor]:
    """Return where a tensor begins and ends, and the tensor."""

    def refuse(what: str, expected: object, got: object) -> NoReturn:
        shown = repr(got) if not isinstance(got, str) else got
        raise FileError(f"{where}, {name[:100]!r}", what, expected=expected, got=shown[:100], remedy=WHOLE_FILE)

    if not is_mapping(facts) or set(facts) != {"dtype", "shape", "data_offsets"}:
        refuse("a tensor is told by three facts", "dtype, shape and data_offsets", facts)
    kind, shape, offsets = facts["dtype"], facts["shape"], facts["data_offsets"]
    known = SAFETENSORS_TYPES.get(kind) if isinstance(kind, str) else None
    if known is None:
        raise FileError(f"{where}, {name[:100]!r}", "no element type is called so", got=repr(kind)[:60],
                        remedy=near_matches(str(kind), SAFETENSORS_TYPES))  # fmt: skip
    if not is_shape(shape):
        refuse("an unusable shape", "up to 64 sizes from 0, of less than 2**60 elements", shape)
    if not is_list(offsets) or len(offsets) != 2 or not all(map(_is_count, offsets)):
        refuse("unusable data_offsets", "two places in the file", offsets)
    begin, end = offsets
    if not begin <= end <= len(body):
        refuse("its bytes are not in the file", f"a beginning and an end, at most {len(body):,}", [*offsets])
    wanted = known.size_of(shape)
    if wanted is None or wanted != end - begin:
        needs = "whole bytes" if wanted is None else f"{wanted:,} bytes"
        refuse("its bytes are not those of its shape", f"{needs} for {kind} of {[*shape]}", f"{end - begin:,}")
    data = body[begin:end]
    return begin, end, StoredTensor(name, tuple(shape), known.name, end - begin, data, where)


def _require_cover(spans: list[tuple[int, int, str]], length: int, where: str) -> None:
    """See that tensors lie one after the other and fill the file."""
    place, before = 0, "the header"
    for begin, end, name in sorted(spans):
        if begin != place:
            what = "two tensors share bytes" if begin < place else "bytes between tensors belong to none"
            raise FileError(where, what, expected=f"{name[:100]!r} to begin at {place:,}, after {before[:100]!r}",
                            got=f"{begin:,}", remedy=WHOLE_FILE)  # fmt: skip
        place, before = end, name
    if place != length:
        raise FileError(where, "bytes after the last tensor belong to none", expected=f"{place:,} bytes of tensors",
                        got=f"{length:,}", remedy=WHOLE_FILE)  # fmt: skip


def require_digest(data: memoryview, metadata: Mapping[str, str], where: str) -> None:
    """See that a file that tells its digest has it; those of older versions and of other programs tell none."""
    digest, found = metadata.get(DIGEST_KEY), "none"
    if digest is not None:
        start = 8 + int.from_bytes(data[:8], "little")
        whole = sha256(bytes(data[:start]).replace(digest.encode(), NO_DIGEST.encode(), 1))
        whole.update(data[start:])
        found = whole.hexdigest()
    if found != digest and (digest is not None or any(_differ_by_one(key, DIGEST_KEY) for key in metadata)):
        remedy = f"Get it again; if it was changed on purpose, write it without the metadata {DIGEST_KEY!r}"
        wanted = f"SHA-256 {digest or 'of its bytes'}"
        raise FileError(where, "the file is damaged, or was changed", expected=wanted, got=found, remedy=remedy)


def _differ_by_one(one: str, other: str) -> bool:
    return len(one) == len(other) and sum(a != b for a, b in zip(one, other, strict=True)) == 1


# writing


@dataclass(frozen=True, slots=True, eq=False)
class FilePiece:
    """A tensor of a file that is being written: its ``parts`` are made when they are asked for, and kept by nobody."""

    name: str
    kind: str
    shape: tuple[int, ...]
    nbytes: int
    parts: Callable[[], Iterable[bytes | memoryview]]


def array_piece(name: str, array: Array) -> FilePiece:
    """Return an array (no complex one) as a tensor of a file."""
    letter = array.dtype.kind.upper()
    kind = "BOOL" if letter == "B" else f"{letter}{8 * array.dtype.itemsize}"
    data = np.ascontiguousarray(array, array.dtype.newbyteorder("<")).tobytes()
    return FilePiece(name, kind, array.shape, len(data), lambda: (data,))


def encode_header(header: Mapping[str, Any], alignment: int = 8, separators: tuple[str, str] = (",", ":")) -> bytes:
    """Return a file's first bytes: the length of the header, and its JSON, after which all is aligned."""
    text = json.dumps(header, separators=separators).encode()
    text += b" " * (-(len(text) + 8) % alignment)
    return len(text).to_bytes(8, "little") + text


def _layout(pieces: Iterable[FilePiece], metadata: Mapping[str, str]) -> Iterator[bytes | memoryview]:
    """Return the parts of a file: from the widest elements to the narrowest, then by name, as that library does."""
    header: dict[str, Any] = {"__metadata__": dict(metadata)} if metadata else {}
    order = sorted(pieces, key=lambda p: (-_BITS[p.kind], p.name))
    place = 0
    for piece in order:
        if piece.name in header:
            raise ArgumentError("loom.formats", f"two tensors would be called {piece.name!r:.100}",
                                expected="one of each name", got="another tensor and the scales of one",
                                remedy="Rename one of them")  # fmt: skip
        end = place + piece.nbytes
        header[piece.name] = {"dtype": piece.kind, "shape": [*piece.shape], "data_offsets": [place, end]}
        place = end
    return chain([encode_header(header)], chain.from_iterable(piece.parts() for piece in order))


_BITS = {name: 8 * e.nbytes // e.block for name, e in SAFETENSORS_TYPES.items()}


class SealedParts(Iterator[bytes | memoryview]):
    """The parts of a file whose head has zeros for the digest that ``seal`` tells once all parts are out."""

    def __init__(self, parts: Iterator[bytes | memoryview]) -> None:
        head, self._digest = next(parts), sha256()
        self._parts = chain([head], parts)
        self._at = bytes(head).index(f'"{DIGEST_KEY}":"{NO_DIGEST}"'.encode()) + len(DIGEST_KEY) + 4

    def __next__(self) -> bytes | memoryview:
        part = next(self._parts)
        self._digest.update(part)
        return part

    def seal(self) -> tuple[int, bytes]:
        """Return where the digest stands in the file, and its digits."""
        return self._at, self._digest.hexdigest().encode()

    def whole(self) -> bytes:
        """Return the bytes of the file."""
        data = bytearray().join(self)
        at, digits = self.seal()
        data[at : at + len(digits)] = digits
        return bytes(data)


def encode_file(pieces: Iterable[FilePiece], metadata: Mapping[str, str]) -> SealedParts:
    """Return the parts of a file of these tensors, with its digest among the metadata."""
    return SealedParts(_layout(pieces, {**metadata, DIGEST_KEY: NO_DIGEST}))


def plain_file(arrays: Mapping[str, Array]) -> bytes:
    """Return the bytes of a file of arrays and nothing else, as that library writes it."""
    return b"".join(_layout([array_piece(name, array) for name, array in arrays.items()], {}))
