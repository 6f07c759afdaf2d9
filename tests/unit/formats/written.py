"""Files written byte by byte, right ones and wrong ones: the formats as their documents tell them."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping, Sequence
from typing import Any

NUMBERS = {"u8": (0, "<B"), "i8": (1, "<b"), "u16": (2, "<H"), "i16": (3, "<h"), "u32": (4, "<I"), "i32": (5, "<i"),
           "f32": (6, "<f"), "bool": (7, "<?"), "u64": (10, "<Q"), "i64": (11, "<q"), "f64": (12, "<d")}  # fmt: skip


def safetensors(header: Any, body: bytes = b"", *, length: int | None = None) -> bytes:
    """Return a file with this header (an object, or its text) and these bytes after it."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return (len(text) if length is None else length).to_bytes(8, "little") + text + body


def tensor(dtype: str, shape: Sequence[int], begin: int, end: int) -> dict[str, Any]:
    return {"dtype": dtype, "shape": [*shape], "data_offsets": [begin, end]}


def text(value: str | bytes) -> bytes:
    data = value.encode() if isinstance(value, str) else value
    return struct.pack("<Q", len(data)) + data


def value(kind: str, given: Any) -> bytes:
    """Return a value of GGUF with its type; ``list of KIND`` for several."""
    if kind.startswith("list of "):
        inner = kind.removeprefix("list of ")
        parts = [value(inner, v) for v in given]
        number = 8 if inner == "text" else NUMBERS[inner][0]
        return struct.pack("<IIQ", 9, number, len(parts)) + b"".join(p[4:] for p in parts)
    if kind == "text":
        return struct.pack("<I", 8) + text(given)
    number, layout = NUMBERS[kind]
    return struct.pack("<I", number) + struct.pack(layout, given)


def facts(name: str | bytes, shape: Sequence[int], kind: int, offset: int) -> bytes:
    """Return what GGUF tells of a tensor; the shape innermost axis first, as that format has it."""
    return text(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, kind, offset)


def gguf(
    values: Mapping[str, tuple[str, Any]] | Sequence[bytes] = (), tensors: Sequence[bytes] = (), body: bytes = b"",
    *, version: int = 3, counts: tuple[int, int] | None = None, alignment: int = 32,
) -> bytes:  # fmt: skip
    """Return a file with these keys and values, facts of tensors, and bytes after them."""
    told = [text(k) + value(*v) for k, v in values.items()] if isinstance(values, Mapping) else [*values]
    tensor_count, key_count = counts or (len(tensors), len(told))
    head = b"GGUF" + struct.pack("<IQQ", version, tensor_count, key_count) + b"".join(told) + b"".join(tensors)
    return head + bytes(-len(head) % alignment) + body
