"""A checkpoint: the tensors of a published model as its files have them, with what stands beside them.

Layer: formats. Invariant: nothing is read before it is asked for; ``raw`` gives the very bytes of the file, ``read``
the numbers that they stand for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import field
from types import MappingProxyType
from typing import Any

from loom.core.arrays import Array
from loom.core.errors import FileError
from loom.core.late.dataclass import dataclass
from loom.core.narrow import StoredArray
from loom.formats.decoding import as_f32, decode, decode_as_it_is, decode_to_array

__all__ = ["Checkpoint", "StoredTensor", "require_text"]


_MOST_TEXT = 1 << 28
"""Bytes of a text beside the weights: the largest tokenizers have a tenth of it."""


def _no_file(name: str) -> memoryview | None:  # noqa: ARG001
    return None


@dataclass(frozen=True, slots=True, eq=False)
class StoredTensor:
    """A tensor in a file: ``shape`` outermost axis first, as PyTorch shows it (in GGUF files as well).

    ``encoding``: how its numbers are stored, as safetensors and GGUF call it: F32, BF16, Q8_0, Q4_K .. Of tensors that
    Loom stored in a type with a scale, its name of that type in capitals, such as I4. ``nbytes``: in the file.
    """

    name: str
    shape: tuple[int, ...]
    encoding: str
    nbytes: int
    _data: memoryview = field(repr=False)
    _where: str = field(repr=False)
    _stored: Callable[[], StoredArray] | None = field(repr=False, default=None)

    @property
    def size(self) -> int:
        """The number of elements."""
        found = 1
        for n in self.shape:
            found *= n
        return found

    @property
    def is_scaled(self) -> bool:
        """True for a tensor that Loom stored in a type with a scale."""
        return self._stored is not None

    def raw(self) -> memoryview:
        """Return the bytes as they are stored, without their being read before they are looked at."""
        return self._data

    def read(self) -> Array:
        """Return the numbers as f32 of the tensor's shape; GGUF's blocks have the bits of ggml's reference.

        F64 is rounded to nearest. Of F32 these are the file's own bytes: copy them before writing to them. DTypeError
        for numbers that f32 does not have and for encodings that Loom does not read.
        """
        if self._stored is not None:
            return as_f32(self._stored().decode(), self._here)
        return decode(self._data, self.encoding, self.shape, self._here)

    def values(self) -> Array:
        """Return the numbers in the type that holds them all: whole numbers, bool and F64 as they are, else f32."""
        if self._stored is not None:
            return self._stored().decode()
        return decode_as_it_is(self._data, self.encoding, self.shape, self._here)

    def array(self) -> Array:
        """Return the numbers in memory of their own, in numpy's type of them: F16 as it is, else as ``values``.

        DTypeError for types that networks have no weights of: complex ones, and floats without zeros of both signs.
        """
        if self._stored is not None:
            return self._stored().decode()
        return decode_to_array(self._data, self.encoding, self.shape, self._here)

    def read_stored(self) -> StoredArray | None:
        """Return codes and scales of a tensor that Loom stored with a scale, None of any other."""
        return None if self._stored is None else self._stored()

    @property
    def _here(self) -> str:
        return f"{self._where}, {self.name!r}"


@dataclass(frozen=True, slots=True, eq=False)
class Checkpoint:
    """The files of a model, open.

    ``kind``: "huggingface", "gguf" or "safetensors": whose names of tensors and keys it has. ``source``: the file or
    folder, "bytes" of what is in memory. ``config``: config.json, None where there is none. ``metadata``: GGUF's keys
    and values, ``__metadata__`` of safetensors. ``tensors``: by name, in the file's order. ``files``: names of all that
    lies in the folder.

    A safetensors file that Loom wrote of another checkpoint has that one's kind, config or keys.
    """

    kind: str
    source: str
    tensors: Mapping[str, StoredTensor]
    metadata: Mapping[str, Any]
    config: Mapping[str, Any] | None = None
    files: tuple[str, ...] = ()
    _open: Callable[[str], memoryview | None] = field(repr=False, default=_no_file)

    def __post_init__(self) -> None:
        object.__setattr__(self, "tensors", MappingProxyType(dict(self.tensors)))

    def __repr__(self) -> str:
        return f"<Checkpoint {self.kind} {self.source!r}: {len(self.tensors)} tensors, {self.nbytes:,} bytes>"

    @property
    def nbytes(self) -> int:
        """Bytes of all tensors as they are stored."""
        return sum(t.nbytes for t in self.tensors.values())

    @property
    def parameters(self) -> int:
        """The number of elements of all tensors."""
        return sum(t.size for t in self.tensors.values())

    def text(self, name: str) -> str | None:
        """Return a text file of the model's folder (``tokenizer.json``, ``1_Pooling/config.json``), None without it.

        FileError for a name outside the folder, a file that is too long for a text, and bytes that are no UTF-8.
        """
        data, here = self._open(name), f"loom.models.files, {name!r}"
        if data is None:
            return None
        try:
            return str(require_text(data, here), "utf-8-sig")
        except UnicodeDecodeError as error:
            raise FileError(here, "the file is not UTF-8", got=f"byte {error.start:,}", remedy="Get it again") from None

    def file(self, name: str) -> memoryview | None:
        """Return the bytes of a file of the model's folder, None without it; FileError for a name outside it."""
        return self._open(name)


def require_text(data: memoryview, where: str) -> memoryview:
    """Return what is short enough for a text; FileError else."""
    if len(data) > _MOST_TEXT:
        raise FileError(where, "too long for a text", expected=f"at most {_MOST_TEXT:,} bytes", got=f"{len(data):,}",
                        remedy="Check which file it is")  # fmt: skip
    return data
