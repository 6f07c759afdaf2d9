"""C as text: types, tables, strings, names.

Layer: export. Invariant: every text here is C99 of ASCII alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files

import numpy as np

from loom.export.words import TAKEN

__all__ = ["RESERVED", "TYPES", "byte_table", "head", "quote", "source_text", "table", "tail", "unique"]

TYPES = {
    "f64": "double", "f32": "float", "f16": "uint16_t", "bf16": "uint16_t", "i64": "int64_t", "i32": "int32_t",
    "i16": "int16_t", "i8": "int8_t", "u64": "uint64_t", "u32": "uint32_t", "u16": "uint16_t", "u8": "uint8_t",
    "bool": "uint8_t",
}  # fmt: skip
"""What elements are in C: 16-bit floats are their bits."""

_WORDS = """
net samples epochs loss given results old code accuracy held held_samples held_loss
"""
RESERVED = TAKEN | frozenset(_WORDS.split())
"""Names that parameters of C functions may not have."""


def unique(name: str, taken: set[str]) -> str:
    """Return a name like ``name`` that C takes and that is not among ``taken``, where it is put."""
    found = "".join(c if c.isalnum() and c.isascii() else "_" for c in name) or "_"
    found = f"_{found}" if found[0].isdigit() else found
    while found in taken:
        found += "_"
    taken.add(found)
    return found


_PLAIN = ("Kernel *const", "INDEX", "u32", "u64", "double", "const char *const")


def table(kind: str, name: str, rows: Sequence[str], each: str = "") -> str:
    """Return a C array of constants, one at least; ``each``: how long a row is, as C writes it."""
    found = rows or ["0" if kind in _PLAIN and not each else "{0}"]
    lines = [""]
    for row in found:
        if len(lines[-1]) + len(row) > 110:
            lines.append("")
        lines[-1] += f"{row},"
    body = "\n".join(lines)
    const = "" if kind.endswith("const") else "const "
    return f"static {const}{kind} {name}[]{each} = {{\n{body}\n}};"


def byte_table(name: str, content: bytes) -> str:
    """Return a C array of constant bytes, aligned to 64."""
    words = np.frombuffer(content.ljust(max(8, -(-len(content) // 8) * 8), b"\0"), "<u8")
    body = _lines([f"{w:#x}ull" for w in words.tolist()])
    return (f"static const u64 {name}_words[] __attribute__((aligned(64))) = {{\n{body}\n}};\n"
            f"static const u8 *const {name} = (const u8 *){name}_words;")  # fmt: skip


def _lines(items: Sequence[str]) -> str:
    return "\n".join(",".join(items[i : i + 6]) + "," for i in range(0, len(items), 6))


def quote(text: str) -> str:
    """Return a C string of a text."""
    escaped = "".join(
        f"\\{c}" if c in '"\\' else "\\n" if c == "\n" else c if " " <= c <= "~" else _escape(c) for c in text
    )
    return f'"{escaped}"'


def _escape(c: str) -> str:
    return "".join(f"\\{byte:03o}" for byte in c.encode())


def source_text(file: str) -> str:
    """Return the text of a C source of this folder."""
    return files("loom.export.c").joinpath(file).read_text(encoding="utf-8")


def head(upper: str) -> str:
    """Return how a header begins; ``tail`` is how it ends."""
    return f"""#ifndef LOOM_EXPORT_{upper}_H
#define LOOM_EXPORT_{upper}_H
#include <stddef.h>
#include <stdint.h>
#ifdef __cplusplus
extern "C" {{
#endif
"""


def tail() -> str:
    """Return how a header ends."""
    return """
#ifdef __cplusplus
}
#endif
#endif
"""
