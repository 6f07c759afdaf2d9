"""How the fields of a record lie in the 32-bit words of a buffer.

Layer: ir. A field starts at a word of its own, in the order written, and takes as many words as its bytes need; the
components of a short vector are packed. Invariant: a layout's text says all of it, so that two records with equal
text lie alike on every device and in numpy.
"""

from __future__ import annotations

import re
from functools import cached_property, lru_cache
from typing import Any, Union, cast

import numpy as np

from loom.core.dtype import DType, lookup
from loom.core.late.dataclass import dataclass

__all__ = ["Field", "RecordLayout", "record_of"]

_WORD_NBYTES = 4


@dataclass(frozen=True)
class RecordLayout:
    """The fields of a record, each with the word where it starts."""

    fields: tuple[Field, ...]

    @staticmethod
    def of(kinds: dict[str, DType | RecordLayout]) -> RecordLayout:
        """Return the record of fields by name, in order."""
        fields: list[Field] = []
        at = 0
        for name, kind in kinds.items():
            fields.append(Field(name, kind, at))
            at += kind.words if isinstance(kind, RecordLayout) else -(-kind.nbytes // _WORD_NBYTES)
        return RecordLayout(tuple(fields))

    @cached_property
    def words(self) -> int:
        """How many words a record takes."""
        return sum(f.words for f in self.fields)

    @cached_property
    def text(self) -> str:
        """The layout in one word: ``{x:f32,v:f32x2}``."""
        parts = (f"{f.name}:{f.kind.text if isinstance(f.kind, RecordLayout) else f.kind.name}" for f in self.fields)
        return "{" + ",".join(parts) + "}"

    @cached_property
    def numpy(self) -> np.dtype[Any]:
        """The structured dtype whose arrays may be bound; bf16 is carried as its 16 bits."""
        spec: dict[str, Any] = {
            "names": [f.name for f in self.fields],
            "formats": [_format(f.kind) for f in self.fields],
            "offsets": [f.word * _WORD_NBYTES for f in self.fields],
            "itemsize": self.words * _WORD_NBYTES,
        }
        return np.dtype(cast("Any", spec))


@dataclass(frozen=True)
class Field:
    """A field of one type, or a record in a record, from ``word`` on."""

    name: str
    kind: Union[DType, RecordLayout]
    word: int

    @property
    def words(self) -> int:
        """How many words it takes."""
        return self.kind.words if isinstance(self.kind, RecordLayout) else -(-self.kind.nbytes // _WORD_NBYTES)


def _format(kind: DType | RecordLayout) -> Any:
    if isinstance(kind, RecordLayout):
        return kind.numpy
    return (kind.numpy, (kind.lanes,)) if kind.is_vector else kind.numpy


_TOKEN = re.compile(r"[{},:]|[^{},:]+")


@lru_cache(maxsize=256)
def record_of(text: str) -> RecordLayout:
    """Return the record that ``RecordLayout.text`` spells; DTypeError or ValueError if it spells none.

    >>> record_of("{x:f32,v:{a:u8,b:f64}}").words
    4
    """
    tokens = _TOKEN.findall(text)
    record, rest = _read(tokens)
    if rest:
        raise ValueError(f"{text!r} is no layout of a record")
    return record


def _read(tokens: list[str]) -> tuple[RecordLayout, list[str]]:
    if not tokens or tokens[0] != "{":
        raise ValueError("a layout starts with {")
    kinds: dict[str, DType | RecordLayout] = {}
    rest = tokens
    while rest and rest[0] != "}":
        name, colon, *rest = rest[1:]
        if colon != ":":
            raise ValueError("a field is written name:type")
        if rest[0] == "{":
            kinds[name], rest = _read(rest)
        else:
            kinds[name], rest = lookup(rest[0]), rest[1:]
    return RecordLayout.of(kinds), rest[1:]
