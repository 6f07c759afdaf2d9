"""One tensor of a checkpoint as a file of safetensors will have it, in any type, and how far that is from before.

Layer: formats. Invariant: a tensor that already has the type keeps its very bytes; any other is rounded once, from the
numbers that it stood for.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from math import prod
from typing import Any

import numpy as np

from loom.core.arrays import Array
from loom.core.narrow import NumericType, StoredArray, store
from loom.formats.checkpoint import StoredTensor
from loom.formats.encodings import SAFETENSORS_TYPES
from loom.formats.safetensors import FilePiece
from loom.formats.stored_weights import storage_pieces
from loom.formats.tensor_error import TensorError, error_of

__all__ = ["is_plain", "is_weight", "pieces_of"]

_WIDE = 16
"""Floats of so many bits, or more, are stored without a scale."""
_AT_A_TIME = 1 << 20
"""Elements that are rounded in one go."""
_DIGITS = {"F64": 53, "F16": 11, "BF16": 8}
"""Significant bits of what a tensor was; of anything else f32's."""


def is_plain(kind: NumericType) -> bool:
    """Tell whether numbers are stored in a type without a scale."""
    return kind.is_float and kind.bits >= _WIDE


def is_weight(tensor: StoredTensor, kind: NumericType) -> bool:
    """Tell whether a conversion to ``kind`` means a tensor: numbers with a fraction; of narrow types no vectors."""
    if tensor.read_stored() is None and (tensor.encoding[0] in "IUC" and tensor.encoding[1:].isdecimal()):
        return False
    return tensor.encoding != "BOOL" and (is_plain(kind) or len(tensor.shape) > 1)


def pieces_of(
    tensor: StoredTensor, kind: NumericType | None, scales: str, note: Callable[[TensorError], None], where: str
) -> tuple[list[FilePiece], dict[str, Any] | None]:  # fmt: skip
    """Return what a file gets for a tensor, and what its metadata tell of one with scales.

    ``kind``: None keeps what the format can keep; GGUF's blocks become F32. ``note`` is called with the error of what
    is rounded, when its bytes are made.
    """
    held = tensor.read_stored()
    if held is not None and (kind is None or held.dtype is kind):
        return storage_pieces(tensor.name, held)
    native = SAFETENSORS_TYPES.get(tensor.encoding)
    if held is None and native is not None and (kind is None or kind.safetensors == native.name):
        return [FilePiece(tensor.name, native.name, tensor.shape, tensor.nbytes, lambda: (tensor.raw(),))], None
    if kind is None:
        return [_plain(tensor, None, note, where)], None
    if is_plain(kind):
        return [_plain(tensor, kind, note, where)], None
    return storage_pieces(tensor.name, _store(tensor, kind, scales, note, where))


def _plain(
    tensor: StoredTensor, kind: NumericType | None, note: Callable[[TensorError], None], where: str
) -> FilePiece:
    """Return a tensor as floats of ``kind``, None: of f32."""
    name = "F32" if kind is None else kind.safetensors
    bits = 32 if kind is None else kind.bits

    def parts() -> Iterator[bytes | memoryview]:
        if kind is None:
            yield np.ascontiguousarray(tensor.read(), "<f4").reshape(-1).data.cast("B")
            return
        whole = _numbers(tensor).reshape(-1)
        errors = _Errors(tensor, kind)
        for start in range(0, len(whole), _AT_A_TIME):
            some = whole[start : start + _AT_A_TIME]
            made = store(some, kind, scales="none", where=f"{where}, {tensor.name!r}")
            errors.add(some, made)
            yield made.data
        note(errors.found())

    return FilePiece(tensor.name, name, tensor.shape, tensor.size * bits // 8, parts)


def _numbers(tensor: StoredTensor) -> Array:
    found = tensor.values()
    return found if found.dtype.kind == "f" else tensor.read()


def _store(
    tensor: StoredTensor, kind: NumericType, scales: str, note: Callable[[TensorError], None], where: str
) -> StoredArray:
    """Return a tensor with scales; by rows some of them at a time, which changes nothing in any."""
    whole, here = _numbers(tensor), f"{where}, {tensor.name!r}"
    errors = _Errors(tensor, kind)
    if scales != "row" or whole.ndim < 2 or not whole.size:
        made = store(whole, kind, scales=scales, where=here)
        errors.add(whole, made)
        note(errors.found())
        return made
    step = max(_AT_A_TIME // prod(whole.shape[1:]) // 8, 1) * 8  # whole bytes, whatever the type
    found: list[StoredArray] = []
    for start in range(0, len(whole), step):
        made = store(whole[start : start + step], kind, scales="row", where=here)
        errors.add(whole[start : start + step], made)
        found.append(made)
    note(errors.found())
    parts = [[p for p in (getattr(a, key) for a in found) if p is not None] for key in ("scale", "zero")]
    scale, zero = (np.concatenate(part) if part else None for part in parts)
    return StoredArray(kind, whole.shape, b"".join(a.data for a in found), scale, zero)


class _Errors:
    """The error of a tensor, of those of its parts."""

    def __init__(self, tensor: StoredTensor, kind: NumericType) -> None:
        self.tensor, self.kind, self.bits = tensor, kind, _DIGITS.get(tensor.encoding, 24)
        self.parts: list[TensorError] = []
        self.sizes: list[float] = []

    def add(self, given: Array, made: StoredArray) -> None:
        self.parts.append(error_of(given, made, self.tensor.name, bits=self.bits))
        wide = np.abs(given.astype(np.float64))
        most = float(wide.max(initial=0.0))
        self.sizes.append(most * math.sqrt(float(np.mean(np.square(wide / most)))) if most else 0.0)

    def found(self) -> TensorError:
        """Return the error of all parts as of one."""
        parts = self.parts
        counts = [p.elements for p in parts]
        error, size = _join([p.rms for p in parts], counts), _join(self.sizes, counts)
        lost = 0.0
        if error:
            lost = self.bits - math.log2(size / error) if size else float(self.bits)
        return TensorError(
            self.tensor.name, self.kind.name, sum(counts), max((p.max_abs for p in parts), default=0.0),
            max((p.max_relative for p in parts), default=0.0), error, self.bits,
            min(max(lost, 0.0), float(self.bits)), sum(p.clipped for p in parts), sum(p.nbytes for p in parts),
            max((p.scale for p in parts), default=1.0),
        )  # fmt: skip


def _join(roots: list[float], counts: list[int]) -> float:
    """Return the root mean square of parts, of theirs."""
    most = max(roots, default=0.0)
    if not most:
        return 0.0
    return most * math.sqrt(math.fsum((r / most) ** 2 * n for r, n in zip(roots, counts, strict=True)) / sum(counts))
