"""Models as files: one, or, where weights are beyond what a file of protobuf takes, another beside it.

Layer: export. Invariant: the same model gives the same bytes, and no file is written over that was not told to be.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from loom.core.errors import FileError
from loom.core.late.dataclass import dataclass
from loom.export.onnx.writing.writer import WHERE, Initializer
from loom.onnx.values import element_of_dtype, onnx
from loom.storage.atomic import replace_file

__all__ = ["MOST_NBYTES", "SUFFIX", "ArrayLayout", "lay_out_arrays", "write_files"]

SUFFIX = ".onnx"
MOST_NBYTES = (1 << 31) - (1 << 24)
"""Bytes of weights that stand in the file itself: protobuf reads no more than 2 GiB."""
_ALIGNMENT, _ALIGNMENT_OF_SMALL = 4096, 64
_LEAST = 1024
"""Bytes from which an array goes to the other file."""


@dataclass(frozen=True, slots=True)
class ArrayLayout:
    """Initializers as protos; those that lie in the other file with their places there, in order."""

    protos: list[Any]
    outside: list[tuple[int, bytes]]


def lay_out_arrays(
    arrays: Mapping[str, Initializer], beside: str | None, weights: Collection[str] = ()
) -> ArrayLayout:  # fmt: skip
    """Return initializers; ``beside``: the name of the other file, None if all stand in the model.

    ``weights``: arrays that lie there however small; of others those that are large.
    """
    protos: list[Any] = []
    outside: list[tuple[int, bytes]] = []
    at = 0
    for name, array in arrays.items():
        proto = onnx.TensorProto(name=name, data_type=element_of_dtype(array.dtype), dims=array.shape)
        is_small = len(array.data) < _LEAST
        if beside is None or not array.data or (is_small and name not in weights):
            proto.raw_data = array.data
        else:
            aligned = _ALIGNMENT_OF_SMALL if is_small else _ALIGNMENT
            at = -(-at // aligned) * aligned
            proto.data_location = onnx.TensorProto.EXTERNAL
            told = {"location": beside, "offset": str(at), "length": str(len(array.data))}
            proto.external_data.extend(onnx.StringStringEntryProto(key=k, value=v) for k, v in told.items())
            outside.append((at, array.data))
            at += len(array.data)
        protos.append(proto)
    return ArrayLayout(protos, outside)


def write_files(path: Path, model: bytes, layout: ArrayLayout, beside: Path, *, overwrite: bool) -> tuple[Path, ...]:
    """Write a model, and what lies beside it first; FileError if one is there, or cannot be written."""
    paths = (path, beside) if layout.outside else (path,)
    if not overwrite:
        there = next((p for p in paths if p.exists()), None)
        if there is not None:
            raise FileError(WHERE, "the file is there already", expected="a new name", got=str(there),
                            remedy="Pass overwrite=True (--overwrite), or another name")  # fmt: skip
    try:
        if layout.outside:
            replace_file(beside, _parts(layout))
        replace_file(path, model)
    except OSError as error:
        raise FileError(WHERE, f"the file cannot be written ({error.strerror})", expected="a place to write",
                        got=str(path), remedy="Choose another folder") from error  # fmt: skip
    return paths


def _parts(layout: ArrayLayout) -> Iterator[bytes]:
    at = 0
    for start, data in layout.outside:
        yield bytes(start - at)
        yield data
        at = start + len(data)
