"""Numeric types by the older names: tensors in safetensors files in any type, and the comparison of types.

Layer: flow, over ``loom.nn.numeric``. Invariant: a type keeps its scales with it, so that what is read is what was
stored (the older programs wrote bare integers).
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from loom.core.arrays import Array, read_array
from loom.core.conversions import widen
from loom.core.errors import DTypeError
from loom.core.given import is_mapping, items
from loom.core.given import path as path_of
from loom.core.narrow import StoredArray, numeric_type, store
from loom.flow.dnvm.current import current_network, set_current
from loom.flow.dnvm.reading import read_samples
from loom.nn.files.persistence import write_file
from loom.nn.files.storedfile import read_stored, write_stored
from loom.nn.network import Network
from loom.nn.numeric import benchmark_types
from loom.nn.spec.base.text import file_bytes

__all__ = [
    "NUMERICAL_TYPES", "benchmark_numerical_types", "convert_network", "load_safetensors",
    "load_safetensors_with_shapes", "save_safetensors", "serialize_safetensors",
]  # fmt: skip

NUMERICAL_TYPES = ("F64", "F32", "F16", "BF16", "F4", "I64", "I32", "I16", "I8", "U64", "U32", "U16", "U8")
"""The thirteen types that the older generation compares."""


def load_safetensors(path: str | os.PathLike[str]) -> dict[str, Array]:
    """Return a file's tensors by name: those in a type of storage as their numbers, f64."""
    where = "loom.flow.dnvm.load_safetensors"
    return read_stored(file_bytes(Path(path_of(path, f"{where}, path")), where), where)[0]


def load_safetensors_with_shapes(data: bytes) -> dict[str, dict[str, Any]]:
    """Return the tensors of a file's bytes: name -> ``values`` (flat), ``shape`` and ``dtype``."""
    where = "loom.flow.dnvm.load_safetensors_with_shapes"
    if not isinstance(data, (bytes, bytearray, memoryview)):
        raise DTypeError(where, "not bytes", expected="the bytes of a file", got=type(data).__name__,
                         remedy="Read it, or use load_safetensors(path)")  # fmt: skip
    arrays, stored, _ = read_stored(bytes(data), where)
    return {
        name: {"values": a.reshape(-1), "shape": [*a.shape],
               "dtype": numeric_type(stored[name].dtype if name in stored else a.dtype).name}
        for name, a in arrays.items()
    }  # fmt: skip


def serialize_safetensors(tensors: Mapping[str, Any], dtype: Any = "F32", *, scales: Any = "auto") -> bytes:
    """Return the bytes of a file of tensors by name, each stored in ``dtype`` (``loom.nn.numeric.store``)."""
    where = "loom.flow.dnvm.serialize_safetensors"
    if not is_mapping(tensors):
        raise DTypeError(where, "not tensors by name", expected="a mapping of arrays", got=type(tensors).__name__,
                         remedy='Write {"name": array}')  # fmt: skip
    kind = numeric_type(dtype, f"{where}, dtype")
    arrays: dict[str, Array] = {}
    stored: dict[str, StoredArray] = {}
    for name, given in tensors.items():
        arrays[str(name)] = widen(*read_array(given, f"{where}, {name!r}"))
        stored[str(name)] = store(given, kind, scales=scales, where=f"{where}, {name!r}")
    return write_stored(arrays, stored, {})


def save_safetensors(
    path: str | os.PathLike[str], tensors: Mapping[str, Any], dtype: Any = "F32", *, scales: Any = "auto"
) -> None:
    """Write a file of tensors by name, each stored in ``dtype``."""
    where = "loom.flow.dnvm.save_safetensors"
    data = serialize_safetensors(tensors, dtype, scales=scales)
    write_file(Path(path_of(path, f"{where}, path")), data, where)


def convert_network(dtype: Any, *, scales: Any = "auto") -> Network:
    """Make the current network one whose weights are as after being stored in ``dtype``, and return it."""
    return set_current(current_network().convert(dtype, scales=scales))


def benchmark_numerical_types(
    inputs: Sequence[Sequence[float]] | None = None, dtypes: Sequence[Any] = NUMERICAL_TYPES
) -> list[dict[str, Any]]:
    """Return, for each type, what storing the current network's weights in it does to its outputs for ``inputs``.

    Each has ``dtype``, ``quality_score``, ``average_deviation``, ``memory_bytes``, ``scale_factor`` and
    ``trade_off`` (score for each MB). Without inputs samples are drawn by the network's seed.
    """
    net = current_network()
    x = None if inputs is None else read_samples(net, inputs, "benchmark_numerical_types")
    dtypes = items(dtypes, "benchmark_numerical_types, dtypes", "types")
    report = benchmark_types(net, x, dtypes=dtypes)
    wanted = ("quality_score", "average_deviation", "memory_bytes", "scale_factor", "trade_off")
    return [{"dtype": str(given), **{key: getattr(score, key) for key in wanted}}
            for given, score in zip(dtypes, report.scores, strict=True)]  # fmt: skip
