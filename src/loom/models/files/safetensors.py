"""Files of the format safetensors: their headers, checked before anything else is believed.

Layer: models. The format: https://github.com/huggingface/safetensors (a length of 8 bytes, a JSON object, the tensors'
bytes). Invariant: every byte after the header belongs to exactly one tensor, as that library demands; what is returned
points inside the file.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from math import prod
from typing import Any, NoReturn, TypeGuard

from loom.core.errors import FileError, LoomError, near_matches
from loom.core.given import is_list, is_mapping
from loom.core.narrow import TYPES, NumericType, StoredArray
from loom.models.files.checkpoint import StoredTensor
from loom.models.files.encodings import SAFETENSORS_TYPES, is_countable
from loom.nn.files.storedfile import SCALE, STORAGE_KEY, ZERO

__all__ = ["MOST_HEADER", "load_json", "looks_like_safetensors", "read_safetensors_file"]

MOST_HEADER = 100_000_000
"""Bytes of a header: the library's own limit."""
_WHOLE_FILE = "Get the file again: it is damaged, or not all of it arrived"
_LARGEST, _MOST_AXES = 1 << 63, 64


def looks_like_safetensors(data: memoryview) -> bool:
    """Tell whether bytes begin as such a file does: a length, then a JSON object."""
    return len(data) >= 10 and data[8] == ord("{") and int.from_bytes(data[:8], "little") <= MOST_HEADER


def load_json(text: bytes | memoryview, where: str, what: str) -> dict[str, Any]:
    """Return a JSON object of UTF-8; FileError for anything else, and for a name that it has twice."""

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            names = [name for name, _ in pairs]
            twice = next(n for n in names if names.count(n) > 1)
            raise FileError(where, f"{what} has the name {twice[:100]!r} twice", remedy=_WHOLE_FILE)
        return found

    try:
        found: Any = json.loads(bytes(text).decode("utf-8"), object_pairs_hook=once)
    except UnicodeDecodeError as error:
        raise FileError(where, f"{what} is not UTF-8", got=f"byte {error.start}", remedy=_WHOLE_FILE) from None
    except (ValueError, RecursionError) as error:
        why = str(error)[:100] or "too many brackets"
        raise FileError(where, f"{what} is no JSON ({why})", remedy=_WHOLE_FILE) from None
    if not is_mapping(found):
        raise FileError(where, f"{what} is no JSON object", got=repr(found)[:60], remedy=_WHOLE_FILE)
    return dict(found)


def read_safetensors_file(data: memoryview, where: str) -> tuple[dict[str, StoredTensor], dict[str, str]]:
    """Return the tensors of a file and its metadata; FileError for whatever is wrong with its header."""
    header, start = _header(data, where)
    told = _metadata(header.pop("__metadata__", {}), where)
    body = data[start:]
    found: dict[str, tuple[int, int, StoredTensor]] = {}
    for name, facts in header.items():
        found[name] = _tensor(name, facts, body, where)
    _require_cover([(begin, end, name) for name, (begin, end, _) in found.items()], len(body), where)
    ordered = sorted(found.values(), key=lambda f: f[:2])
    tensors = {tensor.name: tensor for _, _, tensor in ordered}
    return (_with_scales(tensors, told[STORAGE_KEY], where) if STORAGE_KEY in told else tensors), told


def _header(data: memoryview, where: str) -> tuple[dict[str, Any], int]:
    """Return the header's object, and where the tensors' bytes begin."""
    if len(data) < 8:
        raise FileError(where, "the file is too short", expected="a length of 8 bytes", got=f"{len(data)} bytes",
                        remedy=_WHOLE_FILE)  # fmt: skip
    length = int.from_bytes(data[:8], "little")
    if not 2 <= length <= MOST_HEADER:
        raise FileError(where, "no such header", expected=f"2 to {MOST_HEADER:,} bytes", got=f"{length:,}",
                        remedy="Check which file it is: this is no safetensors, or it is damaged")  # fmt: skip
    if length > len(data) - 8:
        raise FileError(where, "the header is longer than the file", expected=f"at most {len(data) - 8:,} bytes",
                        got=f"{length:,}", remedy=_WHOLE_FILE)  # fmt: skip
    if data[8] != ord("{"):
        raise FileError(where, "the header is no JSON object", expected="{", got=repr(bytes(data[8:9])),
                        remedy="Check which file it is")  # fmt: skip
    return load_json(data[8 : 8 + length], where, "the header"), 8 + length


def _metadata(given: Any, where: str) -> dict[str, str]:
    if not is_mapping(given) or not all(isinstance(v, str) for v in given.values()):
        raise FileError(where, "'__metadata__' is not texts by name", got=repr(given)[:60], remedy=_WHOLE_FILE)
    return dict(given)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _LARGEST


def _is_shape(value: Any) -> TypeGuard[Sequence[int]]:
    return is_list(value) and len(value) <= _MOST_AXES and all(map(_is_count, value)) and is_countable(value)


def _tensor(name: str, facts: Any, body: memoryview, where: str) -> tuple[int, int, StoredTensor]:
    """Return where a tensor begins and ends, and the tensor."""

    def refuse(what: str, expected: object, got: object) -> NoReturn:
        shown = repr(got) if not isinstance(got, str) else got
        raise FileError(f"{where}, {name[:100]!r}", what, expected=expected, got=shown[:100], remedy=_WHOLE_FILE)

    if not is_mapping(facts) or set(facts) != {"dtype", "shape", "data_offsets"}:
        refuse("a tensor is told by three facts", "dtype, shape and data_offsets", facts)
    kind, shape, offsets = facts["dtype"], facts["shape"], facts["data_offsets"]
    known = SAFETENSORS_TYPES.get(kind) if isinstance(kind, str) else None
    if known is None:
        raise FileError(f"{where}, {name[:100]!r}", "no element type is called so", got=repr(kind)[:60],
                        remedy=near_matches(str(kind), SAFETENSORS_TYPES))  # fmt: skip
    if not _is_shape(shape):
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
                            got=f"{begin:,}", remedy=_WHOLE_FILE)  # fmt: skip
        place, before = end, name
    if place != length:
        raise FileError(where, "bytes after the last tensor belong to none", expected=f"{place:,} bytes of tensors",
                        got=f"{length:,}", remedy=_WHOLE_FILE)  # fmt: skip


def _with_scales(tensors: dict[str, StoredTensor], told: str, where: str) -> dict[str, StoredTensor]:
    """Return the tensors with those that Loom stored with scales as one each, instead of codes, scales and zeros."""
    here = f"{where}, metadata {STORAGE_KEY!r}"
    kinds: dict[str, tuple[NumericType, tuple[int, ...]]] = {}
    for name, facts in load_json(told.encode(), here, "the metadata").items():
        kind = TYPES.get(str(facts.get("dtype"))) if is_mapping(facts) else None
        shape = facts.get("shape") if is_mapping(facts) else None
        if kind is None or name not in tensors or not _is_shape(shape):
            raise FileError(here, "does not fit the file", expected="dtype and shape of tensors of the file",
                            got=f"{name[:60]!r}: {facts!r:.60}", remedy=_WHOLE_FILE)  # fmt: skip
        kinds[name] = kind, tuple(shape)
    parts = {name + ending for name in kinds for ending in (SCALE, ZERO)}
    found: dict[str, StoredTensor] = {}
    for name, tensor in tensors.items():
        if name in parts and name not in kinds:
            continue
        if name not in kinds:
            found[name] = tensor
            continue
        kind, shape = kinds[name]
        beside = [tensors.get(name + ending) for ending in (SCALE, ZERO)]
        nbytes = tensor.nbytes + sum(t.nbytes for t in beside if t is not None)
        made = _stored(kind, shape, tensor, beside, f"{where}, {name!r}")
        found[name] = StoredTensor(name, shape, kind.name.upper(), nbytes, tensor.raw(), where, made)
    return found


def _stored(
    kind: NumericType, shape: tuple[int, ...], codes: StoredTensor, beside: list[StoredTensor | None], where: str
) -> Callable[[], StoredArray]:
    """Return what makes a stored array of codes, scales and zeros when it is called."""
    wanted = kind.nbytes(prod(shape))
    if wanted != codes.nbytes:
        raise FileError(where, "its bytes are not those of its shape", expected=f"{wanted:,} for {kind} of {[*shape]}",
                        got=f"{codes.nbytes:,}", remedy=_WHOLE_FILE)  # fmt: skip

    def make() -> StoredArray:
        scale, zero = (None if part is None else part.values() for part in beside)
        try:
            return StoredArray(kind, shape, bytes(codes.raw()), scale, zero)
        except LoomError as error:
            raise FileError(where, error.what, expected=error.expected, got=error.got, remedy=_WHOLE_FILE) from None

    return make
